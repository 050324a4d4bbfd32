"""The shipped constants are what the fit gives, and how far predictions lie from measurements is known."""

from dataclasses import astuple
from functools import cache

import numpy as np
import pytest

from waferllm import explore
from waferllm.explore.calibrated import Calibration, calibration, token_ms
from waferllm.explore.fitted import COLLECTIVES, PLATES, PRODUCTS
from waferllm.explore.fitting import fit_collective, fit_product


@pytest.mark.parametrize(("device", "format_"), [("H100", "bf16"), ("B200", "fp4")])
def test_constants_of_products_are_what_the_fit_gives(device: str, format_: str) -> None:
    made = fit_product(device, format_, PLATES[device])
    assert astuple(made) == pytest.approx(astuple(PRODUCTS[device, format_]), rel=0.01)


def test_constants_of_collectives_are_what_the_fit_gives() -> None:
    made = fit_collective("H200", PLATES["H200"])
    assert astuple(made) == pytest.approx(astuple(COLLECTIVES["H200"]), rel=0.02)


@cache
def _all() -> Calibration:
    return calibration()


def test_products_and_collectives_lie_near_their_measurements() -> None:
    summary = _all().summary()
    assert summary["products (fitted)"]["median_error"] < 0.05
    assert summary["all-reduce (fitted)"]["median_error"] < 0.10
    assert summary["all-to-all (fitted)"]["median_error"] < 0.15


def test_tokens_of_models_that_nothing_was_fitted_to_lie_within_ten_percent() -> None:
    points = _all().points["tokens of dense models (not fitted)"]
    assert len(points) == 9
    assert all(abs(point.error) < 0.10 for point in points)
    assert not any(point.fitted for point in points)


def test_the_cache_is_read_at_the_rate_that_the_slope_of_latency_shows() -> None:
    """vLLM on one H100: 4.37e-5 ms more for each token of context."""
    slope = (token_ms("h100", "llama3.1-8b", 16384) - token_ms("h100", "llama3.1-8b", 1024)) / 15360
    assert slope == pytest.approx(4.37e-5, rel=0.03)


def test_plates_are_those_of_the_chips() -> None:
    for name, plate in PLATES.items():
        chip = explore.system(name.lower())
        assert plate.tbps * 1e3 == pytest.approx(chip["hbm.stacks"] * chip["hbm.gbps"])
        assert plate.link_gbps == chip["link.gbps"]
        assert plate.tflops["bf16"] == chip["chip.tflops_16"]
        for format_, key in (("fp8", "chip.tflops_8"), ("fp4", "chip.tflops_4")):
            assert plate.tflops.get(format_, 0) == chip[key] or format_ not in plate.tflops


def test_the_engine_charges_a_small_all_reduce_what_was_measured() -> None:
    """TensorRT-LLM on 8 H100: 8 KiB in 3.61 us, on 2: 2.80 us."""
    from waferllm.explore.collectives import all_reduce_best_s

    d = explore.system("h100x8").values()
    for chips, measured_us in ((2, 2.796), (4, 3.201), (8, 3.608)):
        made = float(all_reduce_best_s(np, d, 8192.0, float(chips)))
        assert made * 1e6 == pytest.approx(measured_us, rel=0.10)
