"""Builtins inside of functions: known arguments go to the evaluator, the rest becomes instructions."""

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_text
from waferllm.csl.builtins import BUILTINS, MISSING
from waferllm.csl.code import Op
from waferllm.csl.code import Target as Id
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.lowering import conversions, library, mapping, vectors
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.given import Run, args_of, evaluated, mixed
from waferllm.csl.lowering.places import locate
from waferllm.csl.lowering.program import TARGETS, TEARDOWN_TASK
from waferllm.csl.lowering.ranges import RunRange
from waferllm.csl.lowering.stream import Block, Label
from waferllm.csl.lowering.values import Held, Reg, is_known
from waferllm.csl.modules import LIBRARY
from waferllm.csl.places import Global, Scope
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
        if node.name in MISSING:
            unsupported(f"@{node.name}", node.span)
        known = [*BUILTINS, *vectors.VECTORS, *TABLE]
        fail(f"there is no builtin @{node.name}", node.span, nearest(node.name, known))
    if entry.lazy:
        return body.program.ev.value(node, scope)
    args = [body.expr(each, scope) for each in node.args]
    return evaluated(body, node, args)


def _check_library(node: s.Builtin, scope: Scope) -> None:
    if node.name.startswith("__") and LIBRARY not in scope.module.path.parents:
        fail(f"there is no builtin @{node.name}", node.span)


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


def _has_exported_tensors(
    body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None
) -> Value:
    del wanted
    args_of(body, node, scope, 0)
    symbols = body.program.tile.symbols.values()
    held = (each.what.get() for each in symbols if isinstance(each.what, Global))
    return boolean(any(isinstance(each.type, t.PointerType) for each in held))


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


def _range_bound(body: Body, node: s.Builtin, args: list[Value]) -> Value:  # noqa: ARG001
    """`@range_start`, `@range_stop`, `@range_step`."""
    if not isinstance(args[0], RunRange):
        fail(f"expected a range, got a value of type {type_of(args[0])}", node.args[0].span)
    return getattr(args[0], node.name.removeprefix("range_"))


# --- Tasks, queues, the PE -------------------------------------------------------------------------------

_TASKS = {"activate": Op.ACTIVATE, "block": Op.BLOCK, "unblock": Op.UNBLOCK}


def _is_handled(body: Body, task: Value) -> bool:
    """Whether the teardown task calls handlers."""
    return task.data == TEARDOWN_TASK and bool(body.program.tile.flushed)


def _task(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@activate`, `@block`, `@unblock`."""
    del wanted
    (value,) = args_of(body, node, scope, 1)
    kind = TARGETS.get(str(value.type))
    if kind is None or (node.name == "activate" and kind != Id.LOCAL_TASK):
        fail(f"@{node.name} does not take a value of type {type_of(value)}", node.span)
    if node.name == "activate" and is_known(value):
        bound = body.program.tile.tasks
        if (str(t.LOCAL_TASK_ID), value.data) not in bound and not _is_handled(body, value):
            fail(f"no task is bound to local task id {value.data}", node.span, "@bind_local_task")
    body.emit(_TASKS[node.name], type=kind, a=body.number(value, node.span))
    return VOID


def _queue_flush(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (queue,) = args_of(body, node, scope, 1)
    if body.program.target.arch != "wse3":
        fail("@queue_flush exists on WSE-3 only", node.span)
    if queue.type not in {t.INPUT_QUEUE, t.OUTPUT_QUEUE}:
        fail(f"@queue_flush takes an input_queue or output_queue, got {type_of(queue)}", node.span)
    output = int(queue.type == t.OUTPUT_QUEUE)
    body.emit(Op.QUEUE_FLUSH, a=body.number(queue, node.span), c=output)
    return VOID


def _random16(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    args_of(body, node, scope, 0)
    return body.compute(Op.RANDOM, t.U16)


def _set_active_prng(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (value,) = args_of(body, node, scope, 1)
    value = body.convert(value, t.U16, node.span)
    body.emit(Op.SET_RANDOM, a=body.number(value, node.span))
    return VOID


def _assert(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    (value,) = args_of(body, node, scope, 1)
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
    address = body.convert(args_of(body, node, scope, 1, 2)[0], t.U16, node.span)
    return body.compute(Op.GET_CONFIG, t.U16, a=body.number(address, node.span))


def _set_config(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    del wanted
    address, value, *_ = args_of(body, node, scope, 2, 3)
    a = body.number(body.convert(address, t.U16, node.args[0].span), node.span)
    b = body.number(body.convert(value, t.U16, node.args[1].span), node.span)
    body.emit(Op.SET_CONFIG, a=a, b=b)
    return VOID


TABLE: dict[str, Run] = {
    "as": conversions.as_,
    "bitcast": conversions.bitcast,
    "ptrcast": conversions.ptrcast,
    "get_int": mixed(conversions.get_int),
    "get_color": conversions.get_identifier(t.COLOR),
    "get_local_task_id": conversions.get_identifier(t.LOCAL_TASK_ID),
    "get_control_task_id": conversions.get_identifier(t.CONTROL_TASK_ID),
    "get_ut_id": conversions.get_identifier(t.UT_ID),
    "get_data_task_id": mixed(conversions.get_data_task_id),
    "range_start": mixed(_range_bound),
    "range_stop": mixed(_range_bound),
    "range_step": mixed(_range_bound),
    "type_of": _type_of,
    "has_field": mixed(_has_field),
    "field": _field,
    "concat_structs": mixed(_concat_structs),
    "is_comptime": _is_comptime,
    "has_exported_tensors": _has_exported_tensors,
    "comptime_print": _comptime_print,
    "range": mixed(_range),
    "get_dsd": vectors.get_dsd,
    "set_dsd_base_addr": vectors.set_dsd,
    "set_dsd_length": vectors.set_dsd,
    "set_dsd_stride": vectors.set_dsd,
    "increment_dsd_offset": vectors.increment_dsd_offset,
    "load_to_dsr": vectors.load_to_dsr,
    "set_dsr_base_addr": vectors.set_dsr,
    "set_dsr_length": vectors.set_dsr,
    "load_to_dsr_xdsr": vectors.load_to_dsr,
    "load_to_dsr_xdsr_sr": vectors.load_to_dsr,
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
    "__time": library.time_,
    "__time_enable": library.time_enable_,
    "__host_ready": library.host_ready_,
    "__math": mixed(library.math_),
    "__print": library.print_,
}
