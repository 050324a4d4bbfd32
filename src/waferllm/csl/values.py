"""Values at compile time: a type and what Python holds for it. Values never change; places do.

| type                        | data                                             |
|-----------------------------|--------------------------------------------------|
| integers, enums, identifiers| `int`                                            |
| floats                      | `float`, already rounded to the type             |
| bool, void, type            | `bool`, `None`, the type itself                  |
| comptime_string             | `bytes`                                          |
| direction                   | `str`: "EAST" …                                  |
| arrays                      | flat tuple of the elements' data, row-major      |
| structs                     | `dict` of values; tuples have fields "0", "1", … |
| pointers                    | the `Place` pointed to                           |
| functions, modules          | `Function`, the evaluator's module instance      |
| ranges, DSDs, DSRs, FIFOs   | `Range`, `Dsd`, `Dsr`, `Fifo`                    |
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from waferllm.csl import types as t
from waferllm.csl.syntax import FnDecl

if TYPE_CHECKING:
    from waferllm.csl.modules import ModuleInstance


class Value:
    """A type and its data; never changed after it is made."""

    __slots__ = ("data", "type")

    def __init__(self, type_: t.Type, data: Any) -> None:
        self.type = type_
        self.data = data

    def __repr__(self) -> str:
        return f"{self.type}: {show(self)}"


class Place(Protocol):
    """Somewhere a value stands: a variable, or a part of one."""

    def get(self) -> Value: ...
    def set(self, value: Value) -> None: ...


@dataclass(frozen=True, slots=True)
class Function:
    """A function or task, and the module instance whose names it sees."""

    decl: FnDecl
    module: "ModuleInstance"


@dataclass(frozen=True, slots=True)
class Range:
    """`@range(T, start, stop, step)`."""

    element: t.Type
    start: int
    stop: int
    step: int

    def values(self) -> range:
        return range(self.start, self.stop, self.step)


@dataclass(frozen=True, slots=True)
class Dsd:
    """A data structure descriptor: its properties as given, defaults filled in."""

    properties: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Dsr:
    """A data structure register: `dsr_dest 3`."""

    file: str
    number: int


VOID = Value(t.VOID, None)
TRUE = Value(t.BOOL, True)
FALSE = Value(t.BOOL, False)


def boolean(value: bool) -> Value:
    return TRUE if value else FALSE


def integer(value: int, type_: t.Type = t.COMPTIME_INT) -> Value:
    return Value(type_, value)


def struct_of(fields: dict[str, Value]) -> Value:
    """An anonymous struct."""
    return Value(t.ANON_STRUCT, fields)


def is_struct(value: Value) -> bool:
    return value.type in {t.ANON_STRUCT, t.COMPTIME_STRUCT} or isinstance(value.type, t.StructType)


def is_tuple(value: Value) -> bool:
    """Whether a struct has no names; `.{}` is both an empty struct and an empty tuple."""
    return is_struct(value) and all(name.isdigit() for name in value.data)


def type_of(value: Value) -> t.Type:
    """The value's type, spelled out for anonymous structs."""
    if value.type != t.ANON_STRUCT:
        return value.type
    fields = tuple((name, type_of(each)) for name, each in value.data.items())
    return t.StructType(fields, None, nameless=bool(fields) and is_tuple(value))


def default(type_: t.Type) -> Value:
    """What a variable without a value starts with: zero bits."""
    if isinstance(type_, t.ArrayType):
        return Value(type_, (default(type_.element).data,) * type_.count)
    if isinstance(type_, (t.IntType, t.EnumType)) or type_ in t.IDENTIFIERS:
        return Value(type_, 0)
    if isinstance(type_, t.FloatType):
        return Value(type_, 0.0)
    if isinstance(type_, t.StructType):
        return Value(type_, {name: default(each) for name, each in type_.fields})
    return Value(type_, False if type_ == t.BOOL else None)


def freeze(value: Value) -> Any:
    """A hashable stand-in: equal exactly when two values are the same to a program."""
    data = value.data
    if isinstance(data, dict):
        return tuple((name, freeze(each)) for name, each in data.items())
    if isinstance(value.type, t.ArrayType) and data and isinstance(data[0], dict):
        return (value.type, tuple(tuple((k, freeze(v)) for k, v in row.items()) for row in data))
    if isinstance(data, Dsd):
        return (value.type, tuple((k, freeze(v)) for k, v in data.properties.items()))
    if isinstance(value.type, t.PointerType) or value.type == t.IMPORTED_MODULE:
        return (value.type, id(data))
    if isinstance(data, Function):
        return (id(data.decl), id(data.module))
    return (value.type, data)


def show(value: Value) -> str:
    """The value as a program would write it, near enough for a message."""
    data = value.data
    if isinstance(data, dict):
        if is_tuple(value):
            return ".{" + ", ".join(show(each) for each in data.values()) + "}"
        return ".{" + ", ".join(f".{name} = {show(each)}" for name, each in data.items()) + "}"
    if isinstance(value.type, t.ArrayType):
        shown = [show(Value(value.type.element, each)) for each in data[:8]]
        return f"{value.type}{{{', '.join(shown)}{', …' if len(data) > 8 else ''}}}"
    if isinstance(value.type, t.EnumType):
        return next((name for name, number in value.type.members if number == data), str(data))
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, bytes):
        return '"' + data.decode("utf-8", "backslashreplace") + '"'
    if isinstance(data, Function):
        return f"{data.decl.kind} {data.decl.name}"
    if value.type in t.IDENTIFIERS:
        return f"{value.type}({data})"
    if data is None or isinstance(value.type, t.PointerType):
        return "{}" if value.type == t.VOID else f"a {value.type}"
    return str(data)
