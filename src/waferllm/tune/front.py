"""What is worth showing: placements that no other equals or beats in all that counts."""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from waferllm.tune.options import Decode, Prefill


def undominated_prefills(first: Sequence[Prefill]) -> list[Prefill]:
    """Those that no other equals or beats in time for a prompt, time between prompts and energy."""
    kept: list[tuple[tuple[float, ...], Prefill]] = []
    for one in sorted(first, key=_worth):
        worth = _worth(one)
        if not any(all(a <= b for a, b in zip(k, worth, strict=True)) for k, _ in kept):
            kept.append((worth, one))
    return [one for _, one in kept]


def _worth(one: Prefill) -> tuple[float, float, float]:
    return one.pass_cycles, one.busy_cycles, one.dynamic_j


def undominated_decodes(then: Sequence[Decode]) -> list[Decode]:
    """Those that no other of as many requests equals or beats in time for a token and energy."""
    kept: list[Decode] = []
    requests, least_j = 0, 0.0
    joules = {id(one): one.in_flight * one.dynamic_j for one in then}
    for one in sorted(then, key=lambda d: (d.requests, d.step_cycles, joules[id(d)])):
        if one.requests != requests or joules[id(one)] < least_j:
            requests, least_j = one.requests, joules[id(one)]
            kept.append(one)
    return kept


def front(latency: np.ndarray, rate: np.ndarray, energy: np.ndarray) -> list[int]:
    """Flat places of the pairs that no other equals or beats in latency, throughput and energy at once.

    In order of latency, a pair is on the front if none before it has as much throughput for as little
    energy: of those before, a staircase of growing throughput and energy is enough to know.
    """
    order = np.lexsort((energy.ravel(), -rate.ravel(), latency.ravel())).tolist()
    rates, energies = rate.ravel().tolist(), energy.ravel().tolist()
    stairs: list[tuple[float, float]] = []  # (throughput, energy), both growing
    kept: list[int] = []
    for n in order:
        at = bisect_left(stairs, (rates[n], -math.inf))
        if at < len(stairs) and stairs[at][1] <= energies[n]:
            continue
        kept.append(n)
        low = at
        while low and stairs[low - 1][1] >= energies[n]:
            low -= 1
        at += at < len(stairs) and stairs[at][0] == rates[n]
        stairs[low:at] = [(rates[n], energies[n])]
    return kept
