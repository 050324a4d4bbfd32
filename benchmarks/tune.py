"""Readings and placements per second, and a whole tuning, on one core: `python benchmarks/tune.py`."""

import time

from waferllm.chip import WSE2
from waferllm.layout import Mesh
from waferllm.models.registry import find_config
from waferllm.reports.predict import predict_decode, predict_prefill
from waferllm.tune.options import Work, decodes
from waferllm.tune.search import trees, tune

PREDICT_BAR_S, TUNE_BAR_S, PLACEMENTS_BAR = 0.1, 20.0, 1000


def predicts() -> None:
    """One prediction of the real schedule on a grid not read before."""
    for name, predict in (("prefill", predict_prefill), ("decode", predict_decode)):
        predict("llama3-8b", "wse2", (480, 480), schedule="real")
        began = time.process_time()
        predict("llama3-8b", "wse2", (600, 600), schedule="real")
        took = time.process_time() - began
        print(f"predict {name:<8} {took * 1e3:8.1f} ms   (bar {PREDICT_BAR_S * 1e3:.0f} ms)")


def placements() -> None:
    """Decode placements laid and costed, each on a grid of its own, families read before."""
    work = Work(find_config("llama3-8b"), WSE2, 4096, 4096, "float16")
    list(decodes(work, Mesh(240, 240), trees(Mesh(240, 240)), "shift", 1))
    began, count = time.process_time(), 0
    for side in range(241, 331):
        grid = Mesh(side, side)
        count += len(list(decodes(work, grid, trees(grid), "shift", 1)))
    rate = count / (time.process_time() - began)
    print(f"decode placements {rate:8.0f} /s   (bar {PLACEMENTS_BAR} /s)")


def whole() -> None:
    """A full tuning."""
    began = time.process_time()
    made = tune("llama3-8b", "wse2", 4096, 4096)
    took = time.process_time() - began
    print(f"tune {took:8.1f} s of {made.placements:,} placements   (bar {TUNE_BAR_S:.0f} s)")


if __name__ == "__main__":
    predicts()
    whole()
    placements()
