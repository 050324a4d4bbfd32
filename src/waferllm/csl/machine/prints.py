"""What PEs print: pieces of text with numbers in them, joined to lines as <simprint> documents them."""

import re

from waferllm.csl.code import Kind
from waferllm.csl.machine.floats import to_float

FLOATS = {Kind.F16, Kind.BF16, Kind.CB16, Kind.F32}
BITS = {Kind.I8: 8, Kind.U8: 8, Kind.I16: 16, Kind.U16: 16, Kind.I32: 32, Kind.U32: 32}
FORMAT = re.compile(r"\{\{|\{[dXbf]?\}")


def show_number(value: int, kind: Kind, how: str = "") -> str:
    """A register's number: as its kind is, or in hexadecimal (X) or binary (b) as wide as the kind."""
    if how in {"X", "b"}:
        bits = BITS.get(kind, 64)
        digits = bits // 4 if how == "X" else bits
        return f"{value & ((1 << bits) - 1):0{digits}{how}}"
    if kind in FLOATS:
        # The shortest text that reads back as the same 16- or 32-bit number would be ideal; six digits
        # identify an f16 and nearly an f32, and whole numbers keep their point.
        text = f"{to_float(value, int(kind)):.7g}"
        return text if re.search(r"[.enia]", text) else f"{text}.0"
    return ("false", "true")[value] if kind == Kind.BOOL else str(value)


def format_message(text: str, values: list[tuple[int, Kind]]) -> str:
    """`{}`, `{d}`, `{X}`, `{b}` and `{f}` stand for the values one after another, `{{` for a brace."""
    rest = iter(values)

    def piece(match: re.Match[str]) -> str:
        if match[0] == "{{":
            return "{"
        value, kind = next(rest)
        return show_number(value, kind, match[0][1:-1])

    return FORMAT.sub(piece, text)


class Lines:
    """Pieces become lines at line ends; a line has the cycle in which it was ended."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._open: dict[int, str] = {}

    def add(self, pe: int, cycle: int, text: str) -> None:
        """One piece that a PE printed."""
        *ended, rest = (self._open.get(pe, "") + text).split("\n")
        self.done += [f"@{cycle} {line}" for line in ended]
        self._open[pe] = rest
