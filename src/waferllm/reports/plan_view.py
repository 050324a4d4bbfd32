"""A `Plan` as tables for people: memory, network, verdicts, and algorithms side by side."""

import math
from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from waferllm.plmr import Compliance
from waferllm.reports.placed import Choice, PhasePlan, Plan
from waferllm.units import show_bytes, show_count


def render(plan: Plan) -> RenderableType:
    """The whole plan; reads well from 80 columns on."""
    parts: list[RenderableType] = [Text.from_markup(_title(plan))]
    parts += _section("SRAM per core of the fullest region (predicted)", _memory(plan))
    parts += _section("Network, one layer (predicted)", _network(plan))
    for phase in plan.phases:
        parts += _section(f"PLMR, {phase.phase} on {phase.grid} (predicted)", _verdict(phase))
        parts += _section(f"Kernels of a {phase.phase} layer (predicted)", _kernels(phase))
        title = f"Algorithms alone on {phase.product} (predicted; * is chosen)"
        parts += _section(title, _algorithms(phase, plan))
        parts += [Text(note) for note in _notes(phase)]
    parts += _section("KV capacity of decode, tokens per sequence (predicted)", _capacity(plan))
    if plan.advice:
        parts += _section("What would help", *(Text(f"- {line}") for line in plan.advice))
    return Group(*parts)


def _section(title: str, *parts: RenderableType) -> list[RenderableType]:
    return [Text(f"\n{title}", style="bold"), *parts]


def _title(plan: Plan) -> str:
    asked, config = plan.asked, plan.asked.config
    verdict = "[green]fits[/]" if plan.fits else "[red]does not fit[/]"
    return (
        f"[bold]{escape(config.name)}[/] on [bold]{escape(asked.chip.name)}[/], {asked.dtype}, "
        f"batch {asked.batch}, {asked.input_len:,} tokens in and {asked.output_len:,} out: "
        f"{verdict}\n"
        f"computed: {config.parameters / 1e9:.2f} billion parameters, "
        f"{show_bytes(asked.weight_bytes)} of weights, {config.layers} layers\n"
        "predicted: everything below, from the programs' shapes on the chip's grid"
    )


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(columns[0], no_wrap=True)
    for name in columns[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _heads(plan: Plan) -> list[str]:
    return [f"{phase.phase} {phase.grid}" for phase in plan.phases]


def _memory(plan: Plan) -> Table:
    """SRAM of a core of the fullest region, and the regions."""
    table = _table("", *_heads(plan))
    for name in ("code", "weights", "kv", "activations", "buffers"):
        label = {"kv": "KV cache", "code": "code reserve"}.get(name, name)
        table.add_row(label, *(show_bytes(getattr(p.share, name)) for p in plan.phases))
    limit = plan.asked.chip.sram_per_core_bytes
    table.add_row(
        f"total, of {show_bytes(limit)}",
        *(_colored(show_bytes(p.share.total), p.share.total <= limit) for p in plan.phases),
        style="bold",
    )
    table.add_row("tokens at once", *(show_count(p.tokens_at_once) for p in plan.phases))
    table.add_row("KV entries per row", *(show_count(p.row_slots) for p in plan.phases))
    table.add_row("layers a region can hold", *(str(p.layers_per_region) for p in plan.phases))
    table.add_row("regions needed / on chip", *(_regions(p) for p in plan.phases))
    return table


def _regions(phase: PhasePlan) -> str:
    needed = "none does" if phase.regions_needed is None else str(phase.regions_needed)
    return _colored(f"{needed} / {phase.regions_available}", phase.fits)


def _network(plan: Plan) -> Table:
    free = plan.asked.chip.free_routes_per_core
    limit = "no limit" if math.isinf(free) else f"of {free:.0f}"
    table = _table("", *_heads(plan))
    readings = [phase.reading for phase in plan.phases]
    table.add_row(
        f"routes at a time, {limit}",
        *(_colored(str(p.routes_at_a_time), p.routes_at_a_time <= free) for p in plan.phases),
    )
    table.add_row("longest send, hops", *(show_count(r.longest_send_hops) for r in readings))
    table.add_row("reductions", *(show_count(r.reductions) for r in readings))
    table.add_row("exposed routing stages", *(show_count(r.exposed_stages) for r in readings))
    table.add_row(
        "sent by the busiest core", *(show_bytes(r.sent_bytes_per_core) for r in readings)
    )
    table.add_row("bytes x hops on the mesh", *(f"{r.byte_hops_total:.3g}" for r in readings))
    return table


def _verdict(phase: PhasePlan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for verdict in phase.compliance.verdicts:
        word = "holds" if verdict.holds else "fails"
        table.add_row(verdict.letter, _colored(word, verdict.holds), escape(verdict.reason))
    return table


def _kernels(phase: PhasePlan) -> Table:
    table = _table("kernel", "routes", "longest send", "exposed stages", "reductions")
    for usage in phase.kernels:
        table.add_row(
            escape(usage.kernel.replace("_", " ")),
            str(usage.routes_per_core),
            f"{usage.longest_send_hops:,} hops",
            show_count(usage.exposed_stages),
            show_count(usage.reductions),
        )
    return table


def _algorithms(phase: PhasePlan, plan: Plan) -> Table:
    """The compared algorithms, one a column, each alone on the layer's largest product."""
    heads = [f"{c.algorithm}{' *' if c.chosen else ''}" for c in phase.choices]
    table = _table("", *heads)
    limit = plan.asked.chip.free_per_core_bytes
    table.add_row("SRAM per core", *(_of(c, _sram(c, limit)) for c in phase.choices))
    table.add_row("routes per core", *(_of(c, f"{c.routes_per_core:,}") for c in phase.choices))
    table.add_row(
        "longest send, hops", *(_of(c, f"{c.longest_send_hops:,}") for c in phase.choices)
    )
    table.add_row("exposed stages", *(_of(c, f"{c.exposed_stages:,}") for c in phase.choices))
    table.add_row("violates", *(_violations(c.compliance) for c in phase.choices), style="bold")
    return table


def _notes(phase: PhasePlan) -> Iterator[str]:
    """The reason for each failure of an algorithm, or for its refusal."""
    for choice in phase.choices:
        if choice.compliance is None:
            yield f"{choice.algorithm}: {choice.refused}"
            continue
        for verdict in choice.compliance.verdicts:
            if not verdict.holds:
                yield f"{choice.algorithm} {verdict.letter}: {verdict.reason}"


def _of(choice: Choice, text: str) -> str:
    return "-" if choice.compliance is None else text


def _sram(choice: Choice, limit: int) -> str:
    size = choice.memory_bytes_per_core
    return _colored(show_bytes(size), size <= limit)


def _violations(compliance: Compliance | None) -> str:
    if compliance is None:
        return "-"
    return f"[red]{' '.join(compliance.violates)}[/]" if compliance.violates else "[green]none[/]"


def _capacity(plan: Plan) -> Table:
    """KV capacity with both policies: the memory is the same, the rows used are not."""
    decode = plan.phases[-1]
    table = _table("policy", "tokens", "which is")
    rows = {
        "shift": f"{decode.grid.rows} rows filled evenly, in {decode.regions_available} regions",
        "concat": "one row, which takes every new token",
        "bound": "all SRAM of the chip, no padding",
    }
    for policy, why in rows.items():
        mark = " *" if policy == plan.asked.kv else ""
        table.add_row(f"{policy}{mark}", show_count(plan.kv_capacity[policy]), why)
    return table


def _colored(text: str, good: bool) -> str:
    return text if good else f"[red]{text}[/]"
