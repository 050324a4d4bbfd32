"""Expressions: what is known stays a value, the rest becomes instructions."""

from collections.abc import Callable
from typing import Any

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Kind, Op
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.evaluate import flat_index
from waferllm.csl.lowering import builtins, calls, control
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.program import walk
from waferllm.csl.lowering.values import (
    Held,
    Located,
    Mem,
    Reg,
    RegVar,
    field_offset,
    is_known,
    kind_of,
    words_of,
)
from waferllm.csl.operators import binary, coerce, is_integer, is_number, unary
from waferllm.csl.places import Constant, Global, Part, Scope
from waferllm.csl.source import Span
from waferllm.csl.values import Function, Value, is_struct, is_tuple, struct_of, type_of

# --- Places ----------------------------------------------------------------------------------------


def locate(body: Body, node: s.Node, scope: Scope) -> Located:
    """Where an expression's value stands; its value, if it has no place."""
    if isinstance(node, s.Name):
        return _global(body, body.program.ev.find(node, scope))
    if isinstance(node, s.Deref):
        return _target(body, body.expr(node.operand, scope), node.span)
    if isinstance(node, s.Field):
        return _field(body, locate(body, node.base, scope), node.name, node.span)
    if isinstance(node, s.Index):
        return _element(body, node, scope)
    if isinstance(node, s.Builtin) and node.name == "field" and len(node.args) == 2:
        name = body.known(node.args[1], scope).data.decode()
        return _field(body, locate(body, node.args[0], scope), name, node.span)
    return body.expr(node, scope)


def _global(body: Body, found: Located) -> Located:
    """A global that may change lies in memory; a known one is its value."""
    if isinstance(found, Global) and found.decl.storage == "extern":
        unsupported("an extern variable", body.span)
    if isinstance(found, Global) and not found.known:
        return Mem(type_of(found.get()), None, body.program.memory.of_global(found))
    return found


def _root(place: Located) -> Located:
    while isinstance(place, Part):
        place = place.base
    return place


def _target(body: Body, pointer: Value, span: Span) -> Located:
    if not isinstance(pointer.type, t.PointerType) or pointer.type.many:
        fail(f"'.*' takes a pointer *T, got {type_of(pointer)}", span)
    return _behind(body, pointer, pointer.type.target, span)


def _behind(body: Body, pointer: Value, type_: t.Type, span: Span) -> Located:
    """The place of type `type_` that a pointer points at."""
    assert isinstance(pointer.type, t.PointerType)
    const = pointer.type.const
    if isinstance(pointer, Reg):
        return Mem(type_, pointer.number, 0, const)
    if pointer.data is None:
        fail("this pointer points nowhere", span)
    root = _root(pointer.data)
    fixed = isinstance(root, Constant) or (isinstance(root, Global) and root.known)
    if fixed and type_of(pointer.data.get()) == type_:
        return pointer.data
    return Mem(type_, None, body.program.memory.address(pointer.data, span), const)


def _field(body: Body, base: Located, name: str, span: Span) -> Located:
    if isinstance(base, Mem):
        if not isinstance(base.type, t.StructType):
            fail(f"{base.type} has no fields", span)
        if name not in dict(base.type.fields):
            fail(f"there is no field '{name}'", span, nearest(name, dict(base.type.fields)))
        return base.part(*field_offset(base.type, name))
    held = base if isinstance(base, Value) else base.get()
    if held.type == t.IMPORTED_MODULE:
        found = held.data.member(name)
        if found is None:
            hint = nearest(name, held.data.names())
            fail(f"{held.data.path.name} declares no '{name}'", span, hint)
        return _global(body, found)
    if held.type == t.TYPE and isinstance(held.data, t.EnumType):
        return _member(held.data, name, span)
    if not is_struct(held):
        fail(f"{type_of(held)} has no fields", span)
    if name not in held.data:
        fail(f"there is no field '{name}'", span, nearest(name, held.data))
    return held.data[name] if isinstance(base, Value) else Part(base, name)


def _member(enum: t.EnumType, name: str, span: Span) -> Value:
    for each, number in enum.members:
        if each == name:
            return Value(enum, number)
    return fail(f"{enum} has no member '{name}'", span)


def _element(body: Body, node: s.Index, scope: Scope) -> Located:
    base = locate(body, node.base, scope)
    type_ = base.type if isinstance(base, (Mem, Value, RegVar)) else base.get().type
    if isinstance(type_, t.PointerType):
        pointer = body.read(base)
        if not type_.many:
            fail(f"a {type_} is not indexed; what it points at is", node.span, "(p.*)[i]")
        return _behind_many(body, pointer, node, scope)
    indices = [body.expr(each, scope) for each in node.indices]
    for index, each in zip(indices, node.indices, strict=True):
        if not is_integer(index.type):
            fail(f"expected an integer, got a value of type {type_of(index)}", each.span)
    if isinstance(type_, t.ArrayType):
        return _array_element(body, base, type_, indices, node.span)
    held = body.read(base)
    if is_struct(held) and is_tuple(held) and len(indices) == 1 and is_known(indices[0]):
        return _field(body, base, str(indices[0].data), node.span)
    return fail(f"{type_of(held)} cannot be indexed", node.span)


