"""Builtins that only our own library files may call, where they have a value at compile time."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_text, as_type
from waferllm.csl.builtins import builtin
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.numbers import round_float
from waferllm.csl.operators import coerce
from waferllm.csl.values import Value

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator

# By the name that `@__math` is given, which is that of a member of `code.Math` in lower case.
FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "sin": math.sin, "cos": math.cos,
    "tanh": math.tanh, "inv": lambda x: 1 / x, "inv_sqrt": lambda x: 1 / math.sqrt(x),
    "pow": math.pow, "scale": lambda x, y: math.ldexp(x, int(y)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}  # fmt: skip


@builtin("__unsupported", 1)
def _unsupported(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return unsupported(as_text(args[0], node.args[0].span), node.span)


@builtin("__math", 3, 4)
def _math(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    name, type_ = as_text(args[0], node.args[0].span), as_type(args[1], node.args[1].span)
    if name not in FUNCTIONS:
        fail(f"there is no function '{name}'", node.args[0].span, nearest(name, FUNCTIONS))
    if not isinstance(type_, t.FloatType):
        fail(f"'{name}' is a function of floating-point numbers, got {type_}", node.span)
    given = [coerce(a, type_, n.span).data for a, n in zip(args[2:], node.args[2:], strict=True)]
    try:
        return Value(type_, round_float(FUNCTIONS[name](*given), type_))
    except (ArithmeticError, ValueError) as error:
        shown = ", ".join(map(str, given))
        return fail(f"{name}({shown}) has no value at compile time: {error}", node.span)
