"""What a decoder is: its sizes and switches, read strictly from a Hugging Face `config.json`.

One decoder serves Llama 1/2/3, CodeLlama, Mistral, Qwen2 and Qwen3; a family is only a set of
values here. Defaults for absent keys are those of the transformers 5 configuration classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from waferllm.errors import CheckpointError, UnsupportedError
from waferllm.models.jsonfile import Fields, read_json

RopeKind = Literal["default", "linear", "llama3", "yarn"]

SUPPORTED = "llama (Llama 1, 2, 3, 3.1+, CodeLlama), mistral, qwen2 (Qwen2, Qwen2.5), qwen3"
ROPE_KINDS = ("default", "linear", "llama3", "yarn")
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary position embedding: base wavelength, and how it is stretched for long contexts.

    `factor` divides positions ("linear", and the low frequencies of the others). Source of the
    names: transformers `modeling_rope_utils`.
    """

    theta: float = 10_000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    original_max_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and switches of one decoder.

    Weight shapes follow: W_Q is (heads x head_dim, hidden), W_K and W_V (kv_heads x head_dim,
    hidden), W_O (hidden, heads x head_dim), gate and up (ffn, hidden), down (hidden, ffn).
    `windows` has one entry a layer: None attends to everything before, w to the last w positions
    with the current one among them. `eos_ids` may be empty.
    """

    name: str
    family: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    norm_eps: float
    rope: Rope
    max_positions: int
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: bool = False
    tied: bool = False
    windows: tuple[int | None, ...] = ()
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    dtype: str = "float32"

    @classmethod
    def from_hf(
        cls, values: Mapping[str, Any], *, name: str = "", where: str = "config.json"
    ) -> "ModelConfig":
        """Read the content of a `config.json`.

        Raises CheckpointError where a value is missing or impossible, and UnsupportedError for a
        family, activation, bias, rotary scaling or quantization that the decoder does not have.
        """
        fields = Fields(values, where)
        family = _family(fields)
        _refuse_variants(fields)
        layers = fields.integer("num_hidden_layers")
        heads = fields.integer("num_attention_heads")
        hidden = fields.integer("hidden_size")
        head_dim = _head_dim(fields, family, hidden, heads)
        biased = fields.flag("attention_bias")
        return cls(
            name=name or family.name,
            family=family.name,
            hidden=hidden,
            ffn=fields.integer("intermediate_size"),
            layers=layers,
            heads=heads,
            kv_heads=_kv_heads(fields, family, heads),
            head_dim=head_dim,
            vocab=fields.integer("vocab_size"),
            norm_eps=fields.number("rms_norm_eps", 1e-6),
            rope=_rope(fields, fields.integer("max_position_embeddings", family.max_positions)),
            max_positions=fields.integer("max_position_embeddings", family.max_positions),
            qkv_bias=family.qkv_bias or (biased and family.optional_bias),
            o_bias=biased and family.optional_bias,
            qk_norm=family.qk_norm,
            tied=fields.flag("tie_word_embeddings"),
            windows=_windows(fields, family, layers),
            bos_id=next(iter(fields.ids("bos_token_id")), family.bos_id),
            eos_ids=fields.ids("eos_token_id") or family.eos_ids,
            dtype=_dtype(fields),
        )

    def window(self, layer: int) -> int | None:
        """Positions that a layer attends to, the current one among them; None for all."""
        return self.windows[layer] if self.windows else None

    @property
    def group(self) -> int:
        """Query heads for each key/value head."""
        return self.heads // self.kv_heads

    @property
    def parameters_per_layer(self) -> int:
        """Weights of one decoder layer, norms and biases among them."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        matrices = 2 * self.hidden * (q + kv) + 3 * self.hidden * self.ffn
        biases = self.qkv_bias * (q + 2 * kv) + self.o_bias * self.hidden
        return matrices + biases + 2 * self.hidden + self.qk_norm * 2 * self.head_dim

    @property
    def parameters(self) -> int:
        """Weights of the whole model; a tied output matrix counts once."""
        embeddings = (1 if self.tied else 2) * self.vocab * self.hidden
        return self.layers * self.parameters_per_layer + embeddings + self.hidden

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in the checkpoint's dtype."""
        return self.parameters * DTYPE_BYTES[self.dtype]

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one position adds to the KV cache of all layers, in the checkpoint's dtype."""
        return 2 * self.layers * self.kv_heads * self.head_dim * DTYPE_BYTES[self.dtype]


