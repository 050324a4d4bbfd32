"""The CSL machine's speed: PE-cycles a second of one core's time, computing, exchanging, streaming.

Exchange: every PE sends to its east and south neighbor and receives from the other two, four DSD
operations at a time. Stream: every row and inner column carries a stream from end to end, so that links are
what limits it and every router moves two wavelets a cycle: the fabric-bound program of the bar.

The peer: BookSim2 simulates 0.12 to 0.25 million router-cycles a second on a 64x64 mesh under uniform
traffic (measured on a machine of this kind). The bar is 20 million on 64x64.
"""

import time
from pathlib import Path

from waferllm.csl.compile import read_params
from waferllm.csl.host.program import build
from waferllm.csl.machine import Machine
from waferllm.csl.machine.image import Image
from waferllm.csl.target import Target

LAYOUT = Path(__file__).parent / "csl_machine" / "mesh.csl"
SIDES = (8, 32, 64, 128)
KINDS = ("compute", "exchange", "stream")
WORDS = 2000  # of every vector and stream; 24 KB of each PE's memory
COMPUTE_ROUNDS = 2
REPEATS = {"compute": 3, "exchange": 1, "stream": 5}  # the median is shown; the others take seconds
BAR = 20e6


def image(side: int, kind: str) -> tuple[Image, float]:
    """The program on side x side PEs, and the seconds of compiling it."""
    began = time.perf_counter()
    params = f"width:{side},height:{side},words:{WORDS},rounds:{COMPUTE_ROUNDS}"
    program = build(
        LAYOUT, read_params(f"{params},kind:{KINDS.index(kind)}"), target=Target(arch="wse2")
    )
    return program.image, time.perf_counter() - began


def run(made: Image) -> tuple[Machine, float, float]:
    """The machine after one run, the seconds of the clock on the wall, and those of the core."""
    machine = Machine(made)
    began, core_began = time.perf_counter(), time.process_time()
    machine.run("quiet")
    return machine, time.perf_counter() - began, time.process_time() - core_began


def main() -> None:
    began = time.perf_counter()
    run(image(8, "exchange")[0])
    print(
        f"first program (compiles the machine if nothing is cached): {time.perf_counter() - began:.1f} s"
    )
    for kind in KINDS:
        for side in SIDES:
            show(side, kind)


def show(side: int, kind: str) -> None:
    """Compile one program, run it, print a line."""
    made, compile_s = image(side, kind)
    machine, wall_s, core_s = sorted((run(made) for _ in range(REPEATS[kind])), key=lambda r: r[2])[
        REPEATS[kind] // 2
    ]
    rate = machine.cycle * side * side / core_s
    hops = int(machine.state.link_use[:4].sum())
    verdict = ""
    if kind == "stream" and side == 64:
        verdict = f" (bar {BAR / 1e6:.0f} M: {'reached' if rate >= BAR else 'MISSED'})"
    print(
        f"{kind} {side}x{side}: {machine.cycle:,} cycles, "
        f"{wall_s:.2f} s on the wall, {core_s:.2f} s of the core, {rate / 1e6:.1f} M PE-cycles/s, "
        f"{hops / core_s / 1e6:.1f} M hops/s; compiled in {compile_s:.1f} s{verdict}",
        flush=True,
    )


if __name__ == "__main__":
    main()
