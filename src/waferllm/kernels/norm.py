"""RMSNorm and softmax over a dimension that is cut over cores."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float

from waferllm.kernels.gemv import AllReduce


def rms_norm(
    x: Float[Array, "*b e"],
    weight: Float[Array, "e"],
    axis: str | None,
    *,
    width: int,
    eps: float,
    combine: AllReduce,
    span: int | None = None,
) -> Float[Array, "*b e"]:
    """x / rms(x) * weight, x's last dimension cut over `axis` (None: whole on every core).

    `width` is the true length of that dimension: padding is zero and does not count. One word per row
    is reduced. Computed in float32, returned in x's dtype.
    """
    wide = x.astype(jnp.float32)
    squares = jnp.sum(wide * wide, axis=-1)
    if axis is not None:
        squares = combine(squares, axis, span=span)
    scale = lax.rsqrt(squares / width + eps)
    return (wide * scale[..., None]).astype(x.dtype) * weight


def masked_softmax(
    scores: Float[Array, "*b t"],
    keep: Bool[Array, "*#b t"],
    axis: str,
    *,
    combine: AllReduce,
    span: int | None = None,
) -> tuple[Float[Array, "*b t"], Float[Array, "*b"]]:
    """Numerators exp(score - max) and their sum, over a last dimension cut over `axis`.

    Positions outside `keep` count as minus infinity. Two reductions of one word per row: max and sum.
    """
    low = jnp.finfo(scores.dtype).min
    scores = jnp.where(keep, scores, low)
    top = combine(jnp.max(scores, axis=-1), axis, op="max", span=span)
    numerators = jnp.where(keep, jnp.exp(scores - top[..., None]), 0)
    total = combine(jnp.sum(numerators, axis=-1), axis, span=span)
    return numerators, jnp.where(total > 0, total, 1)
