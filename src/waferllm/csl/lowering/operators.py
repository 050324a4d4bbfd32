"""Operators: types of both sides, and the instruction that computes the result."""

from waferllm.csl import types as t
from waferllm.csl.code import Kind, Op
from waferllm.csl.diagnostics import fail
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.values import (
    is_known,
    kind_of,
)
from waferllm.csl.operators import binary, coerce, is_integer, is_number
from waferllm.csl.source import Span
from waferllm.csl.values import Value, type_of

_OPS = {
    "+": Op.ADD, "-": Op.SUB, "*": Op.MUL, "/": Op.DIV, "%": Op.REM, "&": Op.AND, "|": Op.OR,
    "^": Op.XOR, "<<": Op.SHL, ">>": Op.SHR, "==": Op.EQ, "!=": Op.NE, "<": Op.LT, "<=": Op.LE,
    ">": Op.GT, ">=": Op.GE,
}  # fmt: skip
COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
SHIFTS = {"<<", ">>"}
SOFT = {t.COMPTIME_INT, t.COMPTIME_FLOAT}


def operate(body: Body, op: str, left: Value, right: Value, span: Span) -> Value:
    """`left op right`."""
    if is_known(left) and is_known(right):
        return binary(op, left, right, span)
    if op in SHIFTS:
        return _shift(body, op, left, right, span)
    type_, left, right = _unified(op, left, right, span)
    _check_operands(op, type_, span)
    simple = _simplified(body, op, type_, left, right, span)
    if simple is not None:
        return simple
    a, b = body.number(left, span), body.number(right, span)
    result = t.BOOL if op in COMPARISONS else type_
    return body.compute(_OPS[op], result, type=kind_of(type_), a=a, b=b)


def _unified(op: str, left: Value, right: Value, span: Span) -> tuple[t.Type, Value, Value]:
    if left.type == right.type:
        return left.type, left, right
    if right.type in SOFT:
        return left.type, left, coerce(right, left.type, span)
    if left.type in SOFT:
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
