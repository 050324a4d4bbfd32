"""Expressions: what is known stays a value, the rest becomes instructions."""

from collections.abc import Callable
from typing import Any

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Op
from waferllm.csl.diagnostics import fail, nearest
from waferllm.csl.lowering import builtins, calls, control, loops
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.operators import COMPARISONS, SHIFTS, SOFT, operate
from waferllm.csl.lowering.places import address_of, locate
from waferllm.csl.lowering.values import (
    Held,
    Mem,
    Reg,
    is_known,
    kind_of,
    words_of,
)
from waferllm.csl.operators import is_number, unary
from waferllm.csl.places import Scope
from waferllm.csl.values import Value, struct_of, type_of

_BRANCHING = (s.If, s.Switch, s.Block)
_SIMPLE = (s.Name, s.Int, s.Float)


def _unary(body: Body, node: s.Unary, scope: Scope, wanted: t.Type | None) -> Value:
    if node.op == "&":
        return address_of(body, locate(body, node.operand, scope), node.span)
    held = body.expr(node.operand, scope, wanted)
    if is_known(held):
        return unary(node.op, held, node.span)
    type_ = held.type
    if node.op == "!":
        allowed, op = type_ == t.BOOL, Op.LNOT
    elif node.op == "~":
        allowed, op = isinstance(type_, t.IntType), Op.NOT
    else:
        allowed, op = is_number(type_), Op.NEG
    if not allowed:
        fail(f"'{node.op}' does not apply to a value of type {type_of(held)}", node.span)
    number = body.number(held, node.span)
    return body.compute(op, type_, type=kind_of(type_), a=number)


def _binary(body: Body, node: s.Binary, scope: Scope, wanted: t.Type | None) -> Value:
    if node.op in {"and", "or"}:
        return control.logical(body, node, scope)
    hint = None if node.op in COMPARISONS else wanted
    left = body.expr(node.left, scope, hint)
    if isinstance(left, Reg) and left.owned and not isinstance(node.right, _SIMPLE):
        left = _before_effects(body, left, node.right)
    if hint is None and left.type not in SOFT and node.op not in SHIFTS:
        hint = left.type
    right = body.expr(node.right, scope, hint if isinstance(node.right, _BRANCHING) else None)
    return operate(body, node.op, left, right, node.span)


def _before_effects(body: Body, left: Reg, right: s.Node) -> Reg:
    """The left operand, copied if the right one is a block that might change the variable."""
    if any(isinstance(each, s.Block) for each in s.walk(right)):
        kept = body.keep(left, right.span)
        assert isinstance(kept, Reg)
        return kept
    return left


# --- Literals --------------------------------------------------------------------------------------


def _struct_literal(
    body: Body, node: s.StructLiteral, scope: Scope, wanted: t.Type | None
) -> Value:
    type_ = body.type(node.type, scope) if node.type else None
    if type_ is not None and not isinstance(type_, t.StructType):
        fail(f"{type_} is not a struct", node.span)
    into = type_ if type_ is not None else wanted
    types = dict(into.fields) if isinstance(into, t.StructType) else {}
    fields = {each.name: body.expr(each.value, scope, types.get(each.name)) for each in node.fields}
    if type_ is None:
        return Value(t.ANON_STRUCT, fields)
    for name in fields:
        if name not in types:
            fail(f"{type_} has no field '{name}'", node.span, nearest(name, types))
    for name in types:
        if name not in fields:
            fail(f"field '{name}' is missing", node.span)
    return Value(type_, {n: body.convert(fields[n], each, node.span) for n, each in types.items()})


def _list_literal(body: Body, node: s.ListLiteral, scope: Scope, _: t.Type | None) -> Value:
    if node.type is None:
        elements = [body.expr(each, scope) for each in node.elements]
        return struct_of({str(at): each for at, each in enumerate(elements)})
    type_ = body.type(node.type, scope)
    if not isinstance(type_, t.ArrayType):
        fail(f"{type_} is not an array", node.type.span, "a struct's fields are .name = value")
    if len(node.elements) != type_.count:
        fail(f"{type_} has {type_.count} element(s), got {len(node.elements)}", node.span)
    elements = [body.expr_as(each, scope, type_.element) for each in node.elements]
    if all(map(is_known, elements)):
        return Value(type_, tuple(each.data for each in elements))
    place = body.temporary(type_, node.span, "array")
    for at, each in enumerate(elements):
        words = words_of(type_.element) or 0
        body.store(place.part(type_.element, at * words), each, node.span)
    return Held(place)


# --- The table -------------------------------------------------------------------------------------


def _located(body: Body, node: s.Node, scope: Scope, _: t.Type | None) -> Value:
    found = locate(body, node, scope)
    if isinstance(found, Mem):
        return body.load(found)
    return body.read(found)


def _evaluated(body: Body, node: s.Node, scope: Scope, _: t.Type | None) -> Value:
    return body.program.ev.value(node, scope)


def _comptime(body: Body, node: s.Comptime, scope: Scope, _: t.Type | None) -> Value:
    return body.program.ev.guarded(lambda: body.program.ev.value(node.operand, scope), node.span)


FORMS: dict[type, Callable[[Body, Any, Scope, t.Type | None], Value]] = {
    **dict.fromkeys((s.Name, s.Field, s.Index, s.Deref), _located),
    **dict.fromkeys(
        (
            s.Int, s.Float, s.String, s.Bool, s.TensorAccess, s.PointerTypeExpr, s.ArrayTypeExpr,
            s.FnTypeExpr, s.StructTypeExpr, s.EnumTypeExpr, s.AnyTypeExpr, s.Asm,
        ),
        _evaluated,
    ),
    s.Comptime: _comptime,
    s.Unary: _unary,
    s.Binary: _binary,
    s.Call: calls.call,
    s.Builtin: builtins.builtin,
    s.StructLiteral: _struct_literal,
    s.ListLiteral: _list_literal,
    s.Block: control.block,
    s.If: control.if_,
    s.Switch: control.switch,
    s.For: loops.for_,
    s.While: loops.while_,
    s.Break: control.break_,
    s.Continue: control.continue_,
    s.Return: control.return_,
    s.Assign: control.assign,
    s.VarDecl: control.declare,
}  # fmt: skip
