"""What one fabric word asks of the network: hops, routing stages, routes. Geometry, no time.

A `Word` is a primitive with its axis and pattern on lines of `cores` cores. Everything follows from
the pattern in closed form or in one pass over a line, so a word costs O(line) once and then
nothing.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from waferllm.fabric.routes import (
    NOBODY,
    Ring,
    Route,
    Step,
    Tree,
    hops,
    paths_per_core,
    routes_per_core,
    tree_hops,
    tree_routes_per_core,
    tree_stages,
)

Pattern = Route | Tree | int | None


@dataclass(frozen=True)
class Geometry:
    """One call of a word on one line.

    `hops` and `stages` lie one after the other (alpha and beta of PLMR); `longest_send_hops` is the
    furthest that any single message goes without software; `line_hops` sums the links that payloads
    cross on the whole line; `sends_per_core` counts the payloads that the busiest core sends.
    """

    hops: int
    stages: int
    longest_send_hops: int
    line_hops: int
    sends_per_core: int
    routes_per_core: int


@dataclass(frozen=True)
class Word:
    """A fabric word: equal words share their routes.

    `pattern` is the `Route` of a shift or rotation, the `Tree` of a reduction, the root of a
    broadcast, and None where the root is only known at run time (reduce_to, broadcast_from).
    """

    name: str
    axis: str
    pattern: Pattern
    cores: int
    side: int
    turns: int = 1

    @property
    def geometry(self) -> Geometry:
        return _geometry(self)

    @property
    def lines(self) -> int:
        """Lines of `cores` cores that fit on the axis side by side."""
        return self.side // self.cores

    @property
    def channels(self) -> tuple["Word", ...]:
        """The words whose routes this one uses: a rotation is ring shifts, one way or the other."""
        if self.name != "rotate":
            return (self,)
        ways = (Ring(1), Ring(-1))
        return tuple(Word("shift", self.axis, way, self.cores, self.side) for way in ways)

    @property
    def says(self) -> str:
        """The word for a person: `shift x ring`."""
        return f"{self.name} {self.axis} {_SAYS[type(self.pattern)](self.pattern)}".rstrip()


_SAYS = {
    Ring: lambda ring: "ring" if ring.by == 1 else f"ring{ring.by:+d}",
    Step: lambda step: f"step{step.by:+d}" + (" wrapped" if step.wrap else ""),
    Tree: lambda tree: " ".join(
        [f"tree {'x'.join(map(str, tree.groups)) or 1}"] * (not tree.end or bool(tree.groups))
        + ["to the end"] * tree.end
    ),
    int: lambda root: f"from {root}",
    type(None): lambda _: "any root",
}


@lru_cache(maxsize=4096)
def _geometry(word: Word) -> Geometry:
    return _GEOMETRY[word.name](word)


def _shift(word: Word) -> Geometry:
    route, n = word.pattern, word.cores
    assert isinstance(route, Step | Ring)
    source = route.sources(n)
    sent = source != NOBODY
    links = int(np.sum(np.abs(np.arange(n) - source)[sent]))
    far = hops(route, n)
    return Geometry(far, 1, far, links, 1, routes_per_core(route, n))


def _rotate(word: Word) -> Geometry:
    """`turns` ring shifts; the lines that need fewer wait for the one that needs most."""
    one, turns = _shift(Word("shift", word.axis, Ring(), word.cores, word.side)), word.turns
    routes = sum(channel.geometry.routes_per_core for channel in word.channels)
    return Geometry(
        one.hops * turns, turns, one.longest_send_hops, one.line_hops * turns, turns, routes
    )


def _reduce(word: Word) -> Geometry:
    tree, n = word.pattern, word.cores
    assert isinstance(tree, Tree)
    gaps = [
        b - a
        for phase in tree.phases(n)
        for chain in phase
        for a, b in zip(chain.members, chain.members[1:], strict=False)
    ]
    return Geometry(
        hops=tree_hops(tree, n),
        stages=tree_stages(tree, n),
        longest_send_hops=max(gaps, default=0),
        line_hops=sum(gaps),
        sends_per_core=1,
        routes_per_core=tree_routes_per_core(tree, n),
    )


def _reduce_to(word: Word) -> Geometry:
    """One chain from both ends to a root that may be any core: at worst the other end."""
    n = word.cores
    steps = [(i, i + 1) for i in range(n - 1)]
    routes = paths_per_core(steps + [(b, a) for a, b in steps], n)
    return Geometry(n - 1, n - 1, min(1, n - 1), n - 1, 1, routes)


def _broadcast(word: Word) -> Geometry:
    """Hardware multicast: one route through every router, no software on the way."""
    root, n = word.pattern, word.cores
    assert isinstance(root, int)
    far = max(root, n - 1 - root)
    return Geometry(far, 0, far, n - 1, 1, 1)


def _broadcast_from(word: Word) -> Geometry:
    """A multicast of any core's choice: each needs a route of its own through every router."""
    return Geometry(word.cores - 1, 0, word.cores - 1, word.cores - 1, 1, word.cores)


_GEOMETRY = {
    "shift": _shift,
    "rotate": _rotate,
    "reduce": _reduce,
    "reduce_to": _reduce_to,
    "broadcast": _broadcast,
    "broadcast_from": _broadcast_from,
}
