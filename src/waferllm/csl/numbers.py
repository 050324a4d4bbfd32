"""What a number becomes in a type: rounding, wrapping, bit patterns."""

import math
import struct

from waferllm.csl.types import BF16, CB16, F16, F32, FloatType

# Exponent bits, mantissa bits, bias. cb16's bias follows from the Types page of the SDK's language
# documentation, where 6.0 = 1.5 * 2**2 is 0b0_101100_100000000: exponent field 44 for 2, so 42.
_FORMATS = {F16: (5, 10, 15), BF16: (8, 7, 127), CB16: (6, 9, 42), F32: (8, 23, 127)}


def round_float(value: float, type_: FloatType) -> float:
    """The nearest value of the type, ties to even; beyond the largest, infinity."""
    if value == 0 or math.isinf(value) or math.isnan(value):
        return value
    try:
        if type_ == F32:
            return struct.unpack("<f", struct.pack("<f", value))[0]
        if type_ == F16:
            return struct.unpack("<e", struct.pack("<e", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return _from_bits(_to_bits(value, type_), type_)


def float_bits(value: float, type_: FloatType) -> int:
    """The bit pattern of a value of the type."""
    if type_ == F32:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    if type_ == F16:
        return struct.unpack("<H", struct.pack("<e", value))[0]
    return _to_bits(value, type_)


def bits_float(bits: int, type_: FloatType) -> float:
    """The value of a bit pattern."""
    if type_ == F32:
        return struct.unpack("<f", struct.pack("<I", bits))[0]
    if type_ == F16:
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return _from_bits(bits, type_)


def _to_bits(value: float, type_: FloatType) -> int:
    exponent_bits, mantissa_bits, bias = _FORMATS[type_]
    top = (1 << exponent_bits) - 1
    sign = (math.copysign(1.0, value) < 0) << (exponent_bits + mantissa_bits)
    if math.isnan(value):
        return sign | top << mantissa_bits | 1 << (mantissa_bits - 1)
    if math.isinf(value):
        return sign | top << mantissa_bits
    if value == 0:
        return sign
    # frexp's fraction lies in [0.5, 1): one less is the exponent of a mantissa in [1, 2).
    exponent = max(math.frexp(abs(value))[1] - 1, 1 - bias)
    scaled = round(math.ldexp(abs(value), mantissa_bits - exponent))  # exact, then ties to even
    # A carry out of the mantissa runs into the exponent, which is what rounding up means.
    field = scaled + ((exponent + bias - 1) << mantissa_bits)
    return sign | min(field, top << mantissa_bits)


def _from_bits(bits: int, type_: FloatType) -> float:
    exponent_bits, mantissa_bits, bias = _FORMATS[type_]
    sign = -1.0 if bits >> (exponent_bits + mantissa_bits) & 1 else 1.0
    exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1)
    mantissa = bits & ((1 << mantissa_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return math.nan if mantissa else sign * math.inf
    whole = mantissa | (1 << mantissa_bits if exponent else 0)
    return sign * math.ldexp(whole, max(exponent, 1) - bias - mantissa_bits)
