"""How far the calibrated explorer is from what was measured: kernels it was fitted to, models it was not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from waferllm.explore import measured
from waferllm.explore.evaluating import evaluate
from waferllm.explore.fitted import COLLECTIVES, PLATES, PRODUCTS
from waferllm.explore.fitting import all_reduce_us, exchange_us, lines_of, points_of, product_us
from waferllm.explore.shapes import Shape
from waferllm.explore.sharding import Sharding
from waferllm.explore.workloads import Workload

CONTEXTS = (1024, 16384)


@dataclass(frozen=True)
class Point:
    """A measurement beside what is predicted; `fitted` if the constants were fitted to it."""

    what: str
    measured: float
    predicted: float
    unit: str
    fitted: bool

    @property
    def error(self) -> float:
        """predicted / measured - 1."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Calibration:
    """All points, by what they measure: products, all-reduce, all-to-all, tokens of whole models."""

    points: Mapping[str, tuple[Point, ...]]

    def summary(self) -> dict[str, dict[str, float]]:
        """Points, median and largest absolute relative error of each kind."""
        return {
            kind: {
                "points": len(points),
                "median_error": median(abs(point.error) for point in points),
                "largest_error": max(abs(point.error) for point in points),
            }
            for kind, points in self.points.items()
        }


def calibration() -> Calibration:
    """Every calibration point beside its prediction."""
    return Calibration(
        {
            "products (fitted)": tuple(_products()),
            "all-reduce (fitted)": tuple(_collectives("all-reduce")),
            "all-to-all (fitted)": tuple(_collectives("all-to-all")),
            "a layer of GPT-3 on 4 A100 (not fitted)": tuple(_layer()),
            "tokens of dense models (not fitted)": tuple(_models(dense=True)),
            "tokens of mixtures (one constant fitted)": tuple(_models(dense=False)),
            "tokens of eight requests at once (not fitted)": tuple(_eight_at_once()),
        }
    )


def _products() -> Iterator[Point]:
    for (device, format_), fit in PRODUCTS.items():
        for m, n, k, times in lines_of(device, format_):
            made = product_us(m, n, k, PLATES[device], format_, fit)
            for rows, got, want in zip(m, made, times, strict=True):
                what = f"{device} {format_} {rows:.0f} x {k} by {k} x {n}"
                yield Point(what, float(want), float(got), "us", True)


def _collectives(kind: str) -> Iterator[Point]:
    table, sizes, time_us = {
        "all-reduce": (measured.ALL_REDUCE, measured.ALL_REDUCE_BYTES, all_reduce_us),
        "all-to-all": (measured.EXCHANGE, measured.EXCHANGE_BYTES, exchange_us),
    }[kind]
    for device, fit in COLLECTIVES.items():
        p, n, t = points_of(table, sizes, device)
        made = time_us(p, n, PLATES[device], fit)
        for chips, size, got, want in zip(p, n, made, t, strict=True):
            what = f"{device} {kind} of {size:.0f} B on {chips:.0f}"
            yield Point(what, float(want), float(got), "us", True)


def _layer() -> Iterator[Point]:
    plate = PLATES["A100"]
    for what, (rows, n, k, us) in measured.LAYER_PRODUCTS.items():
        made = product_us(np.array([float(rows)]), n, k, plate, "bf16", PRODUCTS["A100", "bf16"])
        yield Point(f"A100 {what}", us, float(made[0]), "us", False)
    for size, us in measured.LAYER_ALL_REDUCE.items():
        made = all_reduce_us(np.array([4.0]), np.array([float(size)]), plate, COLLECTIVES["A100"])
        yield Point(f"A100 all-reduce of {size:,} B on 4, by NCCL", us, float(made[0]), "us", False)


def _eight_at_once() -> Iterator[Point]:
    """Predicted TTFT is that of an empty queue, the rate that of a steady state without its ends."""
    for kv_dtype, figures in measured.EIGHT_AT_ONCE.items():
        work = Workload(
            name="point", says="", prompt_tokens=20_000, output_tokens=2000, kv_dtype=kv_dtype
        )
        made = evaluate("h100", work, Sharding(batch=8), model="llama3.1-8b")
        keys = (
            ("TTFT", "ttft_s", 1e3, "ms"),
            ("TPOT", "tpot_s", 1e3, "ms"),
            ("rate", "system_tokens_per_s", 1.0, "tokens/s"),
        )
        for (name, key, scale, unit), want in zip(keys, figures, strict=True):
            value = made.value(key)
            assert value is not None  # times have no missing input
            what = f"h100 llama3.1-8b 8 x 20k/2k, KV {kv_dtype}: {name}"
            yield Point(what, want, scale * value, unit, False)


def token_ms(system: str, model: str | Shape, context: float, kv_dtype: str = "bf16") -> float:
    """One decode step at batch 1 with `context` tokens in the cache, on one accelerator."""
    work = Workload(
        name="point", says="one token", prompt_tokens=context - 0.5, output_tokens=1,
        kv_dtype=kv_dtype,
    )  # fmt: skip
    made = evaluate(system, work, Sharding(), model=model)
    return 1e3 * sum(made.decode_s.values())


def _models(*, dense: bool) -> Iterator[Point]:
    for (device, model, kv), (a, b) in measured.ITL.items():
        if dense is model.startswith("gpt-oss"):
            continue
        for context in CONTEXTS:
            what = f"{device} {model} at context {context}, KV {kv}"
            yield Point(
                what, a + b * context, token_ms(device, model, context, kv), "ms", not dense
            )
    if not dense:
        return
    rate = measured.A100_LLAMA2_7B_TOKENS_PER_S
    yield Point(
        "a100 llama2-7b at context 100", 1e3 / rate, token_ms("a100", "llama2-7b", 100), "ms", False
    )
