"""What a compiler says when it stops: the place, the line, what was got, what was expected, what next."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, NoReturn

from waferllm.csl.source import Span
from waferllm.errors import WaferError

Kind = Literal["error", "unsupported"]


@dataclass(frozen=True)
class Diagnostic:
    """One message about one stretch of source, with notes about others."""

    message: str
    span: Span
    hint: str | None = None
    kind: Kind = "error"
    notes: tuple[tuple[str, Span], ...] = ()

    def render(self) -> str:
        """The message as text: `file:line:column: error: …`, the line, a caret, the hint."""
        parts = [_located(f"{self.kind}: {self.message}", self.span)]
        if self.hint:
            parts.append(f"  hint: {self.hint}")
        parts.extend(_located(f"note: {note}", span) for note, span in self.notes)
        return "\n".join(parts)


def _located(message: str, span: Span) -> str:
    line, column = span.source.position(span.start)
    head = f"{span.source.name}:{line}:{column}: {message}"
    text = span.source.line_text(line)
    if not text:
        return head
    width = max(1, min(span.end - span.start, len(text) - column + 1))
    # Tabs are kept so that the caret stands under what it points at.
    lead = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
    number = f"{line:>5}"
    gutter = " " * len(number)
    return f"{head}\n{number} | {text}\n{gutter} | {lead}{'^' + '~' * (width - 1)}"


class CslError(WaferError):
    """A CSL program is wrong, or uses what is not implemented; carries the `Diagnostic`."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.render())
        self.diagnostic = diagnostic

    def noting(self, note: str, span: Span) -> "CslError":
        """The same error with one more place that led to it (at most eight are kept)."""
        notes = self.diagnostic.notes
        if len(notes) >= 8:
            return self
        return CslError(replace(self.diagnostic, notes=(*notes, (note, span))))


def fail(message: str, span: Span, hint: str | None = None) -> NoReturn:
    """Stop: the program is wrong."""
    raise CslError(Diagnostic(message, span, hint))


def unsupported(what: str, span: Span, hint: str | None = None) -> NoReturn:
    """Stop: the program may be right, but this compiler does not implement `what`."""
    raise CslError(Diagnostic(f"{what} is not implemented", span, hint, kind="unsupported"))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known word, if any is close."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else None
