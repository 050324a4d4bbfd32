"""Where values stand: variables, globals and parts of both; and the scopes that name them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from waferllm.csl import types as t
from waferllm.csl.diagnostics import fail
from waferllm.csl.operators import coerce
from waferllm.csl.source import Span
from waferllm.csl.syntax import VarDecl
from waferllm.csl.values import Place, Value, type_of

if TYPE_CHECKING:
    from waferllm.csl.modules import ModuleInstance


class Variable:
    """A local `var`: holds values of one type."""

    __slots__ = ("span", "value")

    def __init__(self, value: Value, span: Span) -> None:
        self.value = value
        self.span = span

    def get(self) -> Value:
        return self.value

    def set(self, value: Value) -> None:
        self.value = value


class Constant:
    """A value that may be pointed to, not changed."""

    __slots__ = ("name", "span", "value")

    def __init__(self, value: Value, name: str, span: Span) -> None:
        self.value = value
        self.name = name
        self.span = span

    def get(self) -> Value:
        return self.value

    def set(self, value: Value) -> None:  # noqa: ARG002
        fail(f"'{self.name}' is constant", self.span, "declare it 'var' to change it")


class Part:
    """A field of a struct (by name) or an element of an array (by flat position) in a place."""

    __slots__ = ("at", "base")

    def __init__(self, base: Place, at: str | int) -> None:
        self.base = base
        self.at = at

    def get(self) -> Value:
        whole = self.base.get()
        if isinstance(self.at, str):
            return whole.data[self.at]
        assert isinstance(whole.type, t.ArrayType)
        return Value(whole.type.element, whole.data[self.at])

    def set(self, value: Value) -> None:
        whole = self.base.get()
        if isinstance(self.at, str):
            self.base.set(Value(whole.type, {**whole.data, self.at: value}))
        else:
            data = (*whole.data[: self.at], value.data, *whole.data[self.at + 1 :])
            self.base.set(Value(whole.type, data))


class Global:
    """A `const`, `var` or `param` of a module instance; its first value is found when asked for.

    A `var` has an address and a first value; what it holds later is known only when the program
    runs, so compile-time code may point to it but not read or change it.
    """

    __slots__ = ("_busy", "_make", "_value", "decl", "module")

    def __init__(
        self, decl: VarDecl, module: "ModuleInstance", make: Callable[["Global"], Value]
    ) -> None:
        self.decl = decl
        self.module = module
        self._make = make
        self._busy = False
        self._value: Value | None = None

    @property
    def known(self) -> bool:
        """Whether the value cannot change while the program runs."""
        return self.decl.kind != "var" and self.decl.storage != "extern"

    def get(self) -> Value:
        """The first value."""
        if self._busy:
            fail(f"the value of '{self.decl.name}' depends on itself", self.decl.span)
        if self._value is None:
            self._busy = True
            try:
                self._value = self._make(self)
            finally:
                self._busy = False
        return self._value

    def set(self, value: Value) -> None:  # noqa: ARG002
        hint = "only code that runs on the PE may change it" if self.decl.kind == "var" else None
        fail(f"'{self.decl.name}' cannot be changed at compile time", self.decl.span, hint)

    def __repr__(self) -> str:
        return f"{self.decl.kind} {self.decl.name}"


class Scope:
    """Names of one block; a `Value` is a constant, anything else a place that holds one."""

    __slots__ = ("module", "names", "parent")

    def __init__(self, parent: "Scope | None", module: "ModuleInstance") -> None:
        self.parent = parent
        self.module = module
        self.names: dict[str, Value | Place] = {}

    def find(self, name: str) -> "Value | Place | None":
        """What a name means here; None if nothing declares it."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return self.module.find(name)

    def declare(self, name: str, what: Value | Place, span: Span) -> None:
        """Give a name to a value or variable; a name is given once in a block."""
        if name in self.names:
            fail(f"'{name}' is declared twice in this block", span)
        if name != "_":
            self.names[name] = what


def store(place: Place, value: Value, span: Span) -> None:
    """Put a value where it belongs, in that place's type."""
    wanted = place.get().type
    if wanted == t.ANON_STRUCT:
        held = type_of(place.get())
        if type_of(value) != held:
            fail(f"expected a value of type {held}, got one of type {type_of(value)}", span)
        place.set(value)
    else:
        place.set(coerce(value, wanted, span))
