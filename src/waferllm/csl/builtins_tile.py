"""Builtins of one PE's top-level comptime blocks; they add to a `TileBuilder`."""

from typing import TYPE_CHECKING

from waferllm.csl import registers
from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_number, as_struct, as_text
from waferllm.csl.builtins import builtin
from waferllm.csl.builtins_dsd import check_load
from waferllm.csl.color_config import ConfigReader
from waferllm.csl.diagnostics import fail
from waferllm.csl.operators import coerce
from waferllm.csl.places import Global, Scope
from waferllm.csl.source import Span
from waferllm.csl.tile import LoadedDsr, Queue, Symbol, TileBuilder
from waferllm.csl.values import VOID, Function, Value, integer, show, type_of

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator

PRIORITIES = ("high", "medium", "low")
# Configuration words that are known to be zero before a program sets them.
ZERO_AT_START = range(registers.TASK_PRIORITY, registers.MAIN_PRIORITY + 1)


def _builder(ev: "Evaluator", node: s.Builtin) -> TileBuilder:
    if not isinstance(ev.collector, TileBuilder):
        fail(f"@{node.name} belongs in a PE's code, not in a layout", node.span)
    return ev.collector


def _of_type(value: Value, allowed: tuple[t.Type, ...], span: Span) -> Value:
    if value.type not in allowed:
        wanted = " or ".join(map(str, allowed))
        fail(f"expected a value of type {wanted}, got {show(value)} of type {type_of(value)}", span)
    return value


# --- Tasks -----------------------------------------------------------------------------------


