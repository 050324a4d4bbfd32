"""Cycles follow the published model of the fabric, loops, overlap and floors, on any mesh.

The expected values are closed forms written out here (HPDC'24, arXiv 2404.15888, with T_R = 2) or
published measurements; none is a previous result of the code.
"""

import math
from dataclasses import replace

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from waferllm.chip import BLACKHOLE, WSE2, WSE3, chip
from waferllm.chip.facts import assumed
from waferllm.errors import InputError
from waferllm.fabric import Ring, Tree, broadcast, reduce, shift
from waferllm.kernels.gemm import mesh_gemm
from waferllm.layout import COLS, ROWS, Blocks
from waferllm.plmr.constants import CONSTANTS, KERNEL, LIBRARY, STREAM, software
from waferllm.plmr.time import BelowFloorError, time
from waferllm.program import Program, Spec

#: The hardware alone: HPDC'24's model has no software.
BARE = replace(STREAM, issue_cycles=0.0)
T_R = 2


def line(core, cores, words, mesh_rows=1):
    """A program in which each of `cores` cores on a row holds `words` 32-bit words."""
    spec = Spec((cores, words), Blocks((COLS, None)), jnp.float32)
    return Program(core, mesh=(mesh_rows, cores), inputs=(spec,), outputs=spec, name="line")


@given(cores=st.integers(2, 600), words=st.integers(1, 5000))
def test_a_chain_to_the_end_takes_b_plus_2tr_plus_2_per_core(cores, words):
    made = time(line(lambda x: reduce(x, COLS, Tree(end=True)), cores, words), WSE2, BARE)
    assert made.cycles == words + (2 * T_R + 2) * (cores - 1)


@given(cores=st.integers(2, 600), words=st.integers(1, 5000))
def test_a_broadcast_takes_b_plus_p_plus_2tr(cores, words):
    made = time(line(lambda x: broadcast(x, COLS, 0), cores, words), WSE2, BARE)
    assert made.cycles == words + cores + 2 * T_R


def test_a_star_on_two_cores_is_a_chain():
    made = time(line(lambda x: reduce(x, COLS, Tree(end=True)), 2, 100), WSE2, BARE)
    star = 100 * (2 - 1) + 2 * T_R + 1
    assert made.cycles == star + WSE2.hop_cycles


# Vendor simulator, P = 512, B = 4096 fp32 (measurements.md): step of the first phase, cycles.
ROW = [
    (2, 10055), (4, 9421), (8, 9117), (16, 8989), (32, 8973), (64, 9061), (128, 9297), (256, 9800),
]  # fmt: skip


