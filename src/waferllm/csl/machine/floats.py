"""Floating-point numbers as bits, in jitted code: f16, bf16, cb16 and f32, rounded to nearest even.

An f16 or bf16 sum or product is exact in f64, hence one rounding, as in hardware. `cb16` has 6 bits of
exponent and 9 of fraction, like f16 otherwise (IEEE-style infinities and subnormal numbers).
"""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np
from numba import types
from numba.extending import intrinsic

from waferllm.csl.code import Kind
from waferllm.csl.machine.jit import njit

HALF_LEAST, HALF_BEYOND = (1023 - 14) << 52, (1023 + 16) << 52  # f64's bits: normal numbers of f16
HALF_SHIFT = (1023 - 15) << 10
F16, BF16, CB16, F32 = int(Kind.F16), int(Kind.BF16), int(Kind.CB16), int(Kind.F32)


@intrinsic
def _bits_f32(typingctx, value):
    """uint32 -> float32 with the same bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), codegen


@intrinsic
def _f32_bits(typingctx, value):
    """float32 -> uint32 with the same bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), codegen


@intrinsic
def _f64_bits(typingctx, value):
    """float64 -> int64 with the same bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


@njit(cache=True, inline="never")
def _small_to_float(bits, exponent_bits, fraction_bits):
    """A 16-bit number with the given fields as f64."""
    bias = (1 << (exponent_bits - 1)) - 1
    fraction = bits & ((1 << fraction_bits) - 1)
    exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1)
    sign = -1.0 if bits & 0x8000 else 1.0
    if exponent == (1 << exponent_bits) - 1:
        return sign * np.inf if fraction == 0 else np.nan
    if exponent == 0:
        return sign * fraction * 2.0 ** (1 - bias - fraction_bits)
    return sign * ((1 << fraction_bits) + fraction) * 2.0 ** (exponent - bias - fraction_bits)


@njit(cache=True, inline="never")
def _float_to_small(value, exponent_bits, fraction_bits):
    """The nearest 16-bit number with the given fields; ties to even."""
    raw = _f64_bits(value)
    sign = (raw >> 48) & 0x8000
    top = (1 << exponent_bits) - 1
    if np.isnan(value):
        return np.int64(sign | (top << fraction_bits) | (1 << (fraction_bits - 1)))
    bias = (1 << (exponent_bits - 1)) - 1
    exponent = ((raw >> 52) & 0x7FF) - 1023
    if exponent > bias:  # infinity, and what is too large for any rounding
        return np.int64(sign | (top << fraction_bits))
    if exponent < 1 - bias - fraction_bits - 1 or value == 0.0:
        return np.int64(sign)
    significand = (raw & ((1 << 52) - 1)) | (1 << 52)
    drop = 52 - fraction_bits
    if exponent < 1 - bias:  # subnormal: the leading one is written out
        drop += 1 - bias - exponent
        exponent = -bias
        kept = significand >> drop
    else:
        kept = (significand >> drop) - (1 << fraction_bits)
    half = np.int64(1) << (drop - 1)
    rest = significand & ((np.int64(1) << drop) - 1)
    # Adding one to the joined fields carries into the exponent, up to infinity, as it should.
    joined = ((exponent + bias) << fraction_bits) + kept
    if rest > half or (rest == half and kept & 1):
        joined += 1
    return np.int64(sign | joined)


@njit(cache=True)
def half_to_float(bits):
    """An f16's bits as f64: its fields as those of an f32 with another bias, for all finite numbers."""
    if bits & 0x7C00 == 0x7C00:
        return _small_to_float(bits, 5, 10)
    scaled = np.float64(_bits_f32(np.uint32((bits & 0x7FFF) << 13)) * np.float32(2.0**112))
    return -scaled if bits & 0x8000 else scaled


@njit(cache=True)
def float_to_half(value):
    """The nearest f16 of an f64; ties to even. Adding just under half of the last place rounds."""
    raw = _f64_bits(value)
    size = raw & 0x7FFFFFFFFFFFFFFF
    if HALF_LEAST <= size < HALF_BEYOND:
        rounded = size + ((1 << 41) - 1) + (size >> 42 & 1)
        return np.int64((raw >> 48 & 0x8000) | ((rounded >> 42) - HALF_SHIFT))
    return _float_to_small(value, 5, 10)


@njit(cache=True, inline="never")
def to_float(bits, kind):
    """A register's bits as f64."""
    if kind == F32:
        return np.float64(_bits_f32(np.uint32(bits & 0xFFFFFFFF)))
    if kind == F16:
        return half_to_float(bits)
    if kind == BF16:
        return np.float64(_bits_f32(np.uint32((bits & 0xFFFF) << 16)))
    return _small_to_float(bits, 6, 9)


@njit(cache=True, inline="never")
def from_float(value, kind):
    """f64 as a register's bits, rounded to the kind."""
    if kind == F32:
        return np.int64(_f32_bits(np.float32(value)))
    if kind == F16:
        return float_to_half(value)
    if kind == BF16:
        return _float_to_small(value, 8, 7)
    return _float_to_small(value, 6, 9)


@njit(cache=True)
def to_f32(bits):
    """The float32 with these bits."""
    return _bits_f32(np.uint32(bits & 0xFFFFFFFF))


@njit(cache=True)
def from_f32(value):
    """The bits of a float32."""
    return np.int64(_f32_bits(np.float32(value)))
