"""Rotary embedding frequencies for plain, linear, Llama-3 and YaRN scaling, in NumPy.

Source of the formulas: transformers 5 `modeling_rope_utils`; YaRN is arXiv 2309.00071, section 3.
Rounded to float32 step by step, as there, so that both give the same angles at long positions.
"""

import math

import numpy as np
from numpy.typing import NDArray

from waferllm.models.config import ModelConfig, Rope

F32 = np.float32


def rope_frequencies(config: ModelConfig) -> tuple[NDArray[np.float32], float]:
    """Radians per position for each rotated pair, shape (head_dim / 2,), and a scale.

    Cosine and sine of position x frequency are both multiplied by the scale (1 except for YaRN).
    Pair i is made of entries i and i + head_dim / 2 of a head.
    """
    rope, dim = config.rope, config.head_dim
    exponents = np.arange(0, dim, 2, dtype=F32) / F32(dim)
    # The power in double precision, rounded once: NumPy's own float32 power is off by a bit or two.
    wavelengths = np.power(rope.theta, exponents.astype(np.float64)).astype(F32)
    frequencies = (F32(1) / wavelengths).astype(F32)
    if rope.kind == "linear":
        return (frequencies / F32(rope.factor)).astype(F32), 1.0
    if rope.kind == "llama3":
        return _llama3(frequencies, rope), 1.0
    if rope.kind == "yarn":
        return _yarn(wavelengths, rope), yarn_scale(rope)
    return frequencies, 1.0


def _llama3(frequencies: NDArray[np.float32], rope: Rope) -> NDArray[np.float32]:
    """Keep short wavelengths, divide long ones by the factor, blend linearly between."""
    original, factor = rope.original_max_positions, F32(rope.factor)
    # Reciprocal times number, not number over array: so torch divides, and the last bits agree.
    wavelength = F32(1) / frequencies * F32(2 * math.pi)
    long = wavelength > original / rope.low_freq_factor
    short = wavelength < original / rope.high_freq_factor
    span = F32(rope.high_freq_factor - rope.low_freq_factor)
    smooth = (F32(1) / wavelength * F32(original) - F32(rope.low_freq_factor)) / span
    blended = (F32(1) - smooth) * frequencies / factor + smooth * frequencies
    scaled = np.where(long, frequencies / factor, np.where(short, frequencies, blended))
    return scaled.astype(F32)


def _yarn(wavelengths: NDArray[np.float32], rope: Rope) -> NDArray[np.float32]:
    """Blend plain and divided frequencies over a ramp between two pair indices."""
    pairs = len(wavelengths)
    low, high = _yarn_range(rope, 2 * pairs)
    ramp = np.clip((np.arange(pairs, dtype=F32) - F32(low)) / F32(high - low), F32(0), F32(1))
    keep = F32(1) - ramp
    stretched, plain = F32(1) / (F32(rope.factor) * wavelengths), F32(1) / wavelengths
    return (stretched * (F32(1) - keep) + plain * keep).astype(F32)


def _yarn_range(rope: Rope, dim: int) -> tuple[float, float]:
    """Indices where the ramp starts and ends: pairs that turn beta_fast and beta_slow times."""

    def index(turns: float) -> float:
        ratio = rope.original_max_positions / (turns * 2 * math.pi)
        return dim * math.log(ratio) / (2 * math.log(rope.theta))

    low, high = index(rope.beta_fast), index(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    return low, high + 0.001 if high == low else high


def yarn_scale(rope: Rope) -> float:
    """What YaRN multiplies cosine and sine by: given, or 0.1 ln(factor) + 1 with mscales."""

    def mscale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return mscale(rope.mscale) / mscale(rope.mscale_all_dim)
    return mscale(1.0)
