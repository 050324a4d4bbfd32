"""Builtins of values: conversions, types, arrays, structs, strings, identifiers, modules."""

from typing import TYPE_CHECKING

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_array, as_number, as_struct, as_text, as_type
from waferllm.csl.builtins import UNLIMITED, builtin
from waferllm.csl.diagnostics import CslError, fail, nearest
from waferllm.csl.operators import bitcast, cast, coerce, is_integer
from waferllm.csl.places import Scope
from waferllm.csl.source import Span
from waferllm.csl.target import QUEUES, ROUTABLE_COLORS
from waferllm.csl.values import (
    FALSE,
    TRUE,
    VOID,
    Range,
    Value,
    boolean,
    default,
    integer,
    is_tuple,
    show,
    struct_of,
    type_of,
)

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator

LONGEST_STRING = 1 << 20


# --- Conversions and types -------------------------------------------------------------------


@builtin("as", 2)
def _as(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return cast(args[1], as_type(args[0], node.args[0].span), node.span)


@builtin("bitcast", 2)
def _bitcast(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return bitcast(args[1], as_type(args[0], node.args[0].span), node.span)


@builtin("type_of", 1, lazy=True)
def _type_of(ev: "Evaluator", node: s.Builtin, scope: Scope) -> Value:
    # A var's type is known even where its value is not.
    arg = node.args[0]
    if isinstance(arg, (s.Name, s.Field, s.Index, s.Deref)):
        held = ev.place(arg, scope).get()
    else:
        held = ev.value(arg, scope)
    if held.type == t.FUNCTION:
        return Value(t.TYPE, ev.function_type(held.data))
    return Value(t.TYPE, type_of(held))


@builtin("is_same_type", 2)
def _is_same_type(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    left, right = (as_type(a, n.span) for a, n in zip(args, node.args, strict=True))
    return boolean(left == right)


@builtin("is_arch", 1)
def _is_arch(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    name = as_text(args[0], node.args[0].span)
    if name not in {"wse2", "wse3"}:
        fail(f"there is no architecture '{name}'", node.args[0].span, "wse2 and wse3 are known")
    return boolean(name == ev.target.arch)


@builtin("fp16", 0)
def _fp16(ev: "Evaluator", *_: object) -> Value:
    return Value(t.TYPE, ev.target.fp16)


@builtin("is_comptime", 0)
def _is_comptime(*_: object) -> Value:
    return TRUE


@builtin("get_int", 1)
def _get_int(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = args[0]
    if held.type in t.IDENTIFIERS:
        return integer(held.data, t.U16)
    if isinstance(held.type, t.EnumType):
        return integer(held.data, held.type.base)
    if is_integer(held.type):
        return held
    return fail(f"@get_int takes an identifier, an enum or an integer, got {show(held)}", node.span)


# --- Assertions and printing -----------------------------------------------------------------


@builtin("comptime_assert", 1, 2)
def _comptime_assert(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    if args[0].type != t.BOOL:
        fail(f"expected a bool, got {show(args[0])}", node.args[0].span)
    if not args[0].data:
        why = f": {as_text(args[1], node.args[1].span)}" if len(args) > 1 else ""
        fail(f"this assertion is false{why}", node.span)
    return VOID


builtin("assert", 1)(_comptime_assert)


@builtin("comptime_print", 1, UNLIMITED)
def _comptime_print(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    shown = (
        as_text(a, n.span) if a.type == t.COMPTIME_STRING else show(a)
        for a, n in zip(args, node.args, strict=True)
    )
    ev.printed.append(" ".join(shown))
    return VOID


# --- Strings ---------------------------------------------------------------------------------


@builtin("strlen", 1)
def _strlen(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    as_text(args[0], node.span)
    return integer(len(args[0].data))


@builtin("strcat", 0, UNLIMITED)
def _strcat(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    for arg, each in zip(args, node.args, strict=True):
        as_text(arg, each.span)
    if sum(len(arg.data) for arg in args) > LONGEST_STRING:
        fail(f"a string of more than {LONGEST_STRING} bytes", node.span)
    return Value(t.COMPTIME_STRING, b"".join(arg.data for arg in args))


@builtin("get_array", 1)
def _get_array(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    as_text(args[0], node.span)
    return Value(t.ArrayType((len(args[0].data),), t.U8), tuple(args[0].data))


@builtin("get_string_from_byte", 1)
def _get_string_from_byte(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    byte = coerce(args[0], t.U8, node.span)
    return Value(t.COMPTIME_STRING, bytes([byte.data]))


# --- Arrays ----------------------------------------------------------------------------------


@builtin("zeros", 1)
def _zeros(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return default(as_array(args[0], node.args[0].span))


@builtin("constants", 2)
def _constants(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    type_ = as_array(args[0], node.args[0].span)
    held = coerce(args[1], type_.element, node.args[1].span)
    return Value(type_, (held.data,) * type_.count)


@builtin("dimensions", 1)
def _dimensions(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    dimensions = as_array(args[0], node.span).dimensions
    return Value(t.ArrayType((len(dimensions),), t.U32), dimensions)


@builtin("element_count", 1)
def _element_count(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return integer(as_array(args[0], node.span).count, t.U32)


@builtin("element_type", 1)
def _element_type(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return Value(t.TYPE, as_array(args[0], node.span).element)


@builtin("rank", 1)
def _rank(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return integer(len(as_array(args[0], node.span).dimensions), t.U16)


@builtin("range", 2, 4)
def _range(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    element = as_type(args[0], node.args[0].span)
    if len(args) == 3:
        fail("@range takes a type and one bound, or a type, start, stop and step", node.span)
    if not is_integer(element):
        fail(f"@range counts in integers, not in {element}", node.args[0].span)
    numbers = [
        coerce(a, element, n.span).data for a, n in zip(args[1:], node.args[1:], strict=True)
    ]
    start, stop, step = (0, numbers[0], 1) if len(numbers) == 1 else numbers
    if step == 0:
        fail("@range with a step of 0 never ends", node.args[3].span)
    return Value(t.RANGE, Range(element, start, stop, step))


@builtin("range_start", 1)
def _range_start(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _as_range(args[0], node.span)
    return integer(held.start, held.element)


@builtin("range_stop", 1)
def _range_stop(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _as_range(args[0], node.span)
    return integer(held.stop, held.element)


@builtin("range_step", 1)
def _range_step(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _as_range(args[0], node.span)
    return integer(held.step, held.element)


def _as_range(value: Value, span: Span) -> Range:
    if not isinstance(value.data, Range):
        fail(f"expected a range, got {show(value)} of type {type_of(value)}", span)
    return value.data


# --- Structs ---------------------------------------------------------------------------------


@builtin("field", 2)
def _field(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    fields = as_struct(args[0], node.args[0].span)
    name = as_text(args[1], node.args[1].span)
    if name not in fields:
        fail(f"there is no field '{name}'", node.args[1].span, nearest(name, fields))
    return fields[name]


@builtin("has_field", 2)
def _has_field(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    fields = as_struct(args[0], node.args[0].span)
    return TRUE if as_text(args[1], node.args[1].span) in fields else FALSE


@builtin("concat_structs", 2)
def _concat_structs(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    left, right = (as_struct(a, n.span) for a, n in zip(args, node.args, strict=True))
    if left and right and is_tuple(args[0]) != is_tuple(args[1]):
        fail("a struct with names and one without cannot be joined", node.span)
    if left and right and is_tuple(args[0]):
        return struct_of({str(at): v for at, v in enumerate([*left.values(), *right.values()])})
    for name in right:
        if name in left:
            fail(f"both structs have a field '{name}'", node.span)
    return struct_of({**left, **right})


# --- Identifiers -----------------------------------------------------------------------------


def _identifier(type_: t.Type, allowed: dict[str, range], what: str) -> None:
    @builtin(f"get_{type_}", 1)
    def _get(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
        number, reach = as_number(args[0], node.args[0].span), allowed[ev.target.arch]
        if number not in reach:
            hint = f"{what} on {ev.target.arch} run from {reach[0]} to {reach[-1]}"
            fail(f"{number} is no {type_} on {ev.target.arch}", node.span, hint)
        return Value(type_, number)


def _both(count: int) -> dict[str, range]:
    return {"wse2": range(count), "wse3": range(count)}


# Ranges: the SDK documentation's pages on task identifiers and on builtins (2.10.0).
_identifier(t.COLOR, _both(ROUTABLE_COLORS), "routable colors")
_identifier(t.LOCAL_TASK_ID, {"wse2": range(31), "wse3": range(8, 31)}, "local task ids")
_identifier(t.CONTROL_TASK_ID, _both(64), "control task ids")
_identifier(t.INPUT_QUEUE, _both(QUEUES), "input queues")
_identifier(t.OUTPUT_QUEUE, _both(QUEUES), "output queues")
_identifier(t.UT_ID, _both(QUEUES), "microthreads")


@builtin("get_data_task_id", 1)
def _get_data_task_id(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    wanted = t.COLOR if ev.target.arch == "wse2" else t.INPUT_QUEUE
    if args[0].type != wanted:
        hint = f"on {ev.target.arch} a data task id is made from a value of type {wanted}"
        fail(f"expected a value of type {wanted}, got {show(args[0])}", node.args[0].span, hint)
    return Value(t.DATA_TASK_ID, args[0].data)


@builtin("get_rectangle", 0)
def _get_rectangle(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:  # noqa: ARG001
    size = getattr(ev.collector, "rectangle", None)
    if size is None:
        fail("@get_rectangle before @set_rectangle", node.span)

    def pair(numbers: tuple[int, int]) -> dict[str, Value]:
        return {"width": integer(numbers[0], t.U16), "height": integer(numbers[1], t.U16)}

    return struct_of(
        {
            **pair(size),
            "fabric": struct_of(pair(ev.target.fabric)),
            "offsets": struct_of(pair(ev.target.offsets)),
        }
    )


# --- Modules ---------------------------------------------------------------------------------


@builtin("import_module", 1, 2, lazy=True)
def _import_module(ev: "Evaluator", node: s.Builtin, scope: Scope) -> Value:
    named, *rest = node.args
    name = as_text(ev.value(named, scope), named.span)
    params: dict[str, Value] = {}
    for each in rest:
        params = as_struct(ev.value(each, scope), each.span)
    path = ev.files.resolve(name, scope.module.path, named.span)
    try:
        return Value(t.IMPORTED_MODULE, ev.instantiate(path, params, node.span))
    except CslError as error:
        if error.diagnostic.span.source is node.span.source:
            raise
        raise error.noting(f"while {name} was imported here", node.span) from None
