"""The search over placements: every pair of a prefill and a decode that fits, compared exactly.

A request's time is the prefill's, the re-layout's and the decode's; only pairs meet, so that every
pair is costed by adding arrays. Requests come in waves of as many as the decode holds at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.chip import Chip
from waferllm.chip import chip as named_chip
from waferllm.chip.facts import nearest
from waferllm.errors import CapacityError, InputError
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.registry import find_config
from waferllm.plmr.energy import STATIC
from waferllm.plmr.time import BelowFloorError
from waferllm.reports.regions import regions_on
from waferllm.tune.bound import decode_bound_cycles, prefill_bound_cycles
from waferllm.tune.options import Decode, Prefill, Work, decodes, prefills

OBJECTIVES = ("latency", "throughput", "energy")
CUTS = range(1, 9)
GRID_STEP = 30
MOST_ASPECT = 2.0
LEAST_SIDE = 48
BATCHES = (1, 2, 4)
SHARES = (1, 2, 4)
POLICIES = ("shift", "concat")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Placed:
    """One placement and what it takes; every figure is predicted.

    `latency_s` is one request's from prompt to last token, `output_tokens_per_s` all requests'
    together, wave after wave; `energy_j` is per output token, by activity and at constant power.
    """

    prefill: Prefill
    decode: Decode
    ttft_s: float
    tpot_s: float
    relayout_s: float
    latency_s: float
    output_tokens_per_s: float
    activity_j: float
    constant_power_j: float


@dataclass(frozen=True)
class Tuned:
    """The best placements, what they beat, the Pareto front and the distance to the bound."""

    work: Work
    objective: str
    best: tuple[Placed, ...]
    neighbours: tuple[tuple[str, Placed], ...]
    front: tuple[Placed, ...]
    bound_latency_s: float
    placements: int
    interrupted: bool


def tune(
    model: ModelConfig | str | Path,
    chip: Chip | str = "wse2",
    input_len: int = 4096,
    output_len: int = 4096,
    *,
    objective: str = "latency",
    dtype: str = "float16",
    top: int = 3,
    progress: Progress = lambda done, total: None,
) -> Tuned:
    """The best placements of a model; Ctrl-C ends the search and keeps what it has found.

    It raises KeyboardInterrupt only where nothing was found by then.
    Raises `InputError` for names and lengths that cannot be, `CapacityError` where nothing fits.
    """
    config = model if isinstance(model, ModelConfig) else find_config(model)
    found = chip if isinstance(chip, Chip) else named_chip(chip)
    if objective not in OBJECTIVES:
        raise InputError(f"Unknown objective {objective!r}. {nearest(objective, OBJECTIVES)}")
    for name, count in (("input", input_len), ("output", output_len)):
        if count < 1:
            raise InputError(f"{name} = {count}: a request has at least 1 token.")
    if input_len + output_len > config.max_positions:
        raise InputError(
            f"input + output = {input_len + output_len} tokens: {config.name} has "
            f"{config.max_positions} positions. Ask for fewer."
        )
    _ = found.macs_per_cycle[dtype]  # raises for a data type that the chip does not have
    work = Work(config, found, input_len, output_len, dtype)
    first, then, interrupted = _laid(work, progress)
    return _chosen(work, objective, first, then, top, interrupted)


def grids(chip: Chip) -> list[Mesh]:
    """The grids tried: the wafer cut into equal rectangles, and squares of their sides or of 30s."""
    cut = {(chip.grid_rows // i, chip.grid_cols // j) for i in CUTS for j in CUTS}
    side = min(chip.grid_rows, chip.grid_cols)
    sides = {n for pair in cut for n in pair if n <= side}
    square = {(n, n) for n in (*sides, *range(GRID_STEP, side + 1, GRID_STEP))}
    return [
        Mesh(rows, cols)
        for rows, cols in sorted(cut | square)
        if max(rows, cols) <= MOST_ASPECT * min(rows, cols)
        and (min(rows, cols) >= LEAST_SIDE or min(rows, cols) == side)
    ]


def trees(grid: Mesh) -> dict[str, AllReduce]:
    """The trees tried: K = 1, 2, 3 balanced, and two phases of smaller and of larger groups."""
    middle = grid.rows**0.5
    groups = sorted({max(2, round(middle * scale)) for scale in (0.7, 1.4)})
    return {f"K={k}": AllReduce(k=k) for k in (2, 1, 3)} | {
        f"K=2, groups of {n}": AllReduce(groups=n) for n in groups
    }


def _laid(work: Work, progress: Progress) -> tuple[list[Prefill], list[Decode], bool]:
    """Everything that fits, and whether Ctrl-C cut it short."""
    first: list[Prefill] = []
    then: list[Decode] = []
    try:
        todo = list(_questions(work, first, then))
        for done, ask in enumerate(todo):
            progress(done, len(todo))
            ask()
        progress(len(todo), len(todo))
    except KeyboardInterrupt:
        return first, then, True
    return first, then, False


def _questions(
    work: Work, first: list[Prefill], then: list[Decode]
) -> Iterator[Callable[[], None]]:
    """Middle-sized grids first, where both phases fit: a search cut short has something to keep.

    Prefill takes squares only: MeshGEMM on another mesh takes as many steps as both sides' multiple.
    """
    for grid in sorted(grids(work.chip), key=lambda g: abs(g.cores - work.chip.cores_total // 8)):
        if not can_hold(work, grid):
            continue
        if grid.rows == grid.cols:
            yield lambda g=grid: first.extend(_shares(work, g))
        for kv in POLICIES:
            for batch in BATCHES:
                yield lambda g=grid, k=kv, b=batch: then.extend(decodes(work, g, trees(g), k, b))


def can_hold(work: Work, grid: Mesh) -> bool:
    """Whether the bare weights fit all regions of this grid, and whole layers the fullest of them."""
    regions = regions_on(work.chip, grid)
    room = grid.cores * work.chip.free_per_core_bytes
    fullest = -(-work.config.layers // regions) * work.config.parameters_per_layer
    return work.weight_bytes <= regions * room and fullest * work.item_bytes <= room


def _shares(work: Work, grid: Mesh) -> Iterator[Prefill]:
    """Chunks of one, two, four tokens per row and of the whole prompt, until they need too much."""
    whole = -(-work.input_len // grid.rows)
    for share in sorted({min(share, whole) for share in (*SHARES, whole)}):
        made = list(prefills(work, grid, share))
        if not made:
            return
        yield from made


class _Pairs:
    """Every pair as arrays [prefills, decodes]."""

    def __init__(self, work: Work, first: list[Prefill], then: list[Decode]) -> None:
        self.work, self.first, self.then = work, first, then
        chip, out = work.chip, work.output_len
        hz, power = chip.clock_hz, chip.system_power_w

        def p(name: str) -> np.ndarray:
            return np.array([getattr(one, name) for one in first], dtype=float)[:, None]

        def d(name: str) -> np.ndarray:
            return np.array([getattr(one, name) for one in then], dtype=float)[None, :]

        requests = d("requests")
        self.tpot = d("step_cycles") / hz
        self.relayout = relayout_cycles(work.weight_bytes + requests * work.kv_bytes, chip) / hz
        back = relayout_cycles(work.weight_bytes, chip) / hz
        self.ttft = p("pass_cycles") / hz
        self.latency = self.ttft + self.relayout + (out - 1) * self.tpot
        wave = self.latency + (requests - 1) * p("busy_cycles") / hz + back
        tokens = requests * out
        self.rate = tokens / wave
        steps = (out - 1) * d("in_flight")
        dynamic = requests * p("dynamic_j") + steps * d("dynamic_j")
        self.activity = (dynamic + STATIC.value * power * wave) / tokens
        self.constant = power * wave / tokens

    def scores(self, objective: str) -> np.ndarray:
        """What is to be small."""
        made = {"latency": self.latency, "throughput": -self.rate, "energy": self.activity}
        return made[objective]

    def placed(self, i: int, j: int) -> Placed:
        return Placed(
            prefill=self.first[i],
            decode=self.then[j],
            ttft_s=float(self.ttft[i, 0]),
            tpot_s=float(self.tpot[0, j]),
            relayout_s=float(self.relayout[0, j]),
            latency_s=float(self.latency[i, j]),
            output_tokens_per_s=float(self.rate[i, j]),
            activity_j=float(self.activity[i, j]),
            constant_power_j=float(self.constant[i, j]),
        )


def relayout_cycles(bytes_total: Any, chip: Chip) -> Any:
    """All bytes cross the middle of the wafer once, over its shorter side, and go as far as it is.

    Assumes routes that fill every link of that cut; half the traffic of a permutation need not
    cross it, the rest is left for conflicts.
    """
    cut = min(chip.grid_rows, chip.grid_cols) * chip.link_bytes_per_cycle
    return bytes_total / cut + (chip.grid_rows + chip.grid_cols) * chip.hop_cycles


def _chosen(
    work: Work, objective: str, first: list[Prefill], then: list[Decode], top: int, cut: bool
) -> Tuned:
    if cut and not (first and then):
        raise KeyboardInterrupt
    if not first or not then:
        raise CapacityError(_why_not(work, first))
    pairs = _Pairs(work, first, then)
    scores = pairs.scores(objective)
    order = np.argsort(scores, axis=None, kind="stable")[:top]
    best = [tuple(int(n) for n in np.unravel_index(at, scores.shape)) for at in order]
    bound = prefill_bound_cycles(work) + (work.output_len - 1) * decode_bound_cycles(work)
    if work.chip.clock_hz * float(pairs.latency.min()) < bound:
        raise BelowFloorError(
            f"a placement of {work.config.name} takes less than the bound of {bound:.0f} cycles."
        )
    return Tuned(
        work=work,
        objective=objective,
        best=tuple(pairs.placed(*at) for at in best),
        neighbours=tuple(_neighbours(pairs, scores, best[0])),
        front=tuple(pairs.placed(*at) for at in _front(pairs)),
        bound_latency_s=bound / work.chip.clock_hz,
        placements=scores.size,
        interrupted=cut,
    )


def _why_not(work: Work, first: list[Prefill]) -> str:
    config, chip = work.config, work.chip
    have = chip.cores_total * chip.free_per_core_bytes
    phase = "decode" if first else "prefill"
    return (
        f"{config.name} does not fit {chip.name} in {phase}: its weights are {work.weight_bytes / 1e9:.1f}"
        f" GB and a request's KV cache {work.kv_bytes / work.input_len * work.tokens / 1e9:.2f} GB, "
        f"all cores have {have / 1e9:.1f} GB beside code. Take a smaller model, a smaller dtype, "
        "fewer tokens, or a larger chip."
    )


_PREFILL_KEYS = ("grid", "chunks", "regions")
_DECODE_KEYS = ("grid", "tree", "kv", "batch", "regions", "in_flight")


def _neighbours(
    pairs: _Pairs, scores: np.ndarray, best: tuple[int, ...]
) -> Iterator[tuple[str, Placed]]:
    """For each choice the best placement that differs in it, and in what must follow."""
    i, j = best
    chosen = pairs.first[i], pairs.then[j]
    for key in _PREFILL_KEYS:
        others = [n for n, one in enumerate(pairs.first) if _other(one, chosen[0], key)]
        if others:
            yield f"prefill {key}", pairs.placed(min(others, key=lambda n: scores[n, j]), j)
    for key in _DECODE_KEYS:
        others = [n for n, one in enumerate(pairs.then) if _other(one, chosen[1], key)]
        if others:
            yield f"decode {key}", pairs.placed(i, min(others, key=lambda n: scores[i, n]))


def _other(one: Prefill | Decode, best: Prefill | Decode, key: str) -> bool:
    assert key in {f.name for f in fields(one)}
    return getattr(one, key) != getattr(best, key)


def _front(pairs: _Pairs) -> list[tuple[int, int]]:
    """Pairs that no other beats or equals in latency, throughput and energy at once.

    In order of latency, a pair is on the front if none before it has both more throughput and
    less energy.
    """
    order = np.lexsort((pairs.activity.ravel(), -pairs.rate.ravel(), pairs.latency.ravel()))
    rate, energy = pairs.rate.ravel()[order], pairs.activity.ravel()[order]
    best_rate = np.maximum.accumulate(np.concatenate(([-np.inf], rate)))[:-1]
    best_energy = np.minimum.accumulate(np.concatenate(([np.inf], energy)))[:-1]
    kept: list[int] = []
    for n in np.flatnonzero((rate > best_rate) | (energy < best_energy)):
        if not any(rate[k] >= rate[n] and energy[k] <= energy[n] for k in kept):
            kept.append(int(n))
    shape = pairs.latency.shape
    return [(int(order[n]) // shape[1], int(order[n]) % shape[1]) for n in kept]
