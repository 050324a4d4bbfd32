"""The shipped constants are what the fit gives, and how far predictions lie from measurements is known."""

from dataclasses import astuple, replace
from functools import cache

import numpy as np
import pytest

from waferllm import explore
from waferllm.explore.calibrated import Calibration, calibration, token_ms
from waferllm.explore.fitted import COLLECTIVES, PLATES, PRODUCTS
from waferllm.explore.fitting import fit_collective, fit_product
from waferllm.explore.measured import ITL
from waferllm.explore.shapes import KERNELS_PER_ROUTER


@pytest.mark.parametrize(("device", "format_"), PRODUCTS)
def test_constants_of_products_are_what_the_fit_gives(device: str, format_: str) -> None:
    made = fit_product(device, format_, PLATES[device])
    assert astuple(made) == pytest.approx(astuple(PRODUCTS[device, format_]), rel=0.01)


@pytest.mark.parametrize("device", COLLECTIVES)
def test_constants_of_collectives_are_what_the_fit_gives(device: str) -> None:
    made = fit_collective(device, PLATES[device])
    assert astuple(made) == pytest.approx(astuple(COLLECTIVES[device]), rel=0.02)


def test_the_kernels_of_a_router_are_what_two_devices_measured() -> None:
    shape = explore.find_shape("gpt-oss-20b")
    bare = replace(shape, kernels=shape.kernels - shape.moe_layers * KERNELS_PER_ROUTER)
    for device in ("h100", "b200"):
        a, b = ITL[device, "gpt-oss-20b", "bf16"]
        without_ms = token_ms(device, bare, 4096)
        kernels = (a + b * 4096 - without_ms) * 1e3 / explore.system(device)["chip.kernel_us"]
        assert kernels / shape.moe_layers == pytest.approx(KERNELS_PER_ROUTER, abs=0.5)


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


def test_a_layer_that_another_group_measured_is_predicted() -> None:
    summary = _all().summary()["a layer of GPT-3 on 4 A100 (not fitted)"]
    assert summary["points"] == 10
    assert summary["median_error"] < 0.15
    points = _all().points["a layer of GPT-3 on 4 A100 (not fitted)"]
    products = [abs(point.error) for point in points if "all-reduce" not in point.what]
    assert len(products) == 8
    assert max(products) < 0.35


def test_eight_requests_at_once_take_their_time_between_tokens() -> None:
    points = {
        p.what: p.error for p in _all().points["tokens of eight requests at once (not fitted)"]
    }
    assert all(abs(error) < 0.10 for what, error in points.items() if what.endswith("TPOT"))
    # an empty queue and no ramp flatter the others, and it is known which way
    assert all(error < 0 for what, error in points.items() if what.endswith("TTFT"))
    assert all(0 < error < 0.35 for what, error in points.items() if what.endswith("rate"))


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
