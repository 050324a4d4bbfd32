"""Known DSDs, FIFOs and options as rows of a code's tables."""

from typing import TYPE_CHECKING

import numpy as np

from waferllm.csl import types as t
from waferllm.csl.code import (
    DSD_COLUMNS,
    FIFO_COLUMNS,
    NONE,
    OPTION_COLUMNS,
    DsdKind,
    Priority,
    SimdMode,
)
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.lowering.values import words_of
from waferllm.csl.source import Span
from waferllm.csl.values import Dsr, Value, is_struct, show, type_of

if TYPE_CHECKING:
    from waferllm.csl.lowering.program import Program

KINDS: dict[t.Type, DsdKind] = {
    t.MEM1D: DsdKind.MEM1D,
    t.MEM4D: DsdKind.MEM4D,
    t.CIRCBUF: DsdKind.CIRCBUF,
    t.FABIN: DsdKind.FABIN,
    t.FABOUT: DsdKind.FABOUT,
    t.FIFO: DsdKind.FIFO,
}
FILES = {"dsr_dest": 0, "dsr_src0": 1, "dsr_src1": 2}
ACTIONS = ("test_or_suspend", "terminate", "suspend", "fault")
SETTINGS = {
    "async", "activate", "unblock", "on_control", "index", "priority", "ut_id", "save_address",
    "single_step",
}  # fmt: skip


class Table:
    """Rows of named columns; equal rows are one."""

    def __init__(self, columns: tuple[str, ...], blank: int) -> None:
        self.columns = columns
        self.blank = blank
        self.rows: dict[tuple[int, ...], int] = {}

    def row(self, **cells: int) -> int:
        """The number of the row with these cells, the others blank."""
        full = dict.fromkeys(self.columns, self.blank) | cells
        return self.rows.setdefault(tuple(full[name] for name in self.columns), len(self.rows))

    def array(self) -> np.ndarray:
        return np.array(list(self.rows), np.int32).reshape(-1, len(self.columns))


