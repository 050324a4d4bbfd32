"""Rounding and bit patterns, against NumPy and ml_dtypes, and the values the documentation gives."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waferllm.csl import types as t
from waferllm.csl.numbers import bits_float, float_bits, round_float

NUMPY = {
    t.F16: (np.float16, np.uint16),
    t.F32: (np.float32, np.uint32),
    t.BF16: (ml_dtypes.bfloat16, np.uint16),
}


@pytest.mark.parametrize("type_", NUMPY, ids=str)
@given(value=st.floats(allow_nan=False, width=32))
def test_a_float_rounds_as_numpy_rounds_it(type_: t.FloatType, value: float) -> None:
    kind, unsigned = NUMPY[type_]
    with np.errstate(over="ignore"):
        expected = np.float32(value).astype(kind)
    rounded = round_float(value, type_)
    assert rounded == float(expected)
    assert math.copysign(1, rounded) == math.copysign(1, float(expected))
    assert float_bits(rounded, type_) == int(expected.view(unsigned))


@pytest.mark.parametrize("type_", [*NUMPY, t.CB16], ids=str)
@given(bits=st.integers(0, 0xFFFF))
def test_bits_become_a_float_and_the_same_bits_again(type_: t.FloatType, bits: int) -> None:
    value = bits_float(bits, type_)
    if not math.isnan(value):
        assert float_bits(value, type_) == bits
        assert round_float(value, type_) == value


@pytest.mark.parametrize(
    ("type_", "bits"),
    [(t.F16, 0b0100011000000000), (t.CB16, 0b0101100100000000), (t.BF16, 0b0100000011000000)],
    ids=str,
)
def test_six_has_the_bits_that_the_documentation_gives(type_: t.FloatType, bits: int) -> None:
    assert float_bits(6.0, type_) == bits
    assert bits_float(bits, type_) == 6.0


@given(st.integers(-(1 << 70), 1 << 70), st.sampled_from(list(t.INTEGERS.values())))
def test_an_integer_wraps_into_its_bits(value: int, type_: t.IntType) -> None:
    wrapped = type_.wrap(value)
    assert type_.lowest <= wrapped <= type_.highest
    assert (wrapped - value) % (1 << type_.bits) == 0
