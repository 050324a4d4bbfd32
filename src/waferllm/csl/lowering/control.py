"""Statements: blocks, branches, jumps, assignments, declarations."""

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import Op
from waferllm.csl.diagnostics import fail
from waferllm.csl.lowering.body import Body, Join, Loop
from waferllm.csl.lowering.operators import operate
from waferllm.csl.lowering.places import locate
from waferllm.csl.lowering.stream import Label
from waferllm.csl.lowering.values import Mem, Reg, RegVar, bound, is_known, kind_of, words_of
from waferllm.csl.operators import binary, coerce
from waferllm.csl.places import Scope, Variable, store
from waferllm.csl.source import Span
from waferllm.csl.values import (
    VOID,
    Value,
    boolean,
    default,
    type_of,
)

# --- Blocks and branches ---------------------------------------------------------------------------


def block(body: Body, node: s.Block, scope: Scope, wanted: t.Type | None) -> Value:
    """Statements in order, up to one that nothing comes after."""
    inner = Scope(scope, scope.module)
    join = Join(wanted)
    loops = body.frames[-1].loops
    if node.label is not None:
        loops.append(Loop(node.label, join, None))
    for each in node.body:
        if not body.reachable:
            break
        body.expr(each, inner, t.VOID)
    if node.label is None:
        return VOID
    loops.pop()
    body.bring(join, VOID, node.span, jump=False)
    return body.joined(join, node.span)


def truth(body: Body, node: s.Node, scope: Scope) -> Value:
    """An expression that has to be a bool."""
    found = body.expr(node, scope)
    if found.type != t.BOOL:
        fail(f"expected a bool, got a value of type {type_of(found)}", node.span)
    return found


def branch(body: Body, node: s.Node, scope: Scope, label: Label, when: bool) -> bool | None:
    """Jump to `label` if the condition is `when`; its value, if it is known and nothing jumps."""
    if isinstance(node, s.Unary) and node.op == "!":
        found = branch(body, node.operand, scope, label, not when)
        return None if found is None else not found
    if isinstance(node, s.Binary) and node.op in {"and", "or"}:
        return _branch_logical(body, node, scope, label, when)
    found = truth(body, node, scope)
    if is_known(found):
        return found.data
    op = Op.JUMP_IF if when else Op.JUMP_UNLESS
    body.emit(op, a=body.number(found, node.span), b=label)
    return None


def _branch_logical(
    body: Body, node: s.Binary, scope: Scope, label: Label, when: bool
) -> bool | None:
    decides = node.op == "or"  # the value of the left side that decides
    past = label if when == decides else Label()
    left = branch(body, node.left, scope, past, decides)
    if left is decides:
        return decides
    right = branch(body, node.right, scope, label, when)
    if left is not None:
        return right
    if right is when:
        body.jump(label)
    if past is not label:
        body.place(past)
    return None


def logical(body: Body, node: s.Binary, scope: Scope) -> Value:
    """`and` and `or` as a value."""
    decides = node.op == "or"
    left = truth(body, node.left, scope)
    if is_known(left):
        if left.data == decides:
            return left
        return truth(body, node.right, scope)
    join, past = Join(t.BOOL), Label()
    op = Op.JUMP_UNLESS if decides else Op.JUMP_IF
    body.emit(op, a=body.number(left, node.span), b=past)
    body.bring(join, boolean(decides), node.span)
    body.place(past)
    body.bring(join, truth(body, node.right, scope), node.span, jump=False)
    return body.joined(join, node.span)


def if_(body: Body, node: s.If, scope: Scope, wanted: t.Type | None) -> Value:
    """A branch; only the side that is taken, if that is known."""
    otherwise, join = Label(), Join(wanted)
    decided = branch(body, node.condition, scope, otherwise, when=False)
    if decided is not None:
        taken = node.then if decided else node.orelse
        return VOID if taken is None else body.expr(taken, scope, wanted)
    _way(body, join, node.then, scope, wanted)
    body.place(otherwise)
    if node.orelse is None:
        body.bring(join, VOID, node.span, jump=False)
    else:
        _way(body, join, node.orelse, scope, wanted, jump=False)
    return _valued(body, join, node.span)


