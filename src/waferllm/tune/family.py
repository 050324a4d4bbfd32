"""A family of programs read once: the reading of any member as polynomials in its tile sizes.

Programs that differ in tile sizes only have the same operations in the same order. Every integer of
a reading (a side of an operand, a payload, the bytes held after an allocation) is then a polynomial
in the tile sizes. A family walks a few small members and solves for the polynomials; whole numbers
must come out, and members that did not enter the solution must agree, or the family is refused.
Words keep their place; lines and trees are those of the mesh that is asked for.

    members walked  ->  leaves [members, leaves]  =  monomials [members, terms] @ terms [terms, leaves]
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from waferllm.fabric import Tree
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.plmr.overlap import Overlap
from waferllm.plmr.walk import Argument, Op, Phase, Reading, Said, read_holding, tallies
from waferllm.plmr.words import Word
from waferllm.program import Program

Sizes = Mapping[str, int]
#: Members that check a solution without being needed for it.
SPARE = 2


class NotOneFamilyError(RuntimeError):
    """The programs given as members differ in more than tile sizes: a mistake in this package."""


@dataclass(frozen=True)
class Lines:
    """The lines on which a member says its words: a mesh, the span of a head, the trees."""

    mesh: Mesh
    span: int
    combine: AllReduce

    def word(self, word: Word, on_span: bool) -> Word:
        """The word of the sampled member, on these lines."""
        side = self.mesh.side(word.axis)
        cores = self.span if on_span else side
        pattern = word.pattern
        if isinstance(pattern, Tree):
            pattern = tree_of(self.combine, cores)
        elif isinstance(pattern, int):
            pattern = tree_of(self.combine, cores).root(cores)
        return replace(word, pattern=pattern, cores=cores, side=side)


@lru_cache(maxsize=4096)
def tree_of(combine: AllReduce, cores: int) -> Tree:
    """The tree that an allreduce takes on a line."""
    return combine.tree(cores)


class Family:
    """Readings of all programs `member(sizes)` that differ in `sizes` only.

    `sampled` are the lines of the members that `member` makes. `count`, where there is one, is the size
    of which a tile has as many copies: sequences side by side.
    """

    def __init__(
        self,
        member: Callable[[Sizes], Program],
        names: tuple[str, ...],
        sampled: Lines,
        count: str | None = None,
    ) -> None:
        self.names, self.sampled = (*names, *((count,) if count else ())), sampled
        self.terms_of = _terms(names, count)
        samples = _samples(self.names, len(self.terms_of) + SPARE)
        read = [read_holding(member(sizes)) for sizes in samples]
        forms = [_form(reading, held) for reading, held in read]
        if any(form != forms[0] for form in forms):
            raise NotOneFamilyError(f"members of '{read[0][0].program}' differ in structure.")
        self.reading = read[0][0]
        leaves = np.array([_leaves(reading, held) for reading, held in read], dtype=np.int64)
        self.terms = _solved(np.array([self._monomials(s) for s in samples]), leaves)
        self._words: dict[Lines, list[list[Word]]] = {}

    def _monomials(self, sizes: Sizes) -> list[int]:
        return [math.prod(sizes[n] for n in term) for term in self.terms_of]

    def at(self, sizes: Sizes, lines: Lines) -> Reading:
        """The reading of the member with these sizes on these lines; `useful_share` is not read."""
        values = iter((np.array(self._monomials(sizes), dtype=np.int64) @ self.terms).tolist())
        words = self._spoken(lines)
        phases = tuple(
            _phase(phase, values, spoken)
            for phase, spoken in zip(self.reading.phases, words, strict=True)
        )
        arguments = tuple(Argument(a.name, next(values)) for a in self.reading.arguments)
        given = sum(a.bytes_per_core for a in arguments)
        return replace(
            self.reading,
            mesh=lines.mesh,
            phases=phases,
            words=tallies(phases, lines.mesh),
            arguments=arguments,
            arguments_bytes_per_core=given,
            temporaries_bytes_per_core=max(values) - given,
            useful_share=math.nan,
        )

    def _spoken(self, lines: Lines) -> list[list[Word]]:
        if lines not in self._words:
            span = self.sampled.span
            self._words[lines] = [
                [lines.word(s.word, s.word.cores == span < s.word.side) for s in phase.words]
                for phase in self.reading.phases
            ]
        return self._words[lines]


def _phase(phase: Phase, values: Any, spoken: list[Word]) -> Phase:
    """A phase with its sizes filled in; what has become equal is counted together, as a walk does."""
    ops: Counter[tuple[str, str, tuple[int, ...], str]] = Counter()
    said: Counter[tuple[Word, int, Overlap, str]] = Counter()
    for op in phase.ops:
        shape = tuple(itertools.islice(values, len(op.shape)))
        ops[op.primitive, op.dtype, shape, op.caller] += op.calls
    for one, word in zip(phase.words, spoken, strict=True):
        payload, beside = next(values), next(values)
        said[word, payload, Overlap(one.overlap.cover, beside), one.caller] += one.calls
    return replace(
        phase,
        ops=tuple(Op(*what, calls) for what, calls in ops.items()),
        words=tuple(Said(*what, calls) for what, calls in said.items()),
    )


def _form(reading: Reading, held: tuple[int, ...]) -> tuple[Any, ...]:
    """All of a reading but its sizes."""
    phases = tuple(
        (
            p.loops,
            tuple((o.primitive, o.dtype, len(o.shape), o.caller, o.calls) for o in p.ops),
            tuple((s.word, s.overlap.cover, s.caller, s.calls) for s in p.words),
        )
        for p in reading.phases
    )
    return phases, tuple(a.name for a in reading.arguments), reading.gathered, len(held)


def _leaves(reading: Reading, held: tuple[int, ...]) -> list[int]:
    """Every size of a reading in a fixed order: phases, arguments, bytes held."""
    sizes: list[int] = []
    for phase in reading.phases:
        for op in phase.ops:
            sizes += op.shape
        for said in phase.words:
            sizes += (said.payload_bytes, said.overlap.beside_flops)
    return [*sizes, *(a.bytes_per_core for a in reading.arguments), *held]


def _terms(names: tuple[str, ...], count: str | None) -> list[tuple[str, ...]]:
    """1, every size, and every product of two: tiles have two sides; all of them once more `count`."""
    tile = [(), *((n,) for n in names), *itertools.combinations(names, 2)]
    return tile + [(count, *term) for term in tile] if count else tile


def _samples(names: tuple[str, ...], count: int) -> list[dict[str, int]]:
    """So many members; sizes even, and apart so that none are equal."""
    rng = np.random.default_rng(0)
    pools = {
        n: 2 * rng.choice(np.arange(5 + 40 * i, 40 + 40 * i), count, replace=False)
        for i, n in enumerate(names)
    }
    return [{n: int(pools[n][i]) for n in names} for i in range(count)]


def _solved(monomials: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    """The whole-number terms; raises where a leaf is no such polynomial on every member."""
    terms = np.linalg.lstsq(monomials.astype(float), leaves.astype(float), rcond=None)[0]
    whole = np.rint(terms).astype(np.int64)
    if not np.array_equal(monomials @ whole, leaves):
        raise NotOneFamilyError("a size of the reading is no polynomial in the tile sizes.")
    return whole
