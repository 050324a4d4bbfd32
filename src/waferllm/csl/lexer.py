"""Text to tokens: one regular expression, and a message for what it does not match."""

import math
import re
from typing import NamedTuple, NoReturn

from waferllm.csl.diagnostics import fail
from waferllm.csl.source import Source, Span

KEYWORDS = frozenset(
    """align and anytype asm break comptime const continue else enum export extern false fn for if
    inline layout linkname linksection noinline or param return struct switch task true union var
    volatile while""".split()
)

_PUNCTUATION = (
    "<<= >>= -> => == != <= >= << >> += -= *= /= %= &= |= ^= .* "
    "+ - * / % & | ^ ~ ! < > = ( ) { } [ ] , ; : ."
).split()

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|//[^\n]*)"
    r"|(?P<number>[0-9](?:[eE][+-](?=[0-9])|[0-9A-Za-z_]|\.(?=[0-9]))*)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<builtin>@[A-Za-z_][A-Za-z0-9_]*)"
    r'|(?P<string>"(?:[^"\\\n]|\\[^\n])*")'
    r"|(?P<char>'(?:[^'\\\n]|\\[^\n])*')"
    r"|(?P<punctuation>" + "|".join(map(re.escape, _PUNCTUATION)) + ")"
)

_INTEGER = re.compile(r"(?:0x[0-9a-fA-F]|0o[0-7]|0b[01]|[0-9])(?:_?[0-9a-fA-F])*")
_DECIMAL = re.compile(r"[0-9](?:_?[0-9])*(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9]+)?")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {
    b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0", b"\\": b"\\", b'"': b'"', b"'": b"'",
}  # fmt: skip
LONGEST_NUMBER = 2000


class Token(NamedTuple):
    """`kind` is name, int, float, string, char, builtin, end, or the very keyword or punctuation."""

    kind: str
    value: object
    start: int
    end: int


def tokens(source: Source) -> list[Token]:
    """All tokens of a source, ending with one of kind `end`; raises `CslError`."""
    text, at, found = source.text, 0, []
    match = _TOKEN.match
    while at < len(text):
        hit = match(text, at)
        if hit is None:
            _no_token(source, at)
        group, end = hit.lastgroup, hit.end()
        if group == "name":
            word = hit.group()
            found.append(Token(word if word in KEYWORDS else "name", word, at, end))
        elif group == "punctuation":
            found.append(Token(hit.group(), None, at, end))
        elif group == "builtin":
            found.append(Token("builtin", hit.group()[1:], at, end))
        elif group == "number":
            found.append(_number(source, hit.group(), at))
        elif group in {"string", "char"}:
            found.append(_quoted(source, group, hit.group(), at))
        at = end
    found.append(Token("end", None, len(text), len(text)))
    return found


def _no_token(source: Source, at: int) -> NoReturn:
    char = source.text[at]
    here = Span(source, at, at + 1)
    if char in "\"'":
        what = "string" if char == '"' else "character"
        fail(f"this {what} has no closing {char}", here, f"a {what} ends on the line it starts on")
    if char == "@":
        fail("expected a builtin's name after '@'", here)
    fail(f"{char!r} (U+{ord(char):04X}) cannot begin a token", here)


def _number(source: Source, text: str, at: int) -> Token:
    here = Span(source, at, at + len(text))
    if len(text) > LONGEST_NUMBER:
        fail(f"a number of {len(text)} characters", here, f"at most {LONGEST_NUMBER} are read")
    if text[:2] in {"0x", "0o", "0b"}:
        if not _INTEGER.fullmatch(text):
            fail(f"'{text}' is not a number", here)
        try:
            return Token("int", int(text, 0), at, here.end)
        except ValueError:
            base = {"x": "hexadecimal", "o": "octal", "b": "binary"}[text[1]]
            fail(f"'{text}' is not a {base} number", here)
    if not _DECIMAL.fullmatch(text):
        fail(f"'{text}' is not a number", here, "a name may not begin with a digit")
    digits = text.replace("_", "")
    if digits.isdigit():
        return Token("int", int(digits), at, here.end)
    value = float(digits)
    if math.isinf(value):
        fail(f"'{text}' is too large for a comptime_float", here)
    return Token("float", value, at, here.end)


def _quoted(source: Source, kind: str, text: str, at: int) -> Token:
    here = Span(source, at, at + len(text))

    def replacement(hit: re.Match[bytes]) -> bytes:
        code = hit.group(1)
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        if code not in _ESCAPES:
            shown = "\\" + code.decode("utf-8", "replace")
            fail(f"'{shown}' is not an escape", here, r"one of \n \t \r \0 \\ \" \' \xNN")
        return _ESCAPES[code]

    value = _ESCAPE.sub(replacement, text[1:-1].encode("utf-8", "surrogatepass"))
    if kind == "string":
        return Token("string", value, at, here.end)
    if len(value) != 1:
        fail(f"a character is one byte; this one has {len(value)}", here, 'strings stand in "…"')
    return Token("int", value[0], at, here.end)
