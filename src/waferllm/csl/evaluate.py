"""Compile-time evaluation: a tree walker that gives every expression its value, or stops.

It knows no builtin but those in `builtins`; what a layout or a tile collects while it runs is
theirs. Longer than most files because it has one method per form of the language.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_text
from waferllm.csl.diagnostics import CslError, fail, nearest, unsupported
from waferllm.csl.modules import PREDECLARED, Files, ModuleInstance
from waferllm.csl.operators import binary, coerce, is_integer, unary
from waferllm.csl.places import Constant, Global, Part, Scope, Variable, store
from waferllm.csl.source import Span
from waferllm.csl.target import Target
from waferllm.csl.values import (
    VOID,
    Function,
    Place,
    Range,
    Value,
    boolean,
    default,
    integer,
    is_struct,
    is_tuple,
    show,
    struct_of,
    type_of,
)

LOOP_BUDGET = 50_000_000
LARGEST_ARRAY = 1 << 20
DEEPEST_IMPORT = 32


class _Return(Exception):
    def __init__(self, value: Value) -> None:
        self.value = value


class _Break(Exception):
    def __init__(self, label: str | None, value: Value) -> None:
        self.label = label
        self.value = value


class _Continue(Exception):
    def __init__(self, label: str | None) -> None:
        self.label = label


class Evaluator:
    """Evaluates one program: a layout with what it imports, or one tile's code."""

    def __init__(self, target: Target, files: Files, loop_budget: int = LOOP_BUDGET) -> None:
        from waferllm.csl.builtins import BUILTINS

        self.target = target
        self.files = files
        self.collector: Any = None  # a LayoutBuilder or TileBuilder, which builtins add to
        self.printed: list[str] = []
        self._builtins = BUILTINS
        self._budget = loop_budget
        self._imports = 0
        self._where: Span | None = None
        self._forms: dict[type, Callable[[Any, Scope], Value]] = {
            s.Name: self._name,
            s.Int: lambda n, _: Value(t.COMPTIME_INT, n.value),
            s.Float: lambda n, _: Value(t.COMPTIME_FLOAT, n.value),
            s.String: lambda n, _: Value(t.COMPTIME_STRING, n.value),
            s.Bool: lambda n, _: boolean(n.value),
            s.Unary: self._unary,
            s.Binary: self._binary,
            s.Deref: lambda n, scope: _readable(self.place(n, scope), n.span),
            s.Field: self._field,
            s.Index: self._index,
            s.Call: self._call,
            s.Builtin: self._builtin,
            s.StructLiteral: self._struct_literal,
            s.ListLiteral: self._list_literal,
            s.TensorAccess: self._tensor_access,
            s.Comptime: lambda n, scope: self.value(n.operand, scope),
            s.PointerTypeExpr: self._pointer_type,
            s.ArrayTypeExpr: self._array_type,
            s.FnTypeExpr: self._fn_type,
            s.StructTypeExpr: self._struct_type,
            s.EnumTypeExpr: self._enum_type,
            s.AnyTypeExpr: lambda n, _: Value(t.TYPE, t.ANYTYPE),
            s.Block: self._block,
            s.If: self._if,
            s.Switch: self._switch,
            s.For: self._for,
            s.While: self._while,
            s.Break: self._break,
            s.Continue: self._continue,
            s.Return: self._return,
            s.Assign: self._assign,
            s.VarDecl: self._declare,
            s.Asm: lambda n, _: unsupported("inline assembly", n.span),
        }

    # --- Entry points ------------------------------------------------------------------------

    def value(self, node: s.Node, scope: Scope) -> Value:
        """The value of an expression or statement."""
        return self._forms[type(node)](node, scope)

    def type(self, node: s.Node, scope: Scope) -> t.Type:
        """The type that an expression names."""
        found = self.value(node, scope)
        if found.type != t.TYPE:
            fail(f"expected a type, got {show(found)} of type {type_of(found)}", node.span)
        return found.data

    def number(self, node: s.Node, scope: Scope) -> int:
        """The integer that an expression gives."""
        found = self.value(node, scope)
        if not is_integer(found.type):
            fail(f"expected an integer, got {show(found)} of type {type_of(found)}", node.span)
        return found.data

    def guarded(self, work: Callable[[], Any], span: Span) -> Any:
        """Run `work`; deep recursion becomes a message."""
        try:
            return work()
        except RecursionError:
            hint = "does a function call itself without end?"
            fail("compile-time evaluation nests too deeply", self._where or span, hint)
        except (_Break, _Continue):
            fail("'break' or 'continue' outside of what it leaves", self._where or span)
        except _Return:
            fail("'return' outside of a function", self._where or span)

    def instantiate(
        self, path: Path, params: Mapping[str, Value], span: Span, names_only: bool = False
    ) -> ModuleInstance:
        """A new instance of a file, its params bound and, unless `names_only`, its comptime blocks run."""
        module = ModuleInstance(path, self.files.load(path), params, self._initial)
        module.check_params(span)
        if hasattr(self.collector, "modules"):
            self.collector.modules.append(module)
        if self._imports >= DEEPEST_IMPORT:
            fail(f"modules import each other more than {DEEPEST_IMPORT} deep", span)
        self._imports += 1
        try:
            for each in module.globals():
                if each.decl.kind == "param" and module.is_given(each.decl):
                    each.get()
            for item in module.tree.items:
                if isinstance(item, s.ComptimeBlock) and not names_only:
                    self.guarded(
                        lambda item=item: self.value(item.body, Scope(None, module)), item.span
                    )
        finally:
            self._imports -= 1
        return module

    def _initial(self, place: Global) -> Value:
        """The first value of a global."""
        decl, scope = place.decl, Scope(None, place.module)
        if not place.module.is_given(decl):
            fail(f"param '{decl.name}' is not given", decl.span, "nor does it have a default")
        given = place.module.params.get(decl.name) if decl.kind == "param" else None
        wanted = self.type(decl.type, scope) if decl.type else None
        if given is None:
            if decl.init is None:
                return default(wanted) if wanted else VOID
            given = self.value(decl.init, scope)
        where = decl.init.span if decl.init else decl.span
        return given if wanted is None else coerce(given, wanted, where)

    def call(self, function: Value, args: list[Value], span: Span) -> Value:
        """What a function returns for these arguments."""
        if not isinstance(function.data, Function):
            fail(f"this is not a function but {show(function)} of type {type_of(function)}", span)
        decl, scope = function.data.decl, Scope(None, function.data.module)
        if decl.kind == "task" or decl.body is None:
            why = "a task; tasks are activated, not called" if decl.kind == "task" else "extern"
            fail(f"'{decl.name}' is {why}", span)
        if len(args) != len(decl.params):
            shown = f"'{decl.name}' takes {len(decl.params)} argument(s), got {len(args)}"
            fail(shown, span, decl.span.text.split("{", 1)[0].strip())
        self._where = span
        try:
            for param, arg in zip(decl.params, args, strict=True):
                wanted = self.type(param.type, scope)
                scope.declare(param.name or "_", coerce(arg, wanted, span), param.span)
            result = self.type(decl.result, scope) if decl.result else t.VOID
            try:
                self.value(decl.body, scope)
            except _Return as returned:
                return coerce(returned.value, result, span)
        except CslError as error:
            raise error.noting(f"while '{decl.name}' was evaluated for this", span) from None
        if result != t.VOID:
            fail(f"'{decl.name}' ends without returning a value of type {result}", decl.span)
        return VOID

    def attempt(
        self, function: Value, args: list[Value], span: Span, loop_budget: int
    ) -> Value | None:
        """What a call that need not be evaluated gives; None if only the running program knows.

        `@is_comptime` is false in such a call, so a function that asks is not evaluated.
        """
        budget, builtins = self._budget, self._builtins
        self._budget = loop_budget
        self._builtins = {name: each for name, each in builtins.items() if name != "is_comptime"}
        try:
            return self.call(function, args, span)
        except (CslError, RecursionError):
            return None
        finally:
            self._budget, self._builtins = budget, builtins

    # --- Names and places --------------------------------------------------------------------

    def find(self, node: s.Name, scope: Scope) -> Value | Place:
        """What a name means."""
        found = scope.find(node.id)
        if found is None:
            if node.id[0] in "iu" and node.id[1:].isdecimal():
                unsupported(f"the type {node.id}", node.span, "integers have 8, 16, 32 or 64 bits")
            known = [*scope.module.names(), *PREDECLARED]
            at: Scope | None = scope
            while at is not None:
                known.extend(at.names)
                at = at.parent
            fail(f"'{node.id}' is not declared", node.span, nearest(node.id, known))
        return found

    def _name(self, node: s.Name, scope: Scope) -> Value:
        found = self.find(node, scope)
        if isinstance(found, Value):
            return found
        if isinstance(found, Global):
            return self._known(found, node.span)
        return found.get()

    def _known(self, place: Global, span: Span) -> Value:
        if not place.known:
            name = place.decl.name
            fail(
                f"'{name}' is a var: what it holds is not known at compile time",
                span,
                f"take its address, &{name}, or declare it const",
            )
        return place.get()

    def place(self, node: s.Node, scope: Scope) -> Place:
        """Where an expression's value stands."""
        if isinstance(node, s.Name):
            found = self.find(node, scope)
            return Constant(found, node.id, node.span) if isinstance(found, Value) else found
        if isinstance(node, s.Deref):
            pointer = self.value(node.operand, scope)
            if not isinstance(pointer.type, t.PointerType) or pointer.type.many:
                fail(f"'.*' takes a pointer *T, got {type_of(pointer)}", node.span)
            return self._target(pointer, node.span)
        if isinstance(node, s.Field):
            return self._field_place(node, scope)
        if isinstance(node, s.Index):
            return self._element_place(node, scope)
        if isinstance(node, s.Builtin) and node.name == "field" and len(node.args) == 2:
            name = self.value(node.args[1], scope)
            return self._part(
                self.place(node.args[0], scope), as_text(name, node.args[1].span), node
            )
        fail("only what has a name has an address", node.span)

    def _target(self, pointer: Value, span: Span) -> Place:
        if pointer.data is None:
            fail("this pointer points nowhere", span)
        if isinstance(pointer.data, Function):
            fail("this pointer points to a function", span)
        return pointer.data

    def _field_place(self, node: s.Field, scope: Scope) -> Place:
        base = self.place(node.base, scope)
        held = base.get()
        if held.type == t.IMPORTED_MODULE:
            found = self._member(held.data, node)
            return found if isinstance(found, Global) else Constant(found, node.name, node.span)
        return self._part(base, node.name, node)

    def _part(self, base: Place, name: str, node: s.Node) -> Place:
        held = base.get()
        if not is_struct(held):
            fail(f"{type_of(held)} has no fields", node.span)
        if name not in held.data:
            _no_field(held, name, node.span)
        return Part(base, name)

    def _element_place(self, node: s.Index, scope: Scope) -> Place:
        if not isinstance(node.base, (s.Name, s.Field, s.Index, s.Deref)):
            base: Place = Constant(self.value(node.base, scope), "this", node.span)
        else:
            base = self.place(node.base, scope)
        held = base.get()
        if isinstance(held.type, t.PointerType) and held.type.many:
            base = self._target(self.value(node.base, scope), node.span)
            held = base.get()
        indices = [self.number(index, scope) for index in node.indices]
        if is_struct(held):
            if len(indices) != 1 or not is_tuple(held) or str(indices[0]) not in held.data:
                fail(f"no element {indices} in {show(held)}", node.span)
            return Part(base, str(indices[0]))
        if not isinstance(held.type, t.ArrayType):
            fail(f"{type_of(held)} cannot be indexed", node.span)
        return Part(base, flat_index(held.type, indices, node.span))

    # --- Expressions -------------------------------------------------------------------------

    def _unary(self, node: s.Unary, scope: Scope) -> Value:
        if node.op == "&":
            return self._address(node, scope)
        return unary(node.op, self.value(node.operand, scope), node.span)

    def _address(self, node: s.Unary, scope: Scope) -> Value:
        place = self.place(node.operand, scope)
        held = place.get()
        if isinstance(held.data, Function):
            return Value(t.PointerType(self.function_type(held.data), const=True), held.data)
        root = place
        while isinstance(root, Part):
            root = root.base
        const = isinstance(root, Constant) or (isinstance(root, Global) and root.known)
        return Value(t.PointerType(type_of(held), const=const), place)

    def _binary(self, node: s.Binary, scope: Scope) -> Value:
        left = self.value(node.left, scope)
        if node.op in {"and", "or"}:
            for side in (left, None):
                if side is None:
                    side = self.value(node.right, scope)
                if side.type != t.BOOL:
                    fail(f"'{node.op}' takes bools, got {type_of(side)}", node.span)
                if side.data == (node.op == "or"):
                    return side
            return boolean(node.op == "and")
        return binary(node.op, left, self.value(node.right, scope), node.span)

    def _field(self, node: s.Field, scope: Scope) -> Value:
        base = self.value(node.base, scope)
        if base.type == t.IMPORTED_MODULE:
            found = self._member(base.data, node)
            return self._known(found, node.span) if isinstance(found, Global) else found
        if base.type == t.TYPE and isinstance(base.data, t.EnumType):
            for name, number in base.data.members:
                if name == node.name:
                    return Value(base.data, number)
            fail(f"{base.data} has no member '{node.name}'", node.span)
        if isinstance(base.data, dict):
            found = base.data.get(node.name)
            return found if found is not None else _no_field(base, node.name, node.span)
        return fail(f"{show(base)} of type {type_of(base)} has no fields", node.span)

    def _member(self, module: ModuleInstance, node: s.Field) -> Value | Global:
        found = module.member(node.name)
        if found is None:
            hint = nearest(node.name, module.names())
            fail(f"{module.path.name} declares no '{node.name}'", node.span, hint)
        return found

    def _index(self, node: s.Index, scope: Scope) -> Value:
        base = self.value(node.base, scope)
        if isinstance(base.type, t.PointerType):
            return _readable(self._element_place(node, scope), node.span)
        indices = [self.number(index, scope) for index in node.indices]
        if isinstance(base.type, t.ArrayType):
            return Value(base.type.element, base.data[flat_index(base.type, indices, node.span)])
        if isinstance(base.data, dict) and is_tuple(base) and len(indices) == 1:
            if str(indices[0]) in base.data:
                return base.data[str(indices[0])]
            fail(f"index {indices[0]}, but the tuple has {len(base.data)} element(s)", node.span)
        return fail(f"{type_of(base)} cannot be indexed", node.span)

    def _call(self, node: s.Call, scope: Scope) -> Value:
        callee = self.value(node.callee, scope)
        return self.call(callee, [self.value(arg, scope) for arg in node.args], node.span)

    def _builtin(self, node: s.Builtin, scope: Scope) -> Value:
        entry = self._builtins.get(node.name)
        if entry is None:
            from waferllm.csl.builtins import MISSING, RUNTIME

            if node.name in MISSING:
                unsupported(f"@{node.name}", node.span)
            if node.name in RUNTIME:
                fail(f"@{node.name} runs on the PE; it has no value at compile time", node.span)
            known = [*self._builtins, *RUNTIME]
            fail(f"there is no builtin @{node.name}", node.span, nearest(node.name, known))
        if not entry.least <= len(node.args) <= entry.most:
            count = str(entry.least) if entry.least == entry.most else f"{entry.least} or more"
            fail(f"@{node.name} takes {count} argument(s), got {len(node.args)}", node.span)
        if entry.lazy:
            return entry.run(self, node, scope)
        return entry.run(self, node, [self.value(arg, scope) for arg in node.args])

    def _struct_literal(self, node: s.StructLiteral, scope: Scope) -> Value:
        fields = {each.name: self.value(each.value, scope) for each in node.fields}
        if node.type is None:
            return Value(t.ANON_STRUCT, fields)
        type_ = self.type(node.type, scope)
        if not isinstance(type_, t.StructType):
            fail(f"{type_} is not a struct", node.type.span)
        declared = dict(type_.fields)
        for each in node.fields:
            if each.name not in declared:
                hint = nearest(each.name, declared)
                fail(f"{type_} has no field '{each.name}'", each.span, hint)
        for name in declared:
            if name not in fields:
                fail(f"field '{name}' is missing", node.span)
        spans = {each.name: each.value.span for each in node.fields}
        held = {name: coerce(fields[name], wanted, spans[name]) for name, wanted in type_.fields}
        return Value(type_, held)

    def _list_literal(self, node: s.ListLiteral, scope: Scope) -> Value:
        elements = [self.value(each, scope) for each in node.elements]
        if node.type is None:
            return struct_of({str(at): each for at, each in enumerate(elements)})
        type_ = self.type(node.type, scope)
        if not isinstance(type_, t.ArrayType):
            fail(f"{type_} is not an array", node.type.span, "a struct's fields are .name = value")
        if len(elements) != type_.count:
            fail(f"{type_} has {type_.count} element(s), got {len(elements)}", node.span)
        spans = [each.span for each in node.elements]
        return Value(
            type_,
            tuple(coerce(v, type_.element, at).data for v, at in zip(elements, spans, strict=True)),
        )

    def _tensor_access(self, node: s.TensorAccess, scope: Scope) -> Value:
        from waferllm.csl.tensor_access import tensor_access

        return tensor_access(self, node, scope)

    # --- Types -------------------------------------------------------------------------------

    def _pointer_type(self, node: s.PointerTypeExpr, scope: Scope) -> Value:
        return Value(t.TYPE, t.PointerType(self.type(node.target, scope), node.const, node.many))

    def _array_type(self, node: s.ArrayTypeExpr, scope: Scope) -> Value:
        if not node.dimensions:
            unsupported("the slice type []T", node.span, "a pointer [*]T and a length do the same")
        dimensions = tuple(self.number(each, scope) for each in node.dimensions)
        element = self.type(node.element, scope)
        if isinstance(element, t.ArrayType):
            fail("an array's elements are not arrays", node.span, "several dimensions: [n, m]T")
        if min(dimensions) < 0:
            fail(f"an array of {min(dimensions)} elements", node.span)
        type_ = t.ArrayType(dimensions, element)
        if type_.count > LARGEST_ARRAY:
            fail(f"an array of {type_.count} elements", node.span, f"at most {LARGEST_ARRAY}")
        return Value(t.TYPE, type_)

    def _fn_type(self, node: s.FnTypeExpr, scope: Scope) -> Value:
        params = tuple(self.type(each, scope) for each in node.params)
        return Value(t.TYPE, t.FnType(node.kind, params, self.type(node.result, scope)))

    def function_type(self, function: Function) -> t.FnType:
        """The type of a function; its parameters may not depend on each other."""
        scope, decl = Scope(None, function.module), function.decl
        params = tuple(self.type(each.type, scope) for each in decl.params)
        result = self.type(decl.result, scope) if decl.result else t.VOID
        return t.FnType(decl.kind, params, result)

    def _struct_type(self, node: s.StructTypeExpr, scope: Scope) -> Value:
        fields = tuple((each.name, self.type(each.type, scope)) for each in node.fields)
        origin = (node.span.source.name, node.span.start)
        return Value(t.TYPE, t.StructType(fields, origin))

    def _enum_type(self, node: s.EnumTypeExpr, scope: Scope) -> Value:
        base = self.type(node.base, scope) if node.base else t.U16
        if not isinstance(base, t.IntType):
            fail(f"an enum holds integers of fixed width, not {base}", node.span)
        given = {m.name: self.number(m.value, scope) for m in node.members if m.value}
        if len(set(given.values())) != len(given):
            fail("two members of this enum have the same value", node.span)
        free = (n for n in range(len(node.members) + len(given)) if n not in given.values())
        members = tuple(
            (m.name, given[m.name] if m.name in given else next(free)) for m in node.members
        )
        for _, number in members:
            coerce(integer(number), base, node.span)
        return Value(t.TYPE, t.EnumType(base, members, (node.span.source.name, node.span.start)))

    # --- Statements --------------------------------------------------------------------------

    def _block(self, node: s.Block, scope: Scope) -> Value:
        inner = Scope(scope, scope.module)
        try:
            for each in node.body:
                self._forms[type(each)](each, inner)
        except _Break as jump:
            if node.label is None or jump.label != node.label:
                raise
            return jump.value
        return VOID

    def _truth(self, node: s.Node, scope: Scope) -> bool:
        found = self.value(node, scope)
        if found.type != t.BOOL:
            fail(f"expected a bool, got {show(found)} of type {type_of(found)}", node.span)
        return found.data

    def _if(self, node: s.If, scope: Scope) -> Value:
        while True:
            if self._truth(node.condition, scope):
                return self.value(node.then, scope)
            if node.orelse is None:
                return VOID
            if not isinstance(node.orelse, s.If):
                return self.value(node.orelse, scope)
            node = node.orelse

    def _switch(self, node: s.Switch, scope: Scope) -> Value:
        subject = self.value(node.subject, scope)
        if not isinstance(subject.type, (t.IntType, t.EnumType)):
            hint = "@as(i16, …) gives a comptime_int a width"
            fail(
                f"'switch' takes an integer of fixed width or an enum, got {type_of(subject)}",
                node.subject.span,
                hint,
            )
        chosen = None
        for case in node.cases:
            if not case.values:
                chosen = chosen or case
            for each in case.values:
                if coerce(self.value(each, scope), subject.type, each.span).data == subject.data:
                    return self.value(case.body, scope)
        if chosen is None:
            fail(f"no case covers {show(subject)}", node.span, "add an 'else' case")
        return self.value(chosen.body, scope)

    def _spend(self, node: s.Node) -> None:
        self._budget -= 1
        if self._budget < 0:
            fail("loops ran too long at compile time", node.span, "does this loop ever end?")

    def _run_body(self, node: s.For | s.While, scope: Scope) -> bool:
        """Run a loop's body once; whether the loop goes on."""
        try:
            self.value(node.body, scope)
        except _Break as jump:
            if jump.label is not None and jump.label != node.label:
                raise
            return False
        except _Continue as jump:
            if jump.label is not None and jump.label != node.label:
                raise
        return True

    def _for(self, node: s.For, scope: Scope) -> Value:
        iterable = self.value(node.iterable, scope)
        if isinstance(iterable.data, Range):
            element, numbers = iterable.data.element, iterable.data.values()
        elif isinstance(iterable.type, t.ArrayType):
            element, numbers = iterable.type.element, iterable.data
        else:
            fail(f"'for' runs over an array or @range, got {type_of(iterable)}", node.iterable.span)
        for at, number in enumerate(numbers):
            self._spend(node)
            inner = Scope(scope, scope.module)
            inner.declare(node.element, Value(element, number), node.span)
            if node.index:
                inner.declare(node.index, Value(t.U16, t.U16.wrap(at)), node.span)
            if not self._run_body(node, inner):
                break
        return VOID

    def _while(self, node: s.While, scope: Scope) -> Value:
        while self._truth(node.condition, scope):
            self._spend(node)
            if not self._run_body(node, scope):
                break
            if node.step:
                self.value(node.step, scope)
        return VOID

    def _break(self, node: s.Break, scope: Scope) -> Value:
        self._where = node.span
        raise _Break(node.label, self.value(node.value, scope) if node.value else VOID)

    def _continue(self, node: s.Continue, scope: Scope) -> Value:  # noqa: ARG002
        self._where = node.span
        raise _Continue(node.label)

    def _return(self, node: s.Return, scope: Scope) -> Value:
        raise _Return(self.value(node.value, scope) if node.value else VOID)

    def _assign(self, node: s.Assign, scope: Scope) -> Value:
        if isinstance(node.target, s.Name) and node.target.id == "_":
            self.value(node.value, scope)
            return VOID
        place = self.place(node.target, scope)
        value = self.value(node.value, scope)
        if isinstance(place, (Constant, Global)):
            place.set(value)
        if node.op:
            value = binary(node.op, place.get(), value, node.span)
        store(place, value, node.value.span)
        return VOID

    def _declare(self, node: s.VarDecl, scope: Scope) -> Value:
        wanted = self.type(node.type, scope) if node.type else None
        if node.init is None:
            assert wanted is not None
            value = default(wanted)
        else:
            value = self.value(node.init, scope)
            if wanted is not None:
                value = coerce(value, wanted, node.init.span)
        scope.declare(
            node.name, value if node.kind == "const" else Variable(value, node.span), node.span
        )
        return VOID


def _readable(place: Place, span: Span) -> Value:
    """What a place holds, unless only the running program knows."""
    root = place
    while isinstance(root, Part):
        root = root.base
    if isinstance(root, Global) and not root.known:
        name = root.decl.name
        fail(f"'{name}' is a var: what it holds is not known at compile time", span)
    return place.get()


def flat_index(type_: t.ArrayType, indices: list[int], span: Span) -> int:
    """The row-major position of an element; stops outside of the array."""
    if len(indices) != len(type_.dimensions):
        fail(f"{type_} takes {len(type_.dimensions)} index(es), got {len(indices)}", span)
    flat = 0
    for index, length in zip(indices, type_.dimensions, strict=True):
        if not 0 <= index < length:
            fail(
                f"index {index} is outside of {type_}",
                span,
                f"the indices run from 0 to {length - 1}",
            )
        flat = flat * length + index
    return flat


def _no_field(held: Value, name: str, span: Span) -> Value:
    hint = nearest(name, held.data) or f"it has: {', '.join(held.data) or 'none'}"
    return fail(f"there is no field '{name}'", span, hint)
