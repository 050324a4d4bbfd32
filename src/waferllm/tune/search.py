"""The search over placements: every pair of a prefill and a decode that fits, compared exactly.

A request's time is the prefill's, the re-layout's and the decode's; only pairs meet, so that every
pair is costed by adding arrays. Phases that another beats whatever they are paired with are set aside
first. Requests come in waves of as many as the decode holds at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
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
from waferllm.plmr.compliance import check_grid
from waferllm.plmr.energy import STATIC
from waferllm.plmr.time import BelowFloorError
from waferllm.reports.predict import check_positions
from waferllm.reports.regions import regions_on
from waferllm.tune.bound import request_bound_cycles, token_bound
from waferllm.tune.front import front, undominated_decodes, undominated_prefills
from waferllm.tune.options import Decode, Prefill, Work, decodes, prefills

OBJECTIVES = ("latency", "throughput", "energy")
CUTS = range(1, 9)
GRID_STEP = 30
MOST_ASPECT = 2.0
LEAST_SIDE = 48
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: Reduction phases of balanced trees, those tried with roots at the end, too, and group sizes over
#: the square root of a side.
PHASES, AT_END, GROUPED = (2, 1, 3, 4, 6, 8), (2, 3), (0.5, 0.7, 1.4, 2.0)
SHARES = (1, 2, 4)
#: Sides of prefill grids that are not square: MeshGEMM takes as many steps as their multiple. Such
#: grids are tried where their regions cover so much of the wafer; elsewhere squares do.
RATIOS, COVERED = ((1, 2), (2, 1), (2, 3), (3, 2)), 0.95
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
class Beside:
    """Phases on grids that were asked for, the quickest for one request with the paper's K=2 and shift."""

    grids: tuple[Mesh, Mesh]
    prefill: Prefill | None  # None where it does not fit
    decode: Decode | None


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
    beside: Beside | None = None


