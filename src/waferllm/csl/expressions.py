"""Expressions and types: precedence climbing over a cursor. Types are expressions."""

from collections.abc import Callable
from typing import TypeVar

from waferllm.csl import syntax as s
from waferllm.csl.cursor import Cursor
from waferllm.csl.diagnostics import fail, unsupported

BINARY = {
    "or": 1,
    "and": 2,
    **dict.fromkeys(["==", "!=", "<", ">", "<=", ">="], 3),
    **dict.fromkeys(["&", "^", "|"], 4),
    **dict.fromkeys(["<<", ">>"], 5),
    **dict.fromkeys(["+", "-"], 6),
    **dict.fromkeys(["*", "/", "%"], 7),
}
COMPARISON = 3
PREFIX = frozenset("-~!&")
LABELLED = frozenset(["{", "for", "while"])

T = TypeVar("T")


class ExpressionParser(Cursor):
    """What may stand where a value or a type is wanted."""

    def block(self, label: str | None = None) -> s.Block:
        """`{ statements }`; statements belong to the parser that extends this one."""
        raise NotImplementedError

    def expression(self, minimum: int = 1) -> s.Expr:
        """An expression whose operators all bind at least as tightly as `minimum`."""
        start = self.token.start
        left = self._prefix()
        while (power := BINARY.get(self.kind, 0)) >= minimum:
            operator = self.take().kind
            right = self.expression(power + 1)
            left = s.Binary(self.since(start), operator, left, right)
            if power == COMPARISON and BINARY.get(self.kind) == COMPARISON:
                hint = "join two comparisons with 'and', or put one in parentheses"
                fail("comparisons do not chain", self.here(), hint)
        return left

    def type_expression(self) -> s.Expr:
        """A type where a `{` after it opens something else: a body, not the type's fields."""
        return self._type_prefix() or self._suffixed(braces=False)

    def _prefix(self) -> s.Expr:
        start, kind = self.token.start, self.kind
        if kind in PREFIX:
            operator = self.take().kind
            operand = self._prefix()
            return s.Unary(self.since(start), operator, operand)
        if kind == "comptime":
            self.take()
            operand = self.block() if self.kind == "{" else self.expression()
            return s.Comptime(self.since(start), operand)
        type_ = self._type_prefix()
        if type_ is None:
            return self._suffixed(braces=True)
        return self._braces(type_, start) if self.kind == "{" else type_

    # --- Types -------------------------------------------------------------------------------

    def _type_prefix(self) -> s.Expr | None:
        """A type that begins with punctuation or `fn`; None if what stands here does not."""
        start = self.token.start
        if self.accept("*"):
            return self._pointer(start, many=False)
        if self.kind == ".*":
            self.stop("an expression", "a pointer's type is '*T', without a dot")
        if self.accept("["):
            if self.kind == "*" and self.peek() == "]":
                self.take()
                self.take()
                return self._pointer(start, many=True)
            dimensions = self._list("]", self.expression, "array dimensions")
            element = self.type_expression()
            return s.ArrayTypeExpr(self.since(start), dimensions, element)
        if self.kind in {"fn", "task"}:
            kind = self.take().kind
            self.expect("(", f"after '{kind}' in a function type")
            params = self._list(")", self.type_expression, "the function type's parameters")
            result = self.type_expression()
            return s.FnTypeExpr(self.since(start), kind, params, result)
        return None

    def _pointer(self, start: int, many: bool) -> s.Expr:
        const = self.accept("const") is not None
        target = self.type_expression()
        return s.PointerTypeExpr(self.since(start), target, const, many)

    def _struct_type(self) -> s.Expr:
        start = self.take().start
        self.expect("{", "after 'struct'")
        fields = self._list("}", self._struct_field, "the struct's fields")
        self._distinct([(field.name, field) for field in fields], "field")
        return s.StructTypeExpr(self.since(start), fields)

    def _struct_field(self) -> s.StructField:
        start = self.token.start
        name = self.expect_word("for a field")
        self.expect(":", "and a type after the field's name")
        type_ = self.type_expression()
        return s.StructField(self.since(start), name, type_)

    def _enum_type(self) -> s.Expr:
        start = self.take().start
        base = None
        if self.accept("("):
            base = self.type_expression()
            self.expect(")", "to close the enum's integer type")
        self.expect("{", "before the enum's members")
        members = self._list("}", self._enum_member, "the enum's members")
        self._distinct([(member.name, member) for member in members], "member")
        return s.EnumTypeExpr(self.since(start), base, members)

    def _enum_member(self) -> s.EnumMember:
        start = self.token.start
        name = self.expect_word("for a member")
        value = self.expression() if self.accept("=") else None
        return s.EnumMember(self.since(start), name, value)

    # --- Values ------------------------------------------------------------------------------

    def _suffixed(self, braces: bool) -> s.Expr:
        start = self.token.start
        value = self._primary()
        while True:
            if self.accept("."):
                name = self.expect_member()
                value = s.Field(self.since(start), value, name)
            elif self.accept(".*"):
                value = s.Deref(self.since(start), value)
            elif self.accept("["):
                indices = self._list("]", self.expression, "the index")
                if not indices:
                    fail("an index needs at least one expression", self.since(start))
                value = s.Index(self.since(start), value, indices)
            elif self.accept("("):
                args = self._list(")", self.expression, "the arguments")
                value = s.Call(self.since(start), value, args)
            elif braces and self.kind == "{" and _may_take_braces(value):
                value = self._braces(value, start)
            else:
                return value

    def _primary(self) -> s.Expr:
        handler = _PRIMARY.get(self.kind)
        if handler is not None:
            return handler(self)
        if self.kind == "union":
            unsupported("the 'union' type", self.here())
        hint = None
        if self.kind in {"+", "/"}:
            hint = f"there is no unary '{self.kind}'"
        elif self.kind == "=":
            hint = "compare with '=='"
        self.stop("an expression", hint)

    def _literal(self) -> s.Expr:
        token = self.take()
        node = {"int": s.Int, "float": s.Float, "string": s.String}.get(token.kind)
        if node is None:
            return s.Bool(self.since(token.start), token.kind == "true")
        return node(self.since(token.start), token.value)

    def _name(self) -> s.Expr:
        token = self.take()
        if self.kind == ":" and self.peek() in LABELLED:
            self.take()
            return self.labelled(str(token.value), token.start)
        return s.Name(self.since(token.start), str(token.value))

    def labelled(self, label: str | None, start: int) -> s.Expr:
        """The block or loop after a label (or after none)."""
        if self.kind == "{":
            return self.block(label)
        return self._for(label, start) if self.kind == "for" else self._while(label, start)

    def _builtin(self) -> s.Expr:
        token = self.take()
        self.expect("(", f"after '@{token.value}'")
        args = self._list(")", self.expression, f"the arguments of '@{token.value}'")
        return s.Builtin(self.since(token.start), str(token.value), args)

    def _parenthesized(self) -> s.Expr:
        opening = self.take()
        value = self.expression()
        if self.kind == "=":
            self.stop("')'", "compare with '=='")
        self.expect(")", f"to close '(' of line {self.source.position(opening.start)[0]}")
        return value

    def _dot(self) -> s.Expr:
        start = self.take().start
        if self.kind != "{":
            self.stop("'{' after '.'", "an anonymous struct is written .{ .name = value }")
        return self._braces(None, start)

    def _braces(self, type_: s.Expr | None, start: int) -> s.Expr:
        """`{ .a = 1 }` or `{ 1, 2 }` after a dot or a type."""
        self.expect("{", "before the fields")
        if self.kind == "." and self.peek() != "{":
            fields = self._list("}", self._field_init, "the fields")
            self._distinct([(field.name, field) for field in fields], "field")
            return s.StructLiteral(self.since(start), type_, fields)
        elements = self._list("}", self.expression, "the elements")
        return s.ListLiteral(self.since(start), type_, elements)

    def _field_init(self) -> s.FieldInit:
        start = self.token.start
        self.expect(".", "before a field's name", "every field is written .name = value")
        name = self.expect_member()
        self.expect("=", f"after '.{name}'")
        value = self.expression()
        return s.FieldInit(self.since(start), name, value)

    def _tensor_access(self) -> s.Expr:
        start = self.take().start
        names = self._list("|", lambda: self.expect_word("for an index"), "the index variables")
        self.expect("{", "and the lengths after the index variables", "|i|{n} -> A[i]")
        extents = self._list("}", self.expression, "the lengths")
        if len(names) != len(extents):
            fail(f"{len(names)} index variable(s), but {len(extents)} length(s)", self.since(start))
        self.expect("->", "before the tensor that is accessed", "|i|{n} -> A[i]")
        access = self._suffixed(braces=False)
        return s.TensorAccess(self.since(start), names, extents, access)

    def _asm(self) -> s.Expr:
        start = self.take().start
        volatile = self.accept("volatile") is not None
        self.expect("(", "after 'asm'")
        text = self.expression()
        self.accept(",")
        parts: list[tuple[s.AsmOperand, ...]] = [(), ()]
        clobbers: list[bytes] = []
        for part in range(3):
            if not self.accept(":"):
                break
            while self.kind not in {":", ")"}:
                if part < 2:
                    parts[part] = (*parts[part], self._asm_operand())
                else:
                    clobbers.append(self._bytes("for a clobbered register"))
                if not self.accept(","):
                    break
        self.expect(")", "to close 'asm'")
        return s.Asm(self.since(start), volatile, text, parts[0], parts[1], tuple(clobbers))

    def _asm_operand(self) -> s.AsmOperand:
        start = self.token.start
        self.expect("[", "before an operand's name")
        name = self.expect_word("for an operand")
        self.expect("]", "after the operand's name")
        constraint = self._bytes("for the operand's constraint")
        self.expect("(", "before the operand's value")
        value = self.expression()
        self.expect(")", "after the operand's value")
        return s.AsmOperand(self.since(start), name, constraint, value)

    def _bytes(self, why: str) -> bytes:
        value = self.expect("string", why).value
        return value if isinstance(value, bytes) else b""

    # --- Control flow ------------------------------------------------------------------------

    def body(self) -> s.Stmt:
        """What `if`, a loop or a switch runs: a block, an expression or an assignment."""
        return self.block() if self.kind == "{" else self.assignment()

    def assignment(self) -> s.Stmt:
        """An expression, or an assignment to it."""
        raise NotImplementedError

    def _condition(self, word: str) -> s.Expr:
        self.expect("(", f"after '{word}'", f"{word} (condition) …")
        condition = self.expression()
        if self.kind == "=":
            self.stop("')'", "compare with '=='")
        self.expect(")", f"after the condition of '{word}'")
        return condition

    def _if(self) -> s.Expr:
        # A chain of `else if` is read in a loop: a long one must not nest the parser.
        heads: list[tuple[int, s.Expr, s.Stmt]] = []
        orelse: s.Stmt | None = None
        while True:
            start = self.take().start
            condition = self._condition("if")
            then = self.body()
            heads.append((start, condition, then))
            if not self.accept("else"):
                break
            if self.kind != "if":
                orelse = self.body()
                break
        for start, condition, then in reversed(heads):
            orelse = s.If(self.since(start), condition, then, orelse)
        assert orelse is not None
        return orelse

    def _switch(self) -> s.Expr:
        start = self.take().start
        subject = self._condition("switch")
        self.expect("{", "before the cases")
        cases = self._list("}", self._case, "the cases of 'switch'")
        if sum(not case.values for case in cases) > 1:
            fail("this switch has more than one 'else'", self.since(start))
        return s.Switch(self.since(start), subject, cases)

    def _case(self) -> s.SwitchCase:
        start = self.token.start
        values: list[s.Expr] = []
        if not self.accept("else"):
            values.append(self.expression())
            while self.accept(",") and self.kind != "=>":
                values.append(self.expression())
        self.expect("=>", "after the case's values")
        body = self.body()
        return s.SwitchCase(self.since(start), tuple(values), body)

    def _for(self, label: str | None, start: int) -> s.Expr:
        self.take()
        iterable = self._condition("for")
        self.expect("|", "before the loop's variable", "for (@range(i16, n)) |i| { … }")
        names = self._list("|", lambda: self.expect_word("for the loop's variable"), "variables")
        if len(names) not in {1, 2}:
            fail(f"a loop has one or two variables, not {len(names)}", self.since(start))
        body = self.body()
        index = names[1] if len(names) == 2 else None
        return s.For(self.since(start), label, iterable, names[0], index, body)

    def _while(self, label: str | None, start: int) -> s.Expr:
        self.take()
        condition = self._condition("while")
        step = None
        if self.accept(":"):
            self.expect("(", "before the loop's step", "while (i < n) : (i += 1) { … }")
            step = self.assignment()
            self.expect(")", "after the loop's step")
        body = self.body()
        return s.While(self.since(start), label, condition, step, body)

    def _loop(self) -> s.Expr:
        return self.labelled(None, self.token.start)

    def _jump(self) -> s.Expr:
        token = self.take()
        label = None
        if token.kind != "return" and self.accept(":"):
            label = self.expect_word("for a label after ':'")
        if token.kind == "continue":
            return s.Continue(self.since(token.start), label)
        value = None if self.kind in {";", ")", "}", ",", "else", "end"} else self.expression()
        if token.kind == "return":
            return s.Return(self.since(token.start), value)
        return s.Break(self.since(token.start), label, value)

    # --- Lists -------------------------------------------------------------------------------

    def _list(self, closing: str, item: Callable[[], T], what: str) -> tuple[T, ...]:
        """Items separated by commas up to `closing`, which is taken; a last comma is allowed."""
        items: list[T] = []
        while not self.accept(closing):
            items.append(item())
            if not self.accept(",") and self.kind != closing:
                self.stop(f"',' or '{closing}' in {what}")
        return tuple(items)

    def _distinct(self, named: list[tuple[str, s.Node]], what: str) -> None:
        seen: set[str] = set()
        for name, node in named:
            if name in seen:
                fail(f"{what} '{name}' stands here twice", node.span)
            seen.add(name)


def _may_take_braces(value: s.Expr) -> bool:
    """Whether `value {` can begin a struct or array literal: only what may name a type."""
    return isinstance(value, (s.Name, s.Field, s.Call, s.Builtin, s.StructTypeExpr))


_PRIMARY: dict[str, Callable[[ExpressionParser], s.Expr]] = {
    **dict.fromkeys(["int", "float", "string", "true", "false"], ExpressionParser._literal),
    "name": ExpressionParser._name,
    "builtin": ExpressionParser._builtin,
    "(": ExpressionParser._parenthesized,
    ".": ExpressionParser._dot,
    "|": ExpressionParser._tensor_access,
    "{": lambda parser: parser.block(),
    "asm": ExpressionParser._asm,
    "if": ExpressionParser._if,
    "switch": ExpressionParser._switch,
    "for": ExpressionParser._loop,
    "while": ExpressionParser._loop,
    **dict.fromkeys(["return", "break", "continue"], ExpressionParser._jump),
    "struct": ExpressionParser._struct_type,
    "enum": ExpressionParser._enum_type,
    "anytype": lambda parser: s.AnyTypeExpr(parser.since(parser.take().start)),
}
