"""The language's types as frozen values: two types are the same if they compare equal."""

from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class IntType:
    """`i8` … `u64`."""

    bits: int
    signed: bool

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    def wrap(self, value: int) -> int:
        """The value that `bits` bits keep, in two's complement."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if value > self.highest else value

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.bits}"


@dataclass(frozen=True, slots=True)
class FloatType:
    """`f16`, `bf16`, `cb16`, `f32`."""

    name: str
    bits: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class NamedType:
    """A type that its name says all about: `bool`, `color`, `comptime_int`, `mem1d_dsd`, …"""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ArrayType:
    """`[n, m]T`."""

    dimensions: tuple[int, ...]
    element: "Type"

    @property
    def count(self) -> int:
        """Elements in all."""
        return prod(self.dimensions)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.dimensions))}]{self.element}"


@dataclass(frozen=True, slots=True)
class PointerType:
    """`*T` and `[*]T`."""

    target: "Type"
    const: bool = False
    many: bool = False

    def __str__(self) -> str:
        return f"{'[*]' if self.many else '*'}{'const ' if self.const else ''}{self.target}"


@dataclass(frozen=True, slots=True)
class FnType:
    """`fn(A, B) R`."""

    kind: str
    params: tuple["Type", ...]
    result: "Type"

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.params))}) {self.result}"


@dataclass(frozen=True, slots=True)
class StructType:
    """A struct type; `origin` is where a named one was written, None for an anonymous one.

    A tuple's fields are named "0", "1", … and `nameless` is true.
    """

    fields: tuple[tuple[str, "Type"], ...]
    origin: tuple[str, int] | None = None
    nameless: bool = False

    def __str__(self) -> str:
        inner = ", ".join(str(t) if self.nameless else f"{name}: {t}" for name, t in self.fields)
        return f"struct {{{inner}}}"


@dataclass(frozen=True, slots=True)
class EnumType:
    """`enum(u16) { a, b = 3 }`; the same only if written at the same place."""

    base: IntType
    members: tuple[tuple[str, int], ...]
    origin: tuple[str, int] = field(repr=False)

    def __str__(self) -> str:
        return f"enum({self.base}) {{{', '.join(name for name, _ in self.members)}}}"


Type: TypeAlias = (
    IntType | FloatType | NamedType | ArrayType | PointerType | FnType | StructType | EnumType
)

INTEGERS = {
    str(t): t for bits in (8, 16, 32, 64) for t in (IntType(bits, True), IntType(bits, False))
}
I8, I16, I32 = INTEGERS["i8"], INTEGERS["i16"], INTEGERS["i32"]
U8, U16, U32 = INTEGERS["u8"], INTEGERS["u16"], INTEGERS["u32"]
F16, BF16, CB16, F32 = (
    FloatType("f16", 16),
    FloatType("bf16", 16),
    FloatType("cb16", 16),
    FloatType("f32", 32),
)
FP16_FORMATS = {"f16": F16, "bf16": BF16, "cb16": CB16}

VOID, BOOL, TYPE = NamedType("void"), NamedType("bool"), NamedType("type")
COMPTIME_INT, COMPTIME_FLOAT = NamedType("comptime_int"), NamedType("comptime_float")
COMPTIME_STRING, COMPTIME_STRUCT = NamedType("comptime_string"), NamedType("comptime_struct")
IMPORTED_MODULE, DIRECTION, RANGE = (
    NamedType("imported_module"),
    NamedType("direction"),
    NamedType("range"),
)
COLOR, UT_ID = NamedType("color"), NamedType("ut_id")
LOCAL_TASK_ID, DATA_TASK_ID = NamedType("local_task_id"), NamedType("data_task_id")
CONTROL_TASK_ID = NamedType("control_task_id")
INPUT_QUEUE, OUTPUT_QUEUE = NamedType("input_queue"), NamedType("output_queue")
MEM1D, MEM4D, CIRCBUF = NamedType("mem1d_dsd"), NamedType("mem4d_dsd"), NamedType("circbuf_dsd")
FABIN, FABOUT, FIFO = NamedType("fabin_dsd"), NamedType("fabout_dsd"), NamedType("FIFO")
DSR_DEST, DSR_SRC0, DSR_SRC1 = NamedType("dsr_dest"), NamedType("dsr_src0"), NamedType("dsr_src1")
XDSR, SR = NamedType("xdsr"), NamedType("sr")
ANYTYPE, FUNCTION = NamedType("anytype"), NamedType("function")
ANON_STRUCT = NamedType("anonymous struct")  # its StructType is computed when it is asked for

IDENTIFIERS = frozenset(
    [COLOR, UT_ID, LOCAL_TASK_ID, DATA_TASK_ID, CONTROL_TASK_ID, INPUT_QUEUE, OUTPUT_QUEUE]
)

PRIMITIVES: dict[str, Type] = {
    **INTEGERS,
    **{str(t): t for t in (F16, BF16, CB16, F32)},
    **{
        t.name: t
        for t in (
            VOID, BOOL, TYPE, COMPTIME_INT, COMPTIME_FLOAT, COMPTIME_STRING, COMPTIME_STRUCT,
            IMPORTED_MODULE, DIRECTION, RANGE, COLOR, UT_ID, LOCAL_TASK_ID, DATA_TASK_ID,
            CONTROL_TASK_ID, INPUT_QUEUE, OUTPUT_QUEUE, MEM1D, MEM4D, CIRCBUF, FABIN, FABOUT,
            DSR_DEST, DSR_SRC0, DSR_SRC1, XDSR, SR,
        )
    },
}  # fmt: skip


def size_bytes(type_: Type) -> int | None:
    """Bytes that a value takes in a PE's memory; None for types that only exist at compile time."""
    if isinstance(type_, (IntType, FloatType)):
        return type_.bits // 8
    if isinstance(type_, ArrayType):
        element = size_bytes(type_.element)
        return None if element is None else element * type_.count
    if isinstance(type_, EnumType):
        return type_.base.bits // 8
    if isinstance(type_, StructType):
        sizes = [size_bytes(t) for _, t in type_.fields]
        return None if None in sizes else sum(s for s in sizes if s is not None)
    if isinstance(type_, PointerType) or type_ in IDENTIFIERS or type_ == BOOL:
        return 2
    return None
