"""Answers to open questions rest on curves that closed forms give too."""

from math import ceil, log2
from pathlib import Path

import pytest

from waferllm import explore
from waferllm.explore import questions


def test_fewest_chips_are_those_whose_memory_holds_the_weights() -> None:
    answer = questions.flash_beside_dram()
    shape = explore.find_shape("deepseek-v3")
    stored_gb = shape.stored_bytes("fp8", "fp8") / 1e9
    stacks_gb = 8 * 48 * 0.9
    assert ceil(stored_gb / stacks_gb) == 2
    assert stored_gb < 7 * 48 * 0.9 + 512  # one chip with one stack of flash
    line = next(one for one in answer.says.split("\n") if one.startswith("DeepSeek-V3, chat"))
    assert "flash on 1 of 8 sites: 1 instead of 2 chip(s)" in line
    assert all(curve.y[0] == 1 for curve in answer.curves)


def test_small_sums_take_the_hops_of_their_topology() -> None:
    answer = questions.topology_for_small_messages(message_bytes=1e-3)
    hop, software = 0.2, 0.3
    full, ring, adding = (answer.curve(name) for name in ("full", "ring", "dragonfly that adds"))
    assert full.y == pytest.approx([software + hop] * len(full.x), abs=1e-3)
    for chips, us in zip(ring.x, ring.y, strict=True):
        one_shot = software + chips // 2 * hop  # halfway round
        doubling = log2(chips) * (software + chips // 2 * hop)
        bucket = 1.0 + 2 * (chips - 1) * hop
        assert us == pytest.approx(min(one_shot, doubling, bucket), abs=1e-3)
    assert max(adding.y) == pytest.approx(software + 3 * hop, abs=1e-3)


def test_a_late_chip_costs_its_delay_times_its_chance() -> None:
    answer = questions.late_chips(late_us=100.0)
    chance, sums = 1e-2, 2 * 80
    expected_ms = 1e-3 * sums * (1 - (1 - chance) ** 8) * 100
    first = (1 - (1 - 1e-5) ** 8) * 100e-3 * sums
    waits = answer.curve("everybody waits").y
    assert waits[-1] - waits[0] == pytest.approx(expected_ms - first, rel=1e-6)
    five = answer.curve("time-out after 5 us").y
    assert (five[-1] - five[0]) / (waits[-1] - waits[0]) == pytest.approx(5 / 100)


def test_flash_behind_a_small_buffer_is_as_slow_as_the_buffer_turns() -> None:
    answer = questions.limits_of_flash()
    large = answer.curve("262 MB of buffer a stack").y
    assert list(large) == sorted(large, reverse=True)
    enough = answer.curve("65.5 MB of buffer a stack").y
    assert enough[:4] == pytest.approx(large[:4])
    assert enough[-1] < large[-1]  # 40 us want twice as much


def test_an_answer_is_plotted_and_says_that_it_is_predicted(tmp_path: Path) -> None:
    answer = questions.late_chips()
    answer.plot(tmp_path / "a" / "late.png")
    assert (tmp_path / "a" / "late.png").read_bytes().startswith(b"\x89PNG")
    assert answer.question in str(answer)
    assert answer.says in str(answer)
