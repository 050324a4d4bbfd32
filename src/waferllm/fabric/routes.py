"""Static routing patterns on one line of cores, without JAX: who sends to whom, and over how far.

A line has `n` cores, numbered 0..n-1. `Ring` and `Step` say where a shifted value goes; `Tree` says
in which order partial sums meet. Both are values: two uses of an equal pattern share their routes.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from waferllm.errors import InputError

NOBODY = -1


@dataclass(frozen=True)
class Step:
    """Every core sends `by` cores onwards; `wrap` closes the line into a ring over its whole length.

    Without `wrap`, values that would leave the line are lost and cores without a sender get zeros.
    """

    by: int = 1
    wrap: bool = False

    def sources(self, n: int) -> np.ndarray:
        """For each of `n` cores, the core that its value comes from, or `NOBODY`. Shape (n,)."""
        source = np.arange(n) - self.by
        if self.wrap:
            return source % n
        return np.where((source >= 0) & (source < n), source, NOBODY)

    @property
    def reversed(self) -> "Step":
        return Step(-self.by, self.wrap)


@dataclass(frozen=True)
class Ring:
    """The interleaved ring: a ring laid on a line so that no neighbour is further than 2 hops.

        N = 5:   0 -> 2 -> 4 -> 3 -> 1 -> 0        even cores lead right, odd cores lead back left

    Two hops are optimal: a ring on a line cannot have all edges of length 1 (WaferLLM, INTERLEAVE).
    `by` = +1 sends one ring position onwards, -1 one back.
    """

    by: int = 1

    def sources(self, n: int) -> np.ndarray:
        """For each of `n` cores, the core that its value comes from. Shape (n,)."""
        order = ring_order(n)
        return order[(ring_positions(n) - self.by) % n]

    @property
    def reversed(self) -> "Ring":
        return Ring(-self.by)


Route = Step | Ring


@lru_cache(maxsize=256)
def ring_order(n: int) -> np.ndarray:
    """Cores in the order in which the interleaved ring of `n` visits them. Shape (n,), read-only."""
    order = np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)[::-1]])
    order.setflags(write=False)
    return order


@lru_cache(maxsize=256)
def ring_positions(n: int) -> np.ndarray:
    """Each core's position on the interleaved ring of `n`: the inverse of `ring_order`. Shape (n,)."""
    positions = np.argsort(ring_order(n))
    positions.setflags(write=False)
    return positions


@lru_cache(maxsize=1024)
def hops(route: Route, n: int) -> int:
    """The furthest that any value of one shift travels, in hops."""
    source = route.sources(n)
    core = np.arange(n)
    return int(np.max(np.abs(core - source)[source != NOBODY], initial=0))


@lru_cache(maxsize=1024)
def routes_per_core(route: Route, n: int) -> int:
    """The most paths that any one router holds for one shift: its own send, its receive, pass-throughs."""
    source = route.sources(n)
    paths = [(s, d) for d, s in enumerate(source.tolist()) if s not in (NOBODY, d)]
    return paths_per_core(paths, n)


def paths_per_core(paths: list[tuple[int, int]], n: int) -> int:
    """The most of these (from, to) paths along a line that touch any one of its `n` routers."""
    starts = np.zeros(n + 1, dtype=int)
    for a, b in paths:
        starts[min(a, b)] += 1
        starts[max(a, b) + 1] -= 1
    return int(np.max(np.cumsum(starts)[:n], initial=0))


@dataclass(frozen=True)
class Chain:
    """One group of one phase: both ends push partial sums to `root`, each core adding on the way.

    `members` are the cores of the group in line order; `root` is an index into `members`.
    """

    members: tuple[int, ...]
    root: int

    @property
    def stages(self) -> int:
        """Routing stages on the critical path: receive, add, send on."""
        return max(self.root, len(self.members) - 1 - self.root)

    @property
    def hops(self) -> int:
        at = self.members[self.root]
        return max(at - self.members[0], self.members[-1] - at)


@dataclass(frozen=True)
class Tree:
    """The K-tree of MeshGEMV: in phase k, groups of `groups[k]` cores reduce to their middle core.

        groups=(3,) on 9 cores, K = 2
        phase 1   0 > 1 < 2    3 > 4 < 5    6 > 7 < 8
        phase 2       1 ---------> 4 <--------- 7        root 4, then a multicast both ways

    K is `len(groups) + 1`: the last phase joins all roots that are left. A group size need not divide
    the line; the last group is then smaller. `groups=()` is one chain from both ends to the middle.
    `end=True` puts each root at the group's first core instead: the vendor's pipeline reduction.
    """

    groups: tuple[int, ...] = ()
    end: bool = False

    def __post_init__(self) -> None:
        if any(g < 2 for g in self.groups):
            raise InputError(
                f"tree groups {self.groups}: a group of fewer than 2 cores reduces nothing. "
                "Leave it out or make it larger."
            )

    @property
    def k(self) -> int:
        return len(self.groups) + 1

    def phases(self, n: int) -> tuple[tuple[Chain, ...], ...]:
        """The chains of every phase on a line of `n` cores."""
        return _phases(self, n)

    def root(self, n: int) -> int:
        """The core that ends up with the sum."""
        last = self.phases(n)[-1][0]
        return last.members[last.root]


@lru_cache(maxsize=1024)
def _phases(tree: Tree, n: int) -> tuple[tuple[Chain, ...], ...]:
    left = list(range(n))
    phases = []
    for size in (*tree.groups, n):
        cut = [left[i : i + size] for i in range(0, len(left), size)]
        chains = tuple(Chain(tuple(g), 0 if tree.end else len(g) // 2) for g in cut)
        phases.append(chains)
        left = [c.members[c.root] for c in chains]
    return tuple(phases)


def balanced_tree(n: int, k: int = 2) -> Tree:
    """The K-tree whose phases are about equally deep on `n` cores: groups of n^(1/k)."""
    if k < 1:
        raise InputError(f"a tree of K = {k}: K counts reduction phases and is at least 1.")
    groups: list[int] = []
    left = n
    for phase in range(k - 1, 0, -1):
        size = max(2, round(left ** (1 / (phase + 1))))
        if left <= size:
            break
        groups.append(size)
        left = math.ceil(left / size)
    return Tree(tuple(groups))


@lru_cache(maxsize=1024)
def tree_stages(tree: Tree, n: int) -> int:
    """Routing stages on the critical path of a reduction over `n` cores."""
    return sum(max(c.stages for c in phase) for phase in tree.phases(n))


@lru_cache(maxsize=1024)
def tree_hops(tree: Tree, n: int) -> int:
    """Hops on the critical path of a reduction over `n` cores, multicast not counted."""
    return sum(max(c.hops for c in phase) for phase in tree.phases(n))


@lru_cache(maxsize=1024)
def tree_routes_per_core(tree: Tree, n: int) -> int:
    """The most paths that any one router holds for a reduction over `n` cores."""
    paths = []
    for phase in tree.phases(n):
        for chain in phase:
            at = chain.members
            paths += [(at[i], at[i + 1]) for i in range(chain.root)]
            paths += [(at[i + 1], at[i]) for i in range(chain.root, len(at) - 1)]
    return paths_per_core(paths, n)
