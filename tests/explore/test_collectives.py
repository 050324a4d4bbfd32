"""Hops against a walk over the graph, collectives against the textbook, tails against counting."""

from collections import deque
from itertools import product
from math import log2

import numpy as np
import pytest

from waferllm import explore
from waferllm.explore.collectives import (
    TOPOLOGIES,
    all_reduce_best_s,
    all_reduce_s,
    all_reduce_two_level_s,
    diameter_hops,
    dispatched_bytes,
    exchange_two_level_s,
    exchanged_bytes,
    tail_s,
)

NODES = {
    "ring": (9,),
    "torus2": (5, 5),
    "mesh2": (4, 4),
    "torus3": (3, 3, 3),
    "hypercube": (2,) * 4,
}


def _neighbours(kind: str, sides: tuple[int, ...], node: tuple[int, ...]) -> set[tuple[int, ...]]:
    found = set()
    for axis, side in enumerate(sides):
        for step in (-1, 1):
            moved = node[axis] + step
            if kind == "mesh2" and not 0 <= moved < side:
                continue
            found.add((*node[:axis], moved % side, *node[axis + 1 :]))
    return found


def _walked_diameter(kind: str, sides: tuple[int, ...]) -> int:
    farthest = 0
    for start in product(*(range(side) for side in sides)):
        hops, queue = {start: 0}, deque([start])
        while queue:
            node = queue.popleft()
            for other in _neighbours(kind, sides, node) - hops.keys():
                hops[other] = hops[node] + 1
                queue.append(other)
        farthest = max(farthest, *hops.values())
    return farthest


@pytest.mark.parametrize("kind", NODES)
def test_hops_across_a_topology_are_those_of_its_graph(kind: str) -> None:
    sides = NODES[kind]
    chips = float(np.prod(sides))
    made = float(diameter_hops(np, TOPOLOGIES.index(kind), chips))
    assert made == _walked_diameter(kind, sides)


@pytest.mark.parametrize(
    ("kind", "hops"), [("ring", 128), ("torus2", 16), ("torus3", 9), ("hypercube", 8),
                       ("dragonfly", 3), ("full", 1), ("switch", 1), ("fat-tree", 3)],
)  # fmt: skip
def test_256_chips_are_as_far_apart_as_the_notes_say(kind: str, hops: int) -> None:
    assert float(diameter_hops(np, TOPOLOGIES.index(kind), 256.0)) == hops


def _links(**changes: float | str) -> dict[str, float]:
    clean = {
        "link.latency_us": 1.0, "link.software_us": 0.0, "link.peer_us": 0.0, "link.bulk_us": 0.0,
        "link.exchange_us": 0.0, "link.eff_small": 1.0, "link.eff_bulk": 1.0, "net.latency_us": 5.0,
        "link.eff_exchange": 1.0, "net.eff": 1.0, "net.gbps": 50.0, "link.gbps": 100.0,
    }  # fmt: skip
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    return explore.system("h100x8").with_numbers(clean | keys).values()


def test_every_algorithm_costs_what_the_textbook_says() -> None:
    p, n, alpha, beta = 8, 4e6, 1e-6, 1e-11
    made = all_reduce_s(np, _links(link__topology="full", link__reduces=1), n, p)
    assert made["one-shot"] == pytest.approx(alpha + (p - 1) * n * beta)
    assert made["doubling"] == pytest.approx(log2(p) * (alpha + n * beta))
    assert made["bucket"] == pytest.approx(2 * alpha + 2 * (p - 1) / p * n * beta)
    assert made["in-network"] == pytest.approx(2 * alpha + n * beta)


def test_a_ring_takes_its_steps_and_a_torus_its_sides() -> None:
    n, beta = 4e6, 1e-11
    ring = all_reduce_s(np, _links(link__topology="ring"), n, 8)["bucket"]
    assert ring == pytest.approx(2 * 7 * 1e-6 + 2 * 7 / 8 * n * beta)
    torus = all_reduce_s(np, _links(link__topology="torus2"), n, 16)["bucket"]
    assert torus == pytest.approx(4 * 3 * 1e-6 + 2 * 15 / 16 * n * beta)  # 2 d (k - 1) steps


def test_switches_that_do_not_add_offer_no_in_network_sum() -> None:
    assert np.isinf(all_reduce_s(np, _links(), 1e6, 8)["in-network"])


def test_small_messages_go_in_one_shot_and_large_ones_in_buckets() -> None:
    d = _links(link__topology="full")
    for n, name in ((1e3, "one-shot"), (1e8, "bucket")):
        made = all_reduce_s(np, d, n, 8)
        assert min(made, key=lambda one: float(made[one])) == name
        assert float(all_reduce_best_s(np, d, n, 8)) == float(made[name])
    assert float(all_reduce_best_s(np, d, 1e8, 1)) == 0


def test_beyond_a_domain_only_its_share_crosses_the_network() -> None:
    n = 8e6
    inside, across = all_reduce_two_level_s(np, _links(), n, 32)  # 4 domains of 8
    share_s = n / 8 / 50e9
    assert float(across) == pytest.approx(2 * 2 * 5e-6 + 2 * 3 / 4 * share_s)
    assert float(inside) == float(all_reduce_best_s(np, _links(), n, 8))


def test_an_exchange_sends_what_does_not_stay() -> None:
    n = 8e6
    sent = exchanged_bytes(np, _links(), n, 16)  # 2 domains of 8
    assert tuple(map(float, sent)) == pytest.approx((n * 7 / 16, n / 2))
    link, net = exchange_two_level_s(np, _links(), *sent, 16)
    assert float(link) == pytest.approx(1e-6 + n * 7 / 16 / 100e9)
    assert float(net) == pytest.approx(5e-6 + n / 2 / 50e9)


def test_vectors_go_once_to_a_domain_and_once_to_a_chip() -> None:
    rng = np.random.default_rng(7)
    p, inside, k, trials = 32, 8, 6, 20_000
    on_links = on_network = 0
    for chips in rng.integers(0, p, (trials, k)):  # chip 0 sends
        wanted = set(chips.tolist())
        domains = {chip // inside for chip in wanted} - {0}
        on_network += len(domains)
        on_links += len({chip for chip in wanted if 0 < chip < inside})
        # the first of a domain receives, and passes on to the others that want it
        on_links += len({chip for chip in wanted if chip >= inside}) - len(domains)
    made = dispatched_bytes(np, _links(), 1.0, k, p)
    assert float(made[0]) == pytest.approx(on_links / trials, rel=0.02)
    assert float(made[1]) == pytest.approx(on_network / trials, rel=0.02)


def test_the_tail_is_the_chance_of_any_late_chip_cut_by_the_time_out() -> None:
    chance, chips = 0.1, 3
    any_late = sum(
        np.prod([chance if late else 1 - chance for late in case])
        for case in product((False, True), repeat=chips)
        if any(case)
    )
    d = _links(tail__probability=chance, tail__delay_us=200.0)
    assert float(tail_s(np, d, chips)) == pytest.approx(any_late * 200e-6)
    soon = {**d, "tail.timeout_us": 30.0}
    assert float(tail_s(np, soon, chips)) == pytest.approx(any_late * 30e-6)
    whole = all_reduce_two_level_s(np, d, 1e4, chips)
    assert sum(map(float, whole)) == pytest.approx(
        float(all_reduce_best_s(np, d, 1e4, chips)) + any_late * 200e-6
    )