def load_config(path: str | Path) -> ModelConfig:
    """Read a checkpoint directory's `config.json`, or that file itself. Needs no weights."""
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            f"There is no {path}. Name a directory with a config.json, or such a file."
        )
    file = path / "config.json" if path.is_dir() else path
    name = file.resolve().parent.name
    return ModelConfig.from_hf(read_json(file), name=name, where=str(file))


@dataclass(frozen=True, kw_only=True)
class _Family:
    """What the transformers class of a family says when `config.json` is silent."""

    name: str
    max_positions: int
    kv_heads: int | None = None
    head_dim: int | None = None
    qkv_bias: bool = False
    optional_bias: bool = False
    qk_norm: bool = False
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = field(default=())


_LLAMA = _Family(name="llama", max_positions=2048, optional_bias=True, bos_id=1, eos_ids=(2,))
_MISTRAL = _Family(name="mistral", max_positions=131072, kv_heads=8, bos_id=1, eos_ids=(2,))
_QWEN2 = _Family(name="qwen2", max_positions=32768, kv_heads=32, qkv_bias=True)
_QWEN3 = _Family(
    name="qwen3", max_positions=32768, kv_heads=32, head_dim=128, optional_bias=True, qk_norm=True
)
_FAMILIES = {family.name: family for family in (_LLAMA, _MISTRAL, _QWEN2, _QWEN3)}


def _unsupported(what: str, supported: str) -> UnsupportedError:
    return UnsupportedError(f"not supported: {what}; supported: {supported}.")


def _family(fields: Fields) -> _Family:
    name = fields.text("model_type")
    if not name:
        raise CheckpointError(f"{fields.where} has no model_type, expected one of: {SUPPORTED}.")
    if name not in _FAMILIES:
        raise _unsupported(f"model_type '{name}' in {fields.where}", SUPPORTED)
    classes = fields.values.get("architectures") or []
    if classes and not any(str(cls).endswith("ForCausalLM") for cls in classes):
        raise _unsupported(f"architecture {classes} in {fields.where}", "…ForCausalLM")
    return _FAMILIES[name]


def _refuse_variants(fields: Fields) -> None:
    """Refuse what changes the arithmetic and is not implemented."""
    where = fields.where
    act = fields.text("hidden_act", "silu")
    if act != "silu":
        raise _unsupported(f"hidden_act '{act}' in {where}", "silu")
    if fields.flag("mlp_bias"):
        raise _unsupported(f"mlp_bias = true in {where}", "mlp_bias = false")
    if fields.flag("attention_bias") and fields.text("model_type") == "mistral":
        raise _unsupported(f"attention_bias = true for mistral in {where}", "false")
    if fields.values.get("quantization_config"):
        raise _unsupported(f"quantization_config in {where}", "float32, bfloat16, float16 weights")
    experts = [k for k in ("num_experts", "num_local_experts") if fields.values.get(k)]
    if experts:
        raise _unsupported(f"mixture of experts ({experts[0]}) in {where}", SUPPORTED)


def _head_dim(fields: Fields, family: _Family, hidden: int, heads: int) -> int:
    head_dim = fields.optional_integer("head_dim") or family.head_dim
    if head_dim is None:
        if hidden % heads:
            raise CheckpointError(
                f"{fields.where} has no head_dim, and hidden_size {hidden} is not a multiple of "
                f"num_attention_heads {heads}: {hidden} % {heads} = {hidden % heads}."
            )
        head_dim = hidden // heads
    if head_dim % 2:
        raise CheckpointError(
            f"{fields.where} gives head_dim = {head_dim}, expected an even number: "
            "rotary embedding turns pairs."
        )
    return head_dim


def _kv_heads(fields: Fields, family: _Family, heads: int) -> int:
    absent = "num_key_value_heads" not in fields.values
    default = family.kv_heads if absent and family.kv_heads else heads
    kv_heads = fields.integer("num_key_value_heads", default)
    if heads % kv_heads:
        raise CheckpointError(
            f"{fields.where} gives num_attention_heads = {heads} and num_key_value_heads = "
            f"{kv_heads}, expected a multiple: {heads} % {kv_heads} = {heads % kv_heads}."
        )
    return kv_heads


def _windows(fields: Fields, family: _Family, layers: int) -> tuple[int | None, ...]:
    """One window a layer, as the transformers class of the family decides it."""
    types = fields.values.get("layer_types")
    if family.name == "llama":
        sliding = [False] * layers
        window = None
    elif family.name == "mistral":
        absent = "sliding_window" not in fields.values
        window = 4096 if absent else fields.optional_integer("sliding_window")
        sliding = [window is not None] * layers
    else:
        used = fields.flag("use_sliding_window")
        absent = "sliding_window" not in fields.values
        window = (4096 if absent else fields.optional_integer("sliding_window")) if used else None
        first = fields.integer("max_window_layers", 28, least=0)
        sliding = [window is not None and layer >= first for layer in range(layers)]
    if types is not None:
        sliding = _layer_types(fields, family, types, sliding)
    return tuple(window if slides else None for slides in sliding)


