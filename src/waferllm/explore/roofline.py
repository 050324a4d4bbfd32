"""The roofline of a model on one chip of a system: what a pass of each phase does, reaches and waits for.

Operations and bytes are those of one chip in one pass through all layers (of a microbatch, with a
pipeline), seconds those of the same pass with all that it waits for: collectives and fixed times too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.errors import CapacityError, InputError
from waferllm.explore.evaluating import evaluate, inputs
from waferllm.explore.passes import peak_flops
from waferllm.explore.placing import bandwidth_bytes_per_s
from waferllm.explore.result import Result
from waferllm.explore.shapes import Shape, find_shape
from waferllm.explore.sharding import Sharding
from waferllm.explore.systems import System
from waferllm.explore.workloads import Workload


@dataclass(frozen=True)
class Point:
    """One phase at one batch, of one chip; `share_of_roof` compares it with the roof at its intensity."""

    phase: str
    batch: int
    label: str
    flop_per_byte: float
    flop_per_s: float
    share_of_roof: float
    seconds: float
    bound: str


@dataclass(frozen=True)
class Roofline:
    """Roofs of one chip and the points beneath them; every figure is predicted."""

    title: str
    sharding: str
    peak_flop_per_s: float
    bytes_per_s: dict[str, float]
    points: tuple[Point, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON data, in FLOP/s, B/s and s."""
        return {"source": "predicted", **asdict(self)}


def roofline(
    system: System,
    workload: Workload,
    *,
    model: str | Path | Shape,
    batches: Sequence[int],
    sharding: Sharding | None = None,
) -> Roofline:
    """Prefill of one prompt and decode at every batch that fits; tensor parallel unless told otherwise.

    Raises InputError for wafers, whose programs `waferllm predict` reads, and CapacityError where not
    even the first batch fits.
    """
    if system.wafer:
        raise InputError(
            f"{system.name}: a wafer has no roofline here; waferllm predict shows its phases."
        )
    shape = find_shape(model)
    d, m, _ = inputs(system, shape, workload)
    cut = sharding or Sharding(tp=_widest(shape, system.chips))
    made, notes = _fitting(system, workload, shape, cut, batches)
    peak = float(peak_flops(np, d, m)[1])
    roofs = {
        tier.upper(): float(speed)
        for tier, speed in bandwidth_bytes_per_s(np, d).items()
        if speed > 0 and (tier != "sram" or d["sram.holds"])
    }
    fastest = max(roofs.values())
    points = [_point("prefill", made[0], peak, fastest)]
    if not workload.denoise_steps:
        points += [_point("decode", one, peak, fastest) for one in made]
    return Roofline(
        title=f"{shape.name} on {system.name}, {workload.name} (predicted)",
        sharding=str(cut), peak_flop_per_s=peak, bytes_per_s=roofs, points=tuple(points),
        notes=(f"Sharding: {cut}; decode half way through the answer.", *notes),
    )  # fmt: skip


def _widest(shape: Shape, chips: int) -> int:
    """The most chips, of those there are, that cut the hidden dimension and the heads evenly."""
    counts = range(1, chips + 1)
    return max(n for n in counts if shape.hidden % n == shape.heads % n == 0)


def _fitting(
    system: System, work: Workload, shape: Shape, cut: Sharding, batches: Sequence[int]
) -> tuple[list[Result], tuple[str, ...]]:
    made: list[Result] = []
    for batch in batches:
        one = Sharding(
            **{key: int(value) for key, value in cut.values().items()} | {"batch": batch}
        )
        try:
            made.append(evaluate(system, work, one, model=shape))
        except CapacityError as error:
            if not made:
                raise
            return made, (f"From batch {batch:,} on nothing fits: {error}",)
    return made, ()


def _point(phase: str, made: Result, peak: float, bytes_per_s: float) -> Point:
    seconds = sum((made.decode_s if phase == "decode" else made.prefill_s).values())
    flops, moved = made.work[f"{phase}_flops"], made.work[f"{phase}_bytes"]
    intensity, rate = flops / moved, flops / seconds
    roof = min(peak, intensity * bytes_per_s)
    batch = made.batch if phase == "decode" else 1
    bound = made.decode_bound if phase == "decode" else made.prefill_bound
    label = f"batch {batch}" if phase == "decode" else "one prompt"
    return Point(phase, batch, label, intensity, rate, rate / roof, seconds, bound)
