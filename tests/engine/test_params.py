"""SamplingParams: vLLM's defaults, and one clear sentence for an impossible value."""

import dataclasses

import numpy as np
import pytest

from waferllm.engine.params import SamplingParams
from waferllm.errors import InputError


def test_defaults_are_those_of_vllm() -> None:
    params = SamplingParams()
    assert (params.max_tokens, params.min_tokens) == (16, 0)
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (1, 0, 1, 0)
    assert (params.seed, params.stop_strings, params.ignore_eos) == (None, (), False)
    assert not params.greedy
    assert not params.penalised


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", "hot"),
        ("temperature", None),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("top_k", -2),
        ("top_k", 1.5),
        ("top_k", True),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("seed", -1),
        ("seed", 2**64),
        ("max_tokens", 0),
        ("max_tokens", 2.0),
        ("min_tokens", -1),
        ("min_tokens", 17),
        ("stop", ""),
        ("stop", ["a", ""]),
        ("stop", 3),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", ["a"]),
        ("ignore_eos", 1),
        ("repetition_penalty", 0),
        ("presence_penalty", 2.5),
        ("frequency_penalty", float("nan")),
    ],
)
def test_an_impossible_value_is_one_sentence_that_names_it(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name) as error:
        SamplingParams(**{name: value})
    assert "\n" not in str(error.value)


def test_edges_of_what_is_possible() -> None:
    SamplingParams(temperature=0, top_k=-1, top_p=1, min_p=1, seed=2**64 - 1, max_tokens=None)
    SamplingParams(temperature=np.float32(0.5), top_k=np.int64(3), max_tokens=5, min_tokens=5)


def test_one_stop_string_is_a_tuple_of_one() -> None:
    assert SamplingParams(stop="end") == SamplingParams(stop=["end"])
    assert hash(SamplingParams(stop=["a", "b"])) == hash(SamplingParams(stop=("a", "b")))
    assert SamplingParams(stop=None, stop_token_ids=None) == SamplingParams()


def test_ends_are_stop_tokens_and_unless_ignored_the_end_of_sequence() -> None:
    assert SamplingParams(stop_token_ids=[5]).ends((1, 2)) == {1, 2, 5}
    assert SamplingParams(stop_token_ids=[5], ignore_eos=True).ends((1, 2)) == {5}


def test_params_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SamplingParams().top_k = 3  # type: ignore[misc]
