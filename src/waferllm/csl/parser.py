"""Declarations and statements: a source to a `syntax.Module`, or a `CslError`."""

from typing import Literal

from waferllm.csl import syntax as s
from waferllm.csl.diagnostics import fail
from waferllm.csl.expressions import ExpressionParser
from waferllm.csl.source import Source

ASSIGNMENT = {"=": None, **{f"{op}=": op for op in "+ - * / % & | ^ << >>".split()}}
ENDS_IN_BRACE = (s.Block, s.If, s.Switch, s.For, s.While)
TOP_LEVEL = "a declaration: const, var, param, fn, task, comptime, layout, export or extern"


def parse(source: Source) -> s.Module:
    """The tree of a source; raises `CslError` with the first thing that is wrong."""
    parser = Parser(source)
    try:
        return parser.module()
    except RecursionError:
        fail("this is nested too deeply to be read", parser.here(), "flatten it, or name a part")


class Parser(ExpressionParser):
    """The whole language."""

    def module(self) -> s.Module:
        """Declarations up to the end of the file."""
        items: list[s.Item] = []
        while self.kind != "end":
            if not self.accept(";"):
                items.append(self._item())
        return s.Module(self.since(0), tuple(items))

    def _item(self) -> s.Item:
        start = self.token.start
        storage = self._storage()
        if self.kind in {"const", "var", "param"}:
            return self._variable(start, storage)
        if self.kind in {"fn", "task", "inline", "noinline"}:
            return self._function(start, storage)
        if storage:
            self.stop(f"'const', 'var' or 'fn' after '{storage}'")
        if self.kind in {"comptime", "layout"}:
            word = self.take().kind
            if self.kind != "{":
                self.stop(f"'{{' after '{word}' outside of functions")
            body = self.block()
            node = s.LayoutBlock if word == "layout" else s.ComptimeBlock
            return node(self.since(start), body)
        hint = None
        if self.kind == "name" and self.token.value == "color":
            hint = "colors are made by @get_color: const c: color = @get_color(0);"
        elif self.kind in {"name", "builtin", "if", "for", "while"}:
            hint = "statements stand in a function, a task or a comptime block"
        self.stop(TOP_LEVEL, hint)

    def _storage(self) -> s.Storage | None:
        if self.accept("export"):
            return "export"
        return "extern" if self.accept("extern") else None

    # --- Declarations ------------------------------------------------------------------------

    def _variable(
        self, start: int, storage: s.Storage | None = None, comptime: bool = False
    ) -> s.VarDecl:
        kind: Literal["const", "var", "param"] = self.take().kind  # type: ignore[assignment]
        name = self.expect_word(f"after '{kind}'")
        type_ = self.type_expression() if self.accept(":") else None
        attributes = self._attributes()
        init = self.expression() if self.accept("=") else None
        self.expect(";", f"at the end of '{kind} {name}'")
        span = self.since(start)
        if storage == "extern" and init is not None:
            fail(f"extern '{name}' may not have a value: another object gives it", init.span)
        if kind == "const" and init is None and storage is None:
            fail(f"const '{name}' needs a value", span, f"const {name} = …;")
        if type_ is None and init is None and kind != "param":
            fail(f"'{name}' needs a type or a value", span)
        return s.VarDecl(span, kind, name, type_, init, storage, comptime, **attributes)

    def _attributes(self) -> dict[str, s.Expr]:
        """`align(n)`, `linksection("…")`, `linkname("…")`, each at most once, in any order."""
        found: dict[str, s.Expr] = {}
        while self.kind in {"align", "linksection", "linkname"}:
            word = self.take().kind
            if word in found:
                fail(f"'{word}' stands here twice", self.here())
            self.expect("(", f"after '{word}'")
            found[word] = self.expression()
            self.expect(")", f"after the value of '{word}'")
        return found

    def _function(self, start: int, storage: s.Storage | None) -> s.FnDecl:
        inline: Literal["inline", "noinline"] | None = None
        if self.kind in {"inline", "noinline"}:
            inline = self.take().kind  # type: ignore[assignment]
        if self.kind not in {"fn", "task"}:
            self.stop(f"'fn' after '{inline}'")
        kind: Literal["fn", "task"] = self.take().kind  # type: ignore[assignment]
        name = self.expect_word(f"after '{kind}'")
        self.expect("(", f"before the parameters of '{name}'")
        params = self._list(")", self._parameter, f"the parameters of '{name}'")
        self._distinct([(p.name, p) for p in params if p.name], "parameter")
        linkname = self._attributes()
        result = None if self.kind in {"{", ";", "linkname"} else self.type_expression()
        linkname |= self._attributes()
        if set(linkname) - {"linkname"}:
            fail("a function has no alignment and no section of its own", self.since(start))
        body = self._function_body(name, storage, params)
        return s.FnDecl(
            self.since(start), kind, name, params, result, body, storage, inline, **linkname
        )

    def _function_body(
        self, name: str, storage: s.Storage | None, params: tuple[s.FnParam, ...]
    ) -> s.Block | None:
        if storage == "extern":
            if self.kind == "{":
                fail(f"extern '{name}' may not have a body: another object gives it", self.here())
            self.expect(";", f"after extern '{name}'")
            return None
        for param in params:
            if param.name is None:
                fail("this parameter needs a name", param.span, "fn f(x: i16) void { … }")
        if self.kind != "{":
            self.stop(f"'{{' and the body of '{name}'")
        return self.block()

    def _parameter(self) -> s.FnParam:
        start = self.token.start
        comptime = self.accept("comptime") is not None
        name = None
        if self.kind == "name" and self.peek() == ":":
            name = self.expect_word("for a parameter")
            self.take()
        type_ = self.type_expression()
        return s.FnParam(self.since(start), name, type_, comptime)

    # --- Statements --------------------------------------------------------------------------

    def block(self, label: str | None = None) -> s.Block:
        """`{ statements }`."""
        opening = self.expect("{", "to open a block")
        statements: list[s.Stmt] = []
        while not self.accept("}"):
            if self.kind == "end":
                line, column = self.source.position(opening.start)
                self.stop(f"'}}' to close the block opened at {line}:{column}")
            if not self.accept(";"):
                statements.append(self._statement())
        return s.Block(self.since(opening.start), label, tuple(statements))

    def _statement(self) -> s.Stmt:
        start = self.token.start
        if self.kind in {"const", "var"}:
            return self._variable(start)
        if self.kind == "comptime" and self.peek() in {"const", "var"}:
            self.take()
            return self._variable(start, comptime=True)
        if self.kind == "comptime" and self.peek() == "{":
            self.take()
            body = self.block()
            return s.Comptime(self.since(start), body)
        if self.kind == "param":
            self.stop("a statement", "a param stands outside of functions")
        if self.kind in {"fn", "task", "layout", "export", "extern", "inline"}:
            self.stop(
                "a statement", f"'{self.kind}' stands outside of functions; is a '}}' missing?"
            )
        statement = self._braced() or self.assignment()
        if _needs_semicolon(statement):
            self.expect(";", "to end the statement")
        return statement

    def _braced(self) -> s.Stmt | None:
        """A statement that begins with a block, `if`, `switch` or a loop, and ends with it."""
        start = self.token.start
        if self.kind == "name" and self.peek() == ":" and self.peek(2) in {"{", "for", "while"}:
            label = str(self.take().value)
            self.take()
            return self.labelled(label, start)
        if self.kind in {"{", "for", "while"}:
            return self.labelled(None, start)
        if self.kind in {"if", "switch"}:
            return self._primary()
        return None

    def assignment(self) -> s.Stmt:
        """An expression, or an assignment to it."""
        start = self.token.start
        target = self.expression()
        if self.kind not in ASSIGNMENT:
            return target
        operator = ASSIGNMENT[self.take().kind]
        if not isinstance(target, (s.Name, s.Field, s.Index, s.Deref, s.Builtin)):
            hint = "a name, a field, an element or a pointer's target can be assigned to"
            fail("this cannot be assigned to", target.span, hint)
        value = self.expression()
        return s.Assign(self.since(start), operator, target, value)


def _needs_semicolon(statement: s.Stmt) -> bool:
    """Whether the statement's last part is not a block."""
    while isinstance(statement, ENDS_IN_BRACE):
        if isinstance(statement, (s.Block, s.Switch)):
            return False
        if isinstance(statement, s.If):
            statement = statement.orelse or statement.then
        else:
            statement = statement.body
    return True
