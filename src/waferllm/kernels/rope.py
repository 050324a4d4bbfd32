"""Rotary position embedding, with the two halves of a head interleaved.

Hugging Face rotates entry i with entry i + head_dim/2. Here the weights are placed so that such a pair
is adjacent, and a head can be cut over cores anywhere between pairs; q . k does not change.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def rotation(
    positions: Int[Array, "*p"], frequencies: Float[Array, "h"], scale: float
) -> tuple[Float[Array, "*p h"], Float[Array, "*p h"]]:
    """Cosine and sine of position x frequency, times the attention scaling of the RoPE variant."""
    angle = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angle) * scale, jnp.sin(angle) * scale


def rotate_pairs(
    x: Float[Array, "*b d"], cos: Float[Array, "*#b d/2"], sin: Float[Array, "*#b d/2"]
) -> Float[Array, "*b d"]:
    """Rotate adjacent pairs of the last dimension; computed in float32, returned in x's dtype."""
    pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)
