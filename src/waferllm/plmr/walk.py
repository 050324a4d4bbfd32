"""Walk a program's per-core jaxpr and count what PLMR asks about: the `Reading` of a program.

A reading holds counts only, no time and no chip: hops, routing stages, routes, bytes, operations
and memory of one core, for a mesh of any size in milliseconds, because patterns stay symbolic and a
loop's body is read once. `Phase` keeps the structure (which words, beside which products, how
often), so that a cost model can say what overlaps.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from waferllm.fabric.routes import Ring
from waferllm.layout import AXES, COLS, ROWS, Blocks, Mesh
from waferllm.plmr.callers import Callers
from waferllm.plmr.memory import held_bytes
from waferllm.plmr.nodes import Body, Flat, Node, Value, flatten
from waferllm.plmr.overlap import Cover, Dependence, Overlap, product_shape
from waferllm.plmr.rules import COMPARISONS, MOVES, Kind
from waferllm.plmr.words import Word
from waferllm.program import Program, Spec


@dataclass(frozen=True)
class Op:
    """Work of one kind on one core: `calls` times `primitive` over `shape` in `dtype`, for
    `caller`.

    A product's shape is (batch, m, n, k); everything else's is the elements of one pass.
    """

    primitive: str
    dtype: str
    shape: tuple[int, ...]
    caller: str
    calls: int

    @property
    def flops(self) -> int:
        """Floating-point operations of all calls; a multiply-add counts as two, a move as none."""
        if self.primitive == "dot_general":
            return 2 * math.prod(self.shape) * self.calls
        computes = self.primitive not in MOVES | COMPARISONS and self.dtype in _FLOATS
        return math.prod(self.shape) * self.calls if computes else 0


_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Said:
    """A word as one phase says it: `calls` times a trip, with `payload_bytes` from each core."""

    word: Word
    payload_bytes: int
    overlap: Overlap
    caller: str
    calls: int

    @property
    def exposed(self) -> bool:
        return self.overlap.cover is Cover.NONE


@dataclass(frozen=True)
class Phase:
    """A stretch of operations without a loop, in program order.

    `loops` are the trip counts of the loops around it, outermost first, and `place` numbers them,
    so that two stretches of one loop body share their `place`. `ops` and `words` are those of one
    trip.
    """

    loops: tuple[int, ...]
    place: tuple[int, ...]
    ops: tuple[Op, ...]
    words: tuple[Said, ...]

    @property
    def times(self) -> int:
        """How often the phase is executed in all."""
        return math.prod(self.loops)

    @property
    def trips(self) -> int:
        """Trips of the innermost loop around it; 1 outside loops."""
        return self.loops[-1] if self.loops else 1

    @property
    def product_flops(self) -> int:
        return sum(op.flops for op in self.ops if op.primitive == "dot_general")

    @property
    def other_flops(self) -> int:
        return sum(op.flops for op in self.ops if op.primitive != "dot_general")


@dataclass(frozen=True)
class WordTally:
    """All that a program says with one word. Hops and stages lie one after the other."""

    word: Word
    calls: int
    sent_bytes_per_core: int
    hops: int
    stages: int
    exposed_stages: int
    byte_hops_total: int


@dataclass(frozen=True)
class Gathered:
    """A loop that keeps what every trip receives: `tiles` payloads of one word side by side."""

    word: Word
    tiles: int
    payload_bytes: int


@dataclass(frozen=True)
class Argument:
    """One argument of the program: its name in the pytree, and its tile's bytes on a core."""

    name: str
    bytes_per_core: int


