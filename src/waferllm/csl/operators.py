"""Coercion, casts and arithmetic on values, with the messages they stop with."""

import math
import operator
from collections.abc import Callable

from waferllm.csl import types as t
from waferllm.csl.diagnostics import fail
from waferllm.csl.numbers import bits_float, float_bits, round_float
from waferllm.csl.source import Span
from waferllm.csl.values import Function, Value, boolean, is_struct, show, type_of

LONGEST_INT_BITS = 1 << 14


def is_integer(type_: t.Type) -> bool:
    return isinstance(type_, t.IntType) or type_ == t.COMPTIME_INT


def is_float(type_: t.Type) -> bool:
    return isinstance(type_, t.FloatType) or type_ == t.COMPTIME_FLOAT


def is_number(type_: t.Type) -> bool:
    return is_integer(type_) or is_float(type_)


# --- Coercion --------------------------------------------------------------------------------


def coerce(value: Value, wanted: t.Type, span: Span) -> Value:
    """The value in the wanted type, where the language converts by itself; else stop.

    A known integer goes into any integer type that holds it; this accepts a little more than the
    documentation states for integers that already have a type.
    """
    if wanted in (value.type, t.ANYTYPE):
        return value
    found = _coerced(value, wanted, span)
    if found is None:
        hint = None
        if is_number(value.type) and is_number(wanted):
            hint = f"convert it: @as({wanted}, …)"
        fail(f"expected a value of type {wanted}, got {_described(value)}", span, hint)
    return found


def _described(value: Value) -> str:
    if isinstance(value.type, t.PointerType) or value.type in {t.IMPORTED_MODULE, t.VOID}:
        return f"a value of type {value.type}"
    if value.type == t.FUNCTION:
        return show(value)
    return f"{show(value)} of type {type_of(value)}"


def _coerced(value: Value, wanted: t.Type, span: Span) -> Value | None:
    if isinstance(wanted, t.IntType) and is_integer(value.type):
        if not wanted.lowest <= value.data <= wanted.highest:
            reach = f"{wanted} holds {wanted.lowest} to {wanted.highest}"
            fail(f"{value.data} does not fit into {wanted}", span, reach)
        return Value(wanted, value.data)
    if isinstance(wanted, t.FloatType):
        if value.type in {t.COMPTIME_INT, t.COMPTIME_FLOAT}:
            return Value(wanted, round_float(_to_float(value.data, span), wanted))
        return None
    if wanted == t.COMPTIME_INT:
        return Value(wanted, value.data) if is_integer(value.type) else None
    if wanted == t.COMPTIME_FLOAT and is_number(value.type):
        return Value(wanted, _to_float(value.data, span))
    if wanted == t.COMPTIME_STRUCT:
        return value if is_struct(value) else None
    if isinstance(wanted, t.PointerType):
        return _coerced_pointer(value, wanted)
    if isinstance(wanted, t.FnType):
        return Value(wanted, value.data) if isinstance(value.data, Function) else None
    if isinstance(wanted, t.StructType) and value.type == t.ANON_STRUCT:
        return Value(value.type, value.data) if type_of(value) == wanted else None
    return None


def _coerced_pointer(value: Value, wanted: t.PointerType) -> Value | None:
    if isinstance(wanted.target, t.FnType) and isinstance(value.data, Function):
        return Value(wanted, value.data)
    have = value.type
    if not isinstance(have, t.PointerType) or (have.const and not wanted.const):
        return None
    target = have.target
    if wanted.many and not have.many and isinstance(target, t.ArrayType):
        # The documentation asks for rank one; published programs pass any rank, row-major.
        target = target.element
    return Value(wanted, value.data) if target == wanted.target else None


def _to_float(number: float, span: Span) -> float:
    try:
        return float(number)
    except OverflowError:
        fail("this integer is too large for a float", span)


# --- Casts -----------------------------------------------------------------------------------


def cast(value: Value, wanted: t.Type, span: Span) -> Value:
    """`@as(wanted, value)`: floats go to integers toward zero, integers keep their low bits."""
    if isinstance(value.type, t.EnumType):
        if isinstance(wanted, t.EnumType) and wanted != value.type:
            fail("an enum is not cast to another enum", span, "cast to an integer first")
        value = Value(value.type.base, value.data)
    numeric = is_number(value.type) or value.type == t.BOOL
    if isinstance(wanted, t.EnumType) and numeric:
        if int(value.data) not in {number for _, number in wanted.members}:
            fail(f"{value.data} is no member of {wanted}", span)
        return Value(wanted, int(value.data))
    if not numeric or not (is_number(wanted) or wanted == t.BOOL):
        return coerce(value, wanted, span)
    if wanted == t.BOOL:
        return boolean(value.data != 0)
    if is_float(wanted):
        number = _to_float(value.data, span)
        return Value(
            wanted, round_float(number, wanted) if isinstance(wanted, t.FloatType) else number
        )
    if isinstance(value.data, float) and not math.isfinite(value.data):
        fail(f"{value.data} has no integer value", span)
    whole = int(value.data)
    if not isinstance(wanted, t.IntType):
        return Value(wanted, whole)
    if value.type == t.COMPTIME_INT:
        return coerce(value, wanted, span)
    return Value(wanted, wanted.wrap(whole))