def _layer_types(fields: Fields, family: _Family, types: Any, sliding: list[bool]) -> list[bool]:
    """`layer_types` as booleans; only Qwen obeys it, so elsewhere it must say nothing new."""
    known = {"sliding_attention": True, "full_attention": False}
    if not isinstance(types, list) or len(types) != len(sliding):
        raise fields.refuse("layer_types", f"a list of {len(sliding)} names, one for each layer")
    unknown = [name for name in types if name not in known]
    if unknown:
        raise _unsupported(f"layer type {unknown[0]!r} in {fields.where}", ", ".join(known))
    found = [known[name] for name in types]
    if family.name in ("llama", "mistral") and found != sliding:
        raise _unsupported(
            f"layer_types for {family.name} in {fields.where}", "the same window in every layer"
        )
    if any(found) and fields.values.get("sliding_window") is None:
        raise fields.refuse("sliding_window", "an integer, because layer_types names sliding ones")
    return found


_ROPE_KEYS = {
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "original_max_position_embeddings",
    "low_freq_factor",
    "high_freq_factor",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "partial_rotary_factor",
    "finetuned",
}


def _rope(fields: Fields, max_positions: int) -> Rope:
    """Old style (`rope_theta`, `rope_scaling`) or new (`rope_parameters`), in transformers' order.

    `rope_scaling` wins over `rope_parameters`; the theta inside them wins over the one outside.
    """
    key = "rope_scaling" if fields.section("rope_scaling") else "rope_parameters"
    values = fields.section(key)
    rope = Fields(values, f"{fields.where} {key}")
    unknown = sorted(k for k, v in values.items() if k not in _ROPE_KEYS and v is not None)
    kind = rope.text("rope_type") or rope.text("type") or "default"
    if unknown or kind not in ROPE_KINDS:
        what = f"rope type '{kind}'" if kind not in ROPE_KINDS else f"rope key '{unknown[0]}'"
        raise _unsupported(f"{what} in {fields.where}", ", ".join(ROPE_KINDS))
    partial = rope.number("partial_rotary_factor", fields.number("partial_rotary_factor", 1.0))
    if partial != 1.0:
        raise _unsupported(f"partial_rotary_factor = {partial} in {fields.where}", "1.0")
    theta = rope.number("rope_theta", fields.number("rope_theta", 10_000.0))
    if kind == "default":
        return Rope(theta=theta)
    original = fields.optional_integer("original_max_position_embeddings") or rope.integer(
        "original_max_position_embeddings", max_positions
    )
    return _scaled_rope(rope, cast(RopeKind, kind), theta, max_positions, original)


def _scaled_rope(
    rope: Fields, kind: RopeKind, theta: float, max_positions: int, original: int
) -> Rope:
    """Parameters of the stretched kinds. YaRN may leave its factor to the ratio of the lengths."""
    if kind == "linear":
        return Rope(theta=theta, kind=kind, factor=rope.number("factor"))
    if kind == "llama3":
        low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
        if high <= low:
            raise rope.refuse("high_freq_factor", f"more than low_freq_factor = {low:g}")
        return Rope(
            theta=theta,
            kind=kind,
            factor=rope.number("factor"),
            original_max_positions=original,
            low_freq_factor=low,
            high_freq_factor=high,
        )
    return Rope(
        theta=theta,
        kind=kind,
        factor=rope.number("factor", max_positions / original),
        original_max_positions=original,
        beta_fast=rope.optional_number("beta_fast") or 32.0,
        beta_slow=rope.optional_number("beta_slow") or 1.0,
        attention_factor=rope.optional_number("attention_factor"),
        mscale=rope.optional_number("mscale"),
        mscale_all_dim=rope.optional_number("mscale_all_dim"),
        truncate=rope.flag("truncate", True),
    )


def _dtype(fields: Fields) -> str:
    """`dtype` (transformers 5) or `torch_dtype`; float32 when neither is given."""
    name = fields.text("dtype") or fields.text("torch_dtype") or "float32"
    name = name.removeprefix("torch.")
    if name not in DTYPE_BYTES:
        raise _unsupported(f"dtype '{name}' in {fields.where}", ", ".join(DTYPE_BYTES))
    return name
