"""How the machine's functions are compiled."""

from collections.abc import Callable
from typing import Any

import numba

_NJIT: Any = numba.njit  # its published types leave `_nrt` out


def njit(**options: Any) -> Callable[[Any], Any]:
    """`numba.njit` for functions that make no arrays: without it each reading of an array in the state
    would be a call that counts a reference to nothing, since a `View` owns none."""
    return _NJIT(_nrt=False, **options)
