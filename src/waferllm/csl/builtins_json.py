"""`@import_comptime_value`: a JSON file as a value of a given type.

What maps to what: the SDK documentation's page on builtins, under @import_comptime_value.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_text, as_type
from waferllm.csl.builtins import builtin
from waferllm.csl.diagnostics import fail, nearest
from waferllm.csl.operators import coerce
from waferllm.csl.source import Span
from waferllm.csl.values import Value, boolean, integer, struct_of

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator


@builtin("import_comptime_value", 2)
def _import_comptime_value(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    wanted, where = as_type(args[0], node.args[0].span), node.args[1].span
    path = ev.files.resolve(as_text(args[1], where), Path(node.span.source.name), where)
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{path.name} is no JSON file: {error}", where)
    return _value(held, wanted, path.name, where)


def _value(held: Any, wanted: t.Type, what: str, span: Span) -> Value:
    """A piece of JSON as a type; `what` names it."""
    if wanted == t.COMPTIME_STRUCT:
        return _struct(held, what, span)
    if isinstance(wanted, t.ArrayType):
        return _array(held, wanted, what, span)
    if wanted == t.COMPTIME_STRING and isinstance(held, str):
        return Value(wanted, held.encode())
    if wanted == t.BOOL and isinstance(held, bool):
        return boolean(held)
    number = isinstance(held, int | float) and not isinstance(held, bool)
    if wanted == t.COLOR and number:
        return Value(wanted, coerce(integer(int(held)), t.U16, span).data)
    floats = isinstance(wanted, t.FloatType) or wanted == t.COMPTIME_FLOAT
    if number and (floats or (isinstance(held, int) and _counts(wanted))):
        given = Value(t.COMPTIME_FLOAT, float(held)) if floats else integer(int(held))
        return coerce(given, wanted, span)
    return fail(f"{what}: expected a {wanted}, got {json.dumps(held)[:40]}", span)


def _counts(wanted: t.Type) -> bool:
    return isinstance(wanted, t.IntType) or wanted == t.COMPTIME_INT


def _array(held: Any, wanted: t.ArrayType, what: str, span: Span) -> Value:
    if not isinstance(held, list) or len(held) != wanted.count:
        got = f"{len(held)} elements" if isinstance(held, list) else json.dumps(held)[:40]
        fail(f"{what}: expected a list for {wanted}, got {got}", span)
    parts = [_value(e, wanted.element, f"{what}[{at}]", span) for at, e in enumerate(held)]
    return Value(wanted, tuple(each.data for each in parts))


def _struct(held: Any, what: str, span: Span) -> Value:
    if not isinstance(held, dict):
        fail(f"{what}: expected an object, got {json.dumps(held)[:40]}", span)
    found = {}
    for label, each in held.items():
        name, colon, type_ = label.partition(":")
        if not colon or not name.isidentifier():
            fail(f"{what}: expected a label such as 'size:u16', got '{label}'", span)
        found[name] = _value(each, _type(type_.strip(), what, span), f"{what}.{name}", span)
    return struct_of(found)


def _type(text: str, what: str, span: Span) -> t.Type:
    """A type as a label has it: its name, or `[8]i16`."""
    length, bracket, element = text.removeprefix("[").partition("]")
    if text.startswith("[") and bracket and length.isdigit():
        return t.ArrayType((int(length),), _type(element, what, span))
    if text not in t.PRIMITIVES:
        hint = nearest(text, t.PRIMITIVES)
        fail(f"{what}: '{text}' is no type of the language", span, hint)
    return t.PRIMITIVES[text]
