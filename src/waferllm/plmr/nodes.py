"""A program's jaxpr as one list of operations: calls read in line, loops as nodes with a body.

    jit, custom_jvp_call, ...     replaced by what they call
    scan                          one node; its body is a list of its own, its constants are the
                                  values outside, its carries and slices are values of the body

Values computed from indices alone are marked `virtual`: see `_virtual` for the rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from waferllm.errors import UnsupportedError
from waferllm.plmr.rules import BODIES, MOVES, Kind, kind_of


class Value:
    """One array of one core. `virtual`: never in memory, a core makes it from its counters."""

    __slots__ = ("bytes", "dtype", "producer", "shape", "virtual")

    def __init__(self, aval: Any, *, virtual: bool = False, producer: "Node | None" = None) -> None:
        self.shape: tuple[int, ...] = tuple(aval.shape)
        self.dtype = np.dtype(aval.dtype)
        self.bytes = math.prod(self.shape) * self.dtype.itemsize
        self.virtual = virtual
        self.producer = producer

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def counts(self) -> bool:
        """Whether this is a number to count with rather than a value of the model."""
        return self.dtype.kind in "iub"


class Node:
    """One operation. `body` is set for loops."""

    __slots__ = ("body", "ins", "kind", "name", "outs", "params", "source")

    def __init__(self, kind: Kind, name: str, params: dict[str, Any], ins: list[Value]) -> None:
        self.kind, self.name, self.params, self.ins = kind, name, params, ins
        self.outs: list[Value] = []
        self.body: Body | None = None
        self.source: Any = None


@dataclass
class Body:
    """Operations in order. For a loop: `trips`, and the values that a trip hands to the next."""

    nodes: list[Node]
    outs: list[Value]
    carries: list[Value]
    slices: list[Value]
    trips: int = 1

    @property
    def carried(self) -> list[Value]:
        """What this trip hands on, in the order of `carries`."""
        return self.outs[: len(self.carries)]

    @property
    def stacked(self) -> list[Value]:
        """What every trip adds to the stacked results."""
        return self.outs[len(self.carries) :]


@dataclass
class Flat:
    """A whole program: arguments, captured constants, and the operations."""

    arguments: list[Value]
    constants: list[Value]
    body: Body
    equations: int


def flatten(jaxpr: ClosedJaxpr, program: str) -> Flat:
    """Reads a closed jaxpr; raises `UnsupportedError` for an operation without a rule."""
    reader = _Reader(program)
    arguments = [Value(var.aval) for var in jaxpr.jaxpr.invars]
    constants = [Value(var.aval) for var in jaxpr.jaxpr.constvars]
    nodes: list[Node] = []
    outs = reader.read(jaxpr.jaxpr, [*constants, *arguments], nodes)
    return Flat(arguments, constants, Body(nodes, outs, [], []), reader.equations)


class _Reader:
    """Appends to lists of nodes; `equations` counts what was visited."""

    def __init__(self, program: str) -> None:
        self.program, self.equations = program, 0

    def read(self, jaxpr: Jaxpr, ins: Sequence[Value], nodes: list[Node]) -> list[Value]:
        env: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], ins, strict=True))

        def value(atom: Any) -> Value:
            return Value(atom.aval, virtual=True) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            self.equations += 1
            name = eqn.primitive.name
            kind = kind_of(name, eqn.params, self.program)
            given = [value(atom) for atom in eqn.invars]
            if kind is Kind.CALL:
                outs = self._call(eqn, given, nodes)
            else:
                node = Node(kind, name, eqn.params, given)
                node.source = eqn.source_info
                outs = self._loop(eqn, node) if kind is Kind.LOOP else self._plain(eqn, node)
                node.outs = outs
                nodes.append(node)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _call(self, eqn: Any, given: list[Value], nodes: list[Node]) -> list[Value]:
        inner = next((eqn.params[key] for key in BODIES if key in eqn.params), None)
        if inner is None:
            raise UnsupportedError(
                f"{self.program}: '{eqn.primitive.name}' shows no program of its own to read."
            )
        if not isinstance(inner, ClosedJaxpr):
            return self.read(inner, given, nodes)
        constants = [Value(var.aval) for var in inner.jaxpr.constvars]
        return self.read(inner.jaxpr, [*constants, *given], nodes)

    def _plain(self, eqn: Any, node: Node) -> list[Value]:
        virtual = _virtual(node, eqn.outvars)
        return [Value(var.aval, virtual=virtual, producer=node) for var in eqn.outvars]

    def _loop(self, eqn: Any, node: Node) -> list[Value]:
        inner: Jaxpr = eqn.params["jaxpr"].jaxpr
        fixed, kept = eqn.params["num_consts"], eqn.params["num_carry"]
        avals = [var.aval for var in inner.invars]
        carries = [Value(aval) for aval in avals[fixed : fixed + kept]]
        slices = [
            Value(aval, virtual=stack.virtual)
            for aval, stack in zip(avals[fixed + kept :], node.ins[fixed + kept :], strict=True)
        ]
        constants = [Value(var.aval) for var in inner.constvars]
        nodes: list[Node] = []
        outs = self.read(inner, [*constants, *node.ins[:fixed], *carries, *slices], nodes)
        node.body = Body(nodes, outs, carries, slices, int(eqn.params["length"]))
        return [Value(var.aval, producer=node) for var in eqn.outvars]


def _virtual(node: Node, outs: Sequence[Any]) -> bool:
    """Whether a core makes this value from its counters where it is used, and never stores it.

    True for its own place and counters; for constants spread over a shape; for integers and truth
    values computed element by element from integers and truth values (positions, masks); and for a
    choice, cast or view of nothing but such values. Float arithmetic takes work: its result is
    real.
    """
    if node.kind is Kind.INDEX:
        return True
    if node.kind not in (Kind.VIEW, Kind.ELEMENTWISE, Kind.REDUCTION):
        return False
    if all(v.virtual for v in node.ins):
        moved = node.kind is Kind.VIEW or node.name in MOVES
        return moved or np.dtype(outs[0].aval.dtype).kind in "iub"
    counts = all(v.counts or v.virtual for v in node.ins)
    return node.kind is Kind.ELEMENTWISE and counts and np.dtype(outs[0].aval.dtype).kind in "iub"
