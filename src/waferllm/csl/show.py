"""A tree as an outline for people, as JSON for programs, and as CSL again.

`csl` prints what parses back to an equal tree; comments and line breaks are lost.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from waferllm.csl import syntax as s
from waferllm.csl.diagnostics import fail


def as_json(value: object) -> Any:
    """The tree as dicts, lists and scalars; a node's `node` is its class, `at` is line:column."""
    if isinstance(value, s.Node):
        line, column = value.span.line, value.span.column
        shown: dict[str, Any] = {"node": type(value).__name__, "at": f"{line}:{column}"}
        for each in fields(value):
            if each.name != "span":
                shown[each.name] = as_json(getattr(value, each.name))
        return shown
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value


def shallow_enough(node: s.Node) -> None:
    """Stop with a message if the tree is too deep for the recursive functions of this file."""
    try:
        csl(node)
        for _ in outline(node):
            pass
    except RecursionError:
        fail("this is nested too deeply to be shown", node.span, "flatten it, or name a part")


def outline(node: s.Node, depth: int = 0, label: str = "") -> Iterator[str]:
    """Lines of an indented tree: the node, its scalars, where it stands, then what it holds."""
    scalars: list[str] = []
    below: list[tuple[str, s.Node]] = []
    for each in fields(node):
        value = getattr(node, each.name)
        if isinstance(value, s.Node):
            below.append((f"{each.name}: ", value))
        elif isinstance(value, tuple) and value and isinstance(value[0], s.Node):
            below.extend((f"{each.name}[{at}]: ", item) for at, item in enumerate(value))
        elif each.name != "span" and value not in (None, False, ()):
            scalars.append(f"{each.name}={value!r}")
    head = " ".join([type(node).__name__, *scalars])
    yield f"{'  ' * depth}{label}{head}  @{node.span.line}:{node.span.column}"
    for name, child in below:
        yield from outline(child, depth + 1, name)


def csl(node: s.Node) -> str:
    """The node as CSL text."""
    return _WRITERS[type(node)](node)


# --- CSL -------------------------------------------------------------------------------------


def _comma(nodes: tuple[Any, ...]) -> str:
    return ", ".join(map(csl, nodes))


def _closed(node: s.Node) -> str:
    """An operand: in parentheses unless it is one token or closes itself."""
    if isinstance(node, _CLOSED):
        return csl(node)
    return f"({csl(node)})"


def _string(value: bytes) -> str:
    plain = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n"}
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return (
            '"'
            + "".join(plain.get(b, chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in value)
            + '"'
        )
    return (
        '"'
        + "".join(plain.get(ord(c), c if ord(c) >= 32 else f"\\x{ord(c):02x}") for c in text)
        + '"'
    )


def _float(value: float) -> str:
    text = repr(value)
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def _list_literal(node: s.ListLiteral) -> str:
    return f"{'.' if node.type is None else csl(node.type)}{{{_comma(node.elements)}}}"


def _struct_literal(node: s.StructLiteral) -> str:
    return f"{'.' if node.type is None else csl(node.type)}{{{_comma(node.fields)}}}"


def _asm(node: s.Asm) -> str:
    operands = [
        ", ".join(f"[{each.name}] {_string(each.constraint)} ({csl(each.value)})" for each in part)
        for part in (node.outputs, node.inputs)
    ]
    clobbers = ", ".join(map(_string, node.clobbers))
    volatile = "volatile " if node.volatile else ""
    return f"asm {volatile}({csl(node.text)} : {operands[0]} : {operands[1]} : {clobbers})"


def _pointer(node: s.PointerTypeExpr) -> str:
    return f"{'[*]' if node.many else '*'}{'const ' if node.const else ''}{_type(node.target)}"


def _type(node: s.Node) -> str:
    """What stands after `*`, `[n]` or `fn()`: never an operator without parentheses."""
    return csl(node) if isinstance(node, (*_CLOSED, *_PREFIXED)) else f"({csl(node)})"


def _label(node: s.Block | s.For | s.While) -> str:
    return f"{node.label}: " if node.label else ""


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else line for line in text.split("\n"))


def _block(node: s.Block) -> str:
    if not node.body:
        return f"{_label(node)}{{}}"
    body = "\n".join(
        csl(each) if isinstance(each, s.VarDecl) else f"{csl(each)};" for each in node.body
    )
    return f"{_label(node)}{{\n{_indent(body)}\n}}"


def _if(node: s.If) -> str:
    # An `if` inside the first branch would take this one's `else`.
    inner = isinstance(node.then, (s.If, s.For, s.While, s.Break, s.Return, s.Comptime))
    then = f"({csl(node.then)})" if inner and node.orelse else csl(node.then)
    orelse = f" else {csl(node.orelse)}" if node.orelse else ""
    return f"if ({csl(node.condition)}) {then}{orelse}"


def _switch(node: s.Switch) -> str:
    cases = ",\n".join(
        f"{_comma(case.values) or 'else'} => {csl(case.body)}" for case in node.cases
    )
    return f"switch ({csl(node.subject)}) {{\n{_indent(cases)}\n}}"


