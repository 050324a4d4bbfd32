"""Does a program respect P, L, M and R on a chip? One verdict and one sentence for each letter.

Every verdict follows from a `Reading` and a `Chip`; no kernel is known by name. A letter holds when
the program fits this chip at this size *and* does not need more of what is scarce as the mesh
grows: PLMR is a statement about scaling, and 16 routes that fit on 8 x 8 cores are 1200 on 600 x
600.

P  The mesh fits the chip's grid, and at least half of its cores hold useful work: neither padding
   nor a copy of what another core holds (averaged over the arguments by size).
L  Messages stay near, or software touches them rarely. It fails
   * where a shift sends further than 2 hops (a wrap-around edge);
   * where a loop multicasts on every trip outside an allreduce: each trip then crosses the line. A
     reduction followed by a multicast along the same line is one collective and judged by its
     stages;
   * where more routing stages than 2 sqrt(n), twice those of the best two-phase tree on n cores,
     lie one after the other with nothing to multiply meanwhile. Two kinds of stages are covered:
     those of a word that a loop's products hide (`Cover`), and the ring shifts that align an
     operand (`rotate`), up to the number of overlapped steps of the loops on the same ring, which
     they at most double.
M  Arguments, temporaries at their high-water mark, and the chip's reserve for code fit one core's
   SRAM; and no loop collects the tiles of a whole line on every core: what a core holds of a matrix
   then shrinks with 1/N instead of 1/N^2 (the allgather GEMM).
R  The distinct paths at the busiest router fit the routes that the runtime leaves; and no multicast
   is from a root known only at run time, which takes one route for each core of the line. The count
   is of paths as configured: a chain's core needs one to receive and one to send, so that a K-tree
   has about 2K + 1 where the paper, counting one color per phase and one for the multicast, says K
   + 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from waferllm.chip import Chip
from waferllm.errors import InputError
from waferllm.layout import Mesh
from waferllm.plmr.overlap import Cover
from waferllm.plmr.walk import Phase, Reading, Said
from waferllm.units import show_bytes, show_count

NEAR_HOPS = 2
LEAST_USEFUL_SHARE = 0.5
LETTERS = ("P", "L", "M", "R")


@dataclass(frozen=True)
class Verdict:
    """Whether one property holds, and why."""

    letter: str
    holds: bool
    reason: str


@dataclass(frozen=True)
class Compliance:
    """The four verdicts of one program on one chip."""

    verdicts: tuple[Verdict, ...]

    def __getitem__(self, letter: str) -> Verdict:
        return next(v for v in self.verdicts if v.letter == letter)

    @property
    def violates(self) -> str:
        """The letters that fail, in order: `"LR"`; empty when the program complies."""
        return "".join(v.letter for v in self.verdicts if not v.holds)

    @property
    def holds(self) -> bool:
        return not self.violates


def check(reading: Reading, chip: Chip) -> Compliance:
    """The verdict on a reading."""
    return Compliance(tuple(rule(reading, chip) for rule in (_p, _l, _m, _r)))


def fits(mesh: Mesh, chip: Chip) -> bool:
    """Whether the mesh fits the chip's grid, upright or turned by 90 degrees."""
    sides, grid = sorted((mesh.rows, mesh.cols)), sorted((chip.grid_rows, chip.grid_cols))
    return sides[0] <= grid[0] and sides[1] <= grid[1]


def check_grid(grid: Mesh, chip: Chip, phase: str = "") -> None:
    """Raises `InputError` for a grid that the chip has no room for."""
    if not fits(grid, chip):
        raise InputError(
            f"{phase} grid {grid} is larger than {chip.name}, which has {chip.grid_rows}x"
            f"{chip.grid_cols} cores (rows x columns). Choose a smaller one, or another chip.".lstrip()
        )


def stage_budget(cores: int) -> int:
    """Exposed routing stages allowed on a line: twice the best two-phase tree's sqrt(n)."""
    return math.ceil(2 * math.sqrt(cores))


def _p(reading: Reading, chip: Chip) -> Verdict:
    mesh, share = reading.mesh, reading.useful_share
    grid = f"{chip.grid_rows}x{chip.grid_cols}"
    if not fits(mesh, chip):
        return Verdict("P", False, f"{mesh} cores do not fit {chip.name}'s {grid}.")
    turned = " (turned)" if mesh.rows > chip.grid_rows or mesh.cols > chip.grid_cols else ""
    used = f"{share:.0%} of {mesh} cores{turned} hold useful work"
    if share < LEAST_USEFUL_SHARE:
        return Verdict("P", False, f"Only {used}; the rest is padding or copies.")
    return Verdict("P", True, f"{used}.")


