"""`|i, j|{n, m} -> A[…]`: an affine access, turned into base, offset, strides and extents.

The offset and the coefficients are found by evaluating the indices at the origin and one step
along each variable; a corner of the box checks that nothing else hides in them.
"""

from typing import TYPE_CHECKING

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.diagnostics import fail
from waferllm.csl.operators import coerce
from waferllm.csl.places import Part, Scope
from waferllm.csl.values import Value, integer, struct_of, type_of

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator

MOST_VARIABLES = 4


def tensor_access(ev: "Evaluator", node: s.TensorAccess, scope: Scope) -> Value:
    """The struct that an access stands for: base_address, offset, stride and extent."""
    if not 1 <= len(node.variables) <= MOST_VARIABLES:
        fail(f"an access has one to {MOST_VARIABLES} index variables", node.span)
    extents = [coerce(ev.value(each, scope), t.U16, each.span).data for each in node.extents]
    access = node.access
    if not isinstance(access, s.Index):
        fail("expected an element of a tensor after '->'", access.span, "|i|{n} -> A[i]")
    base, lengths = _base(ev, access, scope)
    if len(access.indices) != max(1, len(lengths)):
        fail(f"the tensor has {len(lengths)} dimension(s), got {len(access.indices)}", access.span)
    origin = [0] * len(extents)
    offset = _flat(ev, node, scope, lengths, origin)
    steps = []
    for at in range(len(extents)):
        point = [int(each == at) for each in range(len(extents))]
        steps.append(_flat(ev, node, scope, lengths, point) - offset)
    for far in ([max(0, each - 1) for each in extents], [2] * len(extents)):
        expected = offset + sum(n * step for n, step in zip(far, steps, strict=True))
        if _flat(ev, node, scope, lengths, far) != expected:
            fail(
                "the index is not affine: a sum of constants and constants times variables",
                access.span,
            )
    return struct_of(
        {
            "base_address": base,
            "offset": coerce(integer(offset), t.I16, node.span),
            "stride": struct_of(_strides(steps, extents, node)),
            "extent": struct_of({str(n): integer(each, t.U16) for n, each in enumerate(extents)}),
        }
    )


def _strides(steps: list[int], extents: list[int], node: s.TensorAccess) -> dict[str, Value]:
    """Innermost first: a variable's step, less what the variables inside it have gone."""
    wanted = t.I8 if len(steps) == 1 else t.I16
    strides: dict[str, Value] = {}
    gone = 0
    for step, extent in zip(reversed(steps), reversed(extents), strict=True):
        strides[str(len(strides))] = coerce(integer(step - gone), wanted, node.span)
        gone += step * max(0, extent - 1)
    return strides


def _base(ev: "Evaluator", access: s.Index, scope: Scope) -> tuple[Value, tuple[int, ...]]:
    """A pointer to the tensor, and its dimensions; those of a `[*]T` are not known: none."""
    place = ev.place(access.base, scope)
    held = place.get()
    if isinstance(held.type, t.PointerType):
        pointer = ev.value(access.base, scope)
        if held.type.many:
            return pointer, ()
        held = pointer.data.get()
        if not isinstance(held.type, t.ArrayType):
            fail(f"expected a tensor, got {type_of(held)}", access.base.span)
        return pointer, held.type.dimensions
    if not isinstance(held.type, t.ArrayType):
        fail(f"expected a tensor, got {type_of(held)}", access.base.span)
    root = place
    while isinstance(root, Part):
        root = root.base
    const = getattr(root, "known", True)
    return Value(t.PointerType(held.type, const=const), place), held.type.dimensions


def _flat(
    ev: "Evaluator", node: s.TensorAccess, scope: Scope, lengths: tuple[int, ...], point: list[int]
) -> int:
    assert isinstance(node.access, s.Index)
    inner = Scope(scope, scope.module)
    for name, number in zip(node.variables, point, strict=True):
        inner.declare(name, integer(number), node.span)
    flat = 0
    for at, index in enumerate(node.access.indices):
        flat = flat * (lengths[at] if at else 1) + ev.number(index, inner)
    return flat