def _behind_many(body: Body, pointer: Value, node: s.Index, scope: Scope) -> Located:
    assert isinstance(pointer.type, t.PointerType)
    if len(node.indices) != 1:
        fail(f"a {pointer.type} takes one index, got {len(node.indices)}", node.span)
    index = body.expr(node.indices[0], scope)
    if not is_integer(index.type):
        fail(f"expected an integer, got a value of type {type_of(index)}", node.span)
    element = pointer.type.target
    words = words_of(element) or 0
    if isinstance(pointer, Reg):
        first = Mem(element, pointer.number, 0, pointer.type.const)
    else:
        address = body.program.bits(pointer, node.span)
        first = Mem(element, None, address, pointer.type.const)
    if is_known(index):
        return first.part(element, index.data * words)
    return _displaced(body, first, _scaled(body, index, words), node.span)


def _array_element(
    body: Body, base: Located, type_: t.ArrayType, indices: list[Value], span: Span
) -> Located:
    if len(indices) != len(type_.dimensions):
        fail(f"{type_} takes {len(type_.dimensions)} index(es), got {len(indices)}", span)
    for index, length in zip(indices, type_.dimensions, strict=True):
        if is_known(index) and not 0 <= index.data < length:
            fail(
                f"index {index.data} is outside of {type_}",
                span,
                f"the indices run from 0 to {length - 1}",
            )
    words = words_of(type_.element) or 0
    if all(map(is_known, indices)):
        at = flat_index(type_, [each.data for each in indices], span)
        if isinstance(base, Held):
            base = base.place
        if isinstance(base, Mem):
            return base.part(type_.element, at * words)
        if isinstance(base, Value):
            return Value(type_.element, base.data[at])
        return Part(base, at)
    if words_of(type_) is None:
        fail(f"a {type_} is indexed only by what is known at compile time", span)
    place = body.memory(base, span)
    first = place.part(type_.element, 0)
    known, rest = _flatten(body, indices, type_.dimensions)
    return _displaced(
        body, first.part(type_.element, known * words), _scaled(body, rest, words), span
    )


def _flatten(body: Body, indices: list[Value], dimensions: tuple[int, ...]) -> tuple[int, Value]:
    """A row-major position as a known number and a register to add to it."""
    known, rest, step = 0, None, 1
    for index, length in zip(reversed(indices), reversed(dimensions), strict=True):
        if is_known(index):
            known += index.data * step
        else:
            part = _scaled(body, index, step)
            if rest is None:
                rest = part
            else:
                rest = body.compute(Op.ADD, t.U16, type=Kind.U16, a=rest.number, b=part.number)
        step *= length
    assert rest is not None
    return known, rest


def _scaled(body: Body, index: Value, by: int) -> Reg:
    """A register index times a known number, as 16-bit address arithmetic does it."""
    assert isinstance(index, Reg)
    if by == 1:
        return index
    if by & (by - 1) == 0:
        op, number = Op.SHL, by.bit_length() - 1
    else:
        op, number = Op.MUL, by
    return body.compute(op, t.U16, type=Kind.U16, a=index.number, b=body.constant(number & 0xFFFF))


def _displaced(body: Body, place: Mem, by: Reg, span: Span) -> Mem:
    """A place so many words further, the number in a register."""
    del span
    if place.base is None:
        return Mem(place.type, by.number, place.offset, place.const)
    total = body.compute(Op.ADD, t.U16, type=Kind.U16, a=place.base, b=by.number)
    return Mem(place.type, total.number, place.offset, place.const)


def address_of(body: Body, place: Located, span: Span) -> Value:
    """`&place`."""
    held = place if isinstance(place, Value) else place.get()
    if not isinstance(held, (Reg, Held)) and isinstance(held.data, Function):
        type_ = body.program.ev.function_type(held.data)
        return Value(t.PointerType(type_, const=True), held.data)
    if isinstance(place, (Value, RegVar)) and not is_known(held):
        place = body.memory(place, span)
    if isinstance(place, Mem):
        type_ = t.PointerType(place.type, const=place.const)
        if place.base is None:
            return Value(type_, place)
        return Reg(type_, body.address(place))
    if isinstance(place, Value):
        place = Constant(place, "this", span)
    return Value(t.PointerType(type_of(held), const=True), place)


# --- Operators -------------------------------------------------------------------------------------

