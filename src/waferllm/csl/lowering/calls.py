"""Calls: folded, inlined, or to an instance of the function; and calls through pointers."""

from collections.abc import Callable
from itertools import islice
from typing import Any

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Op
from waferllm.csl.diagnostics import CslError, fail, unsupported
from waferllm.csl.lowering.body import Body, Frame, Join
from waferllm.csl.lowering.program import Convention, Instance, Program
from waferllm.csl.lowering.stream import Instruction, Label
from waferllm.csl.lowering.tidy import tidy
from waferllm.csl.lowering.values import Held, Reg, bound, is_known, kind_of, words_of
from waferllm.csl.places import Scope
from waferllm.csl.source import Span
from waferllm.csl.values import VOID, Function, Value, freeze, is_struct, type_of

DEEPEST_INLINE = 24
LARGEST_INLINE = 12  # nodes of a function's tree up to which a call costs more than the body
_FLOW = (s.If, s.Switch, s.For, s.While, s.Block, s.VarDecl)


def call(body: Body, node: s.Call, scope: Scope, wanted: t.Type | None) -> Value:
    """A call of whatever its callee is."""
    del wanted
    callee = body.expr(node.callee, scope)
    function = None if isinstance(callee, Reg) else callee.data
    if isinstance(function, Function):

        def lower_arg(at: int, hint: t.Type | None) -> Value:
            return body.expr(node.args[at], scope, hint)

        spans = [each.span for each in node.args]
        return call_function(body, function, lower_arg, spans, node.span)
    return _call_pointer(body, callee, node, scope)


def call_function(
    body: Body,
    function: Function,
    arg: Callable[[int, t.Type | None], Value],
    spans: list[Span],
    span: Span,
    inline: bool = False,
) -> Value:
    """A call of a known function; `arg` gives an argument, told what type its place wants."""
    decl = function.decl
    if decl.kind == "task":
        fail(f"'{decl.name}' is a task; tasks are activated, not called", span)
    if decl.body is None:
        unsupported(f"the extern function '{decl.name}'", span)
    if len(spans) != len(decl.params):
        fail(
            f"'{decl.name}' takes {len(decl.params)} argument(s), got {len(spans)}",
            span,
            decl.span.text.split("{", 1)[0].strip(),
        )
    scope = Scope(None, function.module)
    args: list[Value] = []
    try:
        for at, param in enumerate(decl.params):
            # A parameter's type may name the parameters before it.
            wanted = body.program.ev.type(param.type, scope)
            value = arg(at, None if wanted == t.ANYTYPE else wanted)
            value = body.convert(value, wanted, spans[at])
            if param.comptime and not is_known(value):
                fail(f"'{param.name}' has to be known at compile time", spans[at])
            args.append(value)
            scope.declare(param.name or "_", value, param.span)
        result = body.program.ev.type(decl.result, scope) if decl.result else t.VOID
        folded = _folded(body, function, args, result, span)
        if folded is not None:
            return folded
        if inline or decl.inline == "inline" or _is_small(body.program, decl):
            return _inlined(body, function, args, result, span)
        return _called(body, function, args, result, span)
    except CslError as error:
        raise error.noting(f"while '{decl.name}' was lowered for this", span) from None


def _folded(
    body: Body, function: Function, args: list[Value], result: t.Type, span: Span
) -> Value | None:
    if result == t.VOID or not all(map(is_known, args)):
        return None
    return body.program.fold(Value(t.FUNCTION, function), args, span)


def _is_small(program: Program, decl: s.FnDecl) -> bool:
    """Whether a body is one simple statement."""
    found = program.small.get(id(decl))
    if found is None:
        assert decl.body is not None
        found = decl.inline != "noinline" and len(decl.body.body) <= 1
        if found:
            nodes = list(islice(s.walk(decl.body.body), LARGEST_INLINE + 1))
            found = len(nodes) <= LARGEST_INLINE
            found = found and not any(isinstance(each, _FLOW) for each in nodes)
        program.small[id(decl)] = found
    return found