def _way(
    body: Body,
    join: Join,
    node: s.Node,
    scope: Scope,
    wanted: t.Type | None,
    jump: bool = True,
) -> None:
    """One side of a branch; a statement's value is dropped."""
    value = body.expr(node, scope, wanted)
    body.bring(join, VOID if wanted == t.VOID else value, node.span, jump=jump)


def _valued(body: Body, join: Join, span: Span) -> Value:
    """A join that has no value if any of its ways has none."""
    if any(value.type == t.VOID for _, value, _ in join.ways):
        join.wanted = t.VOID
        join.ways = [(block_, VOID, where) for block_, _, where in join.ways]
    return body.joined(join, span)


def switch(body: Body, node: s.Switch, scope: Scope, wanted: t.Type | None) -> Value:
    """The case whose values hold the subject's."""
    subject = body.expr(node.subject, scope)
    if not isinstance(subject.type, (t.IntType, t.EnumType)):
        hint = "@as(i16, …) gives a comptime_int a width"
        fail(
            f"'switch' takes an integer of fixed width or an enum, got {type_of(subject)}",
            node.subject.span,
            hint,
        )
    if is_known(subject):
        return _known_switch(body, node, subject, scope, wanted)
    join, labels = Join(wanted), [Label() for _ in node.cases]
    number, kind = body.number(subject, node.span), kind_of(subject.type)
    rest: Label | None = None
    for case, label in zip(node.cases, labels, strict=True):
        if not case.values:
            rest = rest or label
        for each in case.values:
            value = coerce(body.known(each, scope), subject.type, each.span)
            other = body.number(value, each.span)
            test = body.compute(Op.EQ, t.BOOL, type=kind, a=number, b=other)
            body.emit(Op.JUMP_IF, a=test.number, b=label)
    if rest is None:
        # An enum whose members all have a case needs no else; anything else goes on after it.
        body.bring(join, VOID, node.span)
    else:
        body.jump(rest)
    for case, label in zip(node.cases, labels, strict=True):
        body.place(label)
        _way(body, join, case.body, scope, wanted)
    return _covered(body, node, join, subject.type)


def _covered(body: Body, node: s.Switch, join: Join, type_: t.Type) -> Value:
    """The value of a switch; if an enum's members all have a case, there is no other way."""
    covered = sum(len(case.values) for case in node.cases)
    if isinstance(type_, t.EnumType) and covered == len(type_.members):
        join.ways = [way for way in join.ways if way[2] is not node.span] or join.ways
    return _valued(body, join, node.span)


def _known_switch(
    body: Body, node: s.Switch, subject: Value, scope: Scope, wanted: t.Type | None
) -> Value:
    chosen = None
    for case in node.cases:
        if not case.values:
            chosen = chosen or case
        for each in case.values:
            if coerce(body.known(each, scope), subject.type, each.span).data == subject.data:
                return body.expr(case.body, scope, wanted)
    return VOID if chosen is None else body.expr(chosen.body, scope, wanted)


# --- Jumps -----------------------------------------------------------------------------------------


def _find(body: Body, label: str | None, what: str, span: Span) -> Loop:
    for each in reversed(body.frames[-1].loops):
        if (label is None and each.again is not None) or (label is not None and each.name == label):
            return each
    where = f"there is no loop or block '{label}'" if label else f"'{what}' outside of a loop"
    return fail(where, span)


def break_(body: Body, node: s.Break, scope: Scope, _: t.Type | None) -> Value:
    """Leave a loop or a labelled block, with a value."""
    loop = _find(body, node.label, "break", node.span)
    if isinstance(loop.out, Join):
        wanted = loop.out.wanted
        value = VOID if node.value is None else body.expr(node.value, scope, wanted)
        body.bring(loop.out, value, node.span)
    elif node.value is not None:
        fail("a loop has no value", node.value.span)
    else:
        body.jump(loop.out)
    body.reachable = False
    return VOID


def continue_(body: Body, node: s.Continue, scope: Scope, _: t.Type | None) -> Value:  # noqa: ARG001
    """On to a loop's next time around."""
    loop = _find(body, node.label, "continue", node.span)
    if loop.again is None:
        fail("a block has no next time around", node.span)
    body.jump(loop.again)
    return VOID


