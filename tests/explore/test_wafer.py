"""Wafers stand in the same table: same figures, same money, their own floors, refusals that say why."""

from functools import cache

import pytest

from waferllm import explore
from waferllm.chip import WSE2
from waferllm.errors import CapacityError, InputError

MODEL = "tinyllama-1.1b"


@cache
def _found() -> explore.Result:
    return explore.search("wse2x1", "chat", model=MODEL, advise=False)


def _value(key: str) -> float:
    value = _found().value(key)
    assert value is not None
    return value


def test_a_wafer_has_every_figure_that_a_gpu_has() -> None:
    gpu = explore.search("h100x1", "chat", model=MODEL, advise=False)
    assert set(_found().figures) == set(gpu.figures)
    assert set(_found().row().figures) == set(gpu.row().figures)


def test_a_token_takes_longer_than_its_weights_leave_the_memory_of_the_cores() -> None:
    shape = explore.find_shape(MODEL)
    layers_bytes = 2 * (shape.dense_params - shape.hidden)
    assert _value("tpot_s") > layers_bytes / WSE2.sram_bandwidth_bytes_per_s
    assert sum(_found().decode_s.values()) == pytest.approx(_value("tpot_s"))
    assert sum(_found().prefill_s.values()) == pytest.approx(_value("ttft_s"))


def test_requests_in_flight_are_rate_times_stay_at_most() -> None:
    # Little's law: nobody gives more tokens than all places of a wave at the pace of one
    assert _value("system_tokens_per_s") <= _found().batch / _value("tpot_s")


def test_a_wafers_hour_costs_what_its_parts_say() -> None:
    d = explore.system("wse2x1")
    yearly = (
        d["chip.usd"] * (1 / d["site.life_years"] + d["site.opex_share"])
        + d["chip.tdp_w"] * d["site.building_usd_per_w"] / d["site.building_years"]
        + _value("power_w") / 1000 * 8760 * d["site.pue"] * d["site.usd_per_kwh"]
    )
    assert _value("usd_per_chip_hour") == pytest.approx(yearly / 8760)
    mtok = _value("system_tokens_per_s") * d["site.load"] * 8760 * 3600 / 1e6
    assert _value("usd_per_mtok") == pytest.approx(yearly / mtok)
    assert sum(_found().power_w.values()) == pytest.approx(_value("power_w"))
    assert d["chip.static_share"] * d["chip.tdp_w"] < _value("power_w") <= d["chip.tdp_w"]


def test_what_no_wafer_can_do_is_refused_in_a_sentence() -> None:
    for model, workload, says in (
        ("deepseek-v3", "chat", "dense decoders"),
        (MODEL, "diffusion", "no denoising"),
        (MODEL, "multimodal", "no image encoder"),
    ):
        with pytest.raises(CapacityError, match=says):
            explore.search("wse2x1", workload, model=model, advise=False)
    with pytest.raises(InputError, match="Did you mean llama3-8b"):
        explore.search("wse2x1", "chat", model="lama3-8b")
    with pytest.raises(InputError, match="wafers take no sharding"):
        explore.evaluate("wse2x1", "chat", explore.Sharding(), model=MODEL)