class Descriptors:
    """The tables `dsds`, `options` and `fifos` of one code."""

    def __init__(self, program: "Program") -> None:
        self.program = program
        self.dsds = Table(DSD_COLUMNS, 0)
        self.options = Table(OPTION_COLUMNS, NONE)
        self.fifos = Table(FIFO_COLUMNS, NONE)

    # --- DSDs ----------------------------------------------------------------------------------

    def packed(self, value: Value, span: Span) -> int:
        """A known DSD or FIFO as 64 bits, signed."""
        held = value.data.properties
        if value.type == t.FIFO:
            return _pack(0, 0, 0, self._fifo(held, span))
        if value.type in {t.FABIN, t.FABOUT}:
            return _pack(0, held["extent"].data, 0, self.fabric_row(value.type, held, span))
        words = element_words(held["base_address"], span)
        address = self.program.bits(held["base_address"], span) + held["offset"].data * words
        extents = [each.data for each in held["extent"].data.values()]
        strides = [each.data for each in held["stride"].data.values()]
        row = self.memory_row(value.type, held, span)
        one = value.type != t.MEM4D
        return _pack(address, extents[0] if one else 0, strides[0] * words if one else 0, row)

    def memory_row(self, type_: t.Type, held: dict[str, Value], span: Span) -> int:
        """The row of a memory DSD; that of a mem1d says nothing of address, length and stride."""
        words = element_words(held["base_address"], span)
        cells = {"kind": KINDS[type_], "element_words": words, "rank": 1}
        cells["index_offset"] = int(_flag(held, "wavelet_index_offset", span))
        if type_ == t.MEM4D:
            extents = [each.data for each in held["extent"].data.values()]
            cells["rank"] = len(extents)
            for at, extent in enumerate(extents):
                # The extents are given outermost first, the strides innermost first.
                cells[f"extent{len(extents) - 1 - at}"] = extent
            for at, stride in enumerate(held["stride"].data.values()):
                cells[f"stride{at}"] = stride.data * words
        if type_ == t.CIRCBUF:
            base = held["base_address"]
            wrap = held["wraparound"].data if "wraparound" in held else _count(base, span)
            cells["wrap_address"] = self.program.bits(base, span)
            cells["wrap_words"] = wrap * words
        return self.dsds.row(**cells)

    def fabric_row(self, type_: t.Type, held: dict[str, Value], span: Span) -> int:
        """The row of a fabric DSD."""
        name = "input_queue" if type_ == t.FABIN else "output_queue"
        queue = held[name].data if name in held else NONE
        color = held["fabric_color"].data if "fabric_color" in held else NONE
        if color == NONE and queue != NONE and (name, queue) in self.program.tile.queues:
            known = self.program.tile.queues[name, queue].color
            color = NONE if known is None else known
        if color == NONE and queue == NONE:
            fail(f"a {type_} needs fabric_color or {name}", span)
        if color == NONE:
            fail(f"{name} {queue} has no color", span, "name it in @initialize_queue")
        return self.dsds.row(
            kind=KINDS[type_],
            queue=queue,
            color=color,
            control=int(_flag(held, "control", span)),
            control_transform=int(_flag(held, "control_transform", span)),
            advance_switch=int(_flag(held, "advance_switch", span)),
            index_offset=int(_flag(held, "wavelet_index_offset", span)),
            priority=self.priority(held, span),
            simd=_chosen(held, "simd_mode", [each.name.lower() for each in SimdMode], span),
            zero=_chosen(held, "zero", ["none", "first_source", "second_source"], span),
            fifo=NONE,
        )

    def priority(self, held: dict[str, Value], span: Span) -> int:
        return _chosen(held, "priority", [each.name.lower() for each in Priority], span)

    def _fifo(self, held: dict[str, Value], span: Span) -> int:
        buffer = held["buffer"]
        words = element_words(buffer, span)
        fifo = self.fifos.row(
            address=self.program.bits(buffer, span),
            words=words * _count(buffer, span),
            element_words=words,
            activate_push=self._task(held, "activate_push", span),
            activate_pop=self._task(held, "activate_pop", span),
            empty_action=_chosen(held, "empty_action", list(ACTIONS), span),
            full_action=_chosen(held, "full_action", list(ACTIONS), span),
        )
        return self.dsds.row(kind=DsdKind.FIFO, element_words=words, rank=1, fifo=fifo)

    def _task(self, held: dict[str, Value], name: str, span: Span) -> int:
        return self.program.task_id(held[name], span) if name in held else NONE

    # --- Options and DSRs ------------------------------------------------------------------------

    def option_row(self, held: dict[str, Value], span: Span) -> int:
        """The row of an operation's settings; NONE if there are none."""
        for name in held:
            if name not in SETTINGS:
                fail(f"there is no setting '{name}'", span, nearest(name, SETTINGS))
        cells: dict[str, int] = {}
        for name in ("async", "save_address", "single_step"):
            if name in held:
                cells[name] = int(_flag(held, name, span))
        if "activate" in held and "unblock" in held:
            fail("at most one of 'activate' and 'unblock' can be given", span)
        if "activate" in held:
            cells["activate"] = self.program.task_id(held["activate"], span)
        if "unblock" in held:
            cells["unblock_kind"], cells["unblock"] = self.program.target_of(held["unblock"], span)
        if "on_control" in held:
            cells |= self._on_control(held["on_control"], span)
        if "ut_id" in held:
            if held["ut_id"].type != t.UT_ID:
                fail(f"ut_id: expected a ut_id, got {type_of(held['ut_id'])}", span)
            cells["microthread"] = held["ut_id"].data
        if "priority" in held:
            cells["priority"] = self.priority(held, span)
        return self.options.row(**cells) if cells else NONE

    def _on_control(self, value: Value, span: Span) -> dict[str, int]:
        if not is_struct(value) or len(value.data) != 1:
            fail(f"on_control: got {show(value)}, expected terminate, activate or unblock", span)
        (name, what), *_ = value.data.items()
        if name == "terminate":
            return {"control_terminate": int(_flag(value.data, "terminate", span))}
        if name == "activate":
            return {"control_activate": self.program.task_id(what, span)}
        if name == "unblock":
            kind, number = self.program.target_of(what, span)
            return {"control_unblock_kind": kind, "control_unblock": number}
        return fail(f"on_control has no '{name}'", span, "terminate, activate or unblock")


def dsr_key(dsr: Dsr, span: Span) -> tuple[int, int]:
    """The file and number of a DSR."""
    if dsr.file not in FILES:
        unsupported(f"a register of the file '{dsr.file}'", span)
    return FILES[dsr.file], dsr.number


def _pack(address: int, length: int, stride: int, row: int) -> int:
    bits = address & 0xFFFF | (length & 0xFFFF) << 16 | (stride & 0xFFFF) << 32 | row << 48
    return bits - (1 << 64) if bits >> 63 else bits


def element_words(pointer: Value, span: Span) -> int:
    """Words of an element behind a base address."""
    assert isinstance(pointer.type, t.PointerType)
    target = pointer.type.target
    words = words_of(target.element if isinstance(target, t.ArrayType) else target)
    if words not in {1, 2}:
        fail(f"a DSD's elements have 16 or 32 bits; this is a {pointer.type}", span)
    return words


def _count(pointer: Value, span: Span) -> int:
    assert isinstance(pointer.type, t.PointerType)
    if not isinstance(pointer.type.target, t.ArrayType):
        fail(f"the length of a {pointer.type} is not known", span)
    return pointer.type.target.count


def _flag(held: dict[str, Value], name: str, span: Span) -> bool:
    if name not in held:
        return False
    if held[name].type != t.BOOL:
        fail(f"{name}: expected a bool, got {show(held[name])}", span)
    return held[name].data


def _chosen(held: dict[str, Value], name: str, names: list[str], span: Span) -> int:
    """The number of the one field that is true in `.{ .high = true }`; 0 if nothing is given."""
    if name not in held:
        return 0
    value = held[name]
    given = list(value.data) if is_struct(value) else []
    if len(given) != 1 or given[0] not in names or value.data[given[0]].data is not True:
        fail(f"{name}: got {show(value)}, expected one of {', '.join(names)}", span)
    return names.index(given[0])
