"""`@as`, `@bitcast`, `@ptrcast`, `@get_int` and identifiers from numbers."""

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Kind, Op
from waferllm.csl.diagnostics import fail
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.given import Run, args_of, evaluated, mixed
from waferllm.csl.lowering.values import Mem, Reg, holds, is_known, kind_of
from waferllm.csl.operators import is_integer
from waferllm.csl.places import Scope
from waferllm.csl.values import (
    Value,
    show,
    type_of,
)

POINTER_BITS = 16


def as_(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    if len(node.args) != 2:
        fail(f"@as takes 2 arguments, got {len(node.args)}", node.span)
    into = body.type(node.args[0], scope)
    value = body.expr(node.args[1], scope, into)
    if is_known(value):
        return evaluated(body, node, [Value(t.TYPE, into), value])
    return cast(body, value, into, node)


def cast(body: Body, value: Value, into: t.Type, node: s.Builtin) -> Value:
    """`@as` of a register."""
    have = value.type
    if have == into:
        return value
    numeric = (t.IntType, t.FloatType, t.EnumType)
    if not isinstance(value, Reg) or not (isinstance(have, numeric) or have == t.BOOL):
        return body.convert(value, into, node.span)
    if not (isinstance(into, numeric) or into == t.BOOL):
        return body.convert(value, into, node.span)
    a, kind = kind_of(have), kind_of(into)
    assert a is not None
    assert kind is not None
    if into == t.BOOL:
        return body.compute(Op.NE, into, type=a, a=value.number, b=body.constant(0))
    if a == kind or (have == t.BOOL and isinstance(into, t.IntType)) or holds(into, have):
        return value.retyped(into)
    return body.compute(Op.CONVERT, into, type=kind, a=value.number, b=a)


def bitcast(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """The same bits. As numbers, pointers count bytes; as addresses, words."""
    del wanted
    args = args_of(body, node, scope, 2)
    into, value = args[0].data if args[0].type == t.TYPE else None, args[1]
    if isinstance(into, t.PointerType) and isinstance(value.type, t.IntType):
        return _pointer_from(body, node, value, into)
    if is_known(value) and not isinstance(value.type, t.PointerType):
        return evaluated(body, node, args)
    if into is None or _width(into) is None or _width(into) != _width(value.type):
        fail(f"@bitcast from {type_of(value)} to {show(args[0])}: the widths differ", node.span)
    if isinstance(value.type, t.PointerType):
        return _number_from(body, node, value, into)
    assert isinstance(value, Reg)
    return _same_bits(body, value, into)


def _pointer_from(body: Body, node: s.Builtin, value: Value, into: t.PointerType) -> Value:
    if _width(value.type) != POINTER_BITS:
        fail(f"@bitcast from {value.type} to {into}: the widths differ", node.span)
    if is_known(value):
        return Value(into, Mem(into.target, None, (value.data & 0xFFFF) >> 1, into.const))
    assert isinstance(value, Reg)
    number = _same_bits(body, value, t.U16).number
    return body.compute(Op.SHR, into, type=Kind.U16, a=number, b=body.constant(1))


def _number_from(body: Body, node: s.Builtin, value: Value, into: t.Type) -> Value:
    if isinstance(into, t.PointerType):
        return value.retyped(into) if isinstance(value, Reg) else Value(into, value.data)
    number = body.number(value, node.span)
    made = body.compute(Op.SHL, t.U16, type=Kind.U16, a=number, b=body.constant(1))
    return _same_bits(body, made, into)


def _same_bits(body: Body, value: Reg, into: t.Type) -> Reg:
    """A number's bits as another type of the same width."""
    have = value.type
    # Floats are raw bits, as unsigned integers are; only signed integers stand differently.
    signed = [each for each in (have, into) if isinstance(each, t.IntType) and each.signed]
    if not signed or have == into:
        return value.retyped(into)
    plain = t.IntType(_width(into) or 0, False)
    source = plain if isinstance(have, t.FloatType) else have
    aim = plain if isinstance(into, t.FloatType) else into
    kind = kind_of(source)
    return body.compute(Op.CONVERT, aim, type=kind_of(aim), a=value.number, b=kind).retyped(into)


def _width(type_: t.Type) -> int | None:
    if isinstance(type_, (t.IntType, t.FloatType)):
        return type_.bits
    if isinstance(type_, t.EnumType):
        return type_.base.bits
    return POINTER_BITS if isinstance(type_, t.PointerType) else None


def ptrcast(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args = args_of(body, node, scope, 2)
    into = args[0].data if args[0].type == t.TYPE else None
    if not isinstance(into, t.PointerType):
        fail("@ptrcast takes a pointer type", node.args[0].span)
    if not isinstance(args[1].type, t.PointerType):
        fail(f"@ptrcast takes a pointer, got {type_of(args[1])}", node.args[1].span)
    if isinstance(args[1], Reg):
        return args[1].retyped(into)
    return Value(into, args[1].data)


def get_int(body: Body, node: s.Builtin, args: list[Value]) -> Value:  # noqa: ARG001
    held = args[0]
    if isinstance(held, Reg):
        if held.type in t.IDENTIFIERS:
            return held.retyped(t.U16)
        if isinstance(held.type, t.EnumType):
            return held.retyped(held.type.base)
        if is_integer(held.type):
            return held
    return fail(
        f"@get_int takes an identifier, an enum or an integer, got {type_of(held)}", node.span
    )


def get_data_task_id(body: Body, node: s.Builtin, args: list[Value]) -> Value:
    """From a color (WSE-2) or an input queue (WSE-3) that the running program holds."""
    wanted = t.COLOR if body.program.target.arch == "wse2" else t.INPUT_QUEUE
    if args[0].type != wanted or not isinstance(args[0], Reg):
        fail(f"expected a value of type {wanted}, got one of type {type_of(args[0])}", node.span)
    return args[0].retyped(t.DATA_TASK_ID)


def get_identifier(type_: t.Type) -> Run:
    def run(body: Body, node: s.Builtin, args: list[Value]) -> Value:
        value = body.convert(args[0], t.U16, node.args[0].span)
        assert isinstance(value, Reg)
        return value.retyped(type_)

    return mixed(run)
