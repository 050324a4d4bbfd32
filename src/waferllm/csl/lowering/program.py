"""One tile while it is lowered: its functions, tables, constants and memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import COLUMNS
from waferllm.csl.code import Target as Id
from waferllm.csl.diagnostics import fail
from waferllm.csl.evaluate import Evaluator
from waferllm.csl.lowering.descriptors import Descriptors
from waferllm.csl.lowering.memory import Memory, scalar_bits
from waferllm.csl.lowering.stream import Block, Instruction, Label
from waferllm.csl.lowering.values import DSDS, Reg, Unknown
from waferllm.csl.modules import Files
from waferllm.csl.places import Global, Scope
from waferllm.csl.source import Span
from waferllm.csl.target import Target
from waferllm.csl.tile import Tile
from waferllm.csl.values import Dsr, Function, Value, show, type_of

FOLDING_BUDGET = 20_000
TEARDOWN_TASK = 29  # the local task that lib/tile_config/teardown names
ZERO = 0  # the register that is never written


@dataclass
class Instance:
    """A function for one set of compile-time arguments: its own registers and instructions."""

    function: Function
    entry: Label
    scope: Scope
    params: list[Value]  # `Reg`s, `Held`s and structs of them, in the order of the run-time params
    result_type: t.Type
    result: Value | None  # where the result is left
    back: int  # register with the return address
    body: Block = field(default_factory=Block)
    calls: list[tuple["Instance", Instruction]] = field(default_factory=list)
    tail_calls: set[int] = field(default_factory=set)  # those of the calls that need no return


@dataclass
class Convention:
    """Registers that every function of one type shares when it is called through a pointer."""

    params: list[int]
    result: int
    back: int


@dataclass(frozen=True)
class _Surroundings:
    """What compile-time code inside of functions may ask about the tile."""

    rectangle: tuple[int, int]


class Program:
    """Everything that the functions of a tile share."""

    def __init__(self, tile: Tile, target: Target) -> None:
        self.tile = tile
        self.target = target
        self.ev = Evaluator(target, Files())
        self.ev.collector = _Surroundings(tile.rectangle)
        self.memory = Memory(self.bits, self._align_of)
        self.descriptors = Descriptors(self)
        self.registers = 1  # register 0 stays 0
        self.constants: dict[Any, int] = {}
        self.messages: dict[str, int] = {}
        self.instances: dict[Any, Instance] = {}
        self.waiting: list[Instance] = []
        self.pieces: list[Block] = []
        self.stubs: dict[Any, Label] = {}
        self.conventions: dict[t.FnType, Convention] = {}
        self.unfoldable: set[int] = set()
        self.small: dict[int, bool] = {}
        self.alive: list[Any] = []
        self.stepped: dict[Dsr, Reg] = {}  # the DSDs of DSRs that @map goes through
        self.printed: list[str] = []
        self._addressed: dict[int, frozenset[str]] = {}

    # --- Registers, constants, messages -------------------------------------------------------

    def register(self) -> int:
        """A register that nothing else uses."""
        self.registers += 1
        return self.registers - 1

    def constant(self, value: Any) -> int:
        """The row of a constant: an integer, or a label that becomes an instruction number."""
        return self.constants.setdefault(value, len(self.constants))

    def message(self, text: str) -> int:
        """The row of a message."""
        return self.messages.setdefault(text, len(self.messages))

    def bits(self, value: Value, span: Span) -> Any:
        """A known scalar as a register holds it; a `Label` for a function."""
        if isinstance(value.data, Function):
            return self.stub(value.data, span)
        if isinstance(value.type, t.PointerType):
            # A pointer that points nowhere yet holds zero, as all memory does at first.
            return 0 if value.data is None else self.memory.address(value.data, span)
        if value.type in DSDS or value.type == t.FIFO:
            return 0 if value.data is None else self.descriptors.packed(value, span)
        found = scalar_bits(value)
        if found is None:
            hint = "give it a type: @as(i16, …)" if value.type in _SOFT else None
            fail(f"{show(value)} of type {type_of(value)} exists only at compile time", span, hint)
        return found

    def _align_of(self, place: Global) -> int | None:
        if place.decl.align is None:
            return None
        return self.ev.number(place.decl.align, Scope(None, place.module))

    def addressed(self, decl: s.FnDecl) -> frozenset[str]:
        """Names of a function whose address it takes: they cannot be registers."""
        found = self._addressed.get(id(decl))
        if found is None:
            found = self._addressed[id(decl)] = frozenset(_address_roots(decl.body))
        return found

    # --- Folding ------------------------------------------------------------------------------

    def fold(self, function: Value, args: list[Value], span: Span) -> Value | None:
        """What a call gives at compile time; None if it needs the running program."""
        decl = function.data.decl
        if id(decl) in self.unfoldable or any(map(_points, args)):
            return None
        try:
            found = self.ev.attempt(function, args, span, FOLDING_BUDGET)
        except Unknown:
            found = None
        if found is None:
            self.unfoldable.add(id(decl))
        return found

    # --- Tasks ---------------------------------------------------------------------------------

    def task_id(self, value: Value, span: Span) -> int:
        """The local task that an `.activate` names: by its id, or as a task."""
        if value.type == t.LOCAL_TASK_ID:
            return value.data
        if isinstance(value.data, Function):
            for (kind, number), task in self.tile.tasks.items():
                if task == value.data and kind == str(t.LOCAL_TASK_ID):
                    return number
            fail(f"task '{value.data.decl.name}' is not bound to a local task id", span)
        return fail(f"expected a local_task_id or a task, got {type_of(value)}", span)

    def target_of(self, value: Value, span: Span) -> tuple[Id, int]:
        """What an `.unblock` names: an id, or a task."""
        if isinstance(value.data, Function):
            for (kind, number), task in self.tile.tasks.items():
                if task == value.data:
                    return TARGETS[kind], number
            fail(f"task '{value.data.decl.name}' is not bound", span)
        kind = TARGETS.get(str(value.type))
        if kind is None:
            fail(f"a value of type {type_of(value)} cannot be blocked or unblocked", span)
        return kind, value.data

    # --- Functions through pointers -------------------------------------------------------------

    def convention(self, type_: t.FnType) -> Convention:
        """The registers that calls through pointers to this type use."""
        found = self.conventions.get(type_)
        if found is None:
            params = [self.register() for _ in type_.params]
            found = Convention(params, self.register(), self.register())
            self.conventions[type_] = found
        return found

    def stub(self, function: Function, span: Span) -> Label:
        """Where a call through a pointer enters a function."""
        from waferllm.csl.lowering.calls import make_stub

        key = (id(function.decl), id(function.module))
        if key not in self.stubs:
            self.stubs[key] = Label()
            make_stub(self, function, self.stubs[key], span)
        return self.stubs[key]

    # --- The end -------------------------------------------------------------------------------

    def check_recursion(self) -> None:
        """Stop if a function calls itself and goes on after that: its registers exist once."""
        for each in self.instances.values():
            for callee, row in each.calls:
                if id(row) not in each.tail_calls and _reaches(callee, each):
                    name = callee.function.decl.name
                    hint = "a function that calls itself may only do so as the last thing"
                    fail(f"'{name}' calls itself before its end", row.span, hint)

    def assemble(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Instructions, their lines, and the files that the lines count in."""
        rows: list[Instruction] = []
        for piece in self.pieces:
            for each in piece.flat():
                if isinstance(each, Label):
                    each.at = len(rows)
                else:
                    rows.append(each)
        files: dict[str, int] = {}
        lines: list[tuple[int, int]] = []
        for row in rows:
            source = row.span.source
            line = source.position(row.span.start)[0]
            lines.append((files.setdefault(source.name, len(files)), line))
        cells = [[c.at if type(c) is Label else c for c in row.cells] for row in rows]
        return (
            np.array(cells, np.int32).reshape(-1, COLUMNS),
            np.array(lines, np.int32).reshape(-1, 2),
            tuple(files),
        )


