"""A launched function's arguments: Python or NumPy numbers as the bits of a register."""

from typing import Any

import numpy as np

from waferllm.csl.code import Kind
from waferllm.errors import InputError

DTYPES = {
    Kind.I8: np.int8, Kind.U8: np.uint8, Kind.I16: np.int16, Kind.U16: np.uint16,
    Kind.I32: np.int32, Kind.U32: np.uint32, Kind.I64: np.int64, Kind.U64: np.uint64,
    Kind.F16: np.float16, Kind.F32: np.float32, Kind.BOOL: np.bool_,
}  # fmt: skip


def register_bits(value: Any, kind: Kind, what: str) -> int:
    """The register's content; raises `InputError` if the value is not of the parameter's type.

    A Python number takes the parameter's type if it fits; a NumPy number must have it already.
    """
    wanted = DTYPES.get(kind)
    if wanted is None:
        raise InputError(f"{what}: got a parameter of type {kind.name}, which hosts cannot give")
    if isinstance(value, np.generic) and value.dtype != wanted:
        raise InputError(f"{what}: got a {value.dtype}, expected a {np.dtype(wanted)}")
    try:
        held = np.asarray(value, dtype=wanted)
    except (OverflowError, TypeError, ValueError):
        held = None
    exact = held is not None and held.shape == () and (kind in _FLOATS or held.item() == value)
    if held is None or not exact:
        raise InputError(f"{what}: got {value!r}, expected a {np.dtype(wanted)}")
    if kind in _FLOATS:
        return int(held.view(_FLOATS[kind]))
    return int(held)


_FLOATS = {Kind.F16: np.uint16, Kind.F32: np.uint32}
