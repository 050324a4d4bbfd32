"""What `generate` reports after the text: what ran here, and what PLMR says of it on the chip."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from waferllm.engine.sequence import Output
from waferllm.reports.placed import PhasePlan, Plan
from waferllm.units import show_bytes, show_count

if TYPE_CHECKING:
    from waferllm.engine.llm import LLM


def execution_json(outputs: Sequence[Output], wall_s: float) -> dict[str, Any]:
    """Computed here: seconds on this machine, and output tokens per second over all sequences."""
    first = [o.ttft_s for o in outputs if o.ttft_s is not None]
    tokens = sum(len(o.token_ids) for o in outputs)
    return {
        "wall_s": wall_s,
        "ttft_s": min(first) if first else None,
        "tokens_per_s": tokens / wall_s if wall_s > 0 else 0.0,
    }


def plmr_json(plan: Plan) -> dict[str, Any]:
    """Predicted for the chip: the plan's figures of each phase that a reader of one run wants."""
    return {
        "chip": plan.asked.chip.name,
        **{phase.phase: _phase_json(phase, plan) for phase in plan.phases},
    }


def _phase_json(phase: PhasePlan, plan: Plan) -> dict[str, Any]:
    reading, chip = phase.reading, plan.asked.chip
    limit = chip.free_routes_per_core
    return {
        "label": "predicted",
        "grid": str(phase.grid),
        "sram_per_core_bytes": phase.share.total,
        "sram_limit_bytes": chip.sram_per_core_bytes,
        "longest_hop": reading.longest_send_hops,
        "routes_per_core": phase.routes_at_a_time,
        "routes_limit": None if math.isinf(limit) else int(limit),
        "bytes_moved_per_core": reading.sent_bytes_per_core * plan.asked.config.layers,
        "reductions_per_layer": reading.reductions,
        "complies": phase.compliance.holds,
        "verdict": {
            v.letter: {"holds": v.holds, "reason": v.reason} for v in phase.compliance.verdicts
        },
    }


def report(llm: "LLM", outputs: Sequence[Output], wall_s: float, plan: Plan) -> Group:
    """What was executed, in two lines, then prefill and decode as placed on the chip."""
    return Group(Text(f"\n{_executed(llm, outputs, wall_s)}"), _placed(plan))


def _executed(llm: "LLM", outputs: Sequence[Output], wall_s: float) -> str:
    run, settings = execution_json(outputs, wall_s), llm.settings
    tokens = sum(len(o.token_ids) for o in outputs)
    first = "" if run["ttft_s"] is None else f", the first after {run['ttft_s']:.2f} s"
    where = f"{settings.mesh} {'devices' if settings.devices else 'simulated cores'}"
    if settings.prefill_mesh not in (None, settings.mesh):
        where += f" (prefill: {settings.prefill_mesh})"
    plural = "" if tokens == 1 else "s"
    return (
        f"computed here: {tokens} token{plural} in {wall_s:.2f} s, "
        f"{run['tokens_per_s']:.1f} tokens/s{first}\n"
        f"               on {where}, compilation included"
    )


def _placed(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(f"predicted on {escape(plan.asked.chip.name)}", no_wrap=True)
    for phase in plan.phases:
        table.add_column(f"{phase.phase} {phase.grid}", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", style="dim", no_wrap=True)
    for row in _rows(plan):
        table.add_row(*row)
    return table


def _rows(plan: Plan) -> list[tuple[str, ...]]:
    chip, layers = plan.asked.chip, plan.asked.config.layers
    phases = plan.phases
    routes = (
        "any" if math.isinf(chip.free_routes_per_core) else show_count(chip.free_routes_per_core)
    )
    return [
        (
            "SRAM per core",
            *(show_bytes(p.share.total) for p in phases),
            show_bytes(chip.sram_per_core_bytes),
        ),
        ("longest hop", *(show_count(p.reading.longest_send_hops) for p in phases), ""),
        ("routes per core", *(show_count(p.routes_at_a_time) for p in phases), routes),
        (
            "moved per core",
            *(show_bytes(p.reading.sent_bytes_per_core * layers) for p in phases),
            "",
        ),
        ("reductions per layer", *(show_count(p.reading.reductions) for p in phases), ""),
        ("PLMR", *(_verdict(p) for p in phases), ""),
    ]


def _verdict(phase: PhasePlan) -> str:
    return (
        "complies" if phase.compliance.holds else f"violates {' '.join(phase.compliance.violates)}"
    )
