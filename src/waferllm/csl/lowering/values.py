"""What is known only when the program runs: registers and places in memory, beside `Value`s.

A `Reg` is a `Value` without data, so that mixed structs (some fields known, some not) are ordinary
struct values; asking one for its data raises `Unknown`, which the lowering turns into a message.
"""

from typing import Any

from waferllm.csl import types as t
from waferllm.csl.code import Kind
from waferllm.csl.values import Place, Value

DSDS = frozenset([t.MEM1D, t.MEM4D, t.CIRCBUF, t.FABIN, t.FABOUT])
DSD_WORDS = 4


class Unknown(Exception):
    """A value was needed at compile time that only the running program has."""


class Reg(Value):
    """A value in a register.

    `owned`: the register is a variable's, and may change later. `fresh`: nothing else reads it, so
    what computes it may as well write where the value is wanted.
    """

    __slots__ = ("fresh", "number", "owned")

    def __init__(
        self, type_: t.Type, number: int, *, owned: bool = False, fresh: bool = False
    ) -> None:
        self.type = type_
        self.number = number
        self.owned = owned
        self.fresh = fresh

    def retyped(self, type_: t.Type) -> "Reg":
        """The same register, read as another type."""
        return Reg(type_, self.number, owned=self.owned, fresh=self.fresh)

    @property
    def data(self) -> Any:
        raise Unknown

    def __repr__(self) -> str:
        return f"r{self.number}: {self.type}"


class Held(Value):
    """An array as a value: it lies in memory, and is copied where it is kept."""

    __slots__ = ("place",)

    def __init__(self, place: "Mem") -> None:
        self.type = place.type
        self.place = place

    @property
    def data(self) -> Any:
        raise Unknown


class RegVar:
    """A local variable in a register."""

    __slots__ = ("number", "type")

    def __init__(self, type_: t.Type, number: int) -> None:
        self.type = type_
        self.number = number

    def get(self) -> Value:
        return Reg(self.type, self.number, owned=True)

    def set(self, value: Value) -> None:  # noqa: ARG002
        raise Unknown


class Mem:
    """A place in memory: `offset` words after the address in register `base` (None: after 0)."""

    __slots__ = ("base", "const", "offset", "type")

    def __init__(self, type_: t.Type, base: int | None, offset: int, const: bool = False) -> None:
        self.type = type_
        self.base = base
        self.offset = offset
        self.const = const

    def get(self) -> Value:
        """A value with the right type and no data: for compile-time code that asks for types."""
        return Held(self)

    def set(self, value: Value) -> None:  # noqa: ARG002
        raise Unknown

    def part(self, type_: t.Type, words: int) -> "Mem":
        """A part that begins some words further on."""
        return Mem(type_, self.base, self.offset + words, self.const)


Located = Value | Place


def kind_of(type_: t.Type) -> Kind | None:
    """How a value of the type stands in a register; None for aggregates and compile-time types."""
    if isinstance(type_, (t.IntType, t.FloatType)):
        return Kind[str(type_).upper()]
    if isinstance(type_, t.EnumType):
        return Kind[str(type_.base).upper()]
    if type_ == t.BOOL:
        return Kind.BOOL
    if isinstance(type_, (t.PointerType, t.FnType)) or type_ in t.IDENTIFIERS:
        return Kind.U16
    return Kind.U64 if type_ in DSDS else None


_WORDS = {Kind.I32: 2, Kind.U32: 2, Kind.F32: 2, Kind.I64: 4, Kind.U64: 4}


def words_of(type_: t.Type) -> int | None:
    """Words that a value of the type takes in memory; None for types without a place there."""
    kind = kind_of(type_)
    if kind is not None:
        return _WORDS.get(kind, 1)
    if isinstance(type_, t.ArrayType):
        each = words_of(type_.element)
        return None if each is None else each * type_.count
    if isinstance(type_, t.StructType):
        sizes = [words_of(each) for _, each in type_.fields]
        return None if None in sizes else sum(each or 0 for each in sizes)
    return None


def field_offset(type_: t.StructType, name: str) -> tuple[t.Type, int]:
    """The type of a field, and the words before it."""
    gone = 0
    for each, found in type_.fields:
        if each == name:
            return found, gone
        gone += words_of(found) or 0
    raise KeyError(name)


def bound(value: Value) -> Value:
    """A value that has a name from now on: its registers stay as they are."""
    if isinstance(value, Reg):
        if not value.fresh:
            return value
        return Reg(value.type, value.number, owned=value.owned)
    if not is_known(value) and not isinstance(value, Held):
        return Value(value.type, {name: bound(each) for name, each in value.data.items()})
    return value


def is_known(value: Value) -> bool:
    """Whether all of a value is known at compile time."""
    if isinstance(value, (Reg, Held)):
        return False
    if isinstance(value.data, dict):
        return all(map(is_known, value.data.values()))
    return True


def holds(into: t.Type, have: t.Type) -> bool:
    """Whether each integer of the one type is the same number in the other."""
    if not isinstance(into, t.IntType) or not isinstance(have, t.IntType):
        return False
    return into.lowest <= have.lowest and have.highest <= into.highest
