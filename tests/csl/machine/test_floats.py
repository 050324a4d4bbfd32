"""Conversions between the chips' 16-bit floats and f64, beside NumPy and ml_dtypes."""

import ml_dtypes
import numpy as np
import pytest

from waferllm.csl.code import Kind
from waferllm.csl.machine.floats import from_float, to_float

ALL = np.arange(1 << 16, dtype=np.uint16)
DTYPES = {Kind.F16: np.dtype(np.float16), Kind.BF16: np.dtype(ml_dtypes.bfloat16)}


def as_f64(values: np.ndarray) -> np.ndarray:
    """As f64; signalling NaNs make NumPy warn."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal bits of the same dtype; one NaN is as good as another."""
    nan = np.isnan(as_f64(theirs))
    return bool(
        (np.isnan(as_f64(ours)) == nan).all()
        and (ours.view(np.uint16)[~nan] == theirs.view(np.uint16)[~nan]).all()
    )


@pytest.mark.parametrize("kind", DTYPES)
def test_every_16_bit_float_is_read_as_numpy_reads_it(kind: Kind) -> None:
    ours = np.array([to_float(bits, int(kind)) for bits in ALL.tolist()])
    theirs = as_f64(ALL.view(DTYPES[kind]))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", DTYPES)
def test_rounding_is_to_nearest_with_ties_to_even(kind: Kind) -> None:
    dtype = DTYPES[kind]
    every = as_f64(ALL.view(dtype))
    steps = np.unique(every[np.isfinite(every)])
    halfway = (steps[:-1] + steps[1:]) / 2
    rng = np.random.default_rng(0)
    tested = np.concatenate(
        [
            rng.choice(halfway, 4000),
            np.nextafter(rng.choice(halfway, 2000), np.inf),
            np.nextafter(rng.choice(halfway, 2000), -np.inf),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 65519.999, 65520.0, 1e300, -1e-300],
        ]
    )
    bits = [from_float(value, int(kind)) & 0xFFFF for value in tested.tolist()]
    # NumPy rounds f64 to f16 once; ml_dtypes goes through f32, so bf16 ties are found in exact numbers.
    with np.errstate(over="ignore"):
        theirs = (
            tested.astype(dtype) if kind == Kind.F16 else np.array(nearest(tested, steps), dtype)
        )
    assert same(np.array(bits, np.uint16).view(dtype), theirs)


def nearest(values: np.ndarray, steps: np.ndarray) -> list[float]:
    """The nearest of `steps` (sorted), of two equally near the one whose last bit is 0."""
    made = []
    for value in values.tolist():
        if not np.isfinite(value) or value == 0.0:
            made.append(value)
            continue
        ulp = steps[-1] - steps[-2]
        if abs(value) >= steps[-1] + ulp / 2:
            made.append(np.copysign(np.inf, value))
            continue
        at = int(np.clip(np.searchsorted(steps, value), 1, len(steps) - 1))
        low, high = float(steps[at - 1]), float(steps[at])
        even = np.array([low], ml_dtypes.bfloat16).view(np.uint16)[0] % 2 == 0
        below, above = value - low, high - value
        near = low if below < above or (below == above and even) else high
        made.append(near if near else np.copysign(0.0, value))
    return made


def test_cb16_has_six_bits_of_exponent_and_nine_of_fraction() -> None:
    assert to_float(31 << 9, Kind.CB16) == 1.0
    assert to_float(0x8000 | 32 << 9 | 1 << 8, Kind.CB16) == -3.0
    assert from_float(1.0 + 2.0**-10, Kind.CB16) == 31 << 9  # a tie goes to the even neighbor
    assert from_float(1.0 + 3 * 2.0**-10, Kind.CB16) == (31 << 9) + 2
    assert from_float(2.0**32, Kind.CB16) == 63 << 9  # beyond the largest: infinity
    every = [bits for bits in range(1 << 16) if (bits >> 9) & 63 != 63]
    assert all(from_float(to_float(b, Kind.CB16), Kind.CB16) & 0xFFFF == b for b in every[::37])
