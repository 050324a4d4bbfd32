"""Attention of one core, with real heads: decode against the KV cache, prefill with dist-GEMM-T.

Heads lie along x. With at least as many key/value heads as columns, a column holds several whole heads;
otherwise a head is cut over `span` neighbouring columns. A column's query heads are those that share
its key/value heads, so grouped queries need no communication of their own.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from waferllm.fabric import index, ring_core, ring_index, size
from waferllm.kernels.gemm import dist_gemm_t_core, mesh_gemm_core
from waferllm.kernels.gemv import AllReduce
from waferllm.kernels.kv_cache import positions
from waferllm.kernels.norm import masked_softmax
from waferllm.layout import COLS, ROWS, Mesh


@dataclass(frozen=True)
class CoreHeads:
    """The heads of one core: `kv` key/value heads (or parts), `group` queries for each, `width` wide.

    `span` columns share a head; `scale` multiplies the scores; `window` is the sliding window, if any.
    """

    kv: int
    group: int
    width: int
    span: int
    scale: float
    window: int | None = None


def decode_attention(
    q: Float[Array, "s q"],
    keys: Float[Array, "s cap d"],
    values: Float[Array, "s cap d"],
    entries: Int[Array, "s"],
    prompt: Int[Array, "s"],
    *,
    heads: CoreHeads,
    policy: str,
    combine: AllReduce,
) -> Float[Array, "s q"]:
    """One new token per sequence against the cache, which holds it already (`entries` counts it).

    Scores are summed over a head's columns, softmax's max and sum and the output over the rows.
    """
    s, cap, _ = keys.shape
    queries = q.reshape(s, heads.kv, heads.group, heads.width)
    keys = keys.reshape(s, cap, heads.kv, heads.width)
    values = values.reshape(s, cap, heads.kv, heads.width)
    scores = jnp.einsum("shgd,schd->shgc", queries, keys, preferred_element_type=jnp.float32)
    scores = combine(scores, COLS, span=heads.span) * heads.scale
    position, held = positions(cap, entries, prompt, policy)
    if heads.window is not None:
        held &= position >= (entries - heads.window)[:, None]
    numerators, total = masked_softmax(scores, held[:, None, None], ROWS, combine=combine)
    out = jnp.einsum(
        "shgc,schd->shgd",
        numerators.astype(values.dtype),
        values,
        preferred_element_type=jnp.float32,
    )
    return (combine(out, ROWS) / total[..., None]).astype(q.dtype).reshape(s, -1)


def prefill_positions(chunk: int, core_row: Array, slot: Array) -> Array:
    """The position in a slot of the prefill buffer: each chunk of tokens is spread over all rows.

    Row y keeps tokens y * m .. (y + 1) * m of every chunk, m = chunk / rows, chunk after chunk.
    """
    share = chunk // size(ROWS)
    return slot // share * chunk + core_row * share + slot % share


def prefill_attention(
    q: Float[Array, "m q"],
    keys: Float[Array, "cap d"],
    values: Float[Array, "cap d"],
    start: Int[Array, ""],
    length: Int[Array, ""],
    *,
    heads: CoreHeads,
    combine: AllReduce,
    acc: jnp.dtype = jnp.float32,
) -> Float[Array, "m q"]:
    """A chunk of tokens against the prefill buffer, which holds them already.

    Q K^T is dist-GEMM-T, the softmax is reduced over a head's columns, and P V is MeshGEMM, each on the
    rows x `span` mesh of one head. The chunk begins at position `start`; of it, `length` tokens are real.
    """
    m, cap = q.shape[0], keys.shape[0]
    queries = q.reshape(m, heads.kv, heads.group, heads.width)
    queries = jnp.moveaxis(queries, 0, 2).reshape(heads.kv, heads.group * m, heads.width)
    keys = jnp.moveaxis(keys.reshape(cap, heads.kv, heads.width), 1, 0)
    values = jnp.moveaxis(values.reshape(cap, heads.kv, heads.width), 1, 0)
    scores = dist_gemm_t_core(
        queries, keys, acc=acc, span=heads.span, aligned=True, result=jnp.float32
    )
    scores = scores.reshape(heads.kv, heads.group, m, -1) * heads.scale
    mine = start + index(ROWS) * m + jnp.arange(m)[:, None]
    theirs = score_positions(cap, m * size(ROWS), heads.span)[None, :]
    keep = (theirs <= mine) & (theirs < start + length)
    if heads.window is not None:
        keep &= theirs > mine - heads.window
    numerators, total = masked_softmax(scores, keep, COLS, combine=combine, span=heads.span)
    p = numerators.astype(q.dtype).reshape(heads.kv, heads.group * m, -1)
    out = mesh_gemm_core(p, values, acc=acc, span=heads.span, aligned=True, skewed=False)
    out = out.astype(jnp.float32).reshape(heads.kv, heads.group, m, heads.width) / total[..., None]
    return jnp.moveaxis(out.astype(q.dtype), 2, 0).reshape(m, -1)


def score_positions(cap: int, chunk: int, span: int) -> Int[Array, "t"]:
    """The key position behind each score column of this core, as an aligned dist-GEMM-T leaves them."""
    rows = size(ROWS)
    steps = Mesh(rows, span).steps
    per_row, per_col = steps // rows, steps // span
    width = cap // per_row
    column = jnp.arange(per_col * width)
    first = ring_index(ROWS) * per_row + ring_index(COLS, span) * per_col
    block = (first + column // width) % (rows * per_row)
    row = ring_core(block // per_row, rows)
    return prefill_positions(chunk, row, block % per_row * width + column % width)


def write_chunk(
    buffer: Float[Array, "cap d"], entries: Float[Array, "m d"], chunk_index: Int[Array, ""]
) -> Float[Array, "cap d"]:
    """Keep this core's share of a chunk in the prefill buffer; nothing moves."""
    at = chunk_index * entries.shape[0]
    return lax.dynamic_update_slice_in_dim(buffer, entries.astype(buffer.dtype), at, 0)
