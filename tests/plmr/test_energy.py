"""Energy against sums by hand, and the constant-power model against the published ratios' rule."""

import jax.numpy as jnp
import pytest

from waferllm.chip import WSE2
from waferllm.fabric import Tree, broadcast, reduce
from waferllm.kernels.gemv import mesh_gemv
from waferllm.layout import Blocks, Mesh
from waferllm.plmr.energy import HOP, MAC, SRAM, constant_power_j, dynamic_j, static_j
from waferllm.plmr.walk import read
from waferllm.program import Program, Spec


def test_products_and_hops_of_a_gemv_are_counted():
    program = Program(mesh_gemv, mesh=Mesh(3, 5), shapes=[(3000,), (3000, 4000)])
    reading = read(program)
    product_j = 3000 * 4000 * (MAC.value + 3 * 4 * SRAM.value)
    hops_j = reading.byte_hops_total * HOP.value
    made = dynamic_j(reading)
    assert made >= product_j + hops_j
    assert made == pytest.approx(product_j + hops_j, rel=0.01)  # adds and moves of partial sums


def test_a_tiny_program_is_counted_by_hand():
    """Every core of a 3x4 mesh: v[1, 5] W[5, 7] in float32, its sum along y, a copy in float16, and an add.

    product   5 x 7 = 35 multiply-adds; each reads two operands and writes one, of 4 bytes
    reduce    7 x 4 bytes along 3 rows to the middle one: 2 links in each of 4 columns
    broadcast 7 x 4 bytes from there: 2 links in each of 4 columns
    add       7 elements, 3 x 4 bytes each; additions are half a multiply-add
    copy      7 elements, 2 x 2 bytes each: a move computes nothing
    """
    rows, cols = 3, 4

    def core(v, w):
        total = broadcast(reduce(v @ w, "y", Tree()), "y", 1)
        return (total + total).astype(jnp.float16)

    float32 = jnp.float32
    inputs = (
        Spec((1, 5), Blocks((None, None)), float32),
        Spec((5, 7), Blocks((None, None)), float32),
    )
    made = read(Program(core, mesh=(rows, cols), inputs=inputs, name="tiny"))
    macs, moved = 5 * 7 + 7 / 2, (5 * 7 + 7) * 3 * 4 + 7 * 2 * 2
    crossed = (2 + 2) * cols * 7 * 4
    expected = rows * cols * (macs * MAC.value + moved * SRAM.value) + crossed * HOP.value
    assert dynamic_j(made) == pytest.approx(expected, rel=1e-12)


def test_constant_power_is_power_times_time_and_bounds_the_static_share():
    assert constant_power_j(2.0, WSE2) == 2.0 * WSE2.system_power_w
    assert 0 < static_j(2.0, WSE2) < constant_power_j(2.0, WSE2)


def test_energy_ratios_follow_speedup_over_37_5_gpus():
    """WaferLLM's rule: a wafer has the power of 37.5 A100s of 400 W."""
    assert WSE2.system_power_w == pytest.approx(37.5 * 400, rel=0.01)
