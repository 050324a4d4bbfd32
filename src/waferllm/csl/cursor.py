"""A cursor over tokens: look, take, expect; and messages for what stands there instead."""

from typing import NoReturn

from waferllm.csl.diagnostics import fail
from waferllm.csl.lexer import Token, tokens
from waferllm.csl.source import Source, Span

_SHOWN = {
    "int": "a number",
    "float": "a number",
    "string": "a string",
    "end": "the end of the file",
}


class Cursor:
    """Where the parser stands in the tokens of one source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._tokens = tokens(source)
        self._at = 0
        self.token = self._tokens[0]

    @property
    def kind(self) -> str:
        """Kind of the token under the cursor."""
        return self.token.kind

    def peek(self, ahead: int = 1) -> str:
        """Kind of a token further on."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)].kind

    def take(self) -> Token:
        """The token under the cursor; moves past it (never past the end)."""
        taken = self.token
        if taken.kind != "end":
            self._at += 1
            self.token = self._tokens[self._at]
        return taken

    def accept(self, kind: str) -> Token | None:
        """Take a token of this kind, if it stands here."""
        return self.take() if self.token.kind == kind else None

    def expect(self, kind: str, why: str, hint: str | None = None) -> Token:
        """Take a token of this kind, or stop: `why` completes "expected '…' "."""
        if self.token.kind == kind:
            return self.take()
        shown = "a name" if kind == "name" else _SHOWN.get(kind, f"'{kind}'")
        if kind in {";", ")", "]", "}"} and self._at:
            # What is missing is missing after the token before, which may be lines above.
            last = self._tokens[self._at - 1]
            here = self.here()
            if here.line != Span(self.source, last.end - 1, last.end).line:
                spot = Span(self.source, last.end - 1, last.end)
                fail(f"expected {shown} {why} after this, got {self.shown()}", spot, hint)
        self.stop(f"{shown} {why}", hint)

    def expect_word(self, why: str) -> str:
        """Take a name; a keyword will not do, and the message says so."""
        return str(self.expect("name", why).value)

    def expect_member(self) -> str:
        """Take what may stand after a dot: a name, or a keyword used as one."""
        if self.token.kind == "name" or (self.token.value and self.token.kind == self.token.value):
            return str(self.take().value)
        self.stop("a field's name after '.'")

    def stop(self, expected: str, hint: str | None = None) -> NoReturn:
        """Stop at the token under the cursor."""
        if hint is None and self.token.kind == self.token.value and "a name" in expected:
            hint = f"'{self.token.kind}' is a keyword"
        fail(f"expected {expected}, got {self.shown()}", self.here(), hint)

    def shown(self) -> str:
        """The token under the cursor, for a message."""
        if self.token.kind == "end":
            return _SHOWN["end"]
        return f"'{self.source.text[self.token.start : self.token.end]}'"

    def here(self) -> Span:
        """The span of the token under the cursor."""
        return Span(self.source, self.token.start, self.token.end)

    def since(self, start: int) -> Span:
        """From an offset to the end of the last token taken."""
        end = self._tokens[self._at - 1].end if self._at else 0
        return Span(self.source, start, max(start, end))
