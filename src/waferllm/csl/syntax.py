"""The syntax tree: frozen dataclasses, each with the span it was read from.

Two trees are equal if they say the same thing, wherever they stand. Types are expressions, as in
the language itself. Statements that are expressions too (`if`, `switch`, blocks) are one node.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias

from waferllm.csl.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything in the tree."""

    span: Span = field(compare=False, repr=False)


# --- Expressions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name(Node):
    id: str


@dataclass(frozen=True, slots=True)
class Int(Node):
    """An integer or character literal."""

    value: int


@dataclass(frozen=True, slots=True)
class Float(Node):
    value: float


@dataclass(frozen=True, slots=True)
class String(Node):
    """A string literal, its escapes resolved: bytes, as in the language."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Bool(Node):
    value: bool


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-a`, `~a`, `!a`, `&a`."""

    op: str
    operand: "Expr"


@dataclass(frozen=True, slots=True)
class Binary(Node):
    op: str
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True, slots=True)
class Deref(Node):
    """`pointer.*`."""

    operand: "Expr"


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`base.name`."""

    base: "Expr"
    name: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`base[i, j]`."""

    base: "Expr"
    indices: "tuple[Expr, ...]"


@dataclass(frozen=True, slots=True)
class Call(Node):
    callee: "Expr"
    args: "tuple[Expr, ...]"


@dataclass(frozen=True, slots=True)
class Builtin(Node):
    """`@name(args)`; the name without its `@`."""

    name: str
    args: "tuple[Expr, ...]"


@dataclass(frozen=True, slots=True)
class FieldInit(Node):
    """`.name = value`."""

    name: str
    value: "Expr"


@dataclass(frozen=True, slots=True)
class StructLiteral(Node):
    """`.{ .a = 1 }`, or `T{ .a = 1 }` where `type` is T."""

    type: "Expr | None"
    fields: tuple[FieldInit, ...]


@dataclass(frozen=True, slots=True)
class ListLiteral(Node):
    """The tuple `.{ 1, 2 }`, or the array `[2]i16{ 1, 2 }` where `type` is `[2]i16`."""

    type: "Expr | None"
    elements: "tuple[Expr, ...]"


@dataclass(frozen=True, slots=True)
class TensorAccess(Node):
    """`|i, j|{n, m} -> A[i, j]`."""

    variables: tuple[str, ...]
    extents: "tuple[Expr, ...]"
    access: "Expr"


@dataclass(frozen=True, slots=True)
class Comptime(Node):
    """`comptime expression`."""

    operand: "Expr"


@dataclass(frozen=True, slots=True)
class AsmOperand(Node):
    """`[name] "constraint" (expression)`."""

    name: str
    constraint: bytes
    value: "Expr"


@dataclass(frozen=True, slots=True)
class Asm(Node):
    volatile: bool
    text: "Expr"
    outputs: tuple[AsmOperand, ...]
    inputs: tuple[AsmOperand, ...]
    clobbers: tuple[bytes, ...]


# --- Types -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PointerTypeExpr(Node):
    """`*T`, `*const T`, `[*]T`, `[*]const T`: `many` says which bracket."""

    target: "Expr"
    const: bool
    many: bool


@dataclass(frozen=True, slots=True)
class ArrayTypeExpr(Node):
    """`[n, m]T`; no dimension at all is the slice `[]T`."""

    dimensions: "tuple[Expr, ...]"
    element: "Expr"


@dataclass(frozen=True, slots=True)
class FnTypeExpr(Node):
    """`fn(A, B) R`, or `task(A) void`."""

    kind: str
    params: "tuple[Expr, ...]"
    result: "Expr"


@dataclass(frozen=True, slots=True)
class StructField(Node):
    name: str
    type: "Expr"


@dataclass(frozen=True, slots=True)
class StructTypeExpr(Node):
    fields: tuple[StructField, ...]


@dataclass(frozen=True, slots=True)
class EnumMember(Node):
    name: str
    value: "Expr | None"


@dataclass(frozen=True, slots=True)
class EnumTypeExpr(Node):
    base: "Expr | None"
    members: tuple[EnumMember, ...]


@dataclass(frozen=True, slots=True)
class AnyTypeExpr(Node):
    """`anytype`, in a parameter list."""


# --- Control flow and statements -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block(Node):
    label: str | None
    body: "tuple[Stmt, ...]"


@dataclass(frozen=True, slots=True)
class If(Node):
    condition: "Expr"
    then: "Stmt"
    orelse: "Stmt | None"


@dataclass(frozen=True, slots=True)
class SwitchCase(Node):
    """`values => body`; no values stand for `else`."""

    values: "tuple[Expr, ...]"
    body: "Stmt"


@dataclass(frozen=True, slots=True)
class Switch(Node):
    subject: "Expr"
    cases: tuple[SwitchCase, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    label: str | None
    iterable: "Expr"
    element: str
    index: str | None
    body: "Stmt"


@dataclass(frozen=True, slots=True)
class While(Node):
    label: str | None
    condition: "Expr"
    step: "Stmt | None"
    body: "Stmt"


@dataclass(frozen=True, slots=True)
class Break(Node):
    label: str | None
    value: "Expr | None"


@dataclass(frozen=True, slots=True)
class Continue(Node):
    label: str | None


@dataclass(frozen=True, slots=True)
class Return(Node):
    value: "Expr | None"


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`target = value`, or with `op` the `+` of `+=`."""

    op: str | None
    target: "Expr"
    value: "Expr"


# --- Declarations ----------------------------------------------------------------------------

Storage: TypeAlias = Literal["export", "extern"]


@dataclass(frozen=True, slots=True)
class VarDecl(Node):
    """`const`, `var` or `param`, at the top or (not `param`) in a block."""

    kind: Literal["const", "var", "param"]
    name: str
    type: "Expr | None"
    init: "Expr | None"
    storage: Storage | None = None
    comptime: bool = False
    align: "Expr | None" = None
    linksection: "Expr | None" = None
    linkname: "Expr | None" = None


@dataclass(frozen=True, slots=True)
class FnParam(Node):
    """`name: T`; an extern function's parameter may have no name."""

    name: str | None
    type: "Expr"
    comptime: bool


@dataclass(frozen=True, slots=True)
class FnDecl(Node):
    kind: Literal["fn", "task"]
    name: str
    params: tuple[FnParam, ...]
    result: "Expr | None"
    body: Block | None
    storage: Storage | None = None
    inline: Literal["inline", "noinline"] | None = None
    linkname: "Expr | None" = None


@dataclass(frozen=True, slots=True)
class ComptimeBlock(Node):
    body: Block


@dataclass(frozen=True, slots=True)
class LayoutBlock(Node):
    body: Block


@dataclass(frozen=True, slots=True)
class Module(Node):
    """One file."""

    items: "tuple[Item, ...]"


Expr: TypeAlias = Node
Stmt: TypeAlias = Node
Item: TypeAlias = "VarDecl | FnDecl | ComptimeBlock | LayoutBlock"


# --- Walking ---------------------------------------------------------------------------------


@cache
def _parts(type_: type) -> tuple[str, ...]:
    """The fields of a node that may hold nodes."""
    return tuple(
        name
        for name, field_ in type_.__dataclass_fields__.items()
        if name != "span" and str(field_.type) not in _PLAIN
    )


_PLAIN = {"str", "int", "float", "bool", "bytes", "str | None"}


def walk(node: Any) -> Iterator[Node]:
    """A node and everything below it."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple):
            waiting.extend(reversed(each))
        elif isinstance(each, Node):
            yield each
            for name in _parts(type(each)):
                waiting.append(getattr(each, name))