def tune(
    model: ModelConfig | str | Path,
    chip: Chip | str = "wse2",
    input_len: int = 4096,
    output_len: int = 4096,
    *,
    objective: str = "latency",
    dtype: str = "float16",
    top: int = 3,
    beside: tuple[Mesh, Mesh] | None = None,
    progress: Progress = lambda done, total: None,
) -> Tuned:
    """The best placements of a model; Ctrl-C ends the search and keeps what it has found.

    `beside` names a prefill and a decode grid, such as the paper's, to see what the best gains.
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
    check_positions(config, input_len + output_len)
    _ = found.macs_per_cycle[dtype]  # raises for a data type that the chip does not have
    work = Work(config, found, input_len, output_len, dtype)
    for grid in beside or ():
        check_grid(grid, found)
    first, then, interrupted = _laid(work, progress, beside)
    made = _chosen(work, objective, first, then, top, interrupted)
    return made if beside is None else replace(made, beside=_beside(beside, first, then))


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


def prefill_grids(chip: Chip) -> list[Mesh]:
    """The squares of those grids, and rectangles of `RATIOS` whose longer side is one of theirs."""
    squares = [grid for grid in grids(chip) if grid.rows == grid.cols]
    longer = {
        Mesh(n.rows * rows // max(rows, cols), n.rows * cols // max(rows, cols))
        for rows, cols in RATIOS
        for n in squares
        if n.rows % max(rows, cols) == 0
    }
    kept = [
        g for g in longer
        if min(g.rows, g.cols) >= LEAST_SIDE
        and regions_on(chip, g) * g.cores >= COVERED * chip.cores_total
    ]  # fmt: skip
    return squares + sorted(kept, key=lambda g: (g.rows, g.cols))


def trees(grid: Mesh) -> dict[str, AllReduce]:
    """The trees tried: balanced, with roots in the middle or at the end, and two phases of groups."""
    middle = grid.rows**0.5
    groups = sorted({max(2, round(middle * scale)) for scale in GROUPED})
    return (
        {f"K={k}": AllReduce(k=k) for k in PHASES}
        | {f"K={k}, roots at the end": AllReduce(k=k, end=True) for k in AT_END}
        | {f"K=2, groups of {n}": AllReduce(groups=n) for n in groups}
    )


def _laid(
    work: Work, progress: Progress, beside: tuple[Mesh, Mesh] | None
) -> tuple[list[Prefill], list[Decode], bool]:
    """Everything that fits, and whether Ctrl-C cut it short."""
    first: list[Prefill] = []
    then: list[Decode] = []
    try:
        todo = list(_questions(work, first, then, beside))
        for done, ask in enumerate(todo):
            progress(done, len(todo))
            ask()
        progress(len(todo), len(todo))
    except KeyboardInterrupt:
        return first, then, True
    return first, then, False


def _questions(
    work: Work,
    first: list[Prefill],
    then: list[Decode],
    beside: tuple[Mesh, Mesh] | None,
) -> Iterator[Callable[[], None]]:
    """Middle-sized grids first, where both phases fit: a search cut short has something to keep."""
    chip = work.chip
    for_prefill = {*prefill_grids(chip), *(beside or ())[:1]}
    every = {*grids(chip), *for_prefill, *(beside or ())}
    for grid in sorted(every, key=lambda g: (abs(g.cores - chip.cores_total // 8), g.rows)):
        if not can_hold(work, grid):
            continue
        if grid in for_prefill:
            yield lambda g=grid: first.extend(_shares(work, g))
        for kv in POLICIES:
            yield lambda g=grid, k=kv: then.extend(_batches(work, g, k))


def _batches(work: Work, grid: Mesh, kv: str) -> Iterator[Decode]:
    """Batches of more and more requests, until they need too much."""
    for batch in BATCHES:
        made = list(decodes(work, grid, trees(grid), kv, batch))
        if not made:
            return
        yield from made


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

    def __init__(self, work: Work, first: Sequence[Prefill], then: Sequence[Decode]) -> None:
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
    pairs = _Pairs(work, undominated_prefills(first), undominated_decodes(then))
    scores = pairs.scores(objective)
    order = np.argsort(scores, axis=None, kind="stable")[:top]
    best = [pairs.placed(*_place(int(at), scores)) for at in order]
    bound_s = request_bound_cycles(work) / work.chip.clock_hz
    _check_floors(pairs, bound_s)
    return Tuned(
        work=work,
        objective=objective,
        best=tuple(best),
        neighbours=tuple(_neighbours(work, objective, best[0], first, then)),
        front=tuple(
            pairs.placed(*_place(at, scores))
            for at in front(pairs.latency, pairs.rate, pairs.activity)
        ),
        bound_latency_s=bound_s,
        placements=len(first) * len(then),
        interrupted=cut,
    )


def _beside(asked: tuple[Mesh, Mesh], first: list[Prefill], then: list[Decode]) -> Beside:
    prefills_on = [one for one in first if one.grid == asked[0]]
    decodes_on = [
        one for one in then
        if one.grid == asked[1] and one.requests == 1 and (one.tree, one.kv) == ("K=2", POLICIES[0])
    ]  # fmt: skip
    return Beside(
        asked,
        min(prefills_on, key=lambda one: one.pass_cycles, default=None),
        min(decodes_on, key=lambda one: one.step_cycles, default=None),
    )


def _place(at: int, scores: np.ndarray) -> tuple[int, int]:
    return at // scores.shape[1], at % scores.shape[1]


def _check_floors(pairs: _Pairs, bound_s: float) -> None:
    """Raises `BelowFloorError` for a placement better than physics allows: a mistake in this package."""
    floor = token_bound(pairs.work)
    for what, found, least in (
        ("seconds for a request", pairs.latency, bound_s),
        ("seconds for a token", 1 / pairs.rate, floor.seconds),
        ("joules for a token by activity", pairs.activity, floor.activity_j),
        ("joules for a token at constant power", pairs.constant, floor.constant_power_j),
    ):
        if float(found.min()) < least * (1 - 1e-9):
            raise BelowFloorError(
                f"a placement of {pairs.work.config.name} takes {found.min():.3g} {what}, below the "
                f"floor of {least:.3g}."
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
    work: Work, objective: str, best: Placed, first: list[Prefill], then: list[Decode]
) -> Iterator[tuple[str, Placed]]:
    """For each choice the best placement that differs in it, and in what must follow."""
    pairs = _Pairs(work, first, [best.decode])
    scores = pairs.scores(objective)[:, 0]
    for key in _PREFILL_KEYS:
        others = [n for n, one in enumerate(first) if _other(one, best.prefill, key)]
        if others:
            yield f"prefill {key}", pairs.placed(min(others, key=lambda n: scores[n]), 0)
    pairs = _Pairs(work, [best.prefill], then)
    scores = pairs.scores(objective)[0]
    for key in _DECODE_KEYS:
        others = [n for n, one in enumerate(then) if _other(one, best.decode, key)]
        if others:
            yield f"decode {key}", pairs.placed(0, min(others, key=lambda n: scores[n]))


def _other(one: Prefill | Decode, best: Prefill | Decode, key: str) -> bool:
    assert key in {f.name for f in fields(one)}
    return getattr(one, key) != getattr(best, key)