def bitcast(value: Value, wanted: t.Type, span: Span) -> Value:
    """`@bitcast(wanted, value)`: the same bits, another type."""
    have = value.type
    if isinstance(have, t.FloatType):
        bits, width = float_bits(value.data, have), have.bits
    elif isinstance(have, t.IntType):
        bits, width = value.data & ((1 << have.bits) - 1), have.bits
    else:
        fail(f"@bitcast takes a number of fixed width, got {_described(value)}", span)
    if not isinstance(wanted, (t.IntType, t.FloatType)):
        fail(f"@bitcast to {wanted} is not known at compile time", span)
    if wanted.bits != width:
        fail(f"@bitcast from {have} ({width} bits) to {wanted} ({wanted.bits} bits)", span)
    if isinstance(wanted, t.IntType):
        return Value(wanted, wanted.wrap(bits))
    return Value(wanted, bits_float(bits, wanted))


# --- Arithmetic ------------------------------------------------------------------------------


def unify(left: Value, right: Value, what: str, span: Span) -> tuple[t.Type, Value, Value]:
    """Both operands in one type: a `comptime_int` or `comptime_float` takes the other's type."""
    if left.type == right.type:
        return left.type, left, right
    for soft in (t.COMPTIME_INT, t.COMPTIME_FLOAT):
        if left.type == soft and is_number(right.type):
            return right.type, coerce(left, right.type, span), right
        if right.type == soft and is_number(left.type):
            return left.type, left, coerce(right, left.type, span)
    hint = None
    if is_number(left.type) and is_number(right.type):
        hint = f"convert one of them: @as({left.type}, …)"
    fail(
        f"the operands of '{what}' have the types {type_of(left)} and {type_of(right)}", span, hint
    )


def binary(op: str, left: Value, right: Value, span: Span) -> Value:
    """`left op right`, for every operator but `and` and `or`."""
    if op in {"<<", ">>"}:
        return _shift(op, left, right, span)
    type_, left, right = unify(left, right, op, span)
    if op in _COMPARE:
        return _compare(op, type_, left, right, span)
    if op in _BITWISE:
        if not is_integer(type_):
            fail(f"'{op}' takes integers, got {type_}", span)
        return _made(type_, _BITWISE[op](left.data, right.data), span)
    if not is_number(type_):
        fail(f"'{op}' takes numbers, got {type_}", span)
    if op in {"/", "%"}:
        return _divide(op, type_, left.data, right.data, span)
    try:
        return _made(type_, _ARITHMETIC[op](left.data, right.data), span)
    except OverflowError:
        fail(f"'{op}' overflows a comptime_float", span)


def unary(op: str, value: Value, span: Span) -> Value:
    """`-value`, `~value`, `!value`."""
    if op == "!":
        if value.type != t.BOOL:
            fail(f"'!' takes a bool, got {_described(value)}", span)
        return boolean(not value.data)
    if op == "~":
        if not isinstance(value.type, t.IntType):
            fail(f"'~' takes an integer of fixed width, got {_described(value)}", span)
        return Value(value.type, value.type.wrap(~value.data))
    if not is_number(value.type):
        fail(f"'-' takes a number, got {_described(value)}", span)
    return _made(value.type, -value.data, span)


def _made(type_: t.Type, number: float, span: Span) -> Value:
    """A result in its type: fixed-width integers wrap, floats round."""
    if isinstance(type_, t.IntType):
        return Value(type_, type_.wrap(int(number)))
    if isinstance(type_, t.FloatType):
        return Value(type_, round_float(number, type_))
    if isinstance(number, int) and number.bit_length() > LONGEST_INT_BITS:
        fail(f"this comptime_int has more than {LONGEST_INT_BITS} bits", span)
    if isinstance(number, float) and not math.isfinite(number):
        fail("this comptime_float is not finite", span)
    return Value(type_, number)


def _divide(op: str, type_: t.Type, left: float, right: float, span: Span) -> Value:
    if is_integer(type_):
        if right == 0:
            fail(f"'{op}' by zero", span)
        # Toward zero, as hardware divides; Python's // rounds down.
        quotient = abs(int(left)) // abs(int(right))
        if (left < 0) != (right < 0):
            quotient = -quotient
        return _made(type_, quotient if op == "/" else int(left) - quotient * int(right), span)
    if op == "%":
        fail(f"'%' takes integers, got {type_}", span)
    if right == 0:
        if type_ == t.COMPTIME_FLOAT:
            fail("'/' by zero", span)
        sign = math.copysign(1.0, left) * math.copysign(1.0, right)
        bad = left == 0 or math.isnan(left)
        return Value(type_, math.nan if bad else sign * math.inf)
    return _made(type_, left / right, span)


def _shift(op: str, left: Value, right: Value, span: Span) -> Value:
    if not is_integer(left.type) or not is_integer(right.type):
        fail(f"'{op}' takes integers, got {type_of(left)} and {type_of(right)}", span)
    by = right.data
    if by < 0 or (isinstance(right.type, t.IntType) and right.type.signed):
        fail(f"'{op}' shifts by an unsigned number, got {_described(right)}", span)
    if by > LONGEST_INT_BITS or (isinstance(left.type, t.IntType) and by >= left.type.bits):
        fail(f"'{op}' by {by} leaves nothing of a value of type {left.type}", span)
    return _made(left.type, left.data << by if op == "<<" else left.data >> by, span)


def _compare(op: str, type_: t.Type, left: Value, right: Value, span: Span) -> Value:
    ordered = op not in {"==", "!="}
    if ordered and not is_number(type_):
        fail(f"'{op}' takes numbers, got {type_of(left)}", span)
    comparable = is_number(type_) or isinstance(type_, t.EnumType) or type_ in _EQUATABLE
    if not comparable:
        fail(f"'{op}' does not compare values of type {type_of(left)}", span)
    return boolean(_COMPARE[op](left.data, right.data))


_EQUATABLE = t.IDENTIFIERS | {t.BOOL, t.DIRECTION, t.COMPTIME_STRING, t.TYPE}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
}  # fmt: skip
_BITWISE: dict[str, Callable[[int, int], int]] = {
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
