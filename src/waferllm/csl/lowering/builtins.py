"""Builtins inside of functions: known arguments go to the evaluator, the rest becomes instructions."""

import re
from collections.abc import Callable

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_text
from waferllm.csl.builtins import BUILTINS, RUNTIME
from waferllm.csl.code import NONE, Kind, Math, Op
from waferllm.csl.code import Target as Id
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.lowering import mapping, vectors
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.program import TARGETS
from waferllm.csl.lowering.ranges import RunRange
from waferllm.csl.lowering.stream import Block, Label
from waferllm.csl.lowering.values import Held, Mem, Reg, holds, is_known, kind_of
from waferllm.csl.modules import LIBRARY
from waferllm.csl.operators import is_float, is_integer
from waferllm.csl.places import Scope
from waferllm.csl.values import (
    FALSE,
    VOID,
    Function,
    Value,
    boolean,
    integer,
    is_struct,
    is_tuple,
    show,
    struct_of,
    type_of,
)

POINTER_BITS = 16
Run = Callable[[Body, s.Builtin, Scope, t.Type | None], Value]


def builtin(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """A builtin's value, or the instructions that make it."""
    _check_library(node, scope)
    if node.name in vectors.VECTORS:
        return vectors.vector(body, node, scope, wanted)
    run = TABLE.get(node.name)
    if run is not None:
        return run(body, node, scope, wanted)
    entry = BUILTINS.get(node.name)
    if entry is None:
        if node.name in RUNTIME:
            unsupported(f"@{node.name}", node.span)
        known = [*BUILTINS, *RUNTIME, *TABLE]
        fail(f"there is no builtin @{node.name}", node.span, nearest(node.name, known))
    if entry.lazy:
        return body.program.ev.value(node, scope)
    args = [body.expr(each, scope) for each in node.args]
    return _evaluated(body, node, args)


def _check_library(node: s.Builtin, scope: Scope) -> None:
    if node.name.startswith("__") and LIBRARY not in scope.module.path.parents:
        fail(f"there is no builtin @{node.name}", node.span)


def _evaluated(body: Body, node: s.Builtin, args: list[Value]) -> Value:
    """The compile-time builtin, for arguments that are known."""
    _check_count(node)
    return BUILTINS[node.name].run(body.program.ev, node, args)


def _check_count(node: s.Builtin) -> None:
    entry = BUILTINS[node.name]
    if not entry.least <= len(node.args) <= entry.most:
        count = str(entry.least) if entry.least == entry.most else f"{entry.least} or more"
        fail(f"@{node.name} takes {count} argument(s), got {len(node.args)}", node.span)


def _args(body: Body, node: s.Builtin, scope: Scope, *counts: int) -> list[Value]:
    if len(node.args) not in counts:
        shown = " or ".join(map(str, counts))
        fail(f"@{node.name} takes {shown} argument(s), got {len(node.args)}", node.span)
    return [body.expr(each, scope) for each in node.args]


def _mixed(run: Callable[[Body, s.Builtin, list[Value]], Value]) -> Run:
    """A builtin that the evaluator runs if its arguments are known, else `run`."""

    def either(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
        del wanted
        args = [body.expr(each, scope) for each in node.args]
        _check_count(node)
        if all(map(is_known, args)):
            return _evaluated(body, node, args)
        return run(body, node, args)

    return either


# --- Conversions -------------------------------------------------------------------------------------


def _as(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    if len(node.args) != 2:
        fail(f"@as takes 2 arguments, got {len(node.args)}", node.span)
    into = body.type(node.args[0], scope)
    value = body.expr(node.args[1], scope, into)
    if is_known(value):
        return _evaluated(body, node, [Value(t.TYPE, into), value])
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


def _bitcast(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """The same bits. As numbers, pointers count bytes; as addresses, words."""
    del wanted
    args = _args(body, node, scope, 2)
    into, value = args[0].data if args[0].type == t.TYPE else None, args[1]
    if isinstance(into, t.PointerType) and isinstance(value.type, t.IntType):
        return _pointer_from(body, node, value, into)
    if is_known(value) and not isinstance(value.type, t.PointerType):
        return _evaluated(body, node, args)
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


def _ptrcast(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args = _args(body, node, scope, 2)
    into = args[0].data if args[0].type == t.TYPE else None
    if not isinstance(into, t.PointerType):
        fail("@ptrcast takes a pointer type", node.args[0].span)
    if not isinstance(args[1].type, t.PointerType):
        fail(f"@ptrcast takes a pointer, got {type_of(args[1])}", node.args[1].span)
    if isinstance(args[1], Reg):
        return args[1].retyped(into)
    return Value(into, args[1].data)


def _get_int(body: Body, node: s.Builtin, args: list[Value]) -> Value:  # noqa: ARG001
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


def _get_identifier(type_: t.Type) -> Run:
    def run(body: Body, node: s.Builtin, args: list[Value]) -> Value:
        value = body.convert(args[0], t.U16, node.args[0].span)
        assert isinstance(value, Reg)
        return value.retyped(type_)

    return _mixed(run)


# --- Structs, types, ranges ----------------------------------------------------------------------------


def _type_of(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """The type of an expression that makes no instructions."""
    del wanted
    if len(node.args) != 1:
        fail(f"@type_of takes 1 argument, got {len(node.args)}", node.span)
    out, reachable = body.out, body.reachable
    # Into a block that is thrown away.
    body.out, body.reachable = Block(), True
    try:
        held = body.expr(node.args[0], scope)
    finally:
        body.out, body.reachable = out, reachable
    if not isinstance(held, (Reg, Held)) and isinstance(held.data, Function):
        return Value(t.TYPE, body.program.ev.function_type(held.data))
    return Value(t.TYPE, type_of(held))


def _has_field(body: Body, node: s.Builtin, args: list[Value]) -> Value:  # noqa: ARG001
    if not is_struct(args[0]):
        fail(f"expected a struct, got a value of type {type_of(args[0])}", node.args[0].span)
    return boolean(as_text(args[1], node.args[1].span) in args[0].data)


def _field(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    from waferllm.csl.lowering.expressions import locate

    if len(node.args) != 2:
        fail(f"@field takes 2 arguments, got {len(node.args)}", node.span)
    return body.read(locate(body, node, scope))


def _concat_structs(body: Body, node: s.Builtin, args: list[Value]) -> Value:  # noqa: ARG001
    left, right = args
    for value, each in zip(args, node.args, strict=True):
        if not is_struct(value):
            fail(f"expected a struct, got a value of type {type_of(value)}", each.span)
    if left.data and right.data and is_tuple(left) != is_tuple(right):
        fail("a struct with names and one without cannot be joined", node.span)
    if left.data and right.data and is_tuple(left):
        both = [*left.data.values(), *right.data.values()]
        return struct_of({str(at): value for at, value in enumerate(both)})
    for name in right.data:
        if name in left.data:
            fail(f"both structs have a field '{name}'", node.span)
    return struct_of({**left.data, **right.data})


def _is_comptime(*_: object) -> Value:
    return FALSE


def _comptime_print(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args = [body.known(each, scope) for each in node.args]
    shown = (
        as_text(value, each.span) if value.type == t.COMPTIME_STRING else show(value)
        for value, each in zip(args, node.args, strict=True)
    )
    body.program.printed.append(" ".join(shown))
    return VOID


def _range(body: Body, node: s.Builtin, args: list[Value]) -> Value:
    element = args[0].data if args[0].type == t.TYPE else None
    if not isinstance(element, t.IntType):
        fail("@range takes an integer type of fixed width here", node.args[0].span)
    if len(args) not in {2, 4}:
        fail("@range takes a type and one bound, or a type, start, stop and step", node.span)
    bounds = [
        body.convert(a, element, n.span) for a, n in zip(args[1:], node.args[1:], strict=True)
    ]
    if len(bounds) == 1:
        return RunRange(element, integer(0, element), bounds[0], integer(1, element))
    return RunRange(element, *bounds)


# --- Tasks, queues, the PE -------------------------------------------------------------------------------

_TASKS = {"activate": Op.ACTIVATE, "block": Op.BLOCK, "unblock": Op.UNBLOCK}


def _task(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@activate`, `@block`, `@unblock`."""
    del wanted
    (value,) = _args(body, node, scope, 1)
    kind = TARGETS.get(str(value.type))
    if kind is None or (node.name == "activate" and kind != Id.LOCAL_TASK):
        fail(f"@{node.name} does not take a value of type {type_of(value)}", node.span)
    body.emit(_TASKS[node.name], type=kind, a=body.number(value, node.span))
    return VOID


def _queue_flush(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args = _args(body, node, scope, 1, 2)
    if args[0].type != t.INPUT_QUEUE:
        fail(f"@queue_flush takes an input_queue, got {type_of(args[0])}", node.span)
    d = NONE
    if len(args) == 2:
        settings = args[1].data if is_struct(args[1]) else {"activate": args[1]}
        if set(settings) - {"activate"}:
            fail("@queue_flush has the setting 'activate' only", node.args[1].span)
        if "activate" in settings:
            d = body.program.task_id(settings["activate"], node.args[1].span)
    body.emit(Op.QUEUE_FLUSH, a=body.number(args[0], node.span), d=d)
    return VOID


def _random16(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    _args(body, node, scope, 0)
    return body.compute(Op.RANDOM, t.U16)


def _set_active_prng(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (value,) = _args(body, node, scope, 1)
    value = body.convert(value, t.U16, node.span)
    body.emit(Op.SET_RANDOM, a=body.number(value, node.span))
    return VOID


def _assert(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (value,) = _args(body, node, scope, 1)
    if value.type != t.BOOL:
        fail(f"expected a bool, got a value of type {type_of(value)}", node.span)
    text = f"assertion failed: {node.span.text}"
    past = Label()
    if is_known(value):
        if value.data:
            return VOID
    else:
        body.emit(Op.JUMP_IF, a=body.number(value, node.span), b=past)
    body.emit(Op.TRAP, a=body.program.message(text))
    body.place(past)
    return VOID


def _get_config(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    address = body.convert(_args(body, node, scope, 1, 2)[0], t.U16, node.span)
    return body.compute(Op.GET_CONFIG, t.U16, a=body.number(address, node.span))


def _set_config(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    address, value, *_ = _args(body, node, scope, 2, 3)
    a = body.number(body.convert(address, t.U16, node.args[0].span), node.span)
    b = body.number(body.convert(value, t.U16, node.args[1].span), node.span)
    body.emit(Op.SET_CONFIG, a=a, b=b)
    return VOID


# --- What only our libraries call ----------------------------------------------------------------------


def _time(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    _args(body, node, scope, 0)
    return body.compute(Op.TIME, t.INTEGERS["u64"])


def _time_enable(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (on,) = _args(body, node, scope, 1)
    body.emit(Op.TIME_ENABLE, a=int(on.data))
    return VOID


def _host_ready(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    _args(body, node, scope, 0)
    body.emit(Op.HOST_READY)
    return VOID


def _math(body: Body, node: s.Builtin, args: list[Value]) -> Value:
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


def _print(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
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


TABLE: dict[str, Run] = {
    "as": _as,
    "bitcast": _bitcast,
    "ptrcast": _ptrcast,
    "get_int": _mixed(_get_int),
    "get_color": _get_identifier(t.COLOR),
    "get_local_task_id": _get_identifier(t.LOCAL_TASK_ID),
    "type_of": _type_of,
    "has_field": _mixed(_has_field),
    "field": _field,
    "concat_structs": _mixed(_concat_structs),
    "is_comptime": _is_comptime,
    "comptime_print": _comptime_print,
    "range": _mixed(_range),
    "get_dsd": vectors.get_dsd,
    "set_dsd_base_addr": vectors.set_dsd,
    "set_dsd_length": vectors.set_dsd,
    "set_dsd_stride": vectors.set_dsd,
    "increment_dsd_offset": vectors.increment_dsd_offset,
    "load_to_dsr": vectors.load_to_dsr,
    "set_fifo_read_length": vectors.set_fifo_length,
    "set_fifo_write_length": vectors.set_fifo_length,
    "map": mapping.map_,
    "activate": _task,
    "block": _task,
    "unblock": _task,
    "queue_flush": _queue_flush,
    "random16": _random16,
    "set_active_prng": _set_active_prng,
    "assert": _assert,
    "get_config": _get_config,
    "get_config_unchecked": _get_config,
    "set_config": _set_config,
    "set_config_unchecked": _set_config,
    "__time": _time,
    "__time_enable": _time_enable,
    "__host_ready": _host_ready,
    "__math": _mixed(_math),
    "__print": _print,
}
