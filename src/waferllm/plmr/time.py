"""`time(program, chip)`: cycles of a program on a chip, from its reading. No kernel is known here.

A program's stretches follow one another, a loop's as often as it turns. Within one trip:

* what the core computes adds up (`work.op_cycles`);
* a word beside a product of its trip (`Cover.TRIP`) runs under it: the slower of the two counts,
  beside the core's own work for starting the word. Words under way together share the ramp;
* a word that no later trip waits for (`Cover.LOOP`) keeps the core and the ramp busy at every trip;
  the way across the line is paid once for the loop, because trips follow each other down the line.
  Along different axes such words are under way together;
* any other word is waited for: all of it counts.

Every result is held against floors that hold whatever the software: operations over peak, bytes
over the ramp, and the hops and bare stages of what is waited for. A result below one is an error of
this model and raises `BelowFloorError`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from waferllm.chip import Chip
from waferllm.plmr.constants import KERNEL, Software
from waferllm.plmr.costing import reading_of
from waferllm.plmr.flight import Flight, depth_cycles, flight
from waferllm.plmr.overlap import Cover
from waferllm.plmr.walk import Op, Phase, Reading, Said
from waferllm.plmr.work import PRODUCT, accumulated, op_cycles, ops_cycles
from waferllm.program import Program

CAUSES = ("compute", "fabric", "stages", "software")


class BelowFloorError(RuntimeError):
    """A predicted time is below what physics allows: a mistake in this package, never a result."""


@dataclass(frozen=True)
class Time:
    """Cycles of one program on one chip; predicted.

    `causes` add up to `cycles`: compute (operations), fabric (payloads and hops waited for), stages
    (cores that receive, add and send on), software (starting words). `hidden_cycles` of the fabric
    run under products. `by_caller` splits the same cycles by the function whose code they stand in.
    """

    program: str
    chip: Chip
    cycles: float
    causes: Mapping[str, float]
    hidden_cycles: float
    by_caller: Mapping[str, float]
    floors: Mapping[str, float]

    @property
    def seconds(self) -> float:
        return self.cycles / self.chip.clock_hz

    @property
    def exposed_cycles(self) -> float:
        """What the core waits for or does for communication."""
        return self.cycles - self.causes["compute"]

    def breakdown(self) -> dict[str, Any]:
        """For `--json`: the causes, what is exposed and hidden, and the cycles by kernel."""
        return {
            **{f"{cause}_cycles": self.causes[cause] for cause in CAUSES},
            "exposed_communication_cycles": self.exposed_cycles,
            "hidden_communication_cycles": self.hidden_cycles,
            "by_kernel_cycles": dict(self.by_caller),
            "floors_cycles": dict(self.floors),
        }


def time(program: Program, chip: Chip, software: Software = KERNEL) -> Time:
    """Cycles of a program; raises `UnsupportedError` if an operation has no rule."""
    return time_of(reading_of(program), chip, software)


def time_of(reading: Reading, chip: Chip, software: Software = KERNEL) -> Time:
    """Cycles of a reading."""
    sums = _Sums(chip, software)
    for phase in reading.phases:
        sums.phase(phase)
    cycles = sum(sums.causes.values())
    floors = _floors(reading, chip)
    for name, least in floors.items():
        if cycles < least * (1 - 1e-9):
            raise BelowFloorError(
                f"{reading.program} on {reading.mesh} of {chip.name}: {cycles:.0f} cycles predicted, "
                f"below the floor '{name}' of {least:.0f}."
            )
    return Time(
        program=reading.program,
        chip=chip,
        cycles=cycles,
        causes={cause: sums.causes[cause] for cause in CAUSES},
        hidden_cycles=sums.hidden,
        by_caller=dict(sorted(sums.callers.items(), key=lambda item: -item[1])),
        floors=floors,
    )


@dataclass
class _Sums:
    """Adds up phases."""

    chip: Chip
    software: Software
    causes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    callers: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    hidden: float = 0.0

    def phase(self, phase: Phase) -> None:
        ops = accumulated(phase.ops) if phase.loops else phase.ops
        for op in ops:
            cycles = op.calls * op_cycles(op, self.chip, self.software)
            self._add("compute", phase.times * cycles, op.caller)
        covered = [s for s in phase.words if s.overlap.cover is Cover.TRIP]
        behind = [s for s in phase.words if s.overlap.cover is Cover.LOOP]
        for said in phase.words:
            if said.overlap.cover is Cover.NONE:
                self._flight(phase.times * said.calls, self._of(said), said.caller)
        if covered:
            self._beside(phase, ops, covered)
        if behind:
            self._behind(phase, behind)

    def _beside(self, phase: Phase, ops: Sequence[Op], words: Sequence[Said]) -> None:
        """Words of one trip under that trip's products."""
        flights = [(said, self._of(said)) for said in words]
        for said, one in flights:
            self._add("software", phase.times * said.calls * one.issue, said.caller)
        streams = sum(said.calls * (one.stream + one.launch) for said, one in flights)
        way = max(one.hops + one.stages for _, one in flights)
        under = min(streams + way, self._cover(ops, max(s.overlap.beside_flops for s in words)))
        self.hidden += phase.times * under
        share = 1 - under / (streams + way)
        for said, one in flights:
            part = said.calls * (one.stream + one.launch) / streams if streams else 0.0
            exposed = phase.times * share * (streams + way) * part
            self._add("fabric", exposed, said.caller)

    def _cover(self, ops: Sequence[Op], beside_flops: int) -> float:
        """Cycles of the products beside a word; of loops beside it, at least their flops at peak."""
        products = [op for op in ops if op.primitive == PRODUCT]
        own = sum(op.flops for op in products)
        cycles = ops_cycles(products, self.chip, self.software)
        if beside_flops <= own:
            return cycles * beside_flops / own
        dtype = products[0].dtype if products else next(iter(self.chip.macs_per_cycle.known))
        return cycles + (beside_flops - own) / (2 * self.chip.macs_per_cycle[dtype])

    def _behind(self, phase: Phase, words: Sequence[Said]) -> None:
        """Words whose trips follow each other down the line; axes are under way together."""
        entered = phase.times / phase.trips
        axes: dict[str, list[tuple[Said, Flight]]] = defaultdict(list)
        for said in words:
            axes[said.word.axis].append((said, self._of(said)))

        def busy(spoken: list[tuple[Said, Flight]]) -> float:
            return sum(said.calls * (one.occupancy + one.launch) for said, one in spoken)

        for said, one in max(axes.values(), key=busy):
            times = phase.times * said.calls
            self._add("software", times * (one.issue + one.launch), said.caller)
            self._add("fabric", times * one.stream + entered * one.hops, said.caller)
            self._add("stages", times * one.again + entered * one.stages, said.caller)

    def _flight(self, times: float, one: Flight, caller: str) -> None:
        self._add("software", times * (one.issue + one.launch), caller)
        self._add("fabric", times * (one.stream + one.hops), caller)
        self._add("stages", times * one.stages, caller)

    def _of(self, said: Said) -> Flight:
        return flight(said.word, said.payload_bytes, self.chip, self.software)

    def _add(self, cause: str, cycles: float, caller: str) -> None:
        self.causes[cause] += cycles
        self.callers[caller] += cycles


def _floors(reading: Reading, chip: Chip) -> dict[str, float]:
    """Cycles below which no software gets: derived apart from the sums above, from totals."""
    products = [
        (phase.times, op) for phase in reading.phases for op in phase.ops if op.primitive == PRODUCT
    ]
    compute = sum(times * op.flops / 2 / chip.macs_per_cycle[op.dtype] for times, op in products)
    waited = [
        (phase.times * said.calls, said.word.geometry)
        for phase in reading.phases
        for said in phase.words
        if said.exposed
    ]
    hops = sum(calls * at.hops for calls, at in waited) * chip.hop_cycles
    stages = sum(calls * at.stages for calls, at in waited) * depth_cycles(chip)
    one_axis = max(
        (
            sum(t.sent_bytes_per_core for t in reading.words if t.word.axis == axis)
            for axis in {t.word.axis for t in reading.words}
        ),
        default=0,
    )
    return {
        "operations over peak": compute,
        "bytes over ramp": one_axis / chip.ramp_bytes_per_cycle,
        "hops and stages waited for": hops + stages,
    }