@pytest.mark.parametrize(("step", "measured"), ROW)
def test_two_phase_reductions_follow_the_formula_and_the_simulator(step, measured):
    tree = Tree((step,), end=True)
    made = time(line(lambda x: reduce(x, COLS, tree), 512, 4096), WSE2, BARE)
    depth = (step - 1) + (512 // step - 1)
    assert made.cycles == 2 * 4096 + 511 + (2 * T_R + 1) * depth
    assert made.cycles == pytest.approx(measured, rel=0.04)


def test_the_chain_wins_for_a_long_payload_as_in_the_simulator():
    chain = time(line(lambda x: reduce(x, COLS, Tree(end=True)), 512, 4096), WSE2, BARE)
    assert chain.cycles == pytest.approx(7218, rel=0.04)
    trees = [Tree((step,), end=True) for step, _ in ROW]
    others = [
        time(line(lambda x, tree=tree: reduce(x, COLS, tree), 512, 4096), WSE2, BARE).cycles
        for tree in trees
    ]
    assert chain.cycles < min(others)


def test_a_payload_is_streamed_once_not_for_each_core():
    short, long = (
        time(line(lambda x: reduce(x, COLS, Tree(end=True)), 300, words), WSE2, STREAM).cycles
        for words in (1, 1001)
    )
    assert long - short == 1000


def test_a_root_in_the_middle_takes_both_sides_payloads():
    end, middle = (
        time(line(lambda x, t=tree: reduce(x, COLS, t), 9, 100), WSE2, BARE)
        for tree in (Tree(end=True), Tree())
    )
    assert end.causes["fabric"] == 100 + 8
    assert middle.causes["fabric"] == 200 + 4
    assert middle.causes["stages"] == 4 * 5


@pytest.mark.parametrize("trips", [1, 7])
def test_exposed_words_in_a_loop_are_multiplied(trips):
    def core(x):
        return lax.scan(lambda c, _: (shift(c, COLS, Ring()), None), x, None, length=trips)[0]

    made = time(line(core, 5, 64, mesh_rows=3), WSE2)
    assert made.cycles == trips * (KERNEL.task_cycles + 64 + 2 + 2 * T_R + 1)


def overlapped(words, k, trips=6):
    """A loop that shifts `words` words while it multiplies two k x k tiles."""

    def core(x, a):
        def turn(held, _):
            moving, total = held
            return (shift(moving, COLS, Ring()), total + a @ a), None

        return lax.scan(turn, (x, jnp.zeros_like(a)), None, length=trips)[0]

    x = Spec((4, words), Blocks((COLS, None)), jnp.float32)
    a = Spec((3 * k, 4 * k), Blocks((ROWS, COLS)), jnp.float32)
    return Program(core, mesh=(3, 4), inputs=(x, a), outputs=(x, a), name="overlapped")


def product_cycles(k):
    """k maps of k instructions over k fp32 elements at one multiply-add per cycle."""
    each = max(KERNEL.bank_factor, 2 * 4 / WSE2.sram_read_bytes_per_cycle)
    return k * (KERNEL.map_cycles + k * (KERNEL.vector_cycles + k * each))


@pytest.mark.parametrize(("words", "k"), [(8, 6), (4000, 3), (1, 9)])
def test_beside_a_product_the_slower_of_the_two_counts(words, k):
    made = time(overlapped(words, k), WSE2)
    way = words + 2 + 2 * T_R + 1
    trip = KERNEL.task_cycles + max(way, product_cycles(k))
    assert made.cycles == pytest.approx(6 * trip)
    assert made.hidden_cycles == pytest.approx(6 * min(way, product_cycles(k)))


def test_a_product_that_needs_the_shifted_value_hides_nothing():
    def core(x, a):
        def turn(held, _):
            moved = shift(held, COLS, Ring())
            return moved + moved @ a, None

        return lax.scan(turn, x, None, length=5)[0]

    a = Spec((3 * 4, 4 * 4), Blocks((ROWS, COLS)), jnp.float32)
    made = time(Program(core, mesh=(3, 4), inputs=(a, a), outputs=a, name="needs"), WSE2)
    assert made.hidden_cycles == 0
    assert made.cycles == pytest.approx(5 * (KERNEL.task_cycles + 16 + 2 + 5 + product_cycles(4)))


def test_causes_and_callers_both_add_up():
    made = time(Program(mesh_gemm, mesh=(4, 6), shapes=[(48, 48), (48, 48)]), WSE2)
    assert sum(made.causes.values()) == pytest.approx(made.cycles)
    assert sum(made.by_caller.values()) == pytest.approx(made.cycles)
    assert made.seconds == made.cycles / WSE2.clock_hz
    assert made.exposed_cycles == pytest.approx(made.cycles - made.causes["compute"])


@given(
    tile=st.tuples(*[st.integers(1, 9)] * 3),
    side=st.integers(3, 40),
    style=st.sampled_from([KERNEL, LIBRARY]),
)
def test_no_result_is_below_work_over_peak_or_payload_over_link(tile, side, style):
    m, k, n = (side * t for t in tile)
    p = Program(mesh_gemm, mesh=(side, side), shapes=[(m, k), (k, n)], dtype=jnp.float16)
    made = time(p, WSE3, style)
    assert made.cycles >= m * k * n / side**2 / WSE3.macs_per_cycle["float16"]
    assert made.cycles >= side * tile[0] * tile[1] * 2 / WSE3.link_bytes_per_cycle
    assert all(made.cycles >= floor for floor in made.floors.values())


def test_a_result_below_its_floor_is_an_error_of_ours():
    cheat = replace(KERNEL, task_cycles=-1e6)
    with pytest.raises(BelowFloorError, match="below the floor"):
        time(Program(mesh_gemm, mesh=(3, 3), shapes=[(9, 9), (9, 9)]), WSE2, cheat)


@pytest.mark.parametrize(
    ("key", "slower"),
    [
        ("hop_cycles", 3),
        ("ramp_cycles", 9),
        ("link_bytes_per_cycle", 1),
        ("ramp_bytes_per_cycle", 1),
    ],
)
def test_a_slower_fabric_is_never_faster(key, slower):
    slow = WSE2.with_facts({key: assumed(slower, "for this test")}, name="slow")
    p = line(lambda x: reduce(x, COLS, Tree((5,))), 23, 50)
    assert time(p, slow).cycles > time(p, WSE2).cycles


def test_the_silicon_profile_of_wse3_is_slower_by_its_hops_and_link():
    p = line(lambda x: broadcast(x, COLS, 0), 101, 80)
    extra = time(p, chip("wse3@silicon")).cycles - time(p, WSE3).cycles
    assert extra == pytest.approx(100 * 1 + 80 / 8)


def test_half_precision_moves_two_values_per_wavelet():
    spec = Spec((7, 33), Blocks((COLS, None)), jnp.float16)
    p = Program(
        lambda x: broadcast(x, COLS, 0), mesh=(1, 7), inputs=(spec,), outputs=spec, name="half"
    )
    assert time(p, WSE2, BARE).cycles == math.ceil(33 / 2) + 7 + 2 * T_R


def test_a_vector_times_a_matrix_is_one_map_over_its_columns():
    v = Spec((12,), Blocks((None,)), jnp.float16)
    w = Spec((12, 20), Blocks((None, None)), jnp.float16)
    out = Spec((20,), Blocks((None,)), jnp.float16)
    p = Program(lambda v, w: v @ w, mesh=(3, 4), inputs=(v, w), outputs=out, name="gemv")
    each = KERNEL.bank_factor / 4  # four multiply-adds per cycle on WSE-2
    assert time(p, WSE2).cycles == pytest.approx(
        KERNEL.map_cycles + 12 * (KERNEL.vector_cycles + 20 * each)
    )


def test_a_matrix_unit_takes_operations_over_its_rate():
    a = Spec((64, 64), Blocks((None, None)), jnp.bfloat16)
    p = Program(lambda a, b: a @ b, mesh=(3, 4), inputs=(a, a), outputs=a, name="unit")
    assert time(p, BLACKHOLE).cycles == KERNEL.map_cycles + 64**3 / 512


def test_a_type_that_the_chip_lacks_is_named():
    a = Spec((4, 4), Blocks((None, None)), jnp.float16)
    p = Program(lambda a: a @ a, mesh=(3, 4), inputs=(a,), outputs=a, name="half")
    with pytest.raises(InputError, match="float16"):
        time(p, chip("dojo"))


def test_at_most_eight_constants_are_fitted_and_each_says_what_it_is():
    assert len(CONSTANTS) <= 8
    assert all(c.value > 0 and c.says and c.rows and c.unit.startswith("cycles") for c in CONSTANTS)


def test_an_unknown_style_of_code_has_a_nearest_name():
    with pytest.raises(InputError, match="Did you mean library"):
        software("libary")