@dataclass(frozen=True)
class Reading:
    """What one core of a program does, and what the mesh carries. Counts, exact for the program.

    `useful_share` is the share of the mesh's cores that hold something else than padding or a copy,
    averaged over the arguments by their size.
    """

    program: str
    mesh: Mesh
    phases: tuple[Phase, ...]
    words: tuple[WordTally, ...]
    gathered: tuple[Gathered, ...]
    arguments: tuple[Argument, ...]
    arguments_bytes_per_core: int
    temporaries_bytes_per_core: int
    useful_share: float
    equations: int

    @property
    def memory_bytes_per_core(self) -> int:
        """High-water mark: arguments and the most temporaries at once."""
        return self.arguments_bytes_per_core + self.temporaries_bytes_per_core

    @property
    def channels(self) -> dict[Word, int]:
        """Routes per core of every pattern that needs its own; equal patterns share theirs."""
        used = [channel for tally in self.words for channel in tally.word.channels]
        return {channel: channel.geometry.routes_per_core for channel in used}

    @property
    def routes_per_core(self) -> int:
        """Paths that the busiest router holds, every word at its own busiest router."""
        return sum(self.channels.values())

    @property
    def longest_send_hops(self) -> int:
        """The furthest that any single message goes."""
        return max((t.word.geometry.longest_send_hops for t in self.words), default=0)

    @property
    def sent_bytes_per_core(self) -> int:
        """Bytes that the busiest core puts on the fabric."""
        return sum(t.sent_bytes_per_core for t in self.words)

    @property
    def byte_hops_total(self) -> int:
        """Bytes times the links they cross, over the whole mesh."""
        return sum(t.byte_hops_total for t in self.words)

    @property
    def stages(self) -> int:
        """Routing stages, one after the other."""
        return sum(t.stages for t in self.words)

    @property
    def exposed_stages(self) -> int:
        """Those with nothing to multiply meanwhile."""
        return sum(t.exposed_stages for t in self.words)

    @property
    def reductions(self) -> int:
        """Reductions over a line (tree, chain or to a root); ring allreduces count as stages."""
        return sum(t.calls for t in self.words if t.word.name in ("reduce", "reduce_to"))

    @property
    def product_flops_per_core(self) -> int:
        return sum(p.times * p.product_flops for p in self.phases)

    @property
    def other_flops_per_core(self) -> int:
        return sum(p.times * p.other_flops for p in self.phases)

    @property
    def flops_per_core(self) -> int:
        return self.product_flops_per_core + self.other_flops_per_core


def read(program: Program) -> Reading:
    """The reading of a program; raises `UnsupportedError` for an operation without a rule."""
    return read_holding(program)[0]


def read_holding(program: Program) -> tuple[Reading, tuple[int, ...]]:
    """The reading, and the bytes that a core holds after each of its allocations."""
    flat = flatten(program.jaxpr, program.name)
    walker = _Walker(program.mesh, Callers(program.core))
    walker.body(flat.body, (), ())
    arguments, held = held_bytes(flat, walker.started)
    reading = Reading(
        program=program.name,
        mesh=program.mesh,
        phases=tuple(walker.phases),
        words=tallies(walker.phases, program.mesh),
        gathered=tuple(walker.gathered),
        arguments=_arguments(program, flat),
        arguments_bytes_per_core=arguments,
        temporaries_bytes_per_core=max(held) - arguments,
        useful_share=_useful_share(program),
        equations=flat.equations,
    )
    return reading, tuple(held)


class _Walker:
    """Cuts bodies into phases; a loop ends one stretch and another begins after it."""

    def __init__(self, mesh: Mesh, callers: Callers) -> None:
        self.mesh, self.callers = mesh, callers
        self.phases: list[Phase] = []
        self.gathered: list[Gathered] = []
        self.orders: dict[int, list[Node]] = {}

    def started(self, body: Body) -> list[Node]:
        return self.orders[id(body)]

    def body(
        self, body: Body, loops: tuple[int, ...], place: tuple[int, ...], caller: str = ""
    ) -> None:
        """Reads a body; a loop's operations have the `caller` of the loop."""
        dependence = Dependence(body)
        self.orders[id(body)] = dependence.started() if loops else body.nodes
        stretch: list[Node] = []
        inner = 0
        for node in body.nodes:
            if node.body is None:
                stretch.append(node)
                continue
            self._phase(stretch, dependence, (loops, place), caller)
            stretch = []
            inside = caller or self.callers.of(node.source)
            self.body(node.body, (*loops, node.body.trips), (*place, inner), inside)
            self._gathers(node.body)
            inner += 1
        self._phase(stretch, dependence, (loops, place), caller)

    def _phase(
        self,
        nodes: list[Node],
        dependence: Dependence,
        at: tuple[tuple[int, ...], tuple[int, ...]],
        within: str,
    ) -> None:
        ops: Counter[tuple[str, str, tuple[int, ...], str]] = Counter()
        said: Counter[tuple[Word, int, Overlap, str]] = Counter()
        for node in nodes:
            if node.kind is Kind.WORD:
                caller = within or self.callers.of(node.source)
                overlap = dependence.overlap(node)
                said[self._word(node), node.ins[0].bytes, overlap, caller] += 1
            elif work := _work(node):
                ops[*work, within or self.callers.of(node.source)] += 1
        if ops or said:
            done = tuple(Op(*work, calls) for work, calls in ops.items())
            words = tuple(Said(*what, calls) for what, calls in said.items())
            self.phases.append(Phase(*at, done, words))

    def _word(self, node: Node) -> Word:
        given = node.params
        pattern = given.get("route", given.get("tree", given.get("root")))
        pattern = Ring() if node.name == "rotate" else pattern
        side = self.mesh.side(given["axis"])
        line = given["span"] or side
        return Word(node.name, given["axis"], pattern, line, side, given.get("most", 1))

    def _gathers(self, body: Body) -> None:
        for value in body.stacked:
            made = value.producer
            while made is not None and made.kind is Kind.VIEW:
                made = made.ins[0].producer
            if made is not None and made.kind is Kind.WORD:
                self.gathered.append(Gathered(self._word(made), body.trips, made.ins[0].bytes))


