"""One decoder layer on one core, for decode and for prefill, and the embedding and output around it.

    decode    x: hidden over y, one token per sequence, replicated along x. GEMVs alternate the axis they
              reduce over (QKV and gate/up along y, O and down along x), so no vector is transposed.
    prefill   x: tokens over y, hidden over x. Every product is MeshGEMM, Q K^T is dist-GEMM-T.

Llama, Mistral and Qwen differ in the weights present, not in the code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from waferllm.fabric import index
from waferllm.kernels.attention import (
    CoreHeads,
    decode_attention,
    prefill_attention,
    write_chunk,
)
from waferllm.kernels.gemv import AllReduce, gemv_core
from waferllm.kernels.kv_cache import append_concat, append_shift
from waferllm.kernels.norm import rms_norm
from waferllm.kernels.rope import rotate_pairs, rotation
from waferllm.layout import COLS, ROWS

Weights = dict[str, Array]


@dataclass(frozen=True)
class LayerShape:
    """What a layer's code must know beyond the shapes of its tiles.

    `held`: in prefill, the leading slots of a core's buffer that attention reads (None: all).
    """

    hidden: int
    head_dim: int
    heads: CoreHeads
    attended: int
    eps: float
    rope_scale: float
    combine: AllReduce
    policy: str = "shift"
    gemm: Callable[..., Array] | None = None
    acc: Any = jnp.float32
    held: int | None = None


def decode_layer(
    weights: Weights,
    keys: Float[Array, "s cap d"],
    values: Float[Array, "s cap d"],
    x: Float[Array, "s e"],
    entries: Int[Array, "s"],
    prompt: Int[Array, "s"],
    active: Bool[Array, "s"],
    *,
    shape: LayerShape,
) -> tuple[Array, Array, Array]:
    """One token of every sequence slot through one layer: (keys, values, x) after it.

    `entries` tokens of each sequence are in the cache before; slots that are not `active` keep theirs.
    """
    combine, acc = shape.combine, shape.acc

    def gemv(v: Array, name: str, along: str) -> Array:
        return gemv_core(v, weights[name], along=along, combine=combine, acc=acc)

    def norm(v: Array, name: str) -> Array:
        return rms_norm(v, weights[name], ROWS, width=shape.hidden, eps=shape.eps, combine=combine)

    qkv = _biased(gemv(norm(x, "input_norm"), "qkv", ROWS), weights, "qkv_bias")
    q, k, v = _project(qkv, entries, weights, shape)
    append = append_shift if shape.policy == "shift" else append_concat
    keys, values = append(keys, k, entries, active), append(values, v, entries, active)
    out = decode_attention(
        q, keys, values, entries + 1, prompt,
        heads=shape.heads, policy=shape.policy, combine=combine,
    )  # fmt: skip
    x = x + _biased(gemv(_widen(out, shape.attended), "o", COLS), weights, "o_bias")
    hidden = _swiglu(gemv(norm(x, "post_norm"), "gate_up", ROWS))
    return keys, values, x + gemv(hidden, "down", COLS)


def prefill_layer(
    weights: Weights,
    keys: Float[Array, "cap d"],
    values: Float[Array, "cap d"],
    x: Float[Array, "m e"],
    start: Int[Array, ""],
    length: Int[Array, ""],
    *,
    shape: LayerShape,
) -> tuple[Array, Array, Array]:
    """One chunk of one prompt through one layer: (keys, values, x) after it.

    The chunk begins at position `start` (a multiple of its size); `length` of its tokens are real.
    """
    gemm, acc = shape.gemm, shape.acc
    assert gemm is not None

    def norm(v: Array, name: str) -> Array:
        return rms_norm(
            v, weights[name], COLS, width=shape.hidden, eps=shape.eps, combine=shape.combine
        )

    def product(v: Array, name: str) -> Array:
        return gemm(v, weights[name], acc=acc)

    m = x.shape[0]
    mine = start + index(ROWS) * m + jnp.arange(m)
    qkv = _biased(product(norm(x, "input_norm"), "qkv"), weights, "qkv_bias")
    q, k, v = _project(qkv, mine, weights, shape)
    chunk = start // (m * jax.lax.axis_size(ROWS))
    keys, values = write_chunk(keys, k, chunk), write_chunk(values, v, chunk)
    read = slice(shape.held)
    out = prefill_attention(
        q, keys[read], values[read], start, length,
        heads=shape.heads, combine=shape.combine, acc=acc,
    )  # fmt: skip
    x = x + _biased(product(_widen(out, shape.attended), "o"), weights, "o_bias")
    hidden = _swiglu(product(norm(x, "post_norm"), "gate_up"))
    return keys, values, x + product(hidden, "down")


def embed(
    table: Float[Array, "e v"], tokens: Int[Array, "s"], *, combine: AllReduce
) -> Float[Array, "s e"]:
    """Token embeddings, hidden over y: the column that holds a token's entry sends it along x."""
    width = table.shape[1]
    local = tokens - index(COLS) * width
    mine = (local >= 0) & (local < width)
    picked = jnp.take(table, jnp.where(mine, local, 0), axis=1, mode="clip").T
    return combine(jnp.where(mine[:, None], picked, 0), COLS)


def head(
    norm: Float[Array, "e"],
    table: Float[Array, "e v"],
    x: Float[Array, "s e"],
    *,
    hidden: int,
    eps: float,
    combine: AllReduce,
    acc: Any = jnp.float32,
) -> Float[Array, "s v"]:
    """Final norm and logits in float32, vocabulary over x."""
    x = rms_norm(x, norm, ROWS, width=hidden, eps=eps, combine=combine)
    partial = jnp.matmul(x, table, preferred_element_type=acc)
    return combine(partial, ROWS).astype(jnp.float32)


def _project(
    qkv: Float[Array, "t n"], positions: Int[Array, "t"], weights: Weights, shape: LayerShape
) -> tuple[Array, Array, Array]:
    """Split the fused projection into heads, normalise (Qwen3) and rotate queries and keys."""
    heads = shape.heads
    kv = heads.kv * heads.width
    q, k, v = jnp.split(qkv, [kv * heads.group, kv * (heads.group + 1)], axis=-1)
    q, k = q.reshape(len(q), -1, heads.width), k.reshape(len(k), -1, heads.width)
    if "q_norm" in weights:
        q, k = (_head_norm(part, weights[n], shape) for part, n in ((q, "q_norm"), (k, "k_norm")))
    cos, sin = rotation(positions, weights["frequencies"], shape.rope_scale)
    q, k = (rotate_pairs(part, cos[:, None], sin[:, None]) for part in (q, k))
    return q.reshape(len(q), -1), k.reshape(len(k), -1), v


def _head_norm(x: Array, weight: Array, shape: LayerShape) -> Array:
    """RMSNorm over each head, which may be cut over columns."""
    return rms_norm(
        x, weight, COLS,
        width=shape.head_dim, eps=shape.eps, combine=shape.combine, span=shape.heads.span,
    )  # fmt: skip


def _swiglu(gate_up: Float[Array, "t n"]) -> Float[Array, "t n/2"]:
    gate, up = jnp.split(gate_up, 2, axis=-1)
    return jax.nn.silu(gate) * up


def _biased(x: Array, weights: Weights, name: str) -> Array:
    return x + weights[name] if name in weights else x


def _widen(x: Array, width: int) -> Array:
    """Zeros after a core's entries until there are `width`, as in W_O's placed rows."""
    return jnp.pad(x, ((0, 0), (0, width - x.shape[1]))) if width > x.shape[1] else x
