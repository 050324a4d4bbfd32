"""Host tensors as the link sees them: 1-D arrays of 32-bit words, ordered by rows or by columns.

A tensor is A[h][w][n]: n elements on each of h x w PEs. `ROW_MAJOR` is its C order, `COL_MAJOR` its
Fortran order (source: the SDK's SdkRuntime API reference and its examples' helpers). 16-bit elements
travel in the low half of a 32-bit word.
"""

from enum import Enum

import numpy as np

from waferllm.errors import InputError

HALF = 0xFFFF


class MemcpyDataType(Enum):
    """Width of the elements on the PE."""

    MEMCPY_16BIT = 16
    MEMCPY_32BIT = 32


class MemcpyOrder(Enum):
    """How the tensor lies in its 1-D array."""

    ROW_MAJOR = "C"
    COL_MAJOR = "F"


def flat_u32(array: np.ndarray, count: int, what: str) -> np.ndarray:
    """A view of the array as `count` 32-bit words; raises `InputError` if it has not that many.

    The view shares memory with the array, so that results can be written through it.
    """
    if not isinstance(array, np.ndarray) or array.dtype.itemsize != 4:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(
            f"{what}: got elements of type {got}, expected 32-bit ones. "
            "Put 16-bit data into the low halves, as sdk_utils.input_array_to_u32 does"
        )
    if array.size != count:
        raise InputError(f"{what}: got {array.size} elements, expected {count} for this rectangle")
    if not array.flags.c_contiguous:
        raise InputError(f"{what}: got an array with gaps, expected a contiguous one")
    return array.reshape(-1).view(np.uint32)


def by_pe(flat: np.ndarray, shape: tuple[int, int, int], order: MemcpyOrder) -> np.ndarray:
    """uint32[h * w, n] from the flat tensor: each PE's elements, PEs row by row."""
    return flat.reshape(shape, order=order.value).reshape(shape[0] * shape[1], shape[2])


def to_flat(rows: np.ndarray, shape: tuple[int, int, int], order: MemcpyOrder) -> np.ndarray:
    """The flat tensor from uint32[h * w, n]."""
    return rows.reshape(shape).ravel(order=order.value)


def to_words(elements: np.ndarray, width: MemcpyDataType) -> np.ndarray:
    """uint16[pes, words] as memory holds them, the low word of a 32-bit element first."""
    if width == MemcpyDataType.MEMCPY_16BIT:
        return (elements & HALF).astype(np.uint16)
    return np.ascontiguousarray(elements, dtype="<u4").view("<u2")


def from_words(words: np.ndarray, width: MemcpyDataType) -> np.ndarray:
    """uint32[pes, elements] from memory's words; 16-bit elements get a high half of zeros."""
    if width == MemcpyDataType.MEMCPY_16BIT:
        return words.astype(np.uint32)
    return np.ascontiguousarray(words, dtype="<u2").view("<u4")
