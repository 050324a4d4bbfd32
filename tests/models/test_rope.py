"""Rotary frequencies: closed forms in double precision, and the values of transformers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.models.support import CHECKPOINTS, FIXTURES, expected
from waferllm.models.config import ModelConfig, Rope, load_config
from waferllm.models.registry import named
from waferllm.models.rope import rope_frequencies, yarn_scale


def config(rope: Rope, head_dim: int = 16) -> ModelConfig:
    return replace(named("llama3-8b"), rope=rope, head_dim=head_dim)


def plain(theta: float, head_dim: int) -> np.ndarray:
    return np.array([theta ** (-2 * i / head_dim) for i in range(head_dim // 2)])


@pytest.mark.parametrize(("theta", "head_dim"), [(1e4, 2), (1e4, 12), (5e5, 128), (1e6, 64)])
def test_plain_frequencies_are_powers_of_theta(theta: float, head_dim: int) -> None:
    frequencies, scale = rope_frequencies(config(Rope(theta=theta), head_dim))
    assert frequencies.dtype == np.float32
    assert scale == 1.0
    np.testing.assert_allclose(frequencies, plain(theta, head_dim), rtol=1e-6)


def test_linear_scaling_divides_every_frequency() -> None:
    frequencies, scale = rope_frequencies(config(Rope(kind="linear", factor=4.0)))
    assert scale == 1.0
    np.testing.assert_allclose(frequencies, plain(1e4, 16) / 4, rtol=1e-6)


def test_llama3_scaling_keeps_short_waves_and_divides_long_ones() -> None:
    rope = named("llama3.1-8b").rope
    frequencies, scale = rope_frequencies(config(rope, 128))
    before = plain(500_000.0, 128)
    turns = 8192 * before / (2 * math.pi)
    blend = np.clip((turns - 1) / (4 - 1), 0, 1)
    np.testing.assert_allclose(frequencies, before * (blend + (1 - blend) / 8), rtol=1e-6)
    assert scale == 1.0
    assert (turns > 4).any()
    assert (turns < 1).any()
    assert ((turns > 1) & (turns < 4)).any()


def test_yarn_keeps_fast_pairs_and_divides_slow_ones() -> None:
    rope = Rope(kind="yarn", factor=8.0, original_max_positions=4096)
    frequencies, scale = rope_frequencies(config(rope, 128))
    before = plain(1e4, 128)
    turns = 4096 * before / (2 * math.pi)
    fast, slow = turns > 40, turns < 0.8
    np.testing.assert_allclose(frequencies[fast], before[fast], rtol=1e-6)
    np.testing.assert_allclose(frequencies[slow], before[slow] / 8, rtol=1e-6)
    assert ((frequencies / before)[~fast & ~slow] > 1 / 8).all()
    assert scale == pytest.approx(0.1 * math.log(8) + 1)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"attention_factor": 1.25}, 1.25),
        ({"factor": 1.0}, 1.0),
        ({"mscale": 0.7, "mscale_all_dim": 0.7}, 1.0),
        (
            {"mscale": 1.0, "mscale_all_dim": 0.5},
            (0.1 * math.log(8) + 1) / (0.05 * math.log(8) + 1),
        ),
        ({"mscale": 1.0}, 0.1 * math.log(8) + 1),
    ],
)
def test_yarn_scale_is_given_or_logarithmic(changes: dict, scale: float) -> None:
    rope = replace(Rope(kind="yarn", factor=8.0, original_max_positions=64), **changes)
    assert yarn_scale(rope) == pytest.approx(scale, rel=1e-12)


def test_a_yarn_ramp_of_no_width_is_a_step() -> None:
    rope = Rope(kind="yarn", factor=2.0, original_max_positions=8, beta_fast=1e9, beta_slow=1e8)
    frequencies, _ = rope_frequencies(config(rope))
    assert np.isfinite(frequencies).all()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_frequencies_are_those_of_transformers(name: str) -> None:
    frequencies, scale = rope_frequencies(load_config(FIXTURES / name))
    told = expected(name)
    np.testing.assert_allclose(frequencies, told["inv_freq"], rtol=1.2e-7)
    assert scale == pytest.approx(float(told["rope_scale"]), rel=1e-12)