def _inlined(
    body: Body, function: Function, args: list[Value], result: t.Type, span: Span
) -> Value:
    decl = function.decl
    if body.depth >= DEEPEST_INLINE:
        fail(f"calls are inlined more than {DEEPEST_INLINE} deep here", span, "recursion?")
    scope = Scope(None, function.module)
    for param, value in zip(decl.params, args, strict=True):
        scope.declare(param.name or "_", bound(value), param.span)
    join = Join(None if result == t.ANYTYPE else result)
    body.frames.append(Frame(join, result, body.program.addressed(decl)))
    body.depth += 1
    assert decl.body is not None
    body.expr(decl.body, scope)
    body.depth -= 1
    body.frames.pop()
    _check_end(body, function, result)
    body.bring(join, VOID, span, jump=False)
    return body.joined(join, span)


def _check_end(body: Body, function: Function, result: t.Type) -> None:
    """A function with a result does not simply end."""
    if body.reachable and result != t.VOID:
        text = f"'{function.decl.name}' ended without returning a value"
        body.emit(Op.TRAP, a=body.program.message(text))


# --- Instances -----------------------------------------------------------------------------------------


def _called(body: Body, function: Function, args: list[Value], result: t.Type, span: Span) -> Value:
    instance = instance_of(body.program, function, args, result)
    moved = [
        value for param, value in zip(function.decl.params, args, strict=True) if not param.comptime
    ]
    flat = [pair for value in moved for pair in _run_time(value)]
    assert len(flat) == len(instance.params)
    if instance is body.instance:
        # The parameters are read before any of them is written.
        flat = [_fresh(body, value, span) if not is_known(value) else value for value in flat]
    for slot, value in zip(instance.params, flat, strict=True):
        body.put(slot, value, span)
    enter(body, instance)
    return _result(body, instance.result, span)


def enter(body: Body, instance: Instance) -> None:
    """The call itself."""
    if not body.reachable:
        return
    body.emit(Op.CALL, d=instance.back, a=instance.entry)
    row = body.out.items[-1]
    assert isinstance(row, Instruction)
    body.instance.calls.append((instance, row))


def _result(body: Body, result: Value | None, span: Span) -> Value:
    """A copy of what a call left: the next call will overwrite it."""
    if result is None:
        return VOID
    return _fresh(body, result, span)


def _fresh(body: Body, value: Value, span: Span) -> Value:
    if isinstance(value, Reg):
        return body.compute(Op.MOVE, value.type, a=value.number)
    if isinstance(value, Held):
        return body.keep(value, span)
    return Value(value.type, {n: _fresh(body, each, span) for n, each in value.data.items()})


def _run_time(value: Value) -> list[Value]:
    """The parts of an argument that are passed when the program runs."""
    if isinstance(value, (Reg, Held)) or words_of(value.type) is not None:
        return [value]
    if is_struct(value) and not is_known(value):
        return [part for each in value.data.values() for part in _run_time(each)]
    return []


def _shape(value: Value) -> Any:
    """What tells apart calls that need an instance of their own."""
    if isinstance(value, (Reg, Held)) or words_of(value.type) is not None:
        return value.type
    if is_struct(value) and not is_known(value):
        return tuple((name, _shape(each)) for name, each in value.data.items())
    return freeze(value)


def instance_of(
    program: Program, function: Function, args: list[Value], result: t.Type
) -> Instance:
    """The instance for these arguments; made, and put into line for lowering, if it is new."""
    decl = function.decl
    shapes = [
        freeze(value) if param.comptime else _shape(value)
        for param, value in zip(decl.params, args, strict=True)
    ]
    key = (id(decl), id(function.module), tuple(shapes))
    found = program.instances.get(key)
    if found is None:
        found = make_instance(program, function, args, result)
        # Frozen values name objects by id: they have to live as long as the key.
        program.alive.append(args)
        program.instances[key] = found
        program.waiting.append(found)
    return found


