"""Small conversions that host scripts use (`cerebras.sdk.sdk_utils`; source: SdkRuntime API reference)."""

import numpy as np

from waferllm.errors import InputError


def memcpy_view(arr: np.ndarray, datatype: np.dtype | type) -> np.ndarray:
    """A view of the low 32, 16 or 8 bits of every 32-bit element."""
    wanted = np.dtype(datatype)
    if arr.dtype.itemsize != 4 or wanted.itemsize not in {1, 2, 4}:
        raise InputError(
            f"got a view of {arr.dtype} as {wanted}, expected 32-bit elements seen as 32, 16 or 8 bits"
        )
    parts = 4 // wanted.itemsize
    # The last axis is split into the parts of each element; the first is the low one.
    return arr.view(wanted)[..., ::parts]


def input_array_to_u32(np_arr: np.ndarray, sentinel: int | None, fast_dim_sz: int) -> np.ndarray:
    """32-bit words with the array's elements in their low bits, flat.

    For 16-bit elements the high half is zero, or, with a sentinel, the element's index in the
    innermost dimension, which has `fast_dim_sz` elements.
    """
    flat = np.ascontiguousarray(np_arr).reshape(-1)
    if flat.dtype.itemsize == 4:
        return flat.view(np.uint32)
    if flat.dtype.itemsize != 2:
        raise InputError(f"got elements of type {flat.dtype}, expected 16-bit or 32-bit ones")
    words = flat.view(np.uint16).astype(np.uint32)
    if sentinel is None:
        return words
    index = np.arange(words.size, dtype=np.uint32) % np.uint32(fast_dim_sz)
    return words | (index << np.uint32(16))


def calculate_cycles(timestamp_buf: np.ndarray) -> np.int64:
    """Cycles between two timestamps of three 16-bit words each, packed into three 32-bit elements."""
    words = np.ascontiguousarray(timestamp_buf).view(np.uint16).astype(np.int64)
    if words.size != 6:
        raise InputError(f"got {timestamp_buf.size} elements, expected three of 32 bits")
    weights = np.array([1, 1 << 16, 1 << 32], dtype=np.int64)
    return np.int64(words[3:] @ weights - words[:3] @ weights)
