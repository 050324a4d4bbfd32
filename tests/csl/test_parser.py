"""One test per syntactic form; trees are compared with trees built by hand, or by another spelling."""

from pathlib import Path

import pytest

from tests.csl.support import PROGRAMS, expression, statements, tree
from waferllm.csl import syntax as s
from waferllm.csl.parser import parse
from waferllm.csl.show import as_json, csl, outline
from waferllm.csl.source import Source, Span, read_source

AT = Span(Source("by hand", ""), 0, 0)


def name(text: str) -> s.Name:
    return s.Name(AT, text)


def whole(value: int) -> s.Int:
    return s.Int(AT, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0xdead_beef", 0xDEADBEEF),
        ("0o17", 15),
        ("0b1010", 10),
        ("'a'", 97),
        (r"'\n'", 10),
        (r"'\x0a'", 10),
    ],
)
def test_a_number_is_read_in_every_notation(text: str, value: int) -> None:
    assert expression(text) == whole(value)


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), ("3e8", 3e8), ("2.5e-3", 0.0025)])
def test_a_number_with_a_point_or_an_exponent_is_a_float(text: str, value: float) -> None:
    assert expression(text) == s.Float(AT, value)


def test_a_string_is_bytes_with_its_escapes_resolved() -> None:
    assert expression(r'"a\t\"\x00\\é"') == s.String(AT, b'a\t"\x00\\\xc3\xa9')


@pytest.mark.parametrize(
    ("text", "explicit"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a << b + c", "a << (b + c)"),
        ("a & b == c", "(a & b) == c"),
        ("a | b << c", "a | (b << c)"),
        ("a == b and c < d or e", "((a == b) and (c < d)) or e"),
        ("!a and -b == ~c", "(!a) and ((-b) == (~c))"),
        ("-a.b[0].*", "-(((a.b)[0]).*)"),
        ("&a[1].b", "&((a[1]).b)"),
        ("if (a) b else c + d", "if (a) b else (c + d)"),
    ],
)
def test_operators_bind_as_documented(text: str, explicit: str) -> None:
    assert expression(text) == expression(explicit)
    assert expression(text) != expression("a")


def test_calls_fields_indices_and_builtins_follow_each_other() -> None:
    call = s.Call(AT, s.Field(AT, name("m"), "f"), (name("x"),))
    assert expression("m.f(x)[i, 2].*") == s.Deref(AT, s.Index(AT, call, (name("i"), whole(2))))
    assert expression("@as(u16, x,)") == s.Builtin(AT, "as", (name("u16"), name("x")))


def test_a_keyword_may_name_a_field() -> None:
    assert expression("a.align") == s.Field(AT, name("a"), "align")


def test_struct_tuple_and_array_literals_are_told_apart() -> None:
    field = s.FieldInit(AT, "a", whole(1))
    assert expression(".{ .a = 1 }") == s.StructLiteral(AT, None, (field,))
    assert expression("m.T{ .a = 1 }") == s.StructLiteral(AT, s.Field(AT, name("m"), "T"), (field,))
    assert expression(".{ 1, x }") == s.ListLiteral(AT, None, (whole(1), name("x")))
    pair = s.ArrayTypeExpr(AT, (whole(2),), name("i16"))
    assert expression("[2]i16{ 3, 4 }") == s.ListLiteral(AT, pair, (whole(3), whole(4)))
    assert expression(".{ .{ 1 } }") == s.ListLiteral(
        AT, None, (s.ListLiteral(AT, None, (whole(1),)),)
    )


def test_types_are_expressions() -> None:
    f16 = name("f16")
    assert expression("*f16") == s.PointerTypeExpr(AT, f16, const=False, many=False)
    assert expression("[*]const f16") == s.PointerTypeExpr(AT, f16, const=True, many=True)
    assert expression("[n, 2]f16") == s.ArrayTypeExpr(AT, (name("n"), whole(2)), f16)
    assert expression("[]f16") == s.ArrayTypeExpr(AT, (), f16)
    assert expression("*const fn(f16, *f16) void") == s.PointerTypeExpr(
        AT,
        s.FnTypeExpr(AT, "fn", (f16, s.PointerTypeExpr(AT, f16, False, False)), name("void")),
        const=True,
        many=False,
    )
    assert expression("task(f16) void") == s.FnTypeExpr(AT, "task", (f16,), name("void"))
    assert expression("struct { a: f16 }") == s.StructTypeExpr(AT, (s.StructField(AT, "a", f16),))
    members = (s.EnumMember(AT, "a", None), s.EnumMember(AT, "b", whole(3)))
    assert expression("enum(u16) { a, b = 3 }") == s.EnumTypeExpr(AT, name("u16"), members)


def test_a_tensor_access_names_variables_lengths_and_an_element() -> None:
    access = s.Index(AT, name("A"), (s.Binary(AT, "+", name("i"), whole(1)), name("j")))
    assert expression("|i, j|{ 4, n } -> A[i + 1, j]") == s.TensorAccess(
        AT, ("i", "j"), (whole(4), name("n")), access
    )


def test_if_switch_and_labelled_blocks_are_values() -> None:
    assert expression("if (a) 1 else 2") == s.If(AT, name("a"), whole(1), whole(2))
    cases = (s.SwitchCase(AT, (whole(0), whole(1)), whole(5)), s.SwitchCase(AT, (), whole(6)))
    assert expression("switch (a) { 0, 1 => 5, else => 6, }") == s.Switch(AT, name("a"), cases)
    leave = s.Break(AT, "b", whole(1))
    assert expression("b: { break :b 1; }") == s.Block(AT, "b", (leave,))


