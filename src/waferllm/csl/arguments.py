"""What a builtin may be given: each function returns the argument's data, or stops at its place."""

from waferllm.csl import types as t
from waferllm.csl.diagnostics import fail
from waferllm.csl.operators import is_integer
from waferllm.csl.source import Span
from waferllm.csl.values import Value, is_struct, show, type_of


def as_type(value: Value, span: Span) -> t.Type:
    """An argument that must be a type."""
    if value.type != t.TYPE:
        fail(f"expected a type, got {show(value)}", span)
    return value.data


def as_array(value: Value, span: Span) -> t.ArrayType:
    """An argument that must be an array type."""
    found = as_type(value, span)
    if not isinstance(found, t.ArrayType):
        fail(f"expected an array type, got {found}", span, "for example [4]f16")
    return found


def as_text(value: Value, span: Span) -> str:
    """An argument that must be a string."""
    if value.type != t.COMPTIME_STRING:
        fail(f"expected a comptime_string, got {show(value)} of type {type_of(value)}", span)
    return value.data.decode("utf-8", "backslashreplace")


def as_number(value: Value, span: Span) -> int:
    """An argument that must be an integer."""
    if not is_integer(value.type):
        fail(f"expected an integer, got {show(value)} of type {type_of(value)}", span)
    return value.data


def as_struct(value: Value, span: Span) -> dict[str, Value]:
    """An argument that must be a struct."""
    if not is_struct(value):
        fail(f"expected a struct, got {show(value)} of type {type_of(value)}", span)
    return value.data
