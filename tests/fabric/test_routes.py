"""Static routing patterns against the paper's formulas, plain recursion and links painted one by one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agree.words import interleave, tree_root, walk
from waferllm.errors import InputError
from waferllm.fabric import Ring, Step, Tree, balanced_tree
from waferllm.fabric.routes import (
    NOBODY,
    hops,
    paths_per_core,
    ring_order,
    ring_positions,
    routes_per_core,
    tree_hops,
    tree_routes_per_core,
    tree_stages,
)

LENGTHS = st.integers(1, 200)
GROUPS = st.lists(st.integers(2, 30), max_size=4).map(tuple)

# Groups that the paper's authors use on WSE-2, by cores on a line (facts/algorithms.md).
PUBLISHED = {240: 15, 256: 16, 300: 15, 360: 18, 420: 20, 480: 20, 512: 32, 540: 20, 600: 24,
             660: 22, 720: 24}  # fmt: skip


def painted(paths: list[tuple[int, int]], n: int) -> list[int]:
    """Paths that touch each router, found by walking every path core by core."""
    touched = [0] * n
    for start, end in paths:
        for core in range(min(start, end), max(start, end) + 1):
            touched[core] += 1
    return touched


def sends(route: Ring | Step, n: int) -> list[tuple[int, int]]:
    sources = route.sources(n).tolist()
    return [(s, d) for d, s in enumerate(sources) if s not in (NOBODY, d)]


def tree_paths(n: int, groups: tuple[int, ...], end: bool) -> list[list[tuple[int, int]]]:
    """Neighbour-to-neighbour sends of every phase, straight from the definition of the K-tree."""
    cores, phases = list(range(n)), []
    for group in (*groups, n):
        paths, roots = [], []
        while cores:
            part, cores = cores[:group], cores[group:]
            root = 0 if end else len(part) // 2
            paths += [(part[i], part[i + 1]) for i in range(root)]
            paths += [(part[i], part[i - 1]) for i in range(root + 1, len(part))]
            roots.append(part[root])
        phases.append(paths)
        cores = roots
    return phases


def test_five_cores_are_visited_as_the_paper_draws_it() -> None:
    assert ring_order(5).tolist() == [0, 2, 4, 3, 1]
    assert sends(Ring(), 5) == [(1, 0), (3, 1), (0, 2), (4, 3), (2, 4)]  # 0>2>4>3>1>0


@given(n=LENGTHS)
def test_the_ring_visits_every_core_once_and_never_goes_further_than_two_hops(n: int) -> None:
    order = ring_order(n).tolist()
    assert sorted(order) == list(range(n))
    steps = [abs(a - b) for a, b in zip(order, [*order[1:], order[0]], strict=True)]
    assert max(steps) == hops(Ring(), n) == min(2, n - 1)
    assert [order[p] for p in ring_positions(n)] == list(range(n))


@given(n=st.integers(2, 200))
def test_the_ring_is_interleave_as_the_paper_writes_it(n: int) -> None:
    send, recv = interleave(n)
    assert sorted(sends(Ring(), n)) == [(i, send[i]) for i in range(n)]
    assert Ring().sources(n).tolist() == recv
    assert ring_order(n).tolist() == walk(n)


@given(n=LENGTHS, by=st.integers(-5, 5))
def test_shifting_by_several_places_is_shifting_by_one_several_times(n: int, by: int) -> None:
    core = np.arange(n)
    one = Ring(1 if by > 0 else -1).sources(n)
    for _ in range(abs(by)):
        core = core[one]
    assert Ring(by).sources(n).tolist() == core.tolist()


@given(n=LENGTHS, by=st.integers(-5, 5), wrap=st.booleans(), kind=st.sampled_from([Ring, Step]))
def test_a_reversed_route_carries_every_value_back_where_it_came_from(
    n: int, by: int, wrap: bool, kind: type
) -> None:
    route = Ring(by) if kind is Ring else Step(by, wrap)
    assert sorted(sends(route, n)) == sorted((d, s) for s, d in sends(route.reversed, n))
    assert route.reversed.reversed == route
    assert hops(route, n) == hops(route.reversed, n)


@given(n=LENGTHS, by=st.integers(-250, 250))
def test_a_step_moves_by_its_length_loses_what_leaves_and_wraps_only_when_asked(
    n: int, by: int
) -> None:
    inside = [(i, i + by) for i in range(n) if by and 0 <= i + by < n]
    assert sorted(sends(Step(by), n)) == inside
    wrapped = [(i, (i + by) % n) for i in range(n) if by % n]
    assert sorted(sends(Step(by, wrap=True), n)) == wrapped
    assert hops(Step(by), n) == (abs(by) if inside else 0)
    assert hops(Step(by, wrap=True), n) == max(by % n, -by % n) * bool(by % n)


def test_closing_a_line_by_one_edge_costs_hops_over_the_whole_line() -> None:
    """Cannon against MeshGEMM: N - 1 hops against 2, both with a fixed number of routes."""
    for n in (5, 12, 99, 750):
        assert (hops(Step(1, wrap=True), n), hops(Ring(), n)) == (n - 1, 2)
        assert routes_per_core(Step(1, wrap=True), n) == 3  # in, out, and the long edge above
        assert routes_per_core(Ring(), n) == 3  # in, out, and a neighbour's path: the paper's three


@given(n=LENGTHS, by=st.integers(-4, 4), wrap=st.booleans(), kind=st.sampled_from([Ring, Step]))
def test_routes_per_core_are_the_links_painted_one_by_one(
    n: int, by: int, wrap: bool, kind: type
) -> None:
    route = Ring(by) if kind is Ring else Step(by, wrap)
    assert routes_per_core(route, n) == max(painted(sends(route, n), n))


@given(n=st.integers(1, 60), data=st.data())
def test_any_paths_are_counted_where_most_of_them_meet(n: int, data: st.DataObject) -> None:
    core = st.integers(0, n - 1)
    paths = data.draw(st.lists(st.tuples(core, core), max_size=30))
    assert paths_per_core(paths, n) == max(painted(paths, n))


@given(n=LENGTHS, groups=GROUPS, end=st.booleans())
def test_each_phase_takes_every_survivor_once_and_ends_with_one_core(
    n: int, groups: tuple[int, ...], end: bool
) -> None:
    tree, survivors = Tree(groups, end), list(range(n))
    phases = tree.phases(n)
    assert len(phases) == tree.k == len(groups) + 1
    for size, phase in zip((*groups, n), phases, strict=True):
        assert [c for chain in phase for c in chain.members] == survivors
        assert all(len(chain.members) == size for chain in phase[:-1])
        assert 1 <= len(phase[-1].members) <= size
        for chain in phase:
            left, right = chain.root, len(chain.members) - 1 - chain.root
            assert (left == 0) if end else (left - right in (0, 1))  # the middle, or just after it
        survivors = [chain.members[chain.root] for chain in phase]
    assert survivors == [tree.root(n)]
    assert tree.root(n) == (0 if end else tree_root(n, *groups))


@given(n=LENGTHS, groups=GROUPS, end=st.booleans())
def test_stages_hops_and_routes_of_a_tree_follow_from_its_sends(
    n: int, groups: tuple[int, ...], end: bool
) -> None:
    """A partial sum waits for the one before it: the depth of a phase is its longest chain of sends."""
    stages = furthest = 0
    phases = tree_paths(n, groups, end)
    for paths in phases:
        onwards = dict(paths)
        walks = [_follow(onwards, start) for start, _ in paths]
        stages += max((len(w) - 1 for w in walks), default=0)
        furthest += max((abs(w[-1] - w[0]) for w in walks), default=0)
    tree = Tree(groups, end)
    assert tree_stages(tree, n) == stages
    assert tree_hops(tree, n) == furthest
    everything = [path for paths in phases for path in paths]
    assert tree_routes_per_core(tree, n) == max(painted(everything, n))
    assert tree_routes_per_core(tree, n) <= 2 * tree.k  # O(K): two paths of each phase at most
    assert len(everything) == n - 1  # every core but the root sends exactly once


def _follow(onwards: dict[int, int], core: int) -> list[int]:
    walk = [core]
    while walk[-1] in onwards:
        walk.append(onwards[walk[-1]])
    return walk


@pytest.mark.parametrize(("g", "k"), [(3, 1), (9, 1), (3, 2), (15, 2), (3, 3), (9, 3), (3, 5)])
def test_a_tree_of_equal_odd_groups_has_the_papers_depth(g: int, k: int) -> None:
    """N = g^K: K N^(1/K) / 2 stages (rounded down in each phase); with the multicast, N - 1 hops."""
    n, tree = g**k, Tree((g,) * (k - 1))
    assert tree.root(n) == n // 2
    assert tree_stages(tree, n) == k * (g // 2)
    multicast = max(tree.root(n), n - 1 - tree.root(n))
    assert tree_hops(tree, n) + multicast == n - 1


@pytest.mark.parametrize(("g", "k"), [(4, 1), (4, 2), (16, 2), (2, 5), (8, 3)])
def test_even_groups_have_no_middle_and_reach_a_little_further(g: int, k: int) -> None:
    """A group's root sits half a core off its middle, and so does every later phase on its own scale."""
    n, tree = g**k, Tree((g,) * (k - 1))
    off = (n - 1) / (g - 1) / 2
    assert tree.root(n) == (n - 1) / 2 + off
    assert tree_stages(tree, n) == k * g / 2
    assert tree_hops(tree, n) == (n - 1) / 2 + off


