"""Loops: `while`, and `for` over ranges and arrays."""

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Kind, Op
from waferllm.csl.diagnostics import fail, unsupported
from waferllm.csl.lowering.body import Body, Loop
from waferllm.csl.lowering.control import branch
from waferllm.csl.lowering.ranges import RunRange
from waferllm.csl.lowering.stream import Label
from waferllm.csl.lowering.values import Mem, Reg, bound, is_known, words_of
from waferllm.csl.places import Scope
from waferllm.csl.source import Span
from waferllm.csl.values import (
    VOID,
    Range,
    Value,
    integer,
    type_of,
)


def while_(body: Body, node: s.While, scope: Scope, _: t.Type | None) -> Value:
    """A loop with its condition at the end: one jump each time around."""
    outermost = body.enter_loop()
    top, again, test, out = Label(), Label(), Label(), Label()
    body.jump(test)
    _loop_body(body, node, scope, top, again, out)
    body.place(again)
    if node.step is not None and body.reachable:
        body.expr(node.step, scope, t.VOID)
    body.place(test)
    decided = branch(body, node.condition, scope, top, when=True)
    if decided:
        body.jump(top)
    body.place(out)
    body.leave_loop(outermost)
    return VOID


def _loop_body(
    body: Body, node: s.While | s.For, scope: Scope, top: Label, again: Label, out: Label
) -> None:
    body.place(top)
    # The jump back comes later; the loop is entered if anything led to it.
    body.reachable = True
    loops = body.frames[-1].loops
    loops.append(Loop(node.label, out, again))
    body.expr(node.body, scope, t.VOID)
    loops.pop()


def for_(body: Body, node: s.For, scope: Scope, _: t.Type | None) -> Value:
    """A loop over a range or an array."""
    iterable = body.expr(node.iterable, scope)
    if is_known(iterable) and isinstance(iterable.data, Range):
        held = iterable.data
        run = RunRange(
            held.element,
            *(integer(each, held.element) for each in (held.start, held.stop, held.step)),
        )
        if not held.values():
            return VOID
    elif isinstance(iterable.type, t.ArrayType):
        return _for_array(body, node, iterable, scope)
    elif isinstance(iterable, RunRange):
        run = iterable
    else:
        fail(f"'for' runs over an array or @range, got {type_of(iterable)}", node.iterable.span)
    counter = _counter(body, run.start, node.span)
    inner = Scope(scope, scope.module)
    inner.declare(node.element, Reg(run.element, counter.number), node.span)
    _count(body, node, inner, counter, run)
    return VOID


def _counter(body: Body, start: Value, span: Span) -> Reg:
    counter = Reg(start.type, body.program.register())
    body.put(counter, start, span)
    return counter


def _count(body: Body, node: s.For, scope: Scope, counter: Reg, run: RunRange) -> None:
    """The loop of a counter from where it stands to the range's end."""
    outermost = body.enter_loop()
    top, again, test, out = Label(), Label(), Label(), Label()
    index = _index(body, node, scope)
    # Read once, before the loop.
    stop = body.keep(run.stop, node.span)
    step = body.keep(run.step, node.span)
    if not run.runs():
        body.jump(test)
    _loop_body(body, node, scope, top, again, out)
    body.place(again)
    kind = run.counting_kind()
    body.emit(Op.ADD, type=kind, d=counter.number, a=counter.number, b=body.number(step, node.span))
    if index is not None:
        _increment(body, index)
    body.place(test)
    going = _going_on(body, counter, stop, step, kind, node.span)
    body.emit(Op.JUMP_IF, a=going.number, b=top)
    body.place(out)
    body.leave_loop(outermost)


def _going_on(body: Body, counter: Reg, stop: Value, step: Value, kind: Kind, span: Span) -> Reg:
    """Whether the counter has not reached the end; the step's sign has to be known."""
    if not is_known(step):
        unsupported("@range with a step that is not known at compile time", span)
    op = Op.LT if step.data > 0 else Op.GT
    a, b = counter.number, body.number(stop, span)
    return body.compute(op, t.BOOL, type=kind, a=a, b=b)


def _index(body: Body, node: s.For, scope: Scope) -> Reg | None:
    if not node.index:
        return None
    index = _counter(body, integer(0, t.U16), node.span)
    scope.declare(node.index, index, node.span)
    return index


def _increment(body: Body, index: Reg) -> None:
    body.emit(Op.ADD, type=Kind.U16, d=index.number, a=index.number, b=body.constant(1))


def _for_array(body: Body, node: s.For, array: Value, scope: Scope) -> Value:
    assert isinstance(array.type, t.ArrayType)
    element, count = array.type.element, array.type.count
    words = words_of(element)
    if count == 0:
        return VOID
    if words is None:
        unsupported(f"a loop over a {array.type} while the program runs", node.span)
    first = body.memory(array, node.span)
    place = _counter(body, integer(0, t.U16), node.span)
    if first.base is None:
        place, at = _counter(body, integer(first.offset, t.U16), node.span), Mem(element, None, 0)
    else:
        body.put(place, Reg(t.U16, body.address(first), owned=True), node.span)
    at = Mem(element, place.number, 0)
    outermost = body.enter_loop()
    last = body.compute(
        Op.ADD, t.U16, type=Kind.U16, a=place.number, b=body.constant(words * count)
    )
    top, again, out = Label(), Label(), Label()
    inner = Scope(scope, scope.module)
    index = _index(body, node, inner)
    body.place(top)
    inner.declare(node.element, bound(body.load(at)), node.span)
    _loop_body(body, node, inner, Label(), again, out)
    body.place(again)
    body.emit(Op.ADD, type=Kind.U16, d=place.number, a=place.number, b=body.constant(words))
    if index is not None:
        _increment(body, index)
    going = body.compute(Op.NE, t.BOOL, type=Kind.U16, a=place.number, b=last.number)
    body.emit(Op.JUMP_IF, a=going.number, b=top)
    body.place(out)
    body.leave_loop(outermost)
    return VOID