_SOFT = {t.COMPTIME_INT, t.COMPTIME_FLOAT}
TARGETS: Mapping[str, Id] = {
    str(t.LOCAL_TASK_ID): Id.LOCAL_TASK,
    str(t.DATA_TASK_ID): Id.DATA_TASK,
    str(t.CONTROL_TASK_ID): Id.CONTROL_TASK,
    str(t.COLOR): Id.COLOR,
    str(t.INPUT_QUEUE): Id.INPUT_QUEUE,
    str(t.UT_ID): Id.MICROTHREAD,
}


def _address_roots(node: Any) -> Iterator[str]:
    for each in s.walk(node):
        if isinstance(each, s.Unary) and each.op == "&":
            root = each.operand
            while isinstance(root, (s.Field, s.Index)):
                root = root.base
            if isinstance(root, s.Name):
                yield root.id


def _points(value: Value) -> bool:
    """Whether a value holds a pointer: what it points at may change."""
    if isinstance(value.type, t.PointerType):
        return True
    if isinstance(value.data, dict):
        return any(map(_points, value.data.values()))
    return False


def _reaches(start: Instance, aim: Instance) -> bool:
    """Whether calls lead from one function to another."""
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        each = waiting.pop()
        if each is aim:
            return True
        if id(each) not in seen:
            seen.add(id(each))
            waiting.extend(callee for callee, _ in each.calls)
    return False
