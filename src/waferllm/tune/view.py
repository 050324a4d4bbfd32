"""A tuning as tables for a person and as JSON; every figure is predicted."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from waferllm.plmr.constants import constants_json
from waferllm.plmr.energy import ACTIVITY, assumptions_json
from waferllm.reports.regions import regions_on
from waferllm.tune.options import Decode, Prefill
from waferllm.tune.search import POLICIES, Beside, Placed, Tuned
from waferllm.units import show_bytes

MOST_ROWS = 12
_COLUMNS = ("placement", "TTFT, TPOT", "request", "tokens/s", "J/token")


def to_json(made: Tuned) -> dict[str, Any]:
    """One object: question, best placements, neighbours, front, bound, constants, assumptions."""
    work = made.work
    return {
        "predicted": True,
        "model": work.config.name,
        "chip": work.chip.name,
        "input": work.input_len,
        "output": work.output_len,
        "dtype": work.dtype,
        "objective": made.objective,
        "interrupted": made.interrupted,
        "placements": made.placements,
        "best": [_placed_json(one) for one in made.best],
        "neighbours": [{"differs_in": key, **_placed_json(one)} for key, one in made.neighbours],
        "pareto": [_placed_json(one) for one in made.front],
        "bound": {
            "latency_s": made.bound_latency_s,
            "best_over_bound": min(one.latency_s for one in made.front) / made.bound_latency_s,
        },
        "beside": None if made.beside is None else _beside_json(made.beside),
        "constants": constants_json(),
        "energy_assumptions": assumptions_json(),
    }


def _placed_json(one: Placed) -> dict[str, Any]:
    return {
        "prefill": _phase_json(one.prefill),
        "decode": _phase_json(one.decode),
        "ttft_s": one.ttft_s,
        "tpot_s": one.tpot_s,
        "relayout_s": one.relayout_s,
        "latency_s": one.latency_s,
        "tokens_per_s_per_request": 1 / one.tpot_s,
        "output_tokens_per_s": one.output_tokens_per_s,
        "energy_per_token_j": {
            "activity": one.activity_j,
            "constant_power": one.constant_power_j,
        },
    }


def _beside_json(beside: Beside) -> dict[str, Any]:
    phases = {"prefill": beside.prefill, "decode": beside.decode}
    return {
        name: {"grid": [grid.rows, grid.cols], "fits": False} if one is None else _phase_json(one)
        for (name, one), grid in zip(phases.items(), beside.grids, strict=True)
    }


def _phase_json(one: Prefill | Decode) -> dict[str, Any]:
    fields = {key: value for key, value in vars(one).items() if key not in ("grid", "parts")}
    return {
        "grid": [one.grid.rows, one.grid.cols],
        **fields,
        "breakdown_cycles": dict(one.parts),
    }


def render(made: Tuned) -> RenderableType:
    """Best, breakdown, neighbours, front, bound, assumptions."""
    work = made.work
    head = (
        f"{work.config.name} on {work.chip.name}, {work.input_len} tokens in, {work.output_len} "
        f"out, {work.dtype}: best for {made.objective} of {made.placements:,} placements (predicted)"
    )
    best = _table(head, [("", one) for one in made.best])
    near = _table("The best that differs in one choice (predicted)", _merged(made.neighbours))
    step = max(1, -(-len(made.front) // MOST_ROWS))
    shown = made.front[::step]
    front = _table(
        f"Pareto front of latency, throughput, energy: {len(shown)} of {len(made.front)} (predicted)",
        [("", one) for one in shown],
    )
    return Group(best, _breakdown(made.best[0], made), near, front, Text("\n".join(_notes(made))))


def _merged(neighbours: Sequence[tuple[str, Placed]]) -> list[tuple[str, Placed]]:
    """One row for each placement, with all the choices that it is the best alternative for."""
    found: list[tuple[list[str], Placed]] = []
    for key, one in neighbours:
        same = next((keys for keys, other in found if other == one), None)
        if same is None:
            found.append(([key], one))
        else:
            same.append(key)
    return [(f"[i]other {_choices(keys)}[/i]\n", one) for keys, one in found]


def _choices(keys: Sequence[str]) -> str:
    """`prefill grid`, `prefill chunks` as `prefill grid, chunks`."""
    said: list[str] = []
    for key in keys:
        phase, _, choice = key.replace("_", " ").partition(" ")
        said.append(choice if said and keys[0].startswith(phase) else f"{phase} {choice}")
    return ", ".join(said)


def _table(title: str, rows: Sequence[tuple[str, Placed]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for column in _COLUMNS:
        first = column == _COLUMNS[0]
        table.add_column(column, justify="left" if first else "right", no_wrap=first)
    for label, one in rows:
        lines = "\n" * label.count("\n")
        table.add_row(
            f"{label}prefill {_prefill(one.prefill)}\ndecode  {_decode(one.decode)}",
            f"{lines}{one.ttft_s * 1e3:.1f} ms\n{one.tpot_s * 1e6:.0f} us",
            f"{lines}{one.latency_s:.3f} s",
            f"{lines}{one.output_tokens_per_s:,.0f}",
            f"{lines}{one.activity_j:.2f}\n{one.constant_power_j:.2f}",
        )
    return table


def _prefill(one: Prefill) -> str:
    return f"{one.regions} of {one.grid}, {one.chunks} chunks"


def _decode(one: Decode) -> str:
    many = one.batch * one.in_flight > 1
    requests = f"{one.batch}x{one.in_flight} requests" if many else "1 request"
    kv = "" if one.kv == POLICIES[0] else f", {one.kv}"
    return f"{one.regions} of {one.grid}, {one.tree}{kv}, {requests}"


def _breakdown(best: Placed, made: Tuned) -> Table:
    table = Table(title="Where the best one's cycles go (predicted)")
    for column in ("", "cycles", "share", "SRAM per core"):
        table.add_column(column, justify="left" if not column else "right")
    limit = show_bytes(made.work.chip.sram_per_core_bytes)
    for name, phase in (("prefill", best.prefill), ("decode, a token", best.decode)):
        total = sum(phase.parts.values())
        table.add_row(name, f"{total:,.0f}", "100.0%", f"{show_bytes(phase.core_bytes)} of {limit}")
        for part, cycles in phase.parts.items():
            table.add_row(f"  {part}", f"{cycles:,.0f}", f"{cycles / total:.1%}", "")
    return table


def _notes(made: Tuned) -> list[str]:
    quickest = min(one.latency_s for one in made.front)
    lines = [
        f"No placement takes less than {made.bound_latency_s:.3f} s for a request (full rate, "
        f"light-cone distance of dependent products); the quickest takes "
        f"{quickest / made.bound_latency_s:.1f} times that.",
        "Requests: of one batch x batches in flight. J/token: by activity, at constant power. "
        "Assumed for activity: "
        + "; ".join(f"{a.name} {a.value:g} {a.unit} ({a.source})" for a in ACTIVITY)
        + ".",
        "A chunk of the prompt attends to what is there by then, a token of decode to the mean of its "
        "request's contexts; memory is for the longest.",
        f"Between prefill and decode all weights and KV are laid out anew: "
        f"{made.best[0].relayout_s * 1e3:.1f} ms, in the request's time and not in TTFT.",
    ]
    if made.beside is not None:
        lines += _beside(made.beside, made)
    if made.interrupted:
        lines.append("The search was interrupted: the best so far, not of all.")
    return lines


def _beside(beside: Beside, made: Tuned) -> list[str]:
    """What the quickest placement gains over the grids that were asked for, a sentence a phase."""
    work, hz = made.work, made.work.chip.clock_hz
    quickest = min(made.front, key=lambda one: one.latency_s)
    lines = []
    for name, one, grid, best in (
        ("prefill", beside.prefill, beside.grids[0], quickest.ttft_s),
        ("decode", beside.decode, beside.grids[1], quickest.tpot_s),
    ):
        if one is None:
            regions = regions_on(work.chip, grid)
            have = regions * grid.cores * work.chip.free_per_core_bytes
            lines.append(
                f"Beside it, {name} on {grid} does not fit: {work.chip.name} has room for {regions} of it, "
                f"{have / 1e9:.1f} GB beside code, for {work.weight_bytes / 1e9:.1f} GB of weights, KV "
                "cache and buffers."
            )
            continue
        cycles = one.pass_cycles if isinstance(one, Prefill) else one.step_cycles
        said = _prefill(one) if isinstance(one, Prefill) else _decode(one)
        lines.append(
            f"Beside it, {name} on {said}: {cycles / hz * 1e3:.3f} ms; the quickest takes "
            f"{best * 1e3:.3f} ms, {1 - best * hz / cycles:.1%} less."
        )
    return lines
