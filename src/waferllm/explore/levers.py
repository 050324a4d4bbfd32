"""Which one change of hardware would help most: each lever improved by a quarter, batches tried again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from waferllm.explore.evaluating import inputs, numpy_evaluate
from waferllm.explore.shapes import Shape
from waferllm.explore.sharding import Sharding
from waferllm.explore.systems import System
from waferllm.explore.workloads import Workload

CHANGE = 1.25
#: (words, keys that grow, keys that shrink)
LEVERS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("compute", ("chip.tflops_16", "chip.tflops_8", "chip.tflops_4"), ()),
    ("HBM bandwidth", ("hbm.gbps",), ()),
    ("HBM capacity", ("hbm.gb",), ()),
    ("DDR bandwidth", ("ddr.gbps",), ()),
    ("DDR capacity", ("ddr.gb",), ()),
    ("HBF bandwidth", ("hbf.gbps", "hbf.buffer_mb"), ()),
    ("HBF capacity", ("hbf.gb",), ()),
    ("HBF latency", (), ("hbf.latency_us",)),
    ("energy of HBF reads", (), ("hbf.pj_per_bit",)),
    ("energy of DRAM reads", (), ("hbm.pj_per_bit", "ddr.pj_per_bit", "chip.path_pj_per_bit")),
    ("logic near memory", ("pnm.gain", "pnm.tflops"), ()),
    ("SRAM bandwidth", ("sram.tbps",), ()),
    ("SRAM capacity", ("sram.gb",), ()),
    ("scale-up bandwidth", ("link.gbps",), ()),
    ("collective latency", (),
     ("link.latency_us", "link.software_us", "link.bulk_us", "link.exchange_us", "link.peer_us")),
    ("network bandwidth", ("net.gbps",), ()),
    ("network latency", (), ("net.latency_us",)),
    ("time of a kernel", (), ("chip.kernel_us", "chip.gemm_8_us", "chip.gemm_4_us")),
    ("idle power", (), ("chip.static_share",)),
    ("cooling", ("chip.thermal_w",), ()),
)  # fmt: skip
_LEAST_GAIN = 1e-3


def gains(
    system: System,
    shape: Shape,
    work: Workload,
    sharding: Sharding,
    metric: str,
    sign: float,
    batches: Sequence[int],
) -> dict[str, float]:
    """Relative improvement of a metric by each lever at 25 % better, with the best batch that then fits.

    Positive is better, whichever way the metric counts; service limits of the workload hold.
    """  # fmt: skip
    d, m, w = inputs(system, shape, work)
    count = 1 + len(LEVERS)
    for n, (_, grown, shrunk) in enumerate(LEVERS, 1):
        for keys, factor in ((grown, CHANGE), (shrunk, 1 / CHANGE)):
            for key in keys:
                row = np.array(np.broadcast_to(d[key], (count, 1)), dtype=float)
                row[n] *= factor
                d[key] = row
    s: dict[str, Any] = sharding.values()
    s["batch"] = np.array(sorted({*batches, sharding.batch}), dtype=float)[None, :]
    made = numpy_evaluate(d, m, w, s)
    shape_ = (count, s["batch"].shape[1])
    figures = {k: np.broadcast_to(v, shape_) for k, v in made["figures"].items()}
    good = (made["fits"]["weights_bytes"] <= 0) & (made["fits"]["kv_bytes"] <= 0)
    good = good & (figures["ttft_s"] <= work.max_ttft_s) & (figures["tpot_s"] <= work.max_tpot_s)
    values = np.where(good & ~np.isnan(figures[metric]), sign * figures[metric], np.inf)
    best = values.min(axis=1)
    with np.errstate(invalid="ignore"):  # infinite where a price is not known: no gain, NaN
        gained = (best[0] - best[1:]) / abs(best[0])
    return {words: float(gain) for (words, _, _), gain in zip(LEVERS, gained, strict=True)}


def helps_most(
    system: System,
    shape: Shape,
    work: Workload,
    sharding: Sharding,
    objective: str,
    objectives: Mapping[str, tuple[str, float]],
    batches: Sequence[int],
) -> str:
    """One sentence: the best lever and what it gains, at the price of today's hardware."""  # fmt: skip
    metric, sign = objectives[objective]
    made = gains(system, shape, work, sharding, metric, sign, batches)
    if not np.isfinite(list(made.values())).all():
        metric, sign = objectives["throughput"]
        made = gains(system, shape, work, sharding, metric, sign, batches)
    words = max(made, key=lambda name: made[name])
    if made[words] < _LEAST_GAIN:
        return "no single change of 25 % helps"
    less = "shorter" if "latency" in words or "time" in words else "lower"
    change = f"25 % more {words}" if _grows(words) else f"{words} 20 % {less}"
    says = {
        "usd_per_mtok": "less $ per Mtok", "joules_per_token": "less J per token",
        "gco2e_per_mtok": "less gCO2e per Mtok", "tpot_s": "less time per token",
        "system_tokens_per_s": "more tokens/s",
    }[metric]  # fmt: skip
    return f"{change}: {made[words]:.0%} {says}"


def _grows(words: str) -> bool:
    return bool(next(grown for name, grown, _ in LEVERS if name == words))