_OPS = {
    "+": Op.ADD, "-": Op.SUB, "*": Op.MUL, "/": Op.DIV, "%": Op.REM, "&": Op.AND, "|": Op.OR,
    "^": Op.XOR, "<<": Op.SHL, ">>": Op.SHR, "==": Op.EQ, "!=": Op.NE, "<": Op.LT, "<=": Op.LE,
    ">": Op.GT, ">=": Op.GE,
}  # fmt: skip
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
_SHIFTS = {"<<", ">>"}
_SOFT = {t.COMPTIME_INT, t.COMPTIME_FLOAT}
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
    hint = None if node.op in _COMPARISONS else wanted
    left = body.expr(node.left, scope, hint)
    if isinstance(left, Reg) and left.owned and not isinstance(node.right, _SIMPLE):
        left = _before_effects(body, left, node.right)
    if hint is None and left.type not in _SOFT and node.op not in _SHIFTS:
        hint = left.type
    right = body.expr(node.right, scope, hint if isinstance(node.right, _BRANCHING) else None)
    return operate(body, node.op, left, right, node.span)


def _before_effects(body: Body, left: Reg, right: s.Node) -> Reg:
    """The left operand, copied if the right one is a block that might change the variable."""
    if any(isinstance(each, s.Block) for each in walk(right)):
        kept = body.keep(left, right.span)
        assert isinstance(kept, Reg)
        return kept
    return left


def operate(body: Body, op: str, left: Value, right: Value, span: Span) -> Value:
    """`left op right`."""
    if is_known(left) and is_known(right):
        return binary(op, left, right, span)
    if op in _SHIFTS:
        return _shift(body, op, left, right, span)
    type_, left, right = _unified(op, left, right, span)
    _check_operands(op, type_, span)
    simple = _simplified(body, op, type_, left, right, span)
    if simple is not None:
        return simple
    a, b = body.number(left, span), body.number(right, span)
    result = t.BOOL if op in _COMPARISONS else type_
    return body.compute(_OPS[op], result, type=kind_of(type_), a=a, b=b)


def _unified(op: str, left: Value, right: Value, span: Span) -> tuple[t.Type, Value, Value]:
    if left.type == right.type:
        return left.type, left, right
    if right.type in _SOFT:
        return left.type, left, coerce(right, left.type, span)
    if left.type in _SOFT:
        return right.type, coerce(left, right.type, span), right
    if isinstance(left.type, t.PointerType) and isinstance(right.type, t.PointerType):
        return left.type, left, right
    hint = None
    if is_number(left.type) and is_number(right.type):
        hint = f"convert one of them: @as({left.type}, …)"
    return fail(
        f"the operands of '{op}' have the types {type_of(left)} and {type_of(right)}", span, hint
    )


def _check_operands(op: str, type_: t.Type, span: Span) -> None:
    if op in {"==", "!="} and kind_of(type_) not in {None, Kind.U64}:
        return
    if op in {"&", "|", "^", "%"} and not is_integer(type_):
        fail(f"'{op}' takes integers, got {type_}", span)
    if not is_number(type_):
        fail(f"'{op}' takes numbers, got {type_}", span)


def _simplified(
    body: Body, op: str, type_: t.Type, left: Value, right: Value, span: Span
) -> Value | None:
    """Integer arithmetic with a known right side that needs less than a multiplication or nothing."""
    if not isinstance(type_, t.IntType):
        return None
    if is_known(left) and op in {"+", "*"}:
        left, right = right, left
    if not is_known(right):
        return None
    known = right.data
    if (known == 0 and op in {"+", "-", "|", "^"}) or (known == 1 and op in {"*", "/"}):
        return left
    power = known > 0 and known & (known - 1) == 0
    if not power or not (op == "*" or (op in {"/", "%"} and not type_.signed)):
        return None
    new, number = {
        "*": (Op.SHL, known.bit_length() - 1),
        "/": (Op.SHR, known.bit_length() - 1),
        "%": (Op.AND, known - 1),
    }[op]
    a = body.number(left, span)
    return body.compute(new, type_, type=kind_of(type_), a=a, b=body.constant(number))


def _shift(body: Body, op: str, left: Value, right: Value, span: Span) -> Value:
    if not is_integer(left.type) or not is_integer(right.type):
        fail(f"'{op}' takes integers, got {type_of(left)} and {type_of(right)}", span)
    if left.type == t.COMPTIME_INT:
        fail(f"the left side of '{op}' needs a width", span, "@as(u16, …)")
    if isinstance(right.type, t.IntType) and right.type.signed:
        fail(f"'{op}' shifts by an unsigned number, got one of type {right.type}", span)
    assert isinstance(left.type, t.IntType)
    if is_known(right) and not 0 <= right.data < left.type.bits:
        fail(f"'{op}' by {right.data} leaves nothing of a value of type {left.type}", span)
    a = body.number(left, span)
    b = body.constant(right.data) if is_known(right) else body.number(right, span)
    return body.compute(_OPS[op], left.type, type=kind_of(left.type), a=a, b=b)


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
    s.For: control.for_,
    s.While: control.while_,
    s.Break: control.break_,
    s.Continue: control.continue_,
    s.Return: control.return_,
    s.Assign: control.assign,
    s.VarDecl: control.declare,
}  # fmt: skip
