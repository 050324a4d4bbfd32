"""A message names the place, shows the line, says what was got and expected, and gives a hint."""

import pytest

from tests.csl.support import message


def test_a_message_is_the_place_the_line_a_caret_and_a_hint() -> None:
    assert message("const a = 1;\n\tconst b = = 2;\n") == (
        "test.csl:2:12: error: expected an expression, got '='\n"
        "    2 | \tconst b = = 2;\n"
        "      | \t          ^\n"
        "  hint: compare with '=='"
    )


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("const a = 1\nconst b = 2;", "1:11", "expected ';' at the end of 'const a'"),
        ("fn f() void {\n  g(1;\n}", "2:6", "',' or ')' in the arguments"),
        ("fn f() void {\n  x = 1;\n", "3:1", "'}' to close the block opened at 1:13"),
        ("const fn = 1;", "1:7", "'fn' is a keyword"),
        ("const a;", "1:1", "const 'a' needs a value"),
        ("var a;", "1:1", "needs a type or a value"),
        ("extern var a: i16 = 1;", "1:21", "extern 'a' may not have a value"),
        ("extern fn f() void {}", "1:20", "may not have a body"),
        ("fn f(i16) void {}", "1:6", "this parameter needs a name"),
        ('const a = "x\n";', "1:11", "this string has no closing"),
        (r'const a = "\q";', "1:11", r"'\q' is not an escape"),
        ("const a = 'ab';", "1:11", "a character is one byte; this one has 2"),
        ("const a = 0b12;", "1:11", "'0b12' is not a binary number"),
        ("const a = 12ab;", "1:11", "'12ab' is not a number"),
        ("const a = 1e999;", "1:11", "too large"),
        ("const a = §;", "1:11", "U+00A7"),
        ("const a = a < b < c;", "1:17", "comparisons do not chain"),
        ("const a = .{ .x = 1, .x = 2 };", "1:22", "field 'x' stands here twice"),
        ("const a = .x;", "1:12", "an anonymous struct is written"),
        ("const a = |i|{1, 2} -> b[i];", "1:11", "1 index variable(s), but 2 length(s)"),
        ("const a = union { x: i16 };", "1:11", "unsupported: the 'union' type is not implemented"),
        ("x = 1;", "1:1", "statements stand in a function"),
        ("color red;", "1:1", "@get_color"),
        ("fn f() void { fn g() void {} }", "1:15", "stands outside of functions"),
        ("fn f() void { if (a = 1) {} }", "1:21", "compare with '=='"),
        ("fn f() void { 1 = a; }", "1:15", "cannot be assigned to"),
        ("fn f() void { for (a) { } }", "1:23", "expected '|' before the loop's variable"),
        ("fn f() void { switch (a) { else => 1, else => 2 } }", "1:15", "more than one 'else'"),
        ("const a = " + "(" * 5000, "1:", "nested too deeply"),
        ("const a = " + "9" * 5000 + ";", "1:11", "a number of 5000 characters"),
    ],
)
def test_each_mistake_is_named_where_it_stands(text: str, place: str, says: str) -> None:
    shown = message(text)
    assert shown.startswith(f"test.csl:{place}")
    assert says in shown
