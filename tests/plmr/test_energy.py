"""Energy against sums by hand, and the constant-power model against the published ratios' rule."""

import pytest

from waferllm.chip import WSE2
from waferllm.kernels.gemv import mesh_gemv
from waferllm.layout import Mesh
from waferllm.plmr.energy import HOP, MAC, SRAM, constant_power_j, dynamic_j, static_j
from waferllm.plmr.walk import read
from waferllm.program import Program


def test_products_and_hops_of_a_gemv_are_counted():
    program = Program(mesh_gemv, mesh=Mesh(3, 5), shapes=[(3000,), (3000, 4000)])
    reading = read(program)
    product_j = 3000 * 4000 * (MAC.value + 3 * 4 * SRAM.value)
    hops_j = reading.byte_hops_total * HOP.value
    made = dynamic_j(reading)
    assert made >= product_j + hops_j
    assert made == pytest.approx(product_j + hops_j, rel=0.01)  # adds and moves of partial sums


def test_constant_power_is_power_times_time_and_bounds_the_static_share():
    assert constant_power_j(2.0, WSE2) == 2.0 * WSE2.system_power_w
    assert 0 < static_j(2.0, WSE2) < constant_power_j(2.0, WSE2)


def test_energy_ratios_follow_speedup_over_37_5_gpus():
    """WaferLLM's rule: a wafer has the power of 37.5 A100s of 400 W."""
    assert WSE2.system_power_w == pytest.approx(37.5 * 400, rel=0.01)
