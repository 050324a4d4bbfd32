"""The catalogue against what the vendors advertise, by arithmetic that does not use `Chip`."""

import math

import pytest

from waferllm.chip import BLACKHOLE, CHIPS, DOJO_TILE, WSE2, WSE3, Chip, Tag, chip


def test_wse2_has_745_500_usable_cores_as_tlr_mvm_reports() -> None:
    assert WSE2.cores_total == 750 * 994 == 745_500 == 35_784_000 // 48


def test_wse3_rectangle_leaves_seven_columns_and_two_rows_to_memcpy() -> None:
    assert (WSE3.grid_cols + 7) * (WSE3.grid_rows + 2) == 762 * 1172 == 893_064


def test_wse2_nameplate_peak_is_7_48_pflops_at_1_1_ghz_and_5_78_at_0_85() -> None:
    assert WSE2.nameplate_flops("float16") == pytest.approx(850_000 * 4 * 2 * 1.1e9) == 7.48e15
    slow = chip("wse2@clock850")
    assert slow.nameplate_flops("float16") == pytest.approx(5.78e15)


def test_wse3_nameplate_peak_is_an_eighth_of_the_advertised_sparse_125_pflops() -> None:
    assert 8 * WSE3.nameplate_flops("float16") == pytest.approx(125e15, rel=0.02)


def test_wse3_float32_peak_on_64_systems_bounds_the_published_84_pflops_at_90_percent() -> None:
    per_wafer = chip("wse3@clock875").nameplate_flops("float32")
    assert 64 * 0.9 * per_wafer == pytest.approx(84e15, rel=0.1)


@pytest.mark.parametrize(("wafer", "advertised_gb"), [(WSE2, 40), (WSE3, 44)])
def test_nameplate_sram_is_the_advertised_one(wafer: Chip, advertised_gb: int) -> None:
    total_bytes = wafer.nameplate_cores * wafer.sram_per_core_bytes
    assert total_bytes == pytest.approx(advertised_gb * 1e9, rel=0.05)


def test_advertised_20_pb_per_s_of_wse2_needs_a_clock_between_the_two_that_are_published() -> None:
    read_and_write_bytes = 16 + 8
    assert 0.85e9 < 20e15 / (850_000 * read_and_write_bytes) < 1.1e9
    scaled = WSE2.sram_bandwidth_bytes_per_s * 850_000 / 745_500
    assert scaled == pytest.approx(850_000 * 24 * 1.1e9)
    assert scaled == pytest.approx(20e15, rel=0.15)


def test_wse2_links_counted_in_and_out_give_the_advertised_220_pbit_per_s() -> None:
    both_ways_bits = 2 * 8 * WSE2.fabric_bandwidth_bytes_per_s * 850_000 / 745_500
    assert both_ways_bits == pytest.approx(220e15, rel=0.1)


def test_dojo_tile_reaches_25_times_362_tflops_and_11_gb() -> None:
    assert DOJO_TILE.nameplate_flops("bfloat16") == pytest.approx(25 * 362e12, rel=0.01)
    assert DOJO_TILE.nameplate_flops("float32") == pytest.approx(25 * 22.6e12, rel=0.01)
    assert DOJO_TILE.sram_total_bytes == pytest.approx(11e9, rel=0.06)
    assert DOJO_TILE.cores_total <= 25 * 354


def test_dojo_rows_of_one_die_carry_the_published_10_tb_per_s() -> None:
    row_bytes_per_s = DOJO_TILE.link_bytes_per_cycle * DOJO_TILE.clock_hz
    assert row_bytes_per_s == 512e9
    assert 20 * row_bytes_per_s == pytest.approx(10e12, rel=0.03)


def test_blackhole_at_one_fidelity_phase_is_the_advertised_774_tflops() -> None:
    assert 4 * BLACKHOLE.nameplate_flops("bfloat16") == pytest.approx(774e12, rel=0.001)
    assert BLACKHOLE.sram_total_bytes == 210 * 1024**2
    harvested = chip("p150@harvested")
    assert 4 * harvested.nameplate_flops("bfloat16") == pytest.approx(664e12, rel=0.001)


@pytest.mark.parametrize("one", CHIPS.values(), ids=lambda one: one.name)
def test_no_chip_uses_more_cores_than_advertised_and_alpha_is_below_beta(one: Chip) -> None:
    assert one.cores_total <= one.nameplate_cores
    assert one.hop_cycles < one.stage_cycles
    assert 0 < one.free_per_core_bytes < one.sram_per_core_bytes
    assert one.free_routes_per_core > 0


def test_wafers_leave_21_colors_to_a_program_and_packet_networks_any_number() -> None:
    assert WSE2.free_routes_per_core == WSE3.free_routes_per_core == 24 - 3
    assert DOJO_TILE.free_routes_per_core == BLACKHOLE.free_routes_per_core == math.inf


def test_what_nobody_published_is_not_labelled_published() -> None:
    assert WSE2.sources["reserved_per_core_bytes"].tag is Tag.ASSUMED
    assert DOJO_TILE.sources["stage_cycles"].tag is Tag.ASSUMED
    assert DOJO_TILE.sources["grid_cols"].tag is Tag.RECALLED
