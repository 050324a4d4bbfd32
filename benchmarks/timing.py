"""Timing shared by the benchmarks: the peer and we take turns, and the best round of each counts."""

import time
from collections.abc import Callable


def best_of(rounds: int, **tasks: Callable[[], object]) -> dict[str, float]:
    """Seconds of the best of `rounds` runs of every task, the tasks taking turns; one warm-up each."""
    best = dict.fromkeys(tasks, float("inf"))
    for task in tasks.values():
        task()
    for _ in range(rounds):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def verdict(label: str, ratio: float, bar: float) -> str:
    """One line that says the ratio and whether it reaches its bar."""
    return (
        f"{label:<44} {ratio:6.2f}x   (bar {bar:.2f}x: {'reached' if ratio >= bar else 'MISSED'})"
    )