def _l(reading: Reading, chip: Chip) -> Verdict:
    del chip
    faults = list(_far(reading))
    if faults:
        return Verdict("L", False, faults[0])
    runs = _exposed(reading)
    said, stages = max(runs, key=_over_budget, default=(None, 0))
    if said is not None and stages > stage_budget(said.word.cores):
        return Verdict(
            "L",
            False,
            f"{show_count(stages)} routing stages of '{said.word.says}' lie one after the other "
            f"with nothing to multiply meanwhile; {stage_budget(said.word.cores)} on a line of "
            f"{said.word.cores} would do.",
        )
    hops = reading.longest_send_hops
    exposed = max((count for _, count in runs), default=0)
    near = f"no message goes further than {hops} hops"
    if hops > NEAR_HOPS:
        near = (
            f"no loop sends further than {NEAR_HOPS} hops (a multicast outside loops goes {hops})"
        )
    aligned = sum(t.stages for t in reading.words if t.word.name == "rotate")
    also = f", besides {show_count(aligned)} that align operands" if aligned else ""
    return Verdict(
        "L",
        True,
        f"At most {exposed} exposed routing stages follow each other{also}; {near}.",
    )


def _far(reading: Reading) -> Iterator[str]:
    """What sends far, too often: one sentence each."""
    for phase in reading.phases:
        reduced = {(s.word.axis, s.word.cores) for s in phase.words if s.word.name == "reduce"}
        for said in phase.words:
            word, far = said.word, said.word.geometry.longest_send_hops
            if far <= NEAR_HOPS:
                continue
            if word.name == "shift":
                often = f" on each of {phase.trips} trips" if phase.loops else ""
                yield f"'{word.says}' sends {far} hops{often}."
            multicast = word.name in ("broadcast", "broadcast_from")
            if multicast and phase.loops and (word.axis, word.cores) not in reduced:
                yield f"'{word.says}' crosses {far} hops on each of {phase.trips} trips."


def _over_budget(run: tuple[Said, int]) -> float:
    return run[1] / stage_budget(run[0].word.cores)


def _exposed(reading: Reading) -> list[tuple[Said, int]]:
    """Words with the exposed stages that each puts in a row."""
    rows: list[tuple[Said, int]] = []
    for phase in reading.phases:
        for said in phase.words:
            stages = _stages_in_a_row(phase, said)
            if said.word.name == "rotate" and stages <= _overlapped_steps(reading, said):
                continue
            rows.append((said, stages))
    return rows


def _stages_in_a_row(phase: Phase, said: Said) -> int:
    geometry = said.word.geometry
    if phase.loops and said.overlap.cover is not Cover.NONE:
        return 0
    if said.word.name == "shift":  # a loop of shifts is one journey
        return phase.trips * said.calls * geometry.stages
    return geometry.stages


def _overlapped_steps(reading: Reading, rotation: Said) -> int:
    """Steps of loops that shift beside a product on the same ring."""
    ring = rotation.word.channels
    return sum(
        phase.times * said.calls
        for phase in reading.phases
        if phase.loops
        for said in phase.words
        if said.word in ring and said.overlap.cover is Cover.TRIP
    )


def _m(reading: Reading, chip: Chip) -> Verdict:
    need, free = reading.memory_bytes_per_core, chip.free_per_core_bytes
    gathered = [g for g in reading.gathered if g.tiles > 2 and 2 * g.tiles >= g.word.cores]
    size = f"{show_bytes(need)} of {show_bytes(free)} free"
    if need > free:
        return Verdict(
            "M",
            False,
            f"A core needs {show_bytes(need)} and has {show_bytes(free)} beside its code.",
        )
    if gathered:
        most = max(gathered, key=lambda g: g.tiles * g.payload_bytes)
        return Verdict(
            "M",
            False,
            f"A core holds {most.tiles} tiles of a line at once: its memory shrinks with 1/N, not "
            f"1/N^2 ({size} here).",
        )
    return Verdict(
        "M", True, f"{size}: arguments {show_bytes(reading.arguments_bytes_per_core)}, temporaries "
        f"{show_bytes(reading.temporaries_bytes_per_core)}."
    )  # fmt: skip


def _r(reading: Reading, chip: Chip) -> Verdict:
    need, free = reading.routes_per_core, chip.free_routes_per_core
    roots = [w for w in reading.channels if w.name == "broadcast_from" and w.cores > 2]
    if math.isinf(free):
        return Verdict("R", True, f"{need} paths; {chip.name} routes by address, without a limit.")
    have = f"{show_count(need)} routes of {show_count(free)} free"
    if roots:
        return Verdict(
            "R",
            False,
            f"'{roots[0].says}' takes a route for each of {roots[0].cores} cores: {have}, and they "
            "grow with the line.",
        )
    return Verdict("R", need <= free, f"{have}.")
