"""From a checkpoint's tensors to placed weights, one layer at a time."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from waferllm.models.checkpoint import Checkpoint, check_finite
from waferllm.models.placement import Index, Placement, take
from waferllm.models.rope import rope_frequencies


def load_layer(
    checkpoint: Checkpoint, placement: Placement, layer: int, dtype: Any
) -> dict[str, Array]:
    """Layer `layer`'s weights in placed order, (in, out) as the programs multiply them."""
    config = checkpoint.config
    prefix = f"model.layers.{layer}."
    at = placement

    def matrix(names: Sequence[str], rows: Index, columns: Index) -> Array:
        return _matrix(checkpoint, [f"{prefix}{n}.weight" for n in names], rows, columns, dtype)

    def vector(names: Sequence[str], order: Index) -> Array:
        whole = np.concatenate([_tensor(checkpoint, prefix + n) for n in names])
        return jnp.asarray(take(whole, order, 0).astype(dtype))

    frequencies = np.asarray(rope_frequencies(config)[0], np.float32)
    weights = {
        "input_norm": vector(["input_layernorm.weight"], at.hidden),
        "qkv": matrix([f"self_attn.{n}_proj" for n in "qkv"], at.hidden, at.qkv),
        "frequencies": jnp.asarray(take(frequencies, at.frequencies, 0)),
        "o": matrix(["self_attn.o_proj"], at.attended, at.hidden),
        "post_norm": vector(["post_attention_layernorm.weight"], at.hidden),
        "gate_up": matrix(["mlp.gate_proj", "mlp.up_proj"], at.hidden, at.gate_up),
        "down": matrix(["mlp.down_proj"], at.ffn, at.hidden),
    }
    if config.qkv_bias:
        weights["qkv_bias"] = vector([f"self_attn.{n}_proj.bias" for n in "qkv"], at.qkv)
    if config.o_bias:
        weights["o_bias"] = vector(["self_attn.o_proj.bias"], at.hidden)
    if config.qk_norm:
        for name in ("q_norm", "k_norm"):
            weights[name] = vector([f"self_attn.{name}.weight"], at.head.reshape(-1))
    return weights


def load_ends(
    checkpoint: Checkpoint, placement: Placement, dtype: Any
) -> tuple[Array, Array, Array]:
    """(embedding table, final norm, output table); tied tables are one array."""
    at = placement
    table = _matrix(checkpoint, ["model.embed_tokens.weight"], at.hidden, at.vocab, dtype)
    norm = jnp.asarray(take(_tensor(checkpoint, "model.norm.weight"), at.hidden, 0).astype(dtype))
    if checkpoint.config.tied:
        return table, norm, table
    return table, norm, _matrix(checkpoint, ["lm_head.weight"], at.hidden, at.vocab, dtype)


def _tensor(checkpoint: Checkpoint, name: str) -> np.ndarray:
    tensor = checkpoint.tensor(name)
    check_finite(name, tensor)
    return tensor


def _matrix(
    checkpoint: Checkpoint, names: Sequence[str], rows: Index, columns: Index, dtype: Any
) -> Array:
    """The checkpoint keeps (out, in); stacked over `names`, reordered, padded and transposed."""
    parts = [_tensor(checkpoint, name) for name in names]
    stacked = parts[0] if len(parts) == 1 else np.concatenate(parts)
    placed = take(take(stacked, columns, 0), rows, 1)
    return jnp.asarray(placed).T.astype(dtype)
