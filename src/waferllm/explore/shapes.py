"""What the explorer needs of a model: parameters, KV and operations of dense, GQA, MLA and MoE decoders.

Sizes come from a Hugging Face `config.json` or a public name. Families that the engine runs are read
by `models.config`; mixtures of experts and latent attention are described here.

    dense      attention, norms, dense feed-forward and shared experts of all layers
    experts    routed experts: every token reads `experts_per_token` of them in each MoE layer
    KV         full layers grow with the context; windowed layers stop at `window`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waferllm.chip.facts import nearest
from waferllm.errors import InputError, UnsupportedError
from waferllm.models.config import ModelConfig, load_config
from waferllm.models.jsonfile import Fields, read_json
from waferllm.models.registry import NAMES as DENSE_NAMES
from waferllm.models.registry import named as dense_config

BITS = {"bf16": 16.0, "fp8": 8.0, "int8": 8.0, "fp4": 4.5, "mxfp4": 4.25, "int4": 4.25}
KERNELS_PER_LAYER = 9  # norm, QKV, rotary and cache, attention, output, norm, gate/up, act, down
PRODUCTS_PER_LAYER = 4  # of these, QKV, output, gate/up and down
#: Router, top-k, sort, gather, scatter and their like, in times of a kernel: fitted to gpt-oss-20b at
#: batch 1 (`measured.ITL`), where H100 and B200 agree on 18.
KERNELS_PER_ROUTER = 18
PRODUCTS_OF_MLA = 4  # further products of low-rank queries, keys and values
STEP_KERNELS = 4  # embedding, last norm, head, sampling


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of one model; parameters count all layers, attention is per layer.

    `score_flops_*` are operations for one query and one key of one layer, all heads. `kv_elements` are
    what one token adds to the cache of one layer, cut at most `kv_shards` ways by tensor parallelism.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    vocab: int
    dense_params: int
    head_params: int
    embed_params: int
    expert_params: int
    experts: int
    experts_per_token: int
    moe_layers: int
    kv_elements: int
    kv_shards: int
    score_flops_decode: int
    score_flops_prefill: int
    windowed_layers: int
    window: int
    kernels: int
    products: int
    dtype: str
    expert_dtype: str

    @property
    def parameters(self) -> int:
        """All parameters; a tied output matrix counts once."""
        routed = self.experts * self.expert_params * self.moe_layers
        return self.dense_params + routed + self.embed_params + self.head_params

    @property
    def active_parameters(self) -> int:
        """Parameters that one token reads, the embedding left out."""
        routed = self.experts_per_token * self.expert_params * self.moe_layers
        return self.dense_params + routed + self.head_params

    @property
    def kv_elements_per_token(self) -> int:
        """Cache elements of one token in all layers."""
        return self.layers * self.kv_elements

    def stored_bytes(self, dtype: str, expert_dtype: str) -> float:
        """Bytes of all weights, the embedding and the head in 16 bits unless everything is 16 bits."""
        tables = 2.0 * (self.embed_params + self.head_params)
        routed = self.experts * self.expert_params * self.moe_layers
        return (
            tables
            + self.dense_params * BITS[dtype] / 8
            + routed * BITS[expert_dtype] / 8
        )  # fmt: skip


def _dense(config: ModelConfig) -> Shape:
    heads_width = config.heads * config.head_dim
    table = config.vocab * config.hidden
    windows = [w for n in range(config.layers) if (w := config.window(n)) is not None]
    return Shape(
        name=config.name,
        layers=config.layers,
        hidden=config.hidden,
        heads=config.heads,
        vocab=config.vocab,
        dense_params=config.layers * config.parameters_per_layer + config.hidden,
        head_params=table,
        embed_params=0 if config.tied else table,
        expert_params=0,
        experts=0,
        experts_per_token=0,
        moe_layers=0,
        kv_elements=2 * config.kv_heads * config.head_dim,
        kv_shards=config.kv_heads,
        score_flops_decode=4 * heads_width,
        score_flops_prefill=4 * heads_width,
        windowed_layers=len(windows),
        window=max(windows, default=0),
        kernels=config.layers * KERNELS_PER_LAYER + STEP_KERNELS,
        products=config.layers * PRODUCTS_PER_LAYER + 1,
        dtype="bf16",
        expert_dtype="bf16",
    )


@dataclass(frozen=True)
class _Names:
    """What a family calls the sizes of its experts."""

    experts: str
    expert_ffn: str = "moe_intermediate_size"
    per_token: str = "num_experts_per_tok"
    shared: str = ""
    dense_layers: str = ""


_MOE = {
    "mixtral": _Names("num_local_experts", expert_ffn="intermediate_size"),
    "qwen3_moe": _Names("num_experts"),
    "gpt_oss": _Names("num_local_experts", expert_ffn="intermediate_size"),
    "deepseek_v2": _Names("n_routed_experts", shared="n_shared_experts",
                          dense_layers="first_k_dense_replace"),
    "deepseek_v3": _Names("n_routed_experts", shared="n_shared_experts",
                          dense_layers="first_k_dense_replace"),
    "kimi_k2": _Names("n_routed_experts", shared="n_shared_experts",
                      dense_layers="first_k_dense_replace"),
    "glm4_moe": _Names("n_routed_experts", shared="n_shared_experts",
                       dense_layers="first_k_dense_replace"),
}  # fmt: skip
_NATIVE = {
    "deepseek_v3": ("fp8", "fp8"), "kimi_k2": ("fp8", "fp8"), "gpt_oss": ("bf16", "mxfp4"),
}  # fmt: skip


def _experts(fields: Fields, name: str) -> Shape:
    """A mixture of experts from the content of its `config.json`."""
    family = fields.text("model_type")
    names = _MOE[family]
    layers, hidden = fields.integer("num_hidden_layers"), fields.integer("hidden_size")
    vocab, ffn = fields.integer("vocab_size"), fields.integer(names.expert_ffn)
    leading = fields.integer(names.dense_layers, 0, least=0) if names.dense_layers else 0
    shared = fields.integer(names.shared, 0, least=0) if names.shared else 0
    experts = fields.integer(names.experts)
    attention, cache = _attention(fields, family, hidden)
    biased = family == "gpt_oss"
    one = 3 * hidden * ffn + biased * (2 * ffn + hidden)
    moe_layers = layers - leading
    dense = layers * (attention + 2 * hidden) + hidden
    dense += moe_layers * (hidden * experts + biased * experts + shared * 3 * hidden * ffn)
    if leading:
        dense += leading * 3 * hidden * fields.integer("intermediate_size")
    table, native = vocab * hidden, _NATIVE.get(family, ("bf16", "bf16"))
    latent = "kv_lora_rank" in fields.values
    routers = moe_layers * KERNELS_PER_ROUTER
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=fields.integer("num_attention_heads"),
        vocab=vocab,
        dense_params=dense,
        head_params=table,
        embed_params=0 if fields.flag("tie_word_embeddings") else table,
        expert_params=one,
        experts=experts,
        experts_per_token=fields.integer(names.per_token),
        moe_layers=moe_layers,
        windowed_layers=layers // 2 if family == "gpt_oss" else 0,
        window=fields.integer("sliding_window", 128) if family == "gpt_oss" else 0,
        kernels=layers * (KERNELS_PER_LAYER + latent * PRODUCTS_OF_MLA) + routers + STEP_KERNELS,
        products=layers * (PRODUCTS_PER_LAYER + latent * PRODUCTS_OF_MLA) + 1,
        dtype=native[0],
        expert_dtype=native[1],
        **cache,
    )


def _attention(fields: Fields, family: str, hidden: int) -> tuple[int, dict[str, int]]:
    """Parameters of one layer's attention, and its cache and score operations."""
    heads = fields.integer("num_attention_heads")
    if fields.values.get("kv_lora_rank"):
        return _latent(fields, hidden, heads)
    head_dim = fields.integer("head_dim", hidden // heads)
    kv_heads = fields.integer("num_key_value_heads", heads)
    q, kv = heads * head_dim, kv_heads * head_dim
    extra = (q + 2 * kv + hidden + heads) if family == "gpt_oss" else 0
    if family == "qwen3_moe":
        extra = 2 * head_dim
    return 2 * hidden * (q + kv) + extra, {
        "kv_elements": 2 * kv,
        "kv_shards": kv_heads,
        "score_flops_decode": 4 * q,
        "score_flops_prefill": 4 * q,
    }


def _latent(fields: Fields, hidden: int, heads: int) -> tuple[int, dict[str, int]]:
    """Multi-head latent attention: the cache holds one latent vector and one rotary key a token.

    Decode attends in the latent space (weights absorbed), prefill in the heads' own.
    """
    latent, rotary = fields.integer("kv_lora_rank"), fields.integer("qk_rope_head_dim")
    plain, value = fields.integer("qk_nope_head_dim"), fields.integer("v_head_dim")
    low = fields.optional_integer("q_lora_rank")
    width = heads * (plain + rotary)
    query = hidden * low + low + low * width if low else hidden * width
    keys = hidden * (latent + rotary) + latent + latent * heads * (plain + value)
    return query + keys + heads * value * hidden, {
        "kv_elements": latent + rotary,
        "kv_shards": 1,
        "score_flops_decode": 2 * heads * (2 * latent + rotary),
        "score_flops_prefill": 2 * heads * (plain + rotary + value),
    }


def _deepseek(**more: Any) -> dict[str, Any]:
    return {
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61,
        "first_k_dense_replace": 3, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
        "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
        **more,
    }  # fmt: skip


def _qwen3_moe(hidden: int, layers: int, heads: int, ffn: int) -> dict[str, Any]:
    return {
        "model_type": "qwen3_moe", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 4, "head_dim": 128,
        "moe_intermediate_size": ffn, "num_experts": 128, "num_experts_per_tok": 8,
        "vocab_size": 151936,
    }  # fmt: skip


def _mixtral(hidden: int, layers: int, heads: int, ffn: int, vocab: int) -> dict[str, Any]:
    return {
        "model_type": "mixtral", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 8, "intermediate_size": ffn,
        "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": vocab,
    }  # fmt: skip


def _gpt_oss(layers: int, experts: int) -> dict[str, Any]:
    return {
        "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": layers,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "intermediate_size": 2880, "num_local_experts": experts, "num_experts_per_tok": 4,
        "vocab_size": 201088, "sliding_window": 128,
    }  # fmt: skip


#: Mixtures of experts by name: sizes as their authors published them in `config.json`; the parameter
#: counts that they advertise check them in the tests.
_NAMED: Mapping[str, dict[str, Any]] = {
    "deepseek-v3": _deepseek(),
    "deepseek-r1": _deepseek(),
    "kimi-k2": _deepseek(model_type="kimi_k2", first_k_dense_replace=1, n_routed_experts=384,
                         num_attention_heads=64, vocab_size=163840),
    "qwen3-30b-a3b": _qwen3_moe(2048, 48, 32, 768),
    "qwen3-235b-a22b": _qwen3_moe(4096, 94, 64, 1536),
    "mixtral-8x7b": _mixtral(4096, 32, 32, 14336, 32000),
    "mixtral-8x22b": _mixtral(6144, 56, 48, 16384, 32768),
    "gpt-oss-20b": _gpt_oss(24, 32),
    "gpt-oss-120b": _gpt_oss(36, 128),
}  # fmt: skip

MODELS = (*DENSE_NAMES, *_NAMED)


def find_shape(model: str | Path | Shape | ModelConfig) -> Shape:
    """The shape of a public name, a checkpoint directory, a `config.json` or a configuration.

    Raises InputError with the nearest name, UnsupportedError for a family that is not described here.
    """
    if isinstance(model, Shape):
        return model
    if isinstance(model, ModelConfig):
        return _dense(model)
    path = Path(model)
    if isinstance(model, Path) or path.exists():
        return _read(path)
    name = str(model).lower()
    if name in _NAMED:
        return _experts(Fields(_NAMED[name], name), name)
    if name in DENSE_NAMES:
        return _dense(dense_config(name))
    raise InputError(
        f"Unknown model {str(model)!r}. {nearest(name, MODELS)} A config.json works too."
    )


def _read(path: Path) -> Shape:
    file = path / "config.json" if path.is_dir() else path
    values = read_json(file)
    family = values.get("model_type")
    if family in _MOE:
        return _experts(Fields(values, str(file)), file.resolve().parent.name)
    try:
        return _dense(load_config(path))
    except UnsupportedError as error:
        raise UnsupportedError(f"{error} The explorer also reads {', '.join(_MOE)}.") from error
