"""Configurations: what config.json says is what the decoder gets, or an error that names it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.support import CHECKPOINTS, FIXTURES, stories260k
from waferllm.errors import CheckpointError, InputError, UnsupportedError
from waferllm.models.checkpoint import expected_tensors
from waferllm.models.config import ModelConfig, load_config
from waferllm.models.registry import NAMES, find_config, named

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 97,
}
QWEN = LLAMA | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
QWEN3 = LLAMA | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}
MISTRAL = LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


def without(values: dict, *keys: str) -> dict:
    return {key: value for key, value in values.items() if key not in keys}


def test_an_old_llama_config_gets_the_defaults_of_transformers() -> None:
    config = ModelConfig.from_hf(without(LLAMA, "num_key_value_heads"))
    assert (config.kv_heads, config.head_dim, config.group) == (6, 8, 1)
    assert (config.norm_eps, config.max_positions, config.rope.theta) == (1e-6, 2048, 10_000.0)
    assert (config.bos_id, config.eos_ids, config.tied, config.dtype) == (1, (2,), False, "float32")
    assert (config.qkv_bias, config.o_bias, config.qk_norm) == (False, False, False)
    assert [config.window(layer) for layer in range(3)] == [None] * 3


def test_families_differ_in_biases_norms_and_defaults() -> None:
    qwen2, qwen3, mistral = (ModelConfig.from_hf(values) for values in (QWEN, QWEN3, MISTRAL))
    assert (qwen2.qkv_bias, qwen2.o_bias, qwen2.qk_norm) == (True, False, False)
    assert (qwen3.qkv_bias, qwen3.o_bias, qwen3.qk_norm, qwen3.head_dim) == (
        False,
        False,
        True,
        128,
    )
    assert (mistral.qkv_bias, mistral.window(0), mistral.max_positions) == (False, 4096, 131072)
    assert (qwen2.bos_id, qwen2.eos_ids) == (None, ())
    biased = ModelConfig.from_hf(LLAMA | {"attention_bias": True})
    assert (biased.qkv_bias, biased.o_bias) == (True, True)


def test_mistral_without_kv_heads_has_eight_and_with_null_has_as_many_as_heads() -> None:
    eight = ModelConfig.from_hf(
        without(MISTRAL, "num_key_value_heads") | {"num_attention_heads": 16, "hidden_size": 64}
    )
    assert eight.kv_heads == 8
    assert ModelConfig.from_hf(MISTRAL | {"num_key_value_heads": None}).kv_heads == 6


@pytest.mark.parametrize(
    ("values", "windows"),
    [
        (MISTRAL | {"sliding_window": 5}, (5, 5, 5)),
        (MISTRAL | {"sliding_window": None}, (None, None, None)),
        (LLAMA | {"sliding_window": 5}, (None, None, None)),
        (QWEN | {"sliding_window": 5}, (None, None, None)),
        (QWEN | {"sliding_window": 5, "use_sliding_window": True}, (None, None, None)),
        (
            QWEN | {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 2},
            (None, None, 5),
        ),
        (
            QWEN3
            | {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 2}
            | {"layer_types": ["sliding_attention", "full_attention", "full_attention"]},
            (5, None, None),
        ),
    ],
)
def test_windows_follow_the_rules_of_each_family(values: dict, windows: tuple) -> None:
    config = ModelConfig.from_hf(values)
    assert tuple(config.window(layer) for layer in range(3)) == windows


def test_old_and_new_rope_keys_mean_the_same() -> None:
    old = LLAMA | {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}}
    new = LLAMA | {
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5},
        "rope_theta": 1.0,
    }
    assert ModelConfig.from_hf(old).rope == ModelConfig.from_hf(new).rope
    assert ModelConfig.from_hf(new).rope.theta == 5e5
    assert ModelConfig.from_hf(LLAMA | {"rope_scaling": None}).rope.kind == "default"


def test_yarn_without_a_factor_takes_the_ratio_of_the_lengths() -> None:
    values = LLAMA | {"max_position_embeddings": 128, "rope_scaling": without(YARN, "factor")}
    assert ModelConfig.from_hf(values).rope.factor == 4.0


def test_a_length_outside_the_rope_parameters_wins_as_in_transformers() -> None:
    values = LLAMA | {"rope_scaling": YARN, "original_max_position_embeddings": 16}
    assert ModelConfig.from_hf(values).rope.original_max_positions == 16


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "mixtral"}, "not supported: model_type 'mixtral'"),
        ({"model_type": "qwen3_moe"}, "supported: llama .* mistral, qwen2 .* qwen3"),
        ({"num_experts": 8}, "mixture of experts"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "ForSequenceClassification"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' .* supported: silu"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope type 'dynamic'"),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1]}}, "rope type 'longrope'"),
        ({"rope_scaling": YARN | {"mrope_section": [1]}}, "rope key 'mrope_section'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"torch_dtype": "float8_e4m3fn"}, "dtype 'float8_e4m3fn'"),
        ({"layer_types": ["linear_attention"] * 3}, "layer type 'linear_attention'"),
        ({"layer_types": ["sliding_attention"] * 3}, "layer_types for llama"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(change: dict, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        ModelConfig.from_hf(LLAMA | change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hidden_size": None}, "has no hidden_size"),
        ({"hidden_size": "48"}, "hidden_size = '48', expected an integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"num_attention_heads": True}, "num_attention_heads = True"),
        ({"num_attention_heads": 7}, "48 % 7 = 6"),
        ({"num_key_value_heads": 4}, "6 % 4 = 2"),
        ({"head_dim": 7}, "head_dim = 7, expected an even number"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps = -1.0"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps = nan"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings = 'yes'"),
        ({"eos_token_id": "2"}, "eos_token_id = '2'"),
        ({"model_type": None}, "has no model_type"),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear', expected an object"),
        ({"rope_scaling": {"type": "linear"}}, "has no factor"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor = 0"),
        (
            {
                "rope_scaling": YARN
                | {"rope_type": "llama3"}
                | dict(low_freq_factor=4, high_freq_factor=1)
            },
            "high_freq_factor = 1, expected more than low_freq_factor = 4",
        ),
        ({"layer_types": ["full_attention"]}, "layer_types"),
    ],
)
def test_impossible_values_are_refused_by_name(change: dict, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        ModelConfig.from_hf(LLAMA | change)


def test_files_that_are_missing_or_not_json_are_refused_in_one_sentence(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="There is no"):
        load_config(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load_config(tmp_path)
    file = tmp_path / "config.json"
    for content, says in (
        (b"{", "not valid JSON"),
        (b"[]", "holds a list"),
        (b"\xff", "not UTF-8"),
    ):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=says) as caught:
            load_config(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_directory_and_its_config_file_are_the_same_configuration(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert load_config(tmp_path) == load_config(tmp_path / "config.json") == find_config(tmp_path)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_parameters_are_the_sum_of_the_tensors(name: str) -> None:
    config = load_config(FIXTURES / name)
    assert config.parameters == sum(count(shape) for shape in expected_tensors(config).values())


@given(
    sizes=st.tuples(*[st.integers(1, limit) for limit in (5, 4, 6, 50)]),
    kind=st.sampled_from(["llama", "mistral", "qwen2", "qwen3"]),
    tied=st.booleans(),
    bias=st.booleans(),
)
def test_any_sizes_count_their_parameters(sizes, kind, tied, bias) -> None:
    kv_heads, group, half, hidden = sizes
    values = LLAMA | {
        "architectures": None,
        "model_type": kind,
        "hidden_size": hidden,
        "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * half,
        "tie_word_embeddings": tied,
        "attention_bias": bias and kind in ("llama", "qwen3"),
    }
    config = ModelConfig.from_hf(values)
    assert config.parameters == sum(count(shape) for shape in expected_tensors(config).values())
    assert config.weight_bytes == 4 * config.parameters


def count(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


# Published: model cards and safetensors metadata of the Hugging Face hub.
PUBLISHED = {
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "tinyllama-1.1b": 1_100_048_384,
    "codellama-34b": 33_743_970_304,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3.1-405b": 405_853_388_800,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen2-7b": 7_615_616_512,
    "qwen2-72b": 72_706_203_648,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen3-0.6b": 596_049_920,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-32b": 32_762_123_264,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_public_configurations_have_their_published_parameters(name: str) -> None:
    assert named(name).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_about_as_large_as_it_says(name: str) -> None:
    billions = float(name.split("-")[1].removesuffix("b"))
    assert named(name).parameters / 1e9 == pytest.approx(billions, rel=0.25)


def test_kv_of_llama3_8b_takes_128_kib_a_token() -> None:
    config = named("Llama3-8B")
    assert config.kv_bytes_per_token == 128 * 1024
    assert config.rope.theta == 500_000.0


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(InputError, match="Nearest: llama3-8b"):
        named("llama-3-8b")
    with pytest.raises(InputError, match="There is no 'models/llama3-8b'"):
        find_config("models/llama3-8b")
    assert find_config("qwen3-8b") == named("qwen3-8b")


def test_the_shared_checkpoint_is_read() -> None:
    path = stories260k()
    config = load_config(path)
    assert (config.hidden, config.ffn, config.layers, config.heads) == (64, 172, 5, 8)
    assert (config.kv_heads, config.head_dim, config.vocab, config.tied) == (4, 8, 512, True)
    content = (path / "model.safetensors").read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    assert config.weight_bytes == len(content) - 8 - header_bytes
