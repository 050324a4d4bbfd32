"""Public model shapes by name, for planning without a checkpoint.

Source: the `config.json` that each model's authors published on the Hugging Face hub, as known in
July 2025 and typed here by hand. The sizes are checked in the tests by the parameter counts their
authors publish; `norm_eps` and token ids, which no plan depends on, are not checked by anything.
"""

import difflib
from pathlib import Path
from typing import Any

from waferllm.errors import InputError
from waferllm.models.config import ModelConfig, load_config

_Values = dict[str, Any]

_LLAMA1: _Values = {
    "model_type": "llama",
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
    "torch_dtype": "float16",
}
_LLAMA2: _Values = _LLAMA1 | {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
_CODELLAMA: _Values = _LLAMA2 | {
    "vocab_size": 32016,
    "max_position_embeddings": 16384,
    "rope_theta": 1e6,
    "torch_dtype": "bfloat16",
}
_LLAMA3: _Values = {
    "model_type": "llama",
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "torch_dtype": "bfloat16",
}


def _llama31(factor: float) -> _Values:
    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return _LLAMA3 | {"max_position_embeddings": 131072, "rope_scaling": scaling}


_TIED: _Values = {"tie_word_embeddings": True}
_MISTRAL: _Values = {
    "model_type": "mistral",
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
}
_QWEN2: _Values = {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "max_position_embeddings": 131072,
    "rope_theta": 1e6,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "torch_dtype": "bfloat16",
}
_QWEN2_SMALL: _Values = _QWEN2 | _TIED | {"vocab_size": 151936}
_QWEN3: _Values = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "head_dim": 128,
    "rope_theta": 1e6,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "torch_dtype": "bfloat16",
}

# name: (family values, hidden, ffn, layers, heads, key/value heads)
_TABLE: dict[str, tuple[_Values, int, int, int, int, int]] = {
    "llama-7b": (_LLAMA1, 4096, 11008, 32, 32, 32),
    "llama-13b": (_LLAMA1, 5120, 13824, 40, 40, 40),
    "llama-30b": (_LLAMA1, 6656, 17920, 60, 52, 52),
    "llama-65b": (_LLAMA1, 8192, 22016, 80, 64, 64),
    "llama2-7b": (_LLAMA2, 4096, 11008, 32, 32, 32),
    "llama2-13b": (_LLAMA2, 5120, 13824, 40, 40, 40),
    "llama2-70b": (_LLAMA2, 8192, 28672, 80, 64, 8),
    "tinyllama-1.1b": (_LLAMA2 | {"max_position_embeddings": 2048}, 2048, 5632, 22, 32, 4),
    "codellama-7b": (_CODELLAMA, 4096, 11008, 32, 32, 32),
    "codellama-13b": (_CODELLAMA, 5120, 13824, 40, 40, 40),
    "codellama-34b": (_CODELLAMA | {"vocab_size": 32000}, 8192, 22016, 48, 64, 8),
    "llama3-8b": (_LLAMA3, 4096, 14336, 32, 32, 8),
    "llama3-70b": (_LLAMA3, 8192, 28672, 80, 64, 8),
    "llama3.1-8b": (_llama31(8.0), 4096, 14336, 32, 32, 8),
    "llama3.1-70b": (_llama31(8.0), 8192, 28672, 80, 64, 8),
    "llama3.1-405b": (_llama31(8.0), 16384, 53248, 126, 128, 8),
    "llama3.2-1b": (_llama31(32.0) | _TIED, 2048, 8192, 16, 32, 8),
    "llama3.2-3b": (_llama31(32.0) | _TIED, 3072, 8192, 28, 24, 8),
    "llama3.3-70b": (_llama31(8.0), 8192, 28672, 80, 64, 8),
    "mistral-7b": (_MISTRAL, 4096, 14336, 32, 32, 8),
    "mistral-7b-v0.3": (
        _MISTRAL | {"vocab_size": 32768, "sliding_window": None, "rope_theta": 1e6},
        *(4096, 14336, 32, 32, 8),
    ),
    "qwen2-0.5b": (_QWEN2_SMALL, 896, 4864, 24, 14, 2),
    "qwen2-1.5b": (_QWEN2_SMALL, 1536, 8960, 28, 12, 2),
    "qwen2-7b": (_QWEN2, 3584, 18944, 28, 28, 4),
    "qwen2-72b": (_QWEN2, 8192, 29568, 80, 64, 8),
    "qwen2.5-0.5b": (_QWEN2_SMALL, 896, 4864, 24, 14, 2),
    "qwen2.5-1.5b": (_QWEN2_SMALL, 1536, 8960, 28, 12, 2),
    "qwen2.5-3b": (_QWEN2_SMALL, 2048, 11008, 36, 16, 2),
    "qwen2.5-7b": (_QWEN2, 3584, 18944, 28, 28, 4),
    "qwen2.5-14b": (_QWEN2 | {"rms_norm_eps": 1e-5}, 5120, 13824, 48, 40, 8),
    "qwen2.5-32b": (_QWEN2 | {"rms_norm_eps": 1e-5}, 5120, 27648, 64, 40, 8),
    "qwen2.5-72b": (_QWEN2 | {"rms_norm_eps": 1e-5}, 8192, 29568, 80, 64, 8),
    "qwen3-0.6b": (_QWEN3 | _TIED, 1024, 3072, 28, 16, 8),
    "qwen3-1.7b": (_QWEN3 | _TIED, 2048, 6144, 28, 16, 8),
    "qwen3-4b": (_QWEN3 | _TIED, 2560, 9728, 36, 32, 8),
    "qwen3-8b": (_QWEN3, 4096, 12288, 36, 32, 8),
    "qwen3-14b": (_QWEN3, 5120, 17408, 40, 40, 8),
    "qwen3-32b": (_QWEN3, 5120, 25600, 64, 64, 8),
}

NAMES = tuple(_TABLE)


def named(name: str) -> ModelConfig:
    """A public configuration, case aside: `named("llama3-8b")`. Raises InputError for others."""
    key = name.lower()
    if key not in _TABLE:
        near = difflib.get_close_matches(key, _TABLE, n=3, cutoff=0.4) or list(_TABLE)[:3]
        raise InputError(
            f"No public configuration is called '{name}'. Nearest: {', '.join(near)}. "
            "A directory with a config.json works too."
        )
    base, hidden, ffn, layers, heads, kv_heads = _TABLE[key]
    sizes = {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }
    return ModelConfig.from_hf(base | sizes, name=key, where=key)


def find_config(model: str | Path) -> ModelConfig:
    """The configuration of a checkpoint directory, a config file, or a public name.

    A path that exists wins over a name. Raises InputError when `model` is neither.
    """
    if Path(model).exists() or isinstance(model, Path):
        return load_config(model)
    if "/" in model or model.endswith(".json"):
        raise InputError(
            f"There is no '{model}'. Name a checkpoint directory, a config.json, or a public "
            f"configuration such as {NAMES[11]}."
        )
    return named(model)
