"""The simplest point of the field, and floors that no result may go below."""

import numpy as np
import pytest

from waferllm import explore
from waferllm.explore import core
from waferllm.explore.evaluating import inputs, numpy_evaluate
from waferllm.explore.numbers import SHARES

IDEAL = {
    **dict.fromkeys((k for k in SHARES if "eff" in k), 1.0),
    "chip.kernel_us": 0, "chip.gemm_8_us": 0, "chip.gemm_4_us": 0, "chip.step_us": 0,
}  # fmt: skip
POINT = explore.WORKLOADS["chat"].with_(prompt_tokens=4095.5, output_tokens=1)  # half way: 4,096


def test_llama_8b_decode_on_one_h100_takes_its_bytes_over_its_bandwidth() -> None:
    ideal = explore.system("h100").with_numbers(IDEAL)
    made = explore.evaluate(ideal, POINT, explore.Sharding(), model="llama3.1-8b")
    weights, kv = 15_009_849_344, 4096 * 131_072
    assert sum(made.decode_s.values()) == pytest.approx((weights + kv) / 3.35e12, rel=1e-9)
    assert sum(made.decode_s.values()) * 1e3 == pytest.approx(4.641, abs=5e-4)


def test_a_real_h100_is_slower_than_an_ideal_one() -> None:
    ideal = explore.system("h100").with_numbers(IDEAL)
    d, m, w = inputs(ideal, explore.find_shape("llama3.1-8b"), POINT)
    floor = float(core.floor_s(np, d, m, w, explore.Sharding().values())["tpot_s"])
    real = explore.evaluate("h100", POINT, explore.Sharding(), model="llama3.1-8b")
    assert sum(real.decode_s.values()) > floor


def test_experts_on_many_chips_are_read_by_all_of_them() -> None:
    ideal = explore.system("h200x64").with_numbers(
        {**IDEAL, "hbm.usable": 1, "link.gbps": 1e12, "net.gbps": 1e12, "tail.failures_per_year": 0,
         **dict.fromkeys((f"link.{key}_us" for key in (
             "latency", "software", "peer", "bulk", "exchange")), 0), "net.latency_us": 0}
    )  # fmt: skip
    d, m, w = inputs(ideal, explore.find_shape("deepseek-v3"), POINT)
    s = explore.Sharding(dp=64, ep=64).values()
    floor = float(core.floor_s(np, d, m, w, s)["tpot_s"])
    alone = float(numpy_evaluate(d, m, w, s)["alone"]["token_s"])  # raises below the floor
    shape = explore.find_shape("deepseek-v3")
    dense = shape.dense_params + 2 * shape.head_params + 4096 * 2 * 576 * 61
    drawn = 58 * 8 * shape.expert_params / 64
    assert floor == pytest.approx((dense + drawn) / 4.8e12)
    # the busiest chip has more than its part, and all requests together touch more experts
    assert floor < alone < 4 * floor


def test_a_time_below_the_floor_is_an_internal_error() -> None:
    d, m, w = inputs(explore.system("h100"), explore.find_shape("llama3.1-8b"), POINT)
    d["hbm.eff_16"] = 1.5  # more than all of its bandwidth, which no System can hold
    d["hbm.eff_kv"], d["chip.kernel_us"] = 1.5, 0.0
    with pytest.raises(explore.BelowFloorError, match="tpot_s below its floor"):
        numpy_evaluate(d, m, w, explore.Sharding().values())
