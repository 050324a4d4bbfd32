"""How the machine's functions are compiled."""

from collections.abc import Callable
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Any], Any]:
    """`numba.njit` for functions that make no arrays: without it each reading of an array in the state
    would be a call that counts a reference to nothing, since a `View` owns none."""
    return numba.njit(**{"_nrt": False, **options})  # pyright: ignore[reportCallIssue]
