"""Design points a second of the hardware explorer: a million at once under JAX, one in Python, one command.

    python benchmarks/explore.py [--designs N]

Llama-3-70B decode and prefill, every point with its full breakdown (time by cause, cost, carbon and
power by part). The best of some runs, by the wall clock and, for machines that others use too, by processor
time; compiling is shown apart.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from waferllm import explore
from waferllm.explore.batch import evaluate_many

MODEL, WORK = "llama3-70b", "chat"
BAR_POINTS_PER_S, BAR_COMMAND_S = 1_000_000, 1.0


def designs(count: int) -> dict[str, np.ndarray]:
    """Random systems and shardings around eight H200, from one seed."""
    rng = np.random.default_rng(0)
    return {
        "hbm.stacks": rng.integers(2, 13, count),
        "hbm.gbps": rng.uniform(500, 3000, count),
        "hbf.stacks": rng.integers(0, 9, count),
        "link.gbps": rng.uniform(100, 2000, count),
        "link.latency_us": rng.uniform(0.1, 2, count),
        "chip.tflops_16": rng.uniform(300, 3000, count),
        "tp": rng.choice([1, 2, 4, 8], count),
        "batch": rng.integers(1, 513, count),
    }


def best_s(
    task: Callable[[], object], runs: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    taken = []
    for _ in range(runs):
        began = clock()
        task()
        taken.append(clock() - began)
    return min(taken)


def many(count: int) -> None:
    made = designs(count)

    def run() -> dict[str, dict[str, np.ndarray]]:
        return evaluate_many("h200x8", WORK, made, model=MODEL)

    first = best_s(run, 1)
    again = best_s(run, 5)
    busy = min(best_s(run, 1, time.process_time) for _ in range(5))
    columns = sum(len(group) for group in run().values())
    print(
        f"{count:,} designs, {columns} figures each: {again:.2f} s = {count / again:,.0f} points/s"
    )
    print(f"  {busy:.2f} s of processor time: {2 * count / busy:,.0f} points/s on two free cores, "
          f"{2 * count / busy / BAR_POINTS_PER_S:.1f} times the bar")  # fmt: skip
    print(f"  compiling once took {first - again:.1f} s")


def one() -> None:
    cut = explore.Sharding(tp=8, batch=32)
    evaluated = best_s(lambda: explore.evaluate("h200x8", WORK, cut, model=MODEL), 20)
    searched = best_s(lambda: explore.search("h200x8", WORK, model=MODEL), 5)
    print(f"one point from Python, with ranges: {evaluated * 1e3:.1f} ms")
    print(f"all shardings and batches of one system searched: {searched * 1e3:.0f} ms")


def command() -> None:
    tool = (sys.executable, "-m", "waferllm", "explore", "--model", MODEL, "--workload", WORK)
    for says, more in (
        ("one point", ("--systems", "h200x8", "--sharding", "tp=8,batch=32")),
        ("five systems searched", ("--systems", "h100x8,h200x8,b200x8,gb200-nvl72,hbf-node")),
    ):
        taken = best_s(lambda more=more: subprocess.run([*tool, *more], check=True,
                                                        capture_output=True), 3)  # fmt: skip
        print(f"command, {says}: {taken:.2f} s (bar for one point {BAR_COMMAND_S} s)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--designs", type=int, default=1 << 20)
    many(parser.parse_args().designs)
    one()
    command()


if __name__ == "__main__":
    main()
