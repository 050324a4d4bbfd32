"""What a builtin is given: its arguments, counted; known ones go to the evaluator."""

from collections.abc import Callable

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.builtins import BUILTINS
from waferllm.csl.diagnostics import fail
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.values import is_known
from waferllm.csl.places import Scope
from waferllm.csl.values import (
    Value,
)

Run = Callable[[Body, s.Builtin, Scope, t.Type | None], Value]


def evaluated(body: Body, node: s.Builtin, args: list[Value]) -> Value:
    """The compile-time builtin, for arguments that are known."""
    check_count(node)
    return BUILTINS[node.name].run(body.program.ev, node, args)


def check_count(node: s.Builtin) -> None:
    entry = BUILTINS[node.name]
    if not entry.least <= len(node.args) <= entry.most:
        count = str(entry.least) if entry.least == entry.most else f"{entry.least} or more"
        fail(f"@{node.name} takes {count} argument(s), got {len(node.args)}", node.span)


def args_of(body: Body, node: s.Builtin, scope: Scope, *counts: int) -> list[Value]:
    if len(node.args) not in counts:
        shown = " or ".join(map(str, counts))
        fail(f"@{node.name} takes {shown} argument(s), got {len(node.args)}", node.span)
    return [body.expr(each, scope) for each in node.args]


def mixed(run: Callable[[Body, s.Builtin, list[Value]], Value]) -> Run:
    """A builtin that the evaluator runs if its arguments are known, else `run`."""

    def either(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
        del wanted
        args = [body.expr(each, scope) for each in node.args]
        check_count(node)
        if all(map(is_known, args)):
            return evaluated(body, node, args)
        return run(body, node, args)

    return either