def test_loops_have_labels_captures_and_a_step() -> None:
    body = s.Block(AT, None, (s.Continue(AT, "o"), s.Break(AT, None, None)))
    assert statements("o: for (xs) |x, i| { continue :o; break; }") == (
        s.For(AT, "o", name("xs"), "x", "i", body),
    )
    step = s.Assign(AT, "+", name("i"), whole(1))
    assert statements("while (a) : (i += 1) { continue :o; break; }") == (
        s.While(AT, None, name("a"), step, body),
    )


def test_a_body_without_braces_is_a_statement() -> None:
    assign = s.Assign(AT, None, name("x"), whole(1))
    assert statements("if (a) x = 1;") == (s.If(AT, name("a"), assign, None),)
    assert statements("for (xs) |x| x = 1;") == (s.For(AT, None, name("xs"), "x", None, assign),)
    assert statements("if (a) return else return 1;") == (
        s.If(AT, name("a"), s.Return(AT, None), s.Return(AT, whole(1))),
    )


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"])
def test_every_operator_assigns(op: str) -> None:
    assert statements(f"x.y {op}= 1;") == (s.Assign(AT, op, s.Field(AT, name("x"), "y"), whole(1)),)


def test_a_variable_has_storage_type_alignment_section_and_link_name() -> None:
    text = 'export var x: i16 align(4) linksection("s") linkname("n") = 1;'
    assert tree(text).items[0] == s.VarDecl(
        AT, "var", "x", name("i16"), whole(1), "export",
        align=whole(4), linksection=s.String(AT, b"s"), linkname=s.String(AT, b"n"),
    )  # fmt: skip
    assert statements("comptime var x: i16;") == (
        s.VarDecl(AT, "var", "x", name("i16"), None, comptime=True),
    )


def test_a_function_has_storage_inlining_comptime_and_untyped_parameters() -> None:
    item = tree("inline fn f(comptime T: type, x: anytype) T { return x; }").items[0]
    params = (s.FnParam(AT, "T", name("type"), True), s.FnParam(AT, "x", s.AnyTypeExpr(AT), False))
    body = s.Block(AT, None, (s.Return(AT, name("x")),))
    assert item == s.FnDecl(AT, "fn", "f", params, name("T"), body, inline="inline")
    item = tree('extern fn g(f16, y: f16) f16 linkname("h");').items[0]
    params = (s.FnParam(AT, None, name("f16"), False), s.FnParam(AT, "y", name("f16"), False))
    link = s.String(AT, b"h")
    assert item == s.FnDecl(AT, "fn", "g", params, name("f16"), None, "extern", linkname=link)


def test_a_brace_after_a_result_type_opens_the_body() -> None:
    item = tree("fn f() m.T { return; }").items[0]
    assert isinstance(item, s.FnDecl)
    assert item.result == s.Field(AT, name("m"), "T")


def test_comptime_and_layout_blocks_stand_at_the_top() -> None:
    items = tree("comptime {} layout {};").items
    assert items == (
        s.ComptimeBlock(AT, s.Block(AT, None, ())),
        s.LayoutBlock(AT, s.Block(AT, None, ())),
    )
    assert statements("comptime { x(); }") == (
        s.Comptime(AT, s.Block(AT, None, (s.Call(AT, name("x"), ()),))),
    )
    assert expression("comptime f(1)") == s.Comptime(AT, s.Call(AT, name("f"), (whole(1),)))


def test_inline_assembly_keeps_operands_and_clobbers() -> None:
    node = expression('asm volatile ("t", : [o] "=r" (x) : [i] "r" (y + 1) : "r6", "memory")')
    assert node == s.Asm(
        AT,
        True,
        s.String(AT, b"t"),
        (s.AsmOperand(AT, "o", b"=r", name("x")),),
        (s.AsmOperand(AT, "i", b"r", s.Binary(AT, "+", name("y"), whole(1))),),
        (b"r6", b"memory"),
    )


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.csl")), ids=lambda path: path.name)
def test_a_tree_written_as_csl_parses_back_to_the_same_tree(path: Path) -> None:
    first = parse(read_source(path))
    again = parse(Source("again", csl(first)))
    assert again == first
    assert csl(again) == csl(first)


def test_spans_say_where_a_node_stands() -> None:
    source = Source("f.csl", "const a = 1;\nconst b =\n  x.y + 2;\n")
    item = parse(source).items[1]
    assert isinstance(item, s.VarDecl)
    assert item.init is not None
    assert (item.init.span.line, item.init.span.column, item.init.span.text) == (3, 3, "x.y + 2")


def test_json_and_outline_show_every_node() -> None:
    module = tree("const a: i16 = -1;")
    shown = as_json(module)["items"][0]
    assert shown["node"] == "VarDecl"
    assert shown["at"] == "1:1"
    assert shown["init"] == {
        "node": "Unary", "at": "1:16", "op": "-",
        "operand": {"node": "Int", "at": "1:17", "value": 1},
    }  # fmt: skip
    assert list(outline(module))[1:] == [
        "  items[0]: VarDecl kind='const' name='a'  @1:1",
        "    type: Name id='i16'  @1:10",
        "    init: Unary op='-'  @1:16",
        "      operand: Int value=1  @1:17",
    ]


def test_a_long_chain_of_else_if_does_not_nest() -> None:
    chain = " else ".join(f"if (x == {n}) {{ y = {n}; }}" for n in range(3000))
    assert len(statements(chain)) == 1
