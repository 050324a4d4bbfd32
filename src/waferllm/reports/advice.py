"""What stands in a plan's way, and what would remove it: one sentence each."""

import math
from collections.abc import Mapping, Sequence

from waferllm.layout import Mesh
from waferllm.plmr.compliance import LEAST_USEFUL_SHARE
from waferllm.reports.placed import PhasePlan, Question
from waferllm.reports.regions import count_regions
from waferllm.units import show_bytes


def advice(asked: Question, phases: Sequence[PhasePlan], capacity: Mapping[str, int]) -> list[str]:
    """What stands in the way, and what would remove it; one sentence each."""
    lines: list[str] = []
    for phase in phases:
        lines += _room(asked, phase)
        if not phase.compliance["P"].holds:
            side = min(phase.grid.rows, phase.grid.cols)
            lines.append(
                f"{phase.phase}: choose a square grid such as {side}x{side}, or sides with a large "
                f"common divisor: {phase.grid} cuts dimensions into {phase.grid.steps:,} blocks "
                "and pads them to that."
            )
        if not phase.compliance["R"].holds and not math.isinf(asked.chip.free_routes_per_core):
            most = max(phase.kernels, key=lambda k: k.routes_per_core)
            lines.append(
                f"{phase.phase}: {most.kernel} alone takes {most.routes_per_core} routes; choose "
                "algorithms that need fewer, or a grid whose columns divide into its heads."
            )
    if asked.kv == "concat" and capacity["shift"] >= asked.tokens > capacity["concat"]:
        lines.append(
            f"decode: concat fills its last row after {capacity['concat']:,} tokens; shift holds "
            f"{capacity['shift']:,} in the same memory."
        )
    return lines


def _room(asked: Question, phase: PhasePlan) -> list[str]:
    """What would make a phase fit."""
    needed, available = phase.regions_needed, phase.regions_available
    if phase.fits:
        return []
    share, chip = phase.share, asked.chip
    whole = asked.weight_bytes
    wafer = chip.cores_total * chip.free_per_core_bytes
    if whole > wafer:
        return [
            f"{phase.phase}: the weights alone are {show_bytes(whole)} and {chip.name} has "
            f"{show_bytes(wafer)} beside code: use at least {-(-whole // wafer)} chips, a smaller "
            "model or fewer bits."
        ]
    if phase.useful_share < LEAST_USEFUL_SHARE:
        return []  # padding is what is in the way; the advice on P says so
    how = _another_grid(phase) or f"use {-(-needed // max(1, available))} chips" if needed else ""
    if needed is None:
        held = show_bytes(share.buffers + share.activations)
        return [
            f"{phase.phase}: not one layer fits a {phase.grid} region beside its table and {held} "
            "of buffers and activations: choose a larger grid, or fewer tokens."
        ]
    return [
        f"{phase.phase}: a region of {phase.grid} holds {phase.layers_per_region} layers, or fewer "
        f"beside a table, so that {asked.config.layers} need {count_regions(needed)} and "
        f"{chip.name} has room for {available}: {how}, or plan fewer tokens."
    ]


def _another_grid(phase: PhasePlan) -> str:
    """The largest square grid that would about hold the phase: bytes scale with 1 / cores."""
    regions = phase.regions
    sides = range(min(regions.chip.grid_rows, regions.chip.grid_cols), 9, -10)
    for side in sides:
        scaled = regions.on(Mesh(side, side))
        needed = scaled.needed(phase.row_slots)
        if needed is not None and needed <= scaled.available:
            return (
                f"a grid of about {side}x{side} ({count_regions(scaled.available)}) would hold it"
            )
    return ""
