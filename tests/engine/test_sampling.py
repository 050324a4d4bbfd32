"""Sampling against closed forms: softmax, brute-force supports, hand-computed distributions."""

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waferllm.engine.params import SamplingParams
from waferllm.engine.sampling import forbid, penalise, probabilities, sample, stream
from waferllm.errors import InputError, WaferError

VALUES = st.sampled_from([-math.inf, -30.0, -2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])
LOGITS = st.lists(st.one_of(VALUES, st.floats(-9, 9, width=32)), min_size=1, max_size=12).filter(
    lambda values: max(values) > -math.inf
)


def of(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def softmax(values, temperature=1.0) -> list[float]:
    top = max(values)
    weights = [math.exp((float(v) - top) / temperature) for v in values]
    return [w / math.fsum(weights) for w in weights]


def draws(logits: np.ndarray, params: SamplingParams, count: int) -> np.ndarray:
    """How often each token comes in `count` steps of one request."""
    tokens = [sample(logits, params, stream(5, 2, step)) for step in range(count)]
    return np.bincount(tokens, minlength=logits.size)


def nucleus(p: list[float], top_p: float) -> set[int]:
    """The fewest likeliest tokens, lower ids first among equals, that reach `top_p`."""
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    before = [0.0, *accumulate(p[i] for i in order)][: len(p)]
    return {i for i, mass in zip(order, before, strict=True) if mass < top_p}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_softmax(temperature: float) -> None:
    logits, count = of(0.0, 1.0, 2.0, -1.0, -math.inf, 0.5), 20_000
    seen = draws(logits, SamplingParams(temperature=temperature), count)
    for times, p in zip(seen, softmax(logits, temperature), strict=True):
        assert abs(times - count * p) <= 5 * math.sqrt(count * p * (1 - p))


def test_frequencies_over_requests_are_those_of_softmax() -> None:
    logits, count, params = of(0.0, 0.0, math.log(2)), 20_000, SamplingParams()
    for draw in (lambda i: stream(i, 0, 0), lambda i: stream(0, i, 0)):
        seen = np.bincount([sample(logits, params, draw(i)) for i in range(count)])
        for times, p in zip(seen, (0.25, 0.25, 0.5), strict=True):
            assert abs(times - count * p) <= 5 * math.sqrt(count * p * (1 - p))


def test_distributions_worked_out_by_hand() -> None:
    logits = np.log(of(4, 3, 2, 1))
    cases = [
        (SamplingParams(), [0.4, 0.3, 0.2, 0.1]),
        (SamplingParams(top_k=2), [4 / 7, 3 / 7, 0, 0]),
        (SamplingParams(top_p=0.65), [4 / 7, 3 / 7, 0, 0]),
        (SamplingParams(top_p=0.75), [4 / 9, 3 / 9, 2 / 9, 0]),
        (SamplingParams(min_p=0.45), [4 / 9, 3 / 9, 2 / 9, 0]),
        (SamplingParams(temperature=0.5), [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        # top_p counts among the three that top_k leaves: 4/9 + 3/9 > 0.75; alone it keeps three
        (SamplingParams(top_k=3, top_p=0.75), [4 / 7, 3 / 7, 0, 0]),
        # temperature comes first: 16/30 + 9/30 > 0.8, where 0.4 + 0.3 are not
        (SamplingParams(temperature=0.5, top_p=0.8), [16 / 25, 9 / 25, 0, 0]),
        # min_p comes last: top_p counts all four, so 0.8 needs three; the third then is below 0.6
        (SamplingParams(top_p=0.8, min_p=0.6), [4 / 7, 3 / 7, 0, 0]),
        (SamplingParams(temperature=0), [1, 0, 0, 0]),
    ]
    for params, expected in cases:
        np.testing.assert_allclose(probabilities(logits, params), expected, rtol=1e-6)


@given(LOGITS, st.floats(0.2, 3), st.integers(0, 13), st.floats(0.01, 1), st.floats(0, 1))
@example([0.0] * 8, 1.0, 3, 0.5, 1.0)
@example([0.0] * 10, 1.0, 0, 0.01, 0.0)
def test_support_is_the_one_found_by_brute_force(values, temperature, top_k, top_p, min_p) -> None:
    params = SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    got = probabilities(of(*values), params)
    values = [float(v) for v in of(*values)]
    kth = sorted(values, reverse=True)[top_k - 1] if 0 < top_k < len(values) else -math.inf
    p = softmax([v if v >= kth else -math.inf for v in values], temperature)

    def support(slack: float) -> set[int]:
        kept = nucleus(p, top_p * (1 + slack)) if top_p < 1 else set(range(len(p)))
        return {i for i in kept if p[i] > 0 and p[i] / max(p) >= min_p * (1 - slack)}

    found = set(np.flatnonzero(got))
    assert support(-1e-12) <= found <= support(1e-12)
    assert got.sum() == pytest.approx(1)
    for i in found:
        assert got[i] == pytest.approx(p[i] / math.fsum(p[j] for j in found), rel=1e-6)


@given(LOGITS, st.integers(0, 2**64 - 1), st.integers(0, 9), st.integers(0, 9))
def test_a_draw_depends_on_seed_index_and_step_only(values, seed, index, step) -> None:
    params, logits = SamplingParams(top_p=0.9), of(*values)
    first = sample(logits, params, stream(seed, index, step))
    sample(logits, params, stream(seed, index + 1, step))
    assert sample(logits, params, stream(seed, index, step)) == first
    assert probabilities(logits, params)[first] > 0


def test_streams_differ_by_seed_index_and_step() -> None:
    places = [(s, i, t) for s in range(4) for i in range(4) for t in range(4)]
    assert len({stream(*place).random() for place in places}) == len(places)


@given(LOGITS)
def test_greedy_takes_the_first_of_the_likeliest(values) -> None:
    token = sample(of(*values), SamplingParams(temperature=0), stream(0, 0, 0))
    assert token == values.index(max(values))


def test_top_k_keeps_ties_as_vllm_and_transformers_do() -> None:
    got = probabilities(of(1, 3, 1, 1, 0), SamplingParams(top_k=2))
    assert list(np.flatnonzero(got)) == [0, 1, 2, 3]


def test_a_tiny_temperature_is_all_but_greedy() -> None:
    params = SamplingParams(temperature=1e-310)
    assert probabilities(of(1, 2, 2, -math.inf), params).tolist() == [0, 0.5, 0.5, 0]


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_an_error(bad: float, temperature: float) -> None:
    with pytest.raises(WaferError, match="token 1"):
        sample(of(0, bad, 2), SamplingParams(temperature=temperature), stream(0, 0, 0))


def test_logits_without_a_possible_token_or_of_a_wrong_shape_are_an_error() -> None:
    with pytest.raises(WaferError, match="impossible"):
        sample(of(-math.inf, -math.inf), SamplingParams(), stream(0, 0, 0))
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        sample(np.zeros((2, 3), np.float32), SamplingParams(), stream(0, 0, 0))


def test_penalties_worked_out_by_hand() -> None:
    logits = of(2, -2, 1, 0.5)
    params = SamplingParams(repetition_penalty=2, presence_penalty=0.25, frequency_penalty=0.125)
    got = penalise(logits, params, prompt_ids=(0, 1), output_ids=(2, 2, 1))
    # 0 and 1 are in the prompt; 1 once and 2 twice in the output; 3 nowhere
    expected = [2 / 2, -2 * 2 - 0.25 - 0.125, 1 / 2 - 0.25 - 2 * 0.125, 0.5]
    np.testing.assert_allclose(got, expected)
    assert logits.tolist() == [2, -2, 1, 0.5]
    assert penalise(logits, SamplingParams(), (0,), (1,)) is logits
    with pytest.raises(InputError, match="7"):
        penalise(logits, params, (7,), ())


def test_forbidden_tokens_are_impossible() -> None:
    assert probabilities(forbid(of(1, 9, 1), {1, 99}), SamplingParams()).tolist() == [0.5, 0, 0.5]