@pytest.mark.parametrize(("n", "g"), PUBLISHED.items())
def test_the_authors_groups_are_near_the_square_root_optimum(n: int, g: int) -> None:
    stages = tree_stages(Tree((g,)), n)
    assert stages == g // 2 + math.ceil(n / g) // 2
    assert math.sqrt(n) - 1 <= stages < 1.1 * math.sqrt(n)
    assert tree_hops(Tree((g,)), n) <= n / 2 + g / 2 + g / 2  # half a group more where g is even
    assert stages < tree_stages(Tree(), n) == n // 2 < tree_stages(Tree(end=True), n) == n - 1


@given(n=LENGTHS, k=st.integers(1, 5))
def test_the_balanced_tree_is_at_most_k_deep_and_about_as_shallow_as_any(n: int, k: int) -> None:
    tree = balanced_tree(n, k)
    assert tree.k <= k
    assert tree_stages(tree, n) <= k * (n ** (1 / k) + 1) / 2 + k / 2
    if k == 2 and n > 1:
        best = min(tree_stages(Tree((g,)), n) for g in range(2, n + 1))
        assert tree_stages(tree, n) <= best + 1


def test_a_tree_of_no_phases_is_refused() -> None:
    with pytest.raises(InputError, match="K counts reduction phases and is at least 1"):
        balanced_tree(9, 0)


def test_equal_patterns_are_one_value() -> None:
    """Two uses of a route share it, and a jaxpr can be compared: patterns hash by what they say."""
    assert len({Ring(), Ring(1), Ring(-1).reversed}) == 1
    assert len({Step(1), Step(1, wrap=True), Ring(1)}) == 3
    assert len({Tree((3,)), balanced_tree(9), Tree((3,), end=True)}) == 2