def make_instance(
    program: Program, function: Function, args: list[Value], result: t.Type
) -> Instance:
    """An instance with registers for its parameters and its result."""
    decl, scope = function.decl, Scope(None, function.module)
    made = Instance(function, Label(), scope, [], result, None, program.register())
    body = Body(program, made)
    for param, value in zip(decl.params, args, strict=True):
        held = value
        if not param.comptime:
            held = _parameter(body, made, value, param.span)
        scope.declare(param.name or "_", held, param.span)
    if result != t.VOID:
        made.result = body.slot(result, decl.span, decl.name)
    return made


def _parameter(body: Body, instance: Instance, value: Value, span: Span) -> Value:
    """What a parameter is inside of the instance."""
    if isinstance(value, (Reg, Held)) or words_of(value.type) is not None:
        slot = body.slot(value.type, span, instance.function.decl.name)
        instance.params.append(slot)
        return slot
    if is_struct(value) and not is_known(value):
        fields = {n: _parameter(body, instance, v, span) for n, v in value.data.items()}
        return Value(value.type, fields)
    return value


def lower_instance(program: Program, instance: Instance, is_task: bool = False) -> None:
    """The instructions of an instance."""
    body = Body(program, instance, is_task)
    decl = instance.function.decl
    body.place(instance.entry)
    body.reachable = True
    assert decl.body is not None
    body.expr(decl.body, instance.scope)
    body.span = decl.span
    _check_end(body, instance.function, instance.result_type)
    if body.reachable:
        body.emit(Op.END) if is_task else body.emit(Op.RETURN, a=instance.back)
    tidy(instance)
    program.pieces.append(instance.body)


def plain_args(program: Program, function: Function) -> tuple[list[Value], t.Type]:
    """Arguments of the parameters' own types, for a function that is not called from code."""
    type_ = program.ev.function_type(function)
    for param, each in zip(function.decl.params, type_.params, strict=True):
        if param.comptime or kind_of(each) is None:
            fail(
                f"parameter '{param.name}' of '{function.decl.name}' exists only at compile time",
                param.span,
            )
    return [Reg(each, 0) for each in type_.params], type_.result


# --- Through pointers ------------------------------------------------------------------------------------


def _call_pointer(body: Body, callee: Value, node: s.Call, scope: Scope) -> Value:
    type_ = callee.type
    if isinstance(type_, t.PointerType):
        type_ = type_.target
    if not isinstance(type_, t.FnType):
        fail(f"this is not a function but a value of type {type_of(callee)}", node.span)
    if len(node.args) != len(type_.params):
        fail(f"a {type_} takes {len(type_.params)} argument(s), got {len(node.args)}", node.span)
    shared = body.program.convention(type_)
    args = [
        body.expr_as(each, scope, wanted)
        for each, wanted in zip(node.args, type_.params, strict=True)
    ]
    for number, value, wanted in zip(shared.params, args, type_.params, strict=True):
        body.put(Reg(wanted, number), value, node.span)
    body.emit(Op.CALL_AT, d=shared.back, a=body.number(callee, node.callee.span))
    if type_.result == t.VOID:
        return VOID
    return body.compute(Op.MOVE, type_.result, a=shared.result)


def make_stub(program: Program, function: Function, label: Label, span: Span) -> None:
    """Code that takes what all calls through pointers pass, and calls one function."""
    args, result = plain_args(program, function)
    if result != t.VOID and kind_of(result) is None:
        unsupported(f"a pointer to a function that returns a {result}", span)
    shared: Convention = program.convention(program.ev.function_type(function))
    instance = instance_of(program, function, args, result)
    stub = Instance(function, label, instance.scope, [], result, None, shared.back)
    body = Body(program, stub)
    body.span = span
    body.place(label)
    body.reachable = True
    for slot, number, arg in zip(instance.params, shared.params, args, strict=True):
        body.put(slot, Reg(arg.type, number), span)
    enter(body, instance)
    if isinstance(instance.result, Reg):
        body.emit(Op.MOVE, d=shared.result, a=instance.result.number)
    body.emit(Op.RETURN, a=shared.back)
    program.pieces.append(stub.body)
