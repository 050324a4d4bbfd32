"""`debug_util`: variables and traces of a finished run (source: SdkRuntime API reference)."""

from pathlib import Path
from typing import Any

import numpy as np

from waferllm.csl.host.core import load_core
from waferllm.errors import InputError

# What lib/debug.csl puts before each entry: how many words follow, and what they are.
TRACE_PREFIX = "debug:"
NUMBERS = {
    1: np.bool_, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16,
    6: np.float16, 7: np.uint32, 8: np.int32, 9: np.float32,
}  # fmt: skip
STRING, TIMESTAMP = 10, 11
TIMESTAMP_WORDS = 3


class debug_util:
    """Reads the core that a program's last run left in its folder."""

    def __init__(self, bindir: Path | str, cmaddr: str | None = None) -> None:
        del cmaddr
        self._core = load_core(Path(bindir))

    def get_symbol(self, col: int, row: int, symbol: str, dtype: np.dtype | type) -> np.ndarray:
        """A variable on the PE at (col, row) of the fabric, seen as `dtype`."""
        return self._core.words(col, row, symbol).copy().view(dtype)

    def get_symbol_rect(
        self,
        rectangle: tuple[tuple[int, int], tuple[int, int]],
        symbol: str,
        dtype: np.dtype | type,
    ) -> np.ndarray:
        """A variable on each PE of ((col, row), (width, height)): [width, height, …]."""
        (col, row), (width, height) = rectangle
        return np.array(
            [
                [self.get_symbol(x, y, symbol, dtype) for y in range(row, row + height)]
                for x in range(col, col + width)
            ]
        )

    def read_trace(self, px: int, py: int, name: str) -> list[Any]:
        """What a PE recorded with the library <debug> under this key, oldest first."""
        return decode_trace(self._core.words(px, py, TRACE_PREFIX + name))


def decode_trace(words: np.ndarray) -> list[Any]:
    """The entries of a trace buffer, whose first word counts the words in use."""
    used, at = int(words[0]), 1
    found: list[Any] = []
    while at <= used:
        tag, at = int(words[at]), at + 1
        if tag == TIMESTAMP:
            parts = [int(word) for word in words[at : at + TIMESTAMP_WORDS]]
            found.append(parts[0] | parts[1] << 16 | parts[2] << 32)
            at += TIMESTAMP_WORDS
        elif tag == STRING:
            size = int(words[at])
            found.append(bytes(words[at + 1 : at + 1 + size].astype(np.uint8)).decode())
            at += 1 + size
        elif tag in NUMBERS:
            size = max(1, np.dtype(NUMBERS[tag]).itemsize // 2)
            found.append(_number(words[at : at + size], NUMBERS[tag]))
            at += size
        else:
            raise InputError(f"got tag {tag} in a trace, expected one that <debug> writes")
    return found


def _number(words: np.ndarray, dtype: Any) -> Any:
    """The number in one or two words; 8-bit ones and bools lie in the low byte."""
    if np.dtype(dtype).itemsize == 1:
        return (words & 0xFF).astype(np.uint8).view(dtype)[0].item()
    return words.copy().view(dtype)[0].item()
