"""Places: where names, fields, elements and pointers' targets stand, and their addresses."""

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Kind, Op
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.evaluate import flat_index
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.values import (
    Held,
    Located,
    Mem,
    Reg,
    RegVar,
    field_offset,
    is_known,
    words_of,
)
from waferllm.csl.operators import is_integer
from waferllm.csl.places import Constant, Global, Part, Scope
from waferllm.csl.source import Span
from waferllm.csl.values import Function, Value, is_struct, is_tuple, type_of


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