def return_(body: Body, node: s.Return, scope: Scope, _: t.Type | None) -> Value:
    """Leave the function, or the inlined call."""
    frame = body.frames[-1]
    wanted = frame.result_type
    value = VOID if node.value is None else body.expr(node.value, scope, wanted)
    if wanted != t.ANYTYPE:
        value = body.convert(value, wanted, node.span)
    if frame.join is not None:
        body.bring(frame.join, value, node.span)
        body.reachable = False
    else:
        leave(body, value, node.span)
    return VOID


def leave(body: Body, value: Value, span: Span) -> None:
    """The end of the instance itself."""
    if body.is_task:
        body.emit(Op.END)
        return
    if body.instance.result is not None:
        body.put(body.instance.result, value, span)
    body.emit(Op.RETURN, a=body.instance.back)


# --- Assignments and declarations ----------------------------------------------------------------------


def assign(body: Body, node: s.Assign, scope: Scope, _: t.Type | None) -> Value:
    """`target = value` and `target op= value`."""
    if isinstance(node.target, s.Name) and node.target.id == "_":
        body.expr(node.value, scope)
        return VOID
    place = locate(body, node.target, scope)
    if isinstance(place, Variable):
        return _assign_known(body, node, place, scope)
    if not isinstance(place, (RegVar, Mem)) or (isinstance(place, Mem) and place.const):
        what = node.target.span.text
        fail(f"'{what}' is constant", node.target.span, "declare it 'var' to change it")
    type_ = place.type
    if node.op is None:
        value = body.expr_as(node.value, scope, type_)
    else:
        # The target is read before the value: a call in the value may change it.
        before = body.keep(body.read(place), node.span) if _may_change(node.value) else None
        right = body.expr(node.value, scope, type_)
        value = operate(body, node.op, before or body.read(place), right, node.span)
        value = body.convert(value, type_, node.span)
    if isinstance(place, RegVar):
        body.put(Reg(type_, place.number), value, node.value.span)
    else:
        body.store(place, value, node.value.span)
    return VOID


def _may_change(node: s.Node) -> bool:
    return any(isinstance(each, (s.Call, s.Block)) for each in s.walk(node))


def _assign_known(body: Body, node: s.Assign, place: Variable, scope: Scope) -> Value:
    """A `comptime var` changes while the function is lowered."""
    value = body.known(node.value, scope)
    if node.op:
        value = binary(node.op, place.get(), value, node.span)
    store(place, value, node.value.span)
    return VOID


def declare(body: Body, node: s.VarDecl, scope: Scope, _: t.Type | None) -> Value:
    """A local `const` or `var`."""
    wanted = body.type(node.type, scope) if node.type else None
    if node.comptime:
        value = body.known(node.init, scope) if node.init else default(wanted or t.VOID)
        value = value if wanted is None else coerce(value, wanted, node.span)
        held = value if node.kind == "const" else Variable(value, node.span)
        scope.declare(node.name, held, node.span)
        return VOID
    if node.init is None:
        value = None
    else:
        value = body.expr(node.init, scope, wanted)
        if wanted is not None:
            value = body.convert(value, wanted, node.init.span)
    if node.kind == "const":
        scope.declare(node.name, bound(body.keep(value or VOID, node.span)), node.span)
        return VOID
    scope.declare(node.name, _variable(body, node, wanted, value), node.span)
    return VOID


def _variable(
    body: Body, node: s.VarDecl, wanted: t.Type | None, value: Value | None
) -> RegVar | Mem:
    type_ = wanted or type_of(value or VOID)
    if type_ in {t.COMPTIME_INT, t.COMPTIME_FLOAT}:
        fail(f"'{node.name}' needs a type", node.span, f"var {node.name}: i16 = …")
    if words_of(type_) is None:
        fail(f"a variable of type {type_} exists only at compile time", node.span, "comptime var")
    if kind_of(type_) is not None and node.name not in body.frames[-1].addressed:
        made = Reg(type_, body.program.register())
        if value is not None:
            body.put(made, value, node.span)
        return RegVar(type_, made.number)
    place = body.temporary(type_, node.span, node.name)
    if value is not None:
        body.store(place, value, node.span)
    return place