def _for(node: s.For) -> str:
    names = node.element if node.index is None else f"{node.element}, {node.index}"
    return f"{_label(node)}for ({csl(node.iterable)}) |{names}| {csl(node.body)}"


def _while(node: s.While) -> str:
    step = f" : ({csl(node.step)})" if node.step else ""
    return f"{_label(node)}while ({csl(node.condition)}){step} {csl(node.body)}"


def _jump(word: str, label: str | None, value: s.Node | None) -> str:
    return word + (f" :{label}" if label else "") + (f" {csl(value)}" if value else "")


def _variable(node: s.VarDecl) -> str:
    words = [node.storage, "comptime" if node.comptime else None, node.kind, node.name]
    text = " ".join(word for word in words if word)
    if node.type:
        text += f": {_type(node.type)}"
    for word in ("align", "linksection", "linkname"):
        value = getattr(node, word)
        text += f" {word}({csl(value)})" if value else ""
    return text + (f" = {csl(node.init)};" if node.init else ";")


def _function(node: s.FnDecl) -> str:
    head = " ".join(word for word in (node.storage, node.inline, node.kind) if word)
    result = f" {_type(node.result)}" if node.result else ""
    linkname = f" linkname({csl(node.linkname)})" if node.linkname else ""
    body = f" {csl(node.body)}" if node.body else ";"
    return f"{head} {node.name}({_comma(node.params)}){linkname}{result}{body}"


def _parameter(node: s.FnParam) -> str:
    comptime = "comptime " if node.comptime else ""
    return f"{comptime}{node.name + ': ' if node.name else ''}{_type(node.type)}"


_CLOSED = (
    s.Name, s.Int, s.Float, s.String, s.Bool, s.Deref, s.Field, s.Index, s.Call, s.Builtin,
    s.StructLiteral, s.ListLiteral, s.StructTypeExpr, s.EnumTypeExpr, s.AnyTypeExpr, s.Asm,
)  # fmt: skip
_PREFIXED = (s.PointerTypeExpr, s.ArrayTypeExpr, s.FnTypeExpr)

_WRITERS: dict[type, Callable[[Any], str]] = {
    s.Name: lambda n: n.id,
    s.Int: lambda n: str(n.value),
    s.Float: lambda n: _float(n.value),
    s.String: lambda n: _string(n.value),
    s.Bool: lambda n: "true" if n.value else "false",
    s.Unary: lambda n: f"{n.op}{_closed(n.operand)}",
    s.Binary: lambda n: f"{_closed(n.left)} {n.op} {_closed(n.right)}",
    s.Deref: lambda n: f"{_closed(n.operand)}.*",
    s.Field: lambda n: f"{_closed(n.base)}.{n.name}",
    s.Index: lambda n: f"{_closed(n.base)}[{_comma(n.indices)}]",
    s.Call: lambda n: f"{_closed(n.callee)}({_comma(n.args)})",
    s.Builtin: lambda n: f"@{n.name}({_comma(n.args)})",
    s.FieldInit: lambda n: f".{n.name} = {csl(n.value)}",
    s.StructLiteral: _struct_literal,
    s.ListLiteral: _list_literal,
    s.TensorAccess: lambda n: (
        f"|{', '.join(n.variables)}|{{{_comma(n.extents)}}} -> {_closed(n.access)}"
    ),
    s.Comptime: lambda n: f"comptime {csl(n.operand)}",
    s.Asm: _asm,
    s.PointerTypeExpr: _pointer,
    s.ArrayTypeExpr: lambda n: f"[{_comma(n.dimensions)}]{_type(n.element)}",
    s.FnTypeExpr: lambda n: f"{n.kind}({', '.join(map(_type, n.params))}) {_type(n.result)}",
    s.StructField: lambda n: f"{n.name}: {_type(n.type)}",
    s.StructTypeExpr: lambda n: f"struct {{{_comma(n.fields)}}}",
    s.EnumMember: lambda n: n.name + (f" = {csl(n.value)}" if n.value else ""),
    s.EnumTypeExpr: lambda n: (
        f"enum{f'({_type(n.base)})' if n.base else ''} {{{_comma(n.members)}}}"
    ),
    s.AnyTypeExpr: lambda n: "anytype",
    s.Block: _block,
    s.If: _if,
    s.Switch: _switch,
    s.For: _for,
    s.While: _while,
    s.Break: lambda n: _jump("break", n.label, n.value),
    s.Continue: lambda n: _jump("continue", n.label, None),
    s.Return: lambda n: _jump("return", None, n.value),
    s.Assign: lambda n: f"{csl(n.target)} {n.op or ''}= {csl(n.value)}",
    s.VarDecl: _variable,
    s.FnParam: _parameter,
    s.FnDecl: _function,
    s.ComptimeBlock: lambda n: f"comptime {csl(n.body)}",
    s.LayoutBlock: lambda n: f"layout {csl(n.body)}",
    s.Module: lambda n: "\n".join(map(csl, n.items)) + "\n",
}
