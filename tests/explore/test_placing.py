"""What lives in which memory, and how fast flash gives it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waferllm import explore
from waferllm.explore.placing import (
    TIERS,
    bandwidth_bytes_per_s,
    capacity_bytes,
    flash_shares,
    place,
)

GB = 1e9


def _numbers(**changes: float) -> dict[str, float]:
    both = {
        "hbm.stacks": 2, "hbm.gb": 48, "hbm.gbps": 1000, "hbf.stacks": 1, "hbf.gb": 512,
        "hbf.gbps": 1000, "hbf.latency_us": 20, "hbf.buffer_mb": 40, "ddr.devices": 1, "ddr.gb": 64,
        "ddr.gbps": 50, "hbm.usable": 1.0,
    }  # fmt: skip
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    return explore.system("b200").with_numbers(both | keys).values()


def _place(d: dict[str, float], **gb: float) -> dict[str, dict[str, float]]:
    amounts = {"weights": 0.0, "live": 0.0, "frozen": 0.0, "waiting": 0.0, "store": 0.0} | gb
    made = place(np, d, **{key: np.float64(value * GB) for key, value in amounts.items()})
    return {k: {tier: float(v) / GB for tier, v in one.items()} for k, one in made.items()}


def test_weights_are_split_so_that_stacks_and_flash_end_together() -> None:
    held = _place(_numbers(), weights=90)["weights"]
    assert (held["hbm"], held["hbf"]) == pytest.approx((60, 30))  # 2,000 and 1,000 GB/s


def test_heat_keeps_weights_out_of_flash_as_far_as_it_is_quicker() -> None:
    d = _numbers(chip__thermal_w=600)
    watts = 600 - d["chip.static_share"] * d["chip.tdp_w"]
    path = d["chip.path_pj_per_bit"]

    def seconds(share: float) -> float:
        """Of one byte with a share in flash: the slowest of stacks, flash and heat."""
        joules = 8e-12 * (share * (20 + path) + (1 - share) * (d["hbm.pj_per_bit"] + path))
        return max((1 - share) / 2000e9, share / 1000e9, joules / watts)

    best = min((seconds(share), share) for share in np.linspace(0, 1, 10_001))[1]
    assert 0 < best < 1 / 3
    assert min(map(float, flash_shares(np, d))) == pytest.approx(best, abs=1e-4)
    phone = explore.system("phone-hbf").values()
    assert float(flash_shares(np, phone)[1]) == 0  # 20 pJ/bit are more than a phone can spare


def test_live_kv_never_goes_to_flash_and_what_has_no_place_is_said() -> None:
    made = _place(_numbers(ddr__devices=0), live=100)
    assert made["kv"]["hbf"] == 0
    assert made["kv"]["hbm"] == pytest.approx(96)
    assert made["homeless"]["kv"] == pytest.approx(4)


def test_frozen_context_shares_flash_and_stacks_with_weights() -> None:
    made = _place(_numbers(), frozen=60, weights=30)
    assert (made["kv"]["hbm"], made["kv"]["hbf"]) == pytest.approx((40, 20))
    assert (made["weights"]["hbm"], made["weights"]["hbf"]) == pytest.approx((20, 10))
    full = _place(_numbers(), live=90, frozen=400)  # live context has the stacks first
    assert (full["kv"]["hbm"], full["kv"]["hbf"]) == pytest.approx((96, 394))
    without = _place(_numbers(hbf__stacks=0), frozen=100)["kv"]
    assert (without["hbm"], without["ddr"]) == pytest.approx((96, 4))


def test_waiting_sessions_go_to_slow_memory_and_never_to_flash() -> None:
    made = _place(_numbers(), waiting=170)
    assert made["waiting"] == pytest.approx({"ddr": 64, "hbm": 96})
    assert made["homeless"]["kv"] == pytest.approx(10)


def test_a_store_takes_what_flash_and_dram_leave_and_the_rest_stays_away() -> None:
    made = _place(_numbers(), live=96, frozen=500, store=100)
    assert made["store"] == pytest.approx({"hbf": 12, "ddr": 64, "away": 24})


def test_flash_gives_what_its_double_buffer_turns_over() -> None:
    # Little's law: 1,000 GB/s at 20 us keep 20 MB in flight, twice that with a second buffer
    assert bandwidth_bytes_per_s(np, _numbers())["hbf"] == pytest.approx(1000 * GB)
    half = _numbers(hbf__buffer_mb=20)
    assert bandwidth_bytes_per_s(np, half)["hbf"] == pytest.approx(500 * GB)
    slow = _numbers(hbf__latency_us=40)
    assert bandwidth_bytes_per_s(np, slow)["hbf"] == pytest.approx(500 * GB)


AMOUNT = st.floats(0, 1000)


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_nothing_is_lost_and_no_memory_overflows(
    weights: float, live: float, frozen: float, waiting: float
) -> None:
    d = _numbers()
    made = _place(d, weights=weights, live=live, frozen=frozen, waiting=waiting)
    room = capacity_bytes(d)
    kinds = (made["weights"], made["kv"], made["waiting"])
    for tier in TIERS:
        assert sum(one.get(tier, 0) for one in kinds) <= room[tier] / GB + 1e-6
    held = sum(sum(one.values()) for one in kinds) + sum(made["homeless"].values())
    assert held == pytest.approx(weights + live + frozen + waiting, abs=3e-3)
