"""What floating point may cost: bounds that hold for any order of additions."""

import jax.numpy as jnp
import numpy as np

UNIT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # half an ulp of 1


def noise(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(jnp.dtype(dtype))


def product_bound(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|error| of `a @ b` accumulated in float32 in any order.

    Higham, Accuracy and Stability, section 3.1: K products and K sums err by gamma_K |a| |b|, with
    gamma_K = K u / (1 - K u). Zeros that pad K add no error.
    """
    k, u = a.shape[-1], UNIT["float32"]
    return k * u / (1 - k * u) * (np.abs(a.astype(float)) @ np.abs(b.astype(float)))
