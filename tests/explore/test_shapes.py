"""Models have the sizes that their authors advertise, and the bytes of the facts."""

import json
from pathlib import Path

import pytest

from waferllm import explore
from waferllm.errors import InputError, UnsupportedError
from waferllm.explore.inputs import model_numbers


@pytest.mark.parametrize(
    ("name", "billion", "active"),
    [  # advertised by their authors
        ("deepseek-v3", 671, 37),
        ("kimi-k2", 1026, 32),
        ("qwen3-30b-a3b", 30.5, 3.3),
        ("qwen3-235b-a22b", 235, 22),
        ("mixtral-8x7b", 46.7, 12.9),
        ("mixtral-8x22b", 141, 39),
        ("gpt-oss-20b", 20.9, 3.6),
        ("gpt-oss-120b", 116.8, 5.1),
        ("llama3-70b", 70.6, 70.6),
        ("llama3-8b", 8.03, 8.03),
    ],
)
def test_parameters_are_those_advertised(name: str, billion: float, active: float) -> None:
    shape = explore.find_shape(name)
    assert shape.parameters / 1e9 == pytest.approx(billion, rel=0.01)
    # some count the embedding among the active ones, some do not
    least, most = (
        shape.active_parameters / 1e9,
        (shape.active_parameters + shape.embed_params) / 1e9,
    )
    assert least * 0.97 <= active <= most * 1.03


@pytest.mark.parametrize(
    ("name", "streamed_gb", "kv_bytes"),
    [
        ("llama3.1-8b", 15.01, 131_072),
        ("llama2-7b", 13.21, 524_288),
        ("llama3-70b", 139.0, 327_680),
        ("llama2-70b", 137.4, 327_680),
        ("qwen3-32b", 63.97, 262_144),
    ],
)
def test_a_token_streams_the_bytes_of_the_facts(
    name: str, streamed_gb: float, kv_bytes: int
) -> None:
    m = model_numbers(explore.find_shape(name), explore.WORKLOADS["chat"])
    assert (m["dense_bytes"] + m["head_bytes"]) / 1e9 == pytest.approx(streamed_gb, rel=1e-3)
    assert m["layers"] * m["kv_layer_bytes"] == kv_bytes


def test_latent_attention_caches_one_vector_and_one_key() -> None:
    shape = explore.find_shape("deepseek-v3")
    assert shape.kv_elements_per_token == (512 + 64) * 61
    assert shape.kv_shards == 1  # every chip of a tensor-parallel group holds all of it


def test_a_config_of_ones_own_is_counted_like_a_named_one(tmp_path: Path) -> None:
    values = {
        "model_type": "mixtral", "hidden_size": 64, "num_hidden_layers": 3, "vocab_size": 1000,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
        "num_local_experts": 6, "num_experts_per_tok": 2,
    }  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(values))
    attention = 64 * 64 * 2 + 64 * 32 * 2
    experts = 6 * 3 * 64 * 96
    expected = 3 * (attention + 2 * 64 + 64 * 6 + experts) + 64 + 2 * 64 * 1000
    assert explore.find_shape(file).parameters == expected


def test_unknown_models_offer_the_nearest_and_say_what_else_works(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Did you mean deepseek-v3.*config.json"):
        explore.find_shape("deepseek-v33")
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(UnsupportedError, match="mamba"):
        explore.find_shape(tmp_path)