def _bind(kind: t.NamedType, least: int, most: int | None) -> None:
    @builtin(f"bind_{str(kind).removesuffix('_id')}", 2)
    def _run(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
        builder = _builder(ev, node)
        task = args[0].data
        if not isinstance(task, Function) or task.decl.kind != "task":
            fail(f"expected a task, got {show(args[0])}", node.args[0].span)
        key = (str(kind), _of_type(args[1], (kind,), node.args[1].span).data)
        count = len(task.decl.params)
        if count < least or (most is not None and count > most):
            what = "no parameter" if most == 0 else "at least one parameter"
            fail(f"a task bound to a {kind} has {what}; '{task.decl.name}' has {count}", node.span)
        # On WSE-2 data and local tasks share the identifiers 0 to 30.
        shared = {str(t.DATA_TASK_ID), str(t.LOCAL_TASK_ID)}
        clash = [
            k
            for k in builder.tasks
            if k[1] == key[1] and (k[0] == key[0] or {k[0], key[0]} == shared)
        ]
        if clash:
            other = builder.tasks[clash[0]].decl.name
            fail(f"task '{other}' is bound to {key[1]} already", node.span)
        builder.tasks[key] = task
        return VOID


_bind(t.LOCAL_TASK_ID, 0, 0)
_bind(t.DATA_TASK_ID, 1, None)
_bind(t.CONTROL_TASK_ID, 0, None)

_BLOCKABLE = (t.COLOR, t.DATA_TASK_ID, t.LOCAL_TASK_ID, t.INPUT_QUEUE, t.UT_ID)


@builtin("activate", 1)
def _activate(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    _builder(ev, node).activated.add(_of_type(args[0], (t.LOCAL_TASK_ID,), node.span).data)
    return VOID


@builtin("block", 1)
def _block(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _of_type(args[0], _BLOCKABLE, node.span)
    _builder(ev, node).blocked.add((str(held.type), held.data))
    return VOID


@builtin("unblock", 1)
def _unblock(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _of_type(args[0], _BLOCKABLE, node.span)
    _builder(ev, node).blocked.discard((str(held.type), held.data))
    return VOID


@builtin("set_teardown_handler", 2)
def _set_teardown_handler(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder, task = _builder(ev, node), args[0].data
    if not isinstance(task, Function):
        fail(f"expected a function or task, got {show(args[0])}", node.args[0].span)
    color = _of_type(args[1], (t.COLOR,), node.args[1].span).data
    if color in builder.teardown:
        fail(f"color {color} has a teardown handler already", node.span)
    builder.teardown[color] = task
    return VOID


@builtin("set_empty_queue_handler", 2)
def _set_empty_queue_handler(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder, handler = _builder(ev, node), args[0].data
    if ev.target.arch != "wse3":
        fail("@set_empty_queue_handler exists on WSE-3 only", node.span)
    if not isinstance(handler, Function) or handler.decl.kind != "fn" or handler.decl.params:
        fail(f"expected a function without parameters, got {show(args[0])}", node.args[0].span)
    queue = _of_type(args[1], (t.INPUT_QUEUE, t.OUTPUT_QUEUE), node.args[1].span)
    key = (str(queue.type), queue.data)
    if key in builder.flushed:
        fail(f"{show(queue)} has an empty queue handler already", node.span)
    builder.flushed[key] = handler
    return VOID


@builtin("set_control_task_table", 0, 1)
def _set_control_task_table(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    """Control tasks have a table of their own here in any case; the settings are checked."""
    _builder(ev, node)
    if ev.target.arch != "wse3":
        fail("@set_control_task_table exists on WSE-3 only", node.span)
    allowed = {"instructions": (2, 4, 8), "stride": tuple(range(1, 8))}
    fields = as_struct(args[0], node.args[0].span) if args else {}
    for name, value in fields.items():
        if name not in allowed:
            fail(f"a control task table has no '{name}'", node.span, "instructions, stride")
        if as_number(value, node.args[0].span) not in allowed[name]:
            choices = ", ".join(map(str, allowed[name]))
            fail(f"{name}: got {show(value)}, expected one of {choices}", node.args[0].span)
    return VOID


def _load(name: str, least: int) -> None:
    @builtin(name, least, least + 1)
    def _run(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
        builder = _builder(ev, node)
        dsr, dsd, settings = check_load(node, args)
        options = {} if settings is None else as_struct(settings, node.args[-1].span)
        builder.dsrs[dsr.data] = LoadedDsr(dsd, options)
        return VOID


_load("load_to_dsr", 2)
_load("load_to_dsr_xdsr", 3)
_load("load_to_dsr_xdsr_sr", 4)


# --- Queues and colors -----------------------------------------------------------------------


@builtin("initialize_queue", 1, 2)
def _initialize_queue(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder = _builder(ev, node)
    queue = _of_type(args[0], (t.INPUT_QUEUE, t.OUTPUT_QUEUE), node.args[0].span)
    key = (str(queue.type), queue.data)
    if key in builder.queues:
        fail(f"{show(queue)} is initialized twice", node.span)
    fields = as_struct(args[1], node.args[1].span) if len(args) > 1 else {}
    for name in fields:
        if name not in {"color", "priority", "ctrl_table_id"}:
            fail(f"a queue has no '{name}'", node.span, "color, priority, ctrl_table_id")
    wse3 = ev.target.arch == "wse3"
    if "color" not in fields and (wse3 or queue.type == t.INPUT_QUEUE):
        fail("a color is missing", node.span, "@initialize_queue(queue, .{ .color = … })")
    if "ctrl_table_id" in fields and not (wse3 and queue.type == t.INPUT_QUEUE):
        fail("ctrl_table_id belongs to input queues of WSE-3", node.span)
    color = fields.get("color")
    table = fields.get("ctrl_table_id")
    builder.queues[key] = Queue(
        None if color is None else _of_type(color, (t.COLOR,), node.span).data,
        _priority(fields["priority"], node.span) if "priority" in fields else None,
        0 if table is None else as_number(table, node.span),
    )
    return VOID


def _priority(value: Value, span: Span) -> str:
    names = list(value.data) if isinstance(value.data, dict) else []
    if len(names) != 1 or names[0] not in PRIORITIES or value.data[names[0]].data is not True:
        fail(f"expected a priority, got {show(value)}", span, ".{ .high = true }, medium or low")
    return names[0]


@builtin("set_local_color_config", 2)
def _set_local_color_config(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder = _builder(ev, node)
    color = _of_type(args[0], (t.COLOR,), node.args[0].span).data
    if color in builder.colors:
        fail(f"color {color} is configured twice", node.span)
    builder.color_spans[color] = node.span
    builder.colors[color] = ConfigReader().read(args[1], node.args[1].span)
    return VOID


@builtin("set_config", 2, 3)
def _set_config(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    word = coerce(args[0], t.U16, node.args[0].span).data
    _builder(ev, node).registers[word] = coerce(args[1], t.U16, node.args[1].span).data
    return VOID


@builtin("get_config", 1, 2)
def _get_config(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held, word = _builder(ev, node).registers, coerce(args[0], t.U16, node.span).data
    if word not in held and word not in ZERO_AT_START:
        fail(f"no value was stored at 0x{word:04x} before", node.span)
    return integer(held.get(word, 0), t.U16)


# --- Symbols ---------------------------------------------------------------------------------


@builtin("export_symbol", 1, 2, lazy=True)
def _export_symbol(ev: "Evaluator", node: s.Builtin, scope: Scope) -> Value:
    builder, what = _builder(ev, node), node.args[0]
    if not isinstance(what, (s.Name, s.Field)):
        fail("expected the name of a variable or function", what.span)
    place = ev.find(what, scope) if isinstance(what, s.Name) else ev.place(what, scope)
    held = place if isinstance(place, Value) else place.get()
    found = held.data if isinstance(held.data, Function) else place
    if not isinstance(found, (Global, Function)):
        fail("only what is declared outside of functions can be exported", what.span)
    name = found.decl.name
    if len(node.args) > 1:
        name = as_text(ev.value(node.args[1], scope), node.args[1].span)
    if name in builder.symbols:
        fail(f"symbol '{name}' is exported twice", node.span)
    builder.symbols[name] = Symbol(name, found)
    return VOID


@builtin("rpc", 1)
def _rpc(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder = _builder(ev, node)
    if builder.rpc is not None:
        fail("@rpc is called twice", node.span)
    builder.rpc = _of_type(args[0], (t.DATA_TASK_ID, t.COLOR), node.span)
    return VOID
