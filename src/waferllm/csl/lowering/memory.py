"""The memory map: where variables, constants and temporaries lie, and what they hold at first."""

from collections.abc import Callable
from typing import Any

import numpy as np

from waferllm.csl import types as t
from waferllm.csl.code import SRAM_WORDS, MemoryRow
from waferllm.csl.diagnostics import fail, unsupported
from waferllm.csl.lowering.values import Mem, field_offset, kind_of, words_of
from waferllm.csl.numbers import float_bits
from waferllm.csl.places import Constant, Global, Part, Variable
from waferllm.csl.source import Span
from waferllm.csl.values import Place, Value, freeze, type_of

WORD_BYTES = 2


class Memory:
    """Gives out addresses from 0 up; `bits` says how a known scalar is written."""

    def __init__(
        self, bits: Callable[[Value, Span], Any], align_of: Callable[[Global], int | None]
    ) -> None:
        self.words: list[Any] = []  # ints, or labels of functions
        self.rows: list[MemoryRow] = []
        self._bits = bits
        self._align_of = align_of
        self._globals: dict[int, tuple[int, Global]] = {}
        self._constants: dict[Any, tuple[int, Any]] = {}

    def allocate(self, name: str, words: int, span: Span, align: int = 1) -> int:
        """The address of so many words of zeros."""
        address = -(-len(self.words) // align) * align
        if address + words > SRAM_WORDS:
            self.overflow(name, words, span)
        self.words.extend([0] * (address + words - len(self.words)))
        line = span.source.position(span.start)[0]
        self.rows.append(MemoryRow(name, address, words, f"{span.source.name}:{line}"))
        return address

    def overflow(self, name: str, words: int, span: Span) -> None:
        """Stop, with the map of who uses what."""
        used = sorted(self.rows, key=lambda row: -row.words)[:12]
        shown = "".join(f"\n    {row.words:>6} words  {row.name}  ({row.where})" for row in used)
        taken = f"and {len(self.words)} are used by others" if used else "and nothing else is there"
        fail(
            f"'{name}' takes {words} words of a PE's {SRAM_WORDS}, {taken}",
            span,
            f"the largest of them:{shown}" if used else "a word has 16 bits",
        )

    def of_global(self, place: Global) -> int:
        """A global's address; the first call gives it one."""
        found = self._globals.get(id(place))
        if found is not None:
            return found[0]
        decl, first = place.decl, place.get()
        type_ = type_of(first)
        words = words_of(type_)
        if words is None:
            fail(f"'{decl.name}' of type {type_} has no place in memory", decl.span)
        align = self._alignment(place, type_)
        address = self.allocate(decl.name, words, decl.span, align)
        self._globals[id(place)] = (address, place)
        self.write(address, first, decl.span)
        return address

    def _alignment(self, place: Global, type_: t.Type) -> int:
        element = type_.element if isinstance(type_, t.ArrayType) else type_
        natural = min(2, words_of(element) or 1)
        found = self._align_of(place)
        if found is None:
            return natural
        if found <= 0 or found & (found - 1):
            fail(f"align({found}) is not a power of two", place.decl.span)
        return max(natural, found // WORD_BYTES)

    def of_value(self, value: Value, span: Span) -> int:
        """The address of a constant; equal constants share one."""
        key = freeze(value)
        found = self._constants.get(key)
        if found is not None:
            return found[0]
        words = words_of(type_of(value))
        if words is None:
            fail(f"a value of type {type_of(value)} has no place in memory", span)
        address = self.allocate("constant", words, span, min(2, words) or 1)
        self._constants[key] = (address, value)
        self.write(address, value, span)
        return address

    def address(self, place: Place, span: Span) -> int:
        """Where a place lies that is known at compile time."""
        if isinstance(place, Global):
            return self.of_global(place)
        if isinstance(place, Mem) and place.base is None:
            return place.offset
        if isinstance(place, Part):
            return self.address(place.base, span) + _words_before(place)
        if isinstance(place, (Constant, Variable)):
            return self.of_value(place.get(), span)
        return unsupported("the address of this place", span)

    def write(self, address: int, value: Value, span: Span) -> None:
        """Store a known value as what memory holds at first."""
        type_ = type_of(value)
        if isinstance(type_, t.ArrayType):
            each = words_of(type_.element) or 0
            if any(value.data):
                for at, data in enumerate(value.data):
                    self.write(address + at * each, Value(type_.element, data), span)
            return
        if isinstance(type_, t.StructType):
            for name, held in value.data.items():
                self.write(address + field_offset(type_, name)[1], held, span)
            return
        bits = self._bits(value, span)
        for at in range(words_of(type_) or 0):
            self.words[address + at] = bits >> 16 * at & 0xFFFF if isinstance(bits, int) else bits

    def finish(self, number: Callable[[Any], int]) -> np.ndarray:
        """The words, with functions as their instruction numbers."""
        return np.array(
            [each if isinstance(each, int) else number(each) for each in self.words], np.uint16
        )


def _words_before(part: Part) -> int:
    type_ = type_of(part.base.get())
    if isinstance(part.at, str):
        assert isinstance(type_, t.StructType)
        return field_offset(type_, part.at)[1]
    assert isinstance(type_, t.ArrayType)
    return part.at * (words_of(type_.element) or 0)


def scalar_bits(value: Value) -> int | None:
    """A number's, bool's or identifier's bits as a register holds them; None for other types."""
    if isinstance(value.type, t.FloatType):
        return float_bits(value.data, value.type)
    if kind_of(value.type) is not None and isinstance(value.data, (int, bool)):
        return int(value.data)
    return None
