"""Source text and places in it: what every message points at."""

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Source:
    """One file's text under the name that messages use."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(at + 1 for at, char in enumerate(self.text) if char == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset, both counted from 1."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a line (counted from 1), without its end."""
        start = self._line_starts[line - 1]
        end = self._line_starts[line] - 1 if line < len(self._line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


class Span(NamedTuple):
    """The stretch of a source from `start` up to, not including, `end`."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        """What stands there."""
        return self.source.text[self.start : self.end]

    def to(self, other: "Span") -> "Span":
        """From the start of this one to the end of the other."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __repr__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


def read_source(path: Path, name: str | None = None) -> Source:
    """A file's text; raises `CslError` if it cannot be read or is not UTF-8."""
    from waferllm.csl.diagnostics import CslError, Diagnostic

    shown = str(path) if name is None else name
    try:
        return Source(shown, path.read_bytes().decode("utf-8"))
    except OSError as error:
        problem, hint = f"cannot read {shown}: {error.strerror}", "check the path"
    except UnicodeDecodeError as error:
        problem = (
            f"{shown} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}"
        )
        hint = "CSL source is UTF-8; save the file in that encoding"
    raise CslError(Diagnostic(problem, Span(Source(shown, ""), 0, 0), hint=hint))
