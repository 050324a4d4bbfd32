"""The hardware explorer beside its peers: points a second, and the field's simplest point.

    python -m venv genz && genz/bin/pip install genz-llm==0.0.16
    python benchmarks/explore_peers.py --genz genz/bin/python

The point: Llama-3.1-8B in bf16, decode, batch 1, context 4,096, one H100. GenZ runs in its own environment,
alternating with ours in one run. The other rates are not from this run: they were measured on a
machine of the same kind (two cores), each peer in its own environment.
"""

import argparse
import subprocess
import time

from waferllm import explore

#: (peer, points a second), measured on a machine of this kind, not in this run.
ELSEWHERE = (
    ("AIConfigurator's core", 58_800),
    ("LLM-Viewer", 13_700),
    ("Calculon", 705),
    ("GenZ", 23),
    ("LLMCompass with its mapper", 0.1),
)
FLOOR_MS = (15_009_849_344 + 4096 * 131_072) / 3.35e12 * 1e3
ROUNDS = 3

GENZ = """
import time
from GenZ import decode_moddeling
point = dict(model="meta-llama/Llama-3.1-8B", batch_size=1, input_tokens=4096, output_tokens=0,
             system_name="H100_GPU", bits="bf16", tensor_parallel=1, debug=False)
decode_moddeling(**point)
began = time.perf_counter()
for _ in range(20):
    made = decode_moddeling(**point)
print(made["Latency"], (time.perf_counter() - began) / 20)
"""


def genz(python: str) -> tuple[float, float]:
    """(ms of the point, seconds to evaluate it)."""
    made = subprocess.run([python, "-c", GENZ], check=True, capture_output=True, text=True)
    ms, seconds = made.stdout.split()[-2:]
    return float(ms), float(seconds)


def ours() -> tuple[float, float]:
    """The same of our single evaluation, which also gives ranges, cost, carbon and power."""
    work = explore.WORKLOADS["chat"].with_(prompt_tokens=4095.5, output_tokens=1)
    began = time.perf_counter()
    for _ in range(20):
        made = explore.evaluate("h100", work, explore.Sharding(), model="llama3.1-8b")
    return 1e3 * sum(made.decode_s.values()), (time.perf_counter() - began) / 20


def show(name: str, ms: float, rate: float) -> None:
    print(f"{name:<22} {ms:6.3f} ms  {ms / FLOOR_MS:5.2f} x floor  {rate:9,.0f} points/s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--genz", help="python of an environment with genz-llm")
    python = parser.parse_args().genz
    print(f"floor: 15.010 GB of weights and 0.537 GB of KV at 3.35 TB/s: {FLOOR_MS:.3f} ms")
    mine = [ours() for _ in range(ROUNDS)]
    ms, seconds = mine[0][0], min(taken for _, taken in mine)
    show("waferllm, predicted", ms, 1 / seconds)
    if python:
        theirs = [genz(python) for _ in range(ROUNDS)]
        peer_ms, peer_s = theirs[0][0], min(taken for _, taken in theirs)
        show("GenZ, in this run", peer_ms, 1 / peer_s)
        print(f"one point of ours takes {seconds / peer_s:.2f} of the time of one of GenZ's")
    listed = ", ".join(f"{name} {rate:,g}" for name, rate in ELSEWHERE)
    print(f"Not in this run, measured on a machine of this kind (points/s): {listed}")
    print("A million at once: benchmarks/explore.py")


if __name__ == "__main__":
    main()
