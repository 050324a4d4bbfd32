"""Builtins that only our own library files may call: time, functions of floats, printing."""

import re

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_text
from waferllm.csl.code import Kind, Math, Op
from waferllm.csl.diagnostics import fail, nearest
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.given import args_of
from waferllm.csl.lowering.values import kind_of
from waferllm.csl.operators import is_float
from waferllm.csl.places import Scope
from waferllm.csl.values import (
    VOID,
    Value,
    type_of,
)


def time_(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args_of(body, node, scope, 0)
    return body.compute(Op.TIME, t.INTEGERS["u64"])


def time_enable_(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (on,) = args_of(body, node, scope, 1)
    body.emit(Op.TIME_ENABLE, a=int(on.data))
    return VOID


def host_ready_(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args_of(body, node, scope, 0)
    body.emit(Op.HOST_READY)
    return VOID


def math_(body: Body, node: s.Builtin, args: list[Value]) -> Value:
    name, type_ = as_text(args[0], node.args[0].span), args[1].data
    if name.upper() not in Math.__members__:
        known = [each.name.lower() for each in Math]
        fail(f"there is no function '{name}'", node.args[0].span, nearest(name, known))
    if not is_float(type_):
        fail(f"'{name}' is a function of floating-point numbers, got {type_}", node.span)
    numbers = [
        body.number(body.convert(a, type_, n.span), n.span)
        for a, n in zip(args[2:], node.args[2:], strict=True)
    ]
    cells = dict(zip("ab", numbers, strict=False))
    return body.compute(Op.MATH, type_, type=kind_of(type_), c=Math[name.upper()], **cells)


MOST_PRINTED = 4
_PLACEHOLDER = re.compile(r"\{\{|\{[dXbfs]?\}")


def print_(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@__print(text, …)`: registers are printed by the machine, strings go into the text."""
    del wanted
    text = as_text(body.known(node.args[0], scope), node.args[0].span)
    values = [(body.expr(each, scope), each.span) for each in node.args[1:]]
    shown: list[tuple[int, Kind]] = []
    left = iter(values)

    def fill(match: re.Match[str]) -> str:
        if match.group() == "{{":
            return "{{"
        value, span = next(left, (None, node.span))
        if value is None:
            fail(f"the text has more places than the {len(values)} value(s)", node.span)
        if value.type == t.COMPTIME_STRING:
            return as_text(value, span).replace("{", "{{")
        kind = kind_of(value.type)
        if kind is None:
            fail(f"a value of type {type_of(value)} cannot be printed", span, "@as gives a type")
        shown.append((body.number(value, span), kind))
        return match.group()

    text = _PLACEHOLDER.sub(fill, text)
    if next(left, None) is not None:
        fail(f"the text has fewer places than the {len(values)} value(s)", node.span)
    if len(shown) > MOST_PRINTED:
        fail(f"{len(shown)} values to print, at most {MOST_PRINTED}", node.span)
    kinds = [kind for _, kind in shown] + [255] * (MOST_PRINTED - len(shown))
    packed = sum(kind << 8 * at for at, kind in enumerate(kinds))
    cells = dict(zip("bcef", [number for number, _ in shown], strict=False))
    # The column is a signed 32-bit number.
    signed = packed - (1 << 32) if packed >> 31 else packed
    body.emit(Op.PRINT, a=body.program.message(text), g=signed, **cells)
    return VOID