def _work(node: Node) -> tuple[str, str, tuple[int, ...]] | None:
    """What a core executes for an operation, or None where it only computes an address."""
    out = node.outs[0]
    if node.kind is Kind.PRODUCT:
        return node.name, str(node.ins[0].dtype), product_shape(node)
    if out.virtual or node.kind in (Kind.VIEW, Kind.INDEX):
        return None
    if node.kind is Kind.REDUCTION:
        return node.name, str(node.ins[0].dtype), (node.ins[0].elements,)
    if node.kind is Kind.UPDATE:
        written = min(node.ins[1:], key=_rank_of_update)
        return node.name, str(written.dtype), (written.elements,)
    return node.name, str(out.dtype), (out.elements,)


def tallies(phases: Sequence[Phase], mesh: Mesh) -> tuple[WordTally, ...]:
    """One tally for each word, in the order in which the program first says them."""
    lines: dict[Word, list[tuple[Phase, Said]]] = {}
    for phase in phases:
        for said in phase.words:
            lines.setdefault(said.word, []).append((phase, said))
    return tuple(_tally(word, spoken, mesh) for word, spoken in lines.items())


def _tally(word: Word, spoken: list[tuple[Phase, Said]], mesh: Mesh) -> WordTally:
    geometry = word.geometry
    calls = sum(p.times * s.calls for p, s in spoken)
    exposed = sum(p.times * s.calls for p, s in spoken if s.exposed)
    payload = sum(p.times * s.calls * s.payload_bytes for p, s in spoken)
    lines = word.lines * (mesh.cores // word.side)
    return WordTally(
        word=word,
        calls=calls,
        sent_bytes_per_core=payload * geometry.sends_per_core,
        hops=calls * geometry.hops,
        stages=calls * geometry.stages,
        exposed_stages=exposed * geometry.stages,
        byte_hops_total=payload * geometry.line_hops * lines,
    )


def _arguments(program: Program, flat: Flat) -> tuple[Argument, ...]:
    paths = jax.tree_util.tree_flatten_with_path(
        program.inputs, is_leaf=lambda node: isinstance(node, Spec)
    )[0]
    named = [Argument(jax.tree_util.keystr(path), 0) for path, _ in paths]
    given = [
        Argument(arg.name, value.bytes) for arg, value in zip(named, flat.arguments, strict=True)
    ]
    return (*given, *(Argument("constant", value.bytes) for value in flat.constants))


def _useful_share(program: Program) -> float:
    specs: list[Spec] = jax.tree.leaves(program.inputs, is_leaf=lambda n: isinstance(n, Spec))
    weights = [math.prod(s.shape) * jax.numpy.dtype(s.dtype).itemsize for s in specs]
    if not sum(weights):
        return 1.0
    shares = [_share(spec, program.mesh) for spec in specs]
    return sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights)


def _share(spec: Spec, mesh: Mesh) -> float:
    """The share of cores that hold part of the array: padding does not count, nor does a copy."""
    axes = spec.layout.axes if isinstance(spec.layout, Blocks) else _last_two(spec.shape)
    tile = spec.layout.tile(spec.shape, mesh)
    busy: dict[str, int] = dict.fromkeys(AXES, 1)
    for axis, length, part in zip(axes, spec.shape, tile, strict=True):
        if axis is not None:
            busy[axis] = -(-length // part) if part else 0
    return math.prod(busy.values()) / mesh.cores


def _last_two(shape: tuple[int, ...]) -> tuple[Any, ...]:
    return (*(None,) * (len(shape) - 2), ROWS, COLS)


def _rank_of_update(value: Value) -> tuple[bool, int]:
    """Sorts an update's operands: the written piece is the one of floats, indices count."""
    return value.counts, value.elements
