"""Compile-time evaluation: each rule with the answer that Python or the documentation gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csl.support import instance, number, value, wrong
from waferllm.csl import types as t
from waferllm.csl.builtins import BUILTINS, RUNTIME
from waferllm.csl.places import Global
from waferllm.csl.target import Target
from waferllm.csl.values import Value, integer, show


@given(
    st.integers(-(1 << 40), 1 << 40), st.integers(-(1 << 20), 1 << 20), st.sampled_from("+-*&|^")
)
def test_comptime_int_is_exact(a: int, b: int, op: str) -> None:
    expected = {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b}[op]
    assert number(f"({a}) {op} ({b})") == expected


@given(st.integers(-100, 100), st.integers(-9, 9).filter(bool))
def test_division_goes_toward_zero_and_the_remainder_keeps_the_dividend_s_sign(
    a: int, b: int
) -> None:
    assert number(f"({a}) / ({b})") == int(a / b)
    assert number(f"({a}) % ({b})") == a - b * int(a / b)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 << 8 | 1", 257),
        ("@as(i16, 11.2)", 11),
        ("@as(i16, -10.8)", -10),
        ("@as(u8, @as(i16, 300))", 44),
        ("~@as(u8, 0b10101111)", 0b01010000),
        ("@as(i16, 32767) + 1", -32768),
        ("@as(i16, -8) >> 1", -4),
        ("@as(f16, 2049)", 2048.0),
        ("@as(f32, 16777217)", 16777216.0),
        ("@as(f16, 1) / 3", 0.333251953125),
        ("@as(bool, -0.0)", False),
        ("@as(bool, -5)", True),
        ("@bitcast(u16, @as(f16, 1.0))", 0x3C00),
        ("@bitcast(i16, @as(u16, 0xffff))", -1),
        ("@strlen(\"abc\\x00xyz\")", 7),
        ("@strcat(\"ab\", \"\", \"c\") == \"abc\"", True),
        ("@get_array(\"こ\")[1]", 0x81),
        ("@get_string_from_byte(65) == \"A\"", True),
        ("@element_count([3, 5, 7]f16)", 105),
        ("@dimensions([3, 5, 7]f16)[2]", 7),
        ("@rank([3, 5, 7]f16)", 3),
        ("@is_same_type(@element_type([3]f16), f16)", True),
        ("@constants([2, 3]i16, 7)[1, 2]", 7),
        ("@range_stop(@range(i32, 3, 9, 2))", 9),
        ("@get_int(@get_local_task_id(29))", 29),
        ("@has_field(.{ .blah = 10 }, \"blah\")", True),
        ("@field(.{ .blah = 10 }, \"blah\")", 10),
        ("@concat_structs(.{ .a = 1 }, .{ .b = 2 }).b", 2),
        ("@concat_structs(.{ 1 }, .{ 2, 3 })[2]", 3),
        ("if (false) undeclared else 3", 3),
        ("(false and undeclared) or true", True),
        ("switch (@as(u16, 3)) { 1, 2 => 10, 3 => 20, else => 30 }", 20),
        ("blk: { if (true) break :blk 4; break :blk 5; }", 4),
        ("@is_arch(\"wse2\") and !@is_arch(\"wse3\")", True),
        ("@is_same_type(@fp16(), f16)", True),
        ("EAST != WEST and EAST == EAST", True),
        ("@type_of(@as(i16, 1)) == i16 and [2]f16 != [3]f16", True),
    ],
)  # fmt: skip
def test_an_expression_has_the_documented_value(text: str, expected: object) -> None:
    assert number(text) == expected


def test_functions_loops_and_places_compute_what_python_computes() -> None:
    before = """
      fn fib(n: u16) u32 { return if (n < 2) @as(u32, n) else fib(n - 1) + fib(n - 2); }
      fn sieve(comptime n: u16) [n]bool {
        var prime = @constants([n]bool, true);
        outer: for (@range(u16, 2, n, 1)) |i| {
          if (!prime[i]) continue;
          var j: u16 = i * 2;
          while (true) : (j += i) {
            if (j >= n) continue :outer;
            prime[j] = false;
          }
        }
        return prime;
      }
      fn total(xs: anytype) i16 {
        var sum: i16 = 0;
        for (xs) |x, at| { sum += x * @as(i16, at); }
        return sum;
      }
      fn swap(a: *i16, b: *i16) void { const old = a.*; a.* = b.*; b.* = old; }
      fn swapped() i16 { var a: i16 = 3; var b: i16 = 40; swap(&a, &b); return a - b; }
      const grid = blk: {
        var g = @zeros([3, 4]i16);
        for (@range(i16, 3)) |y| { for (@range(i16, 4)) |x| { g[y, x] = 10 * y + x; } }
        break :blk g;
      };
      const record = blk: {
        var r = .{ .a = .{ 1, 2 }, .b = 3 };
        r.a[1] = 9;
        @field(r, "b") = 5;
        break :blk r;
      };
    """
    fib = [0, 1]
    while len(fib) < 16:
        fib.append(fib[-1] + fib[-2])
    assert number("fib(15)", before) == fib[15]
    primes = [n for n in range(50) if all(n % d for d in range(2, n))]
    assert [n for n, yes in enumerate(value("sieve(50)", before).data) if yes] == primes
    assert number("total([4]i16{ 5, 6, 7, 8 })", before) == 6 + 14 + 24
    assert number("swapped()", before) == 37
    assert value("grid", before).data == tuple(10 * y + x for y in range(3) for x in range(4))
    assert show(value("record", before)) == ".{.a = .{1, 9}, .b = 5}"


def test_globals_may_be_used_before_they_are_declared_but_not_by_themselves() -> None:
    assert number("later + 1", "const it2 = 0; const later = last; const last = 4;") == 5
    assert "depends on itself" in wrong("a", "const a = b; const b = a;")


def test_named_structs_and_enums_are_the_same_type_only_where_they_were_written() -> None:
    before = """
      const p = struct { x: i16, y: f16 }; const q = struct { x: i16, y: f16 };
      const e = enum(u16) { red, white = 4, blue }; const f = enum(i16) { red, white, blue };
      fn pair(comptime T: type) type { return struct { first: T }; }
      const one = p { .x = 1, .y = 2.5 };
    """
    assert number("@is_same_type(p, p) and !@is_same_type(p, q)", before)
    assert number(
        "@is_same_type(pair(i16), pair(i16)) and !@is_same_type(pair(i16), pair(f16))", before
    )
    assert number("one.y + one.y", before) == 5.0
    assert number("@as(i16, e.blue)", before) == 1
    assert number("@as(e, 4) == e.white", before)
    assert "have the types" in wrong("e.red == f.red", before)
    assert "no member 'green'" in wrong("e.green", before)


def test_modules_have_their_own_names_and_params() -> None:
    library = """
      param n: u16; param scale: u16 = 10; const twice = n * 2;
      fn f(x: u16) u16 { return x * scale; }
    """
    before = """
      const a = @import_module("lib.csl", .{ .n = 3 });
      const b = @import_module("lib.csl", .{ .n = 5, .scale = 2 });
    """
    assert value("a.twice + b.twice", before, lib=library).data == 16
    assert value("a.f(1) + b.f(1)", before, lib=library).data == 12
    shown = wrong('@import_module("lib.csl", .{ .n = 3, .scal = 1 })', lib=library)
    assert "has no param 'scal'" in shown
    assert "did you mean 'scale'?" in shown
    assert "param 'n' is not given" in wrong('@import_module("lib.csl").twice', lib=library)
    assert "declares no 'thrice'" in wrong("a.thrice", before, lib=library)
    assert "more than 32 deep" in wrong(
        '@import_module("lib.csl")',
        lib='const again = @import_module("lib.csl"); comptime { const use = again; }',
    )


def test_params_take_the_declared_type_of_what_is_bound() -> None:
    module = instance("param n: u16; const it = @type_of(n);", {"n": integer(7)})
    found = module.find("it")
    assert isinstance(found, Global)
    assert found.get().data == t.U16


def test_tensor_accesses_give_the_strides_of_the_documentation() -> None:
    before = "var A: [20]i16; var B: [4, 5]i16; var C: [20, 20]i16;"
    four = value("|i, j, k, l|{5, 5, 5, 5} -> B[i + j, k + l + 2]", before)
    shown = {name: show(each) for name, each in four.data.items() if name != "base_address"}
    assert shown == {"offset": "2", "stride": ".{1, -3, -3, -23}", "extent": ".{5, 5, 5, 5}"}
    assert show(value("(|i, j|{5, 5} -> A[2 * i + j]).stride", before)) == ".{1, -2}"
    assert show(value("(|i|{10} -> A[2 * i + 42]).offset", before)) == "42"
    assert show(value("(|i|{20} -> C[i, i]).stride", before)) == ".{21}"
    assert show(value("(|i|{10} -> A[0]).stride", before)) == ".{0}"
    assert "not affine" in wrong("|i|{5} -> A[i * i]", before)


def test_libraries_compute() -> None:
    math = 'const math = @import_module("<math>"); const dirs = @import_module("<directions>");'
    for x, floor, ceil in [(2.5, 2, 3), (-2.5, -3, -2), (4.0, 4, 4), (-0.25, -1, 0)]:
        assert number(f"math.floor_f16({x})", math) == floor
        assert number(f"math.ceil_f32({x})", math) == ceil
    assert number("math.max(@as(i16, -3), 2) + math.abs(@as(i16, -7))", math) == 9
    assert number("math.isNaN(math.NaN(f32)) and math.isInf_f16(math.NEGATIVE_INF_f16)", math)
    for turn, result in [
        ("rotate_clockwise", "EAST"),
        ("rotate_counterclockwise", "WEST"),
        ("flip", "SOUTH"),
    ]:
        assert value(f"dirs.{turn}(NORTH)", math).data == result
    assert "library <maths> is not implemented" in wrong('@import_module("<maths>")')


def test_the_target_decides_what_identifiers_exist() -> None:
    assert "0 is no local_task_id on wse3" in wrong(
        "@get_local_task_id(0)", target=Target(arch="wse3")
    )
    assert number("@get_int(@get_local_task_id(0))") == 0
    assert "24 is no color" in wrong("@get_color(24)")
    assert "expected a value of type input_queue" in wrong(
        "@get_data_task_id(@get_color(1))", target=Target(arch="wse3")
    )


@pytest.mark.parametrize(
    ("text", "before", "says"),
    [
        ("nam", "const name = 1;", "did you mean 'name'?"),
        ("@as(i16, 1) + @as(u16, 1)", "", "have the types i16 and u16"),
        ("@as(i8, 300)", "", "300 does not fit into i8"),
        ("a", "const a: u16 = -1;", "u16 holds 0 to 65535"),
        ("1 / 0", "", "'/' by zero"),
        ("1 << -1", "", "shifts by an unsigned number"),
        ("1 << 100000", "", "leaves nothing"),
        ("v + 1", "var v: i16 = 1;", "'v' is a var"),
        ("f()", "fn f() void { g = 2; } var g: i16;", "cannot be changed at compile time"),
        ("f()", "fn f() i16 { const c: i16 = 1; c = 2; return c; }", "'c' is constant"),
        ("f(1, 2)", "fn f(x: i16) i16 { return x; }", "takes 1 argument(s), got 2"),
        ("f()", "fn f() i16 {}", "ends without returning a value of type i16"),
        ("f()", "fn f() i16 { return f(); }", "nests too deeply"),
        ("f()", "fn f() i16 { while (true) {} return 1; }", "does this loop ever end?"),
        ("w()", "task w() void {}", "tasks are activated, not called"),
        ("@zeros([3]i16)[3]", "", "index 3 is outside of [3]i16"),
        ("[2]i16{ 1 }", "", "has 2 element(s), got 1"),
        (".{ .alpha = 1 }.alhpa", "", "did you mean 'alpha'?"),
        ("@zeroes([2]i16)", "", "did you mean 'zeros'?"),
        ("@fmovs(1, 2)", "", "runs on the PE"),
        ("@set_rectangle(1, 1)", "", "belongs in a layout block"),
        ("@comptime_assert(1 > 2, \"why\")", "", "this assertion is false: why"),
        ("@concat_structs(.{ .a = 1 }, .{ .a = 2 })", "", "both structs have a field 'a'"),
        ("p { .x = 1 }", "const p = struct { x: i16, y: i16 };", "field 'y' is missing"),
        ("[]i16", "", "unsupported: the slice type []T is not implemented"),
        ("@as(u3, 1)", "", "unsupported: the type u3 is not implemented"),
        ("@zeros([1000000, 1000000]i16)", "", "at most"),
        ("blk: { break :other 1; }", "", "outside of what it leaves"),
        ("switch (@as(i16, 4)) { 1 => 2 }", "", "no case covers 4"),
    ],
)  # fmt: skip
def test_each_mistake_says_what_is_wrong(text: str, before: str, says: str) -> None:
    shown = wrong(text, before)
    assert says in shown
    assert shown.startswith("main.csl:")


def test_an_error_inside_a_function_names_the_call_that_led_to_it() -> None:
    shown = wrong("f(0)", "fn f(x: i16) i16 {\n  return 1 / x;\n}")
    assert "main.csl:2:10: error: '/' by zero" in shown
    assert "main.csl:4:12: note: while 'f' was evaluated for this" in shown


def test_a_value_shows_its_type() -> None:
    assert repr(Value(t.COLOR, 3)) == "color: color(3)"


def test_a_builtin_has_a_value_at_compile_time_or_runs_on_the_pe_never_both() -> None:
    assert not RUNTIME & BUILTINS.keys()
