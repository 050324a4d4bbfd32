"""The committed fixtures are what transformers says today, wherever it is installed."""

import numpy as np
import pytest

from tests.models.support import CHECKPOINTS, FIXTURES, TOKENIZERS, expected, expected_texts
from waferllm.models.config import ModelConfig
from waferllm.models.registry import NAMES, named
from waferllm.models.rope import rope_frequencies

pytestmark = [
    pytest.mark.transformers,
    # Not ours: importing torch and transformers may warn of their own dependencies.
    pytest.mark.filterwarnings("default"),
]
torch = pytest.importorskip("torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers", exc_type=ImportError)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits_and_tokens_come_out_again(name: str) -> None:
    told = expected(name)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        FIXTURES / name, dtype=torch.float32, attn_implementation="eager"
    )
    model.generation_config = transformers.GenerationConfig(pad_token_id=0)
    with torch.no_grad():
        logits = model(torch.tensor(told["prompt"][None]), use_cache=False).logits[0].numpy()
    np.testing.assert_allclose(logits, told["logits"], rtol=0, atol=1e-4)
    for prompt, greedy in (("prompt", "greedy"), ("short_prompt", "short_greedy")):
        ids = torch.tensor(told[prompt][None].astype(np.int64))
        out = model.generate(
            ids, max_new_tokens=len(told[greedy]), do_sample=False, eos_token_id=None
        )
        assert out[0, ids.shape[1] :].tolist() == told[greedy].tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_and_chats_come_out_again(name: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / name)
    told = expected_texts(name)
    for row in told["texts"]:
        assert tokenizer(row["text"])["input_ids"] == row["ids"]
        assert tokenizer.decode(row["ids"], skip_special_tokens=True) == row["decoded"]
    for row in told.get("chats", []):
        text = tokenizer.apply_chat_template(
            row["messages"], tokenize=False, add_generation_prompt=row["add_generation_prompt"]
        )
        assert text == row["text"]


YARN = {"rope_type": "yarn", "original_max_position_embeddings": 4096, "factor": 16.0}
ROPES = [
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 2.5},
    YARN,
    YARN | {"beta_fast": 20.0, "beta_slow": 2.0, "truncate": False},
    YARN | {"attention_factor": 1.1},
    YARN | {"mscale": 0.8, "mscale_all_dim": 0.5},
    YARN | {"factor": 1.0},
    {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
]


@pytest.mark.parametrize("theta", [1e4, 5e5, 1e6])
@pytest.mark.parametrize("rope", ROPES)
def test_frequencies_are_those_of_transformers_at_real_sizes(rope: dict, theta: float) -> None:
    values = {
        "hidden_size": 256,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "vocab_size": 8,
        "max_position_embeddings": 65536,
        "rope_parameters": rope | {"rope_theta": theta},
    }
    config = transformers.LlamaConfig(**values)
    rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    frequencies, scale = rope_frequencies(ModelConfig.from_hf(values | {"model_type": "llama"}))
    np.testing.assert_allclose(frequencies, rotary.inv_freq.numpy(), rtol=1.2e-7)
    assert scale == pytest.approx(rotary.attention_scaling, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_public_shapes_have_the_parameters_that_transformers_counts(name: str) -> None:
    config = named(name)
    values = {
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab,
        "tie_word_embeddings": config.tied,
    }
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(config.family, **values)
        )
    assert sum(weight.numel() for weight in model.parameters()) == config.parameters
