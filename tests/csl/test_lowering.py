"""Programs of ours, lowered and run on the interpreter, against Python and NumPy.

Longer than most files because every form of the language has its test.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csl.interpreter import Pe, Trap
from tests.csl.support import lowered, refused
from waferllm.csl.code import NONE, Op, Target, Vector
from waferllm.csl.target import Target as Chip


def ran(text: str, *args: int, arch: str = "wse2", **modules: str) -> Pe:
    """A PE after function `go` of a program has run; `out` is exported."""
    ends = "comptime { @export_symbol(go); @export_symbol(out); }"
    pe = Pe(lowered(f"{text}\n{ends}", target=Chip(arch=arch), **modules))
    pe.call("go", *args)
    return pe


def out(text: str, *args: int, **options: str) -> list[float]:
    return ran(text, *args, **options).read("out")


def body(statements: str, *args: int, type_: str = "i16", count: int = 1, before: str = "") -> list:
    """What statements leave in `out`."""
    names = "abcdef"[: len(args)]
    params = ", ".join(f"{name}: {type_}" for name in names)
    text = f"{before}\nvar out = @zeros([{count}]{type_});\nfn go({params}) void {{ {statements} }}"
    return out(text, *args)


# --- Arithmetic -----------------------------------------------------------------------------------

WRAP = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
        "&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b}  # fmt: skip


@pytest.mark.parametrize("op", WRAP)
@given(a=st.integers(-(2**15), 2**15 - 1), b=st.integers(-(2**15), 2**15 - 1))
def test_integers_wrap(op: str, a: int, b: int) -> None:
    pe = _two_operands(op)
    pe.call("go", a, b)
    assert pe.read("out") == [int(np.array(WRAP[op](a, b)).astype(np.int16))]


_MADE: dict[str, Pe] = {}


def _two_operands(op: str) -> Pe:
    if op not in _MADE:
        text = f"var out: i16 = 0; fn go(a: i16, b: i16) void {{ out = a {op} b; }}"
        _MADE[op] = Pe(lowered(f"{text} comptime {{ @export_symbol(go); @export_symbol(out); }}"))
    return _MADE[op]


@pytest.mark.parametrize(("a", "b"), [(7, 2), (-7, 2), (7, -2), (-7, -2), (-6, 3)])
def test_division_goes_toward_zero(a: int, b: int) -> None:
    assert body("out[0] = a / b; out[1] = a % b;", a, b, count=2) == [
        int(a / b),
        math.fmod(a, b),
    ]


@pytest.mark.parametrize("by", [1, 2, 8, 12])
def test_known_factors(by: int) -> None:
    statements = f"out[0] = a * {by}; out[1] = a / {by}; out[2] = a % {by}; out[3] = {by} * a;"
    assert body(statements, 1001, type_="u16", count=4) == [
        1001 * by, 1001 // by, 1001 % by, 1001 * by,
    ]  # fmt: skip


def test_shifts_and_signs() -> None:
    text = """var out = @zeros([4]i16);
    fn go(a: i16, n: u16) void {
      out[0] = a >> n; out[1] = a << n; out[2] = -a; out[3] = ~a;
    }"""
    assert out(text, -100, 3) == [-13, -800, 100, 99]


def test_f32_rounds_after_each_operation() -> None:
    text = """var out: f32 = 0.0;
    fn go(a: i16) void { const x = @as(f32, a) / 3.0; out = x * x + 0.1; }"""
    x = np.float32(10) / np.float32(3)
    assert out(text, 10) == [float(x * x + np.float32(0.1))]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("out[0] = @as(i32, @as(i8, a));", 44),
        ("out[0] = @as(i32, @as(f32, a) / 7.0);", 300 // 7),
        ("out[0] = @as(i32, -@as(f32, a) / 7.0);", -(300 // 7)),
        ("out[0] = @as(i32, a != 300);", 0),
        ("out[0] = @as(i32, @as(bool, a));", 1),
        ("out[0] = @as(i32, @bitcast(u32, @as(f32, a)));", 0x43960000),
        ("out[0] = @as(i32, @bitcast(i16, @as(f16, -2.0)));", 0xC000 - 0x10000),
        ("out[0] = @as(i32, @bitcast(u16, @as(i16, a) - 301));", 0xFFFF),
    ],
)
def test_conversions(statement: str, expected: int) -> None:
    assert body(statement, 300, type_="i32") == [expected]


# --- Control flow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [-3, 0, 4, 11])
def test_branches(a: int) -> None:
    statements = """
      if (a < 0) { out[0] = 1; } else if (a == 0) { out[0] = 2; } else { out[0] = 3; }
      out[1] = if (a > 3 and a < 10 or a == 0) 7 else 9;
      out[2] = switch (a) { -3 => 5, 4, 11 => 6, else => 8 };
      out[3] = @as(i16, !(a > 3) and a != 0) + @as(i16, a > 3 or a == 0) * 2;
      out[4] = k: { if (a == 4) break :k 40; if (a == 11) break :k a; break :k 1; };
    """
    expected = [
        1 if a < 0 else 2 if a == 0 else 3,
        7 if 3 < a < 10 or a == 0 else 9,
        {-3: 5, 4: 6, 11: 6}.get(a, 8),
        int(not a > 3 and a != 0) + 2 * int(a > 3 or a == 0),
        {4: 40, 11: 11}.get(a, 1),
    ]
    assert body(statements, a, count=5) == expected


def test_loops() -> None:
    statements = """
      var i: i16 = 0;
      while (i < a) : (i += 1) { if (i == 3) continue; if (i == 6) break; out[0] += i; }
      for (@range(i16, a)) |x| { out[1] += x * x; }
      for (@range(i16, a, 0, -2)) |x, k| { out[2] += x + @as(i16, k); }
      for ([3]i16{ 5, 7, 11 }) |x, k| { out[3] += x * (@as(i16, k) + 1); }
      outer: while (true) { while (true) { out[4] += 1; if (out[4] > 5) break :outer; } }
      for (@range(i16, 4)) |x| { for (@range(i16, x, 4, 1)) |y| { out[5] += y; } }
    """
    expected = [
        sum(i for i in range(6) if i != 3),
        sum(x * x for x in range(9)),
        sum(x + k for k, x in enumerate(range(9, 0, -2))),
        5 + 14 + 33,
        6,
        sum(y for x in range(4) for y in range(x, 4)),
    ]
    assert body(statements, 9, count=6) == expected


def test_an_empty_range_runs_never() -> None:
    assert body("for (@range(i16, a)) |x| { out[0] += 1 + x; }", 0) == [0]


def test_a_range_up_to_the_end_of_its_type() -> None:
    assert body("for (@range(u8, 1, 255, 2)) |x| { out[0] += 1; }", count=1) == [127]


def test_known_branches_leave_no_trace() -> None:
    text = """param wide: bool = false;
    var out: i16 = 0;
    fn go() void { if (wide) { @no_such_builtin(); } else { out = 3; } }"""
    pe = ran(text)
    assert pe.read("out") == [3]
    assert not any(row[0] in {Op.JUMP, Op.JUMP_IF} for row in pe.code.instructions)


# --- Memory ---------------------------------------------------------------------------------------


def test_arrays_of_several_dimensions() -> None:
    statements = """
      for (@range(i16, 3)) |i| { for (@range(i16, 4)) |j| { grid[i, j] = i * 10 + j; } }
      out[0] = grid[a, 2]; out[1] = grid[1, a]; out[2] = grid[a - 1, a + 1];
      var copy = grid; copy[0, 0] = 99; out[3] = copy[0, 0] + grid[0, 0]; out[4] = copy[2, 3];
    """
    found = body(statements, 2, count=5, before="var grid = @zeros([3, 4]i16);")
    assert found == [22, 12, 13, 99, 23]


def test_wide_elements_and_const_tables() -> None:
    text = """const table = [4]f32{ 1.5, 2.5, 4.5, 8.5 };
    var out = @zeros([2]f32);
    fn go(i: i16) void { out[i - 1] = table[i] + table[i + 1]; }"""
    assert out(text, 2) == [0.0, 13.0]


def test_pointers() -> None:
    text = """var out = @zeros([6]i16);
    var other = @zeros([4]i16);
    var where: [*]i16 = &out;
    fn set(p: *i16, x: i16) void { p.* = x; }
    fn go(i: i16) void {
      var local: i16 = 5;
      const p = &local;
      p.* += 2;
      set(&out[0], local);
      set(&out[i], 10 * i);
      where[3] = 33;
      where = &other;
      where[1] = 44;
      const whole = &other;
      out[4] = (whole.*)[1] + (whole.*)[i - 1];
      out[5] = @as(i16, where == &other);
    }"""
    assert out(text, 2) == [7, 0, 20, 33, 88, 1]


def test_structs_enums_and_functions() -> None:
    text = """const point = struct { x: i16, y: f32, tag: u16 };
    const color_t = enum(u16) { red, green = 5, blue };
    var kept: point = point{ .x = 1, .y = 2.5, .tag = 3 };
    var shade: color_t = color_t.red;
    var out = @zeros([6]i16);
    fn moved(p: point, by: i16) point { return point{ .x = p.x + by, .y = p.y * 2.0, .tag = p.tag }; }
    fn go(by: i16) void {
      kept = moved(kept, by);
      kept.tag += 1;
      const again = moved(kept, by);
      out[0] = kept.x; out[1] = @as(i16, kept.y); out[2] = @as(i16, kept.tag);
      out[3] = again.x; out[4] = @as(i16, @field(again, "y"));
      shade = if (by > 5) color_t.blue else color_t.green;
      switch (shade) { color_t.red => out[5] = 1, color_t.green => out[5] = 2, color_t.blue => out[5] = 3 }
    }"""
    assert out(text, 10) == [11, 5, 4, 21, 10, 3]


def test_mixed_structs_pass_through_anytype() -> None:
    text = """var out: i16 = 0;
    fn total(args: anytype) i16 { return args.a + args.b[0] * @as(i16, args.scale); }
    fn go(x: i16) void { out = total(.{ .a = x, .b = .{ x + 1 }, .scale = 3 }); }"""
    assert out(text, 4) == [19]


# --- Functions ------------------------------------------------------------------------------------


def test_each_set_of_known_arguments_has_its_instance() -> None:
    text = """var out = @zeros([3]f32);
    fn power(comptime n: i16, x: anytype) @type_of(x) {
      var y = x; var i: i16 = 1;
      while (i < n) : (i += 1) { y = y * x; }
      return y;
    }
    fn go(a: i16) void {
      out[0] = @as(f32, power(3, a)); out[1] = power(2, @as(f32, a) + 0.5);
      out[2] = power(2, power(2, @as(f32, a)));
    }"""
    assert out(text, 3) == [27.0, 12.25, 81.0]


def test_is_comptime_is_false_unless_it_is_asked_at_compile_time() -> None:
    text = """var out = @zeros([2]i16);
    fn which() i16 { if (@is_comptime()) { return 1; } else { return 2; } }
    fn go() void { out[0] = which(); out[1] = comptime which(); }"""
    assert out(text) == [2, 1]


def test_what_functions_print_at_compile_time_is_kept() -> None:
    text = """fn f(comptime n: i16) void { @comptime_print("n is", n); var x: i16 = n; x += 1; }
    fn go(x: i16) void { while (x > 0) { f(3); } if (false) { @comptime_print("never"); } }
    comptime { @export_symbol(go); }"""
    assert lowered(text).printed == ("n is 3",)


def test_function_pointers() -> None:
    text = """var out = @zeros([3]i16);
    fn double(x: i16) i16 { return x + x; }
    fn square(x: i16) i16 { return x * x; }
    var chosen: *const fn(i16) i16 = &double;
    fn apply(f: *const fn(i16) i16, x: i16) i16 { return f(x); }
    fn go(a: i16) void {
      out[0] = chosen(a);
      if (a > 3) chosen = &square;
      out[1] = chosen(a);
      out[2] = apply(&double, chosen(a));
    }"""
    assert out(text, 5) == [10, 25, 50]


def test_functions_that_end_in_calls_of_each_other_are_loops() -> None:
    text = """var out = @zeros([2]i16);
    fn even(n: i16) void { out[0] += 1; if (n == 0) { out[1] = 1; } else { odd(n - 1); } }
    fn odd(n: i16) void { out[0] += 1; if (n == 0) { out[1] = 2; } else { even(n - 1); } }
    fn go(n: i16) void { even(n); out[0] += 100; }"""
    assert out(text, 7) == [108, 2]


def test_a_function_that_calls_itself_before_its_end_is_refused() -> None:
    said = refused(
        """fn fib(n: i16) i16 { if (n < 2) { return n; } return fib(n - 1) + fib(n - 2); }
    var out: i16 = 0; fn go(n: i16) void { out = fib(n); } comptime { @export_symbol(go); }"""
    )
    assert "'fib' calls itself before its end" in said


def test_arguments_of_a_call_to_itself_are_read_first() -> None:
    text = """var out: i16 = 0;
    fn gcd(a: i16, b: i16) void { if (b == 0) { out = a; } else { gcd(b, a % b); } }
    fn go(a: i16, b: i16) void { gcd(a, b); }"""
    assert out(text, 84, 36) == [12]


def test_instances_of_a_module_have_their_own_variables() -> None:
    counter = "param step: i16; var count: i16 = 0; fn next() i16 { count += step; return count; }"
    text = """const a = @import_module("counter.csl", .{ .step = 1 });
    const b = @import_module("counter.csl", .{ .step = 10 });
    var out = @zeros([3]i16);
    fn go() void { out[0] = a.next(); out[1] = b.next() + a.next(); out[2] = b.count; }"""
    assert out(text, counter=counter) == [1, 12, 10]


# --- DSDs -----------------------------------------------------------------------------------------


def test_matrix_times_vector_by_dsds() -> None:
    text = """const M: i16 = 5; const N: i16 = 3;
    var A: [M * N]f32; var x = @zeros([N]f32); var out = @zeros([M]f32);
    var column = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{M} -> A[i * N] });
    const y = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{M} -> out[i] });
    fn go() void {
      for (@range(i16, M * N)) |i| { A[i] = @as(f32, i) * 0.5; }
      for (@range(i16, N)) |j| { x[j] = @as(f32, j + 1); }
      var dsd = column;
      for (@range(i16, N)) |j| {
        @fmacs(y, y, dsd, x[j]);
        dsd = @increment_dsd_offset(dsd, 1, f32);
      }
    }"""
    a = np.arange(15, dtype=np.float32).reshape(5, 3) * np.float32(0.5)
    assert out(text) == list(a @ np.array([1, 2, 3], np.float32))


def test_dsds_with_run_time_properties() -> None:
    text = """var source = [8]i16{ 1, 2, 3, 4, 5, 6, 7, 8 };
    var out = @zeros([8]i16);
    const all = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> out[i] });
    fn go(n: u16, by: i16) void {
      const from = @get_dsd(mem1d_dsd, .{ .base_address = &source, .extent = n, .stride = @as(i8, by) });
      const to = @set_dsd_length(@increment_dsd_offset(all, by, i16), n);
      @mov16(to, from);
      @add16(to, to, 10);
      @mov16(&out[0], @as(i16, n));
    }"""
    assert out(text, 3, 2) == [3, 0, 11, 13, 15, 0, 0, 0]


def test_boxes_go_in_row_major_order() -> None:
    text = """var source = @zeros([3, 4]i16); var out = @zeros([4]i16);
    const inner = @get_dsd(mem4d_dsd, .{ .tensor_access = |i, j|{2, 2} -> source[i + 1, 2 * j + 1] });
    const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> out[i] });
    fn go() void {
      for (@range(i16, 3)) |i| { for (@range(i16, 4)) |j| { source[i, j] = i * 4 + j; } }
      @mov16(to, inner);
    }"""
    assert out(text) == [5, 7, 9, 11]


def test_boxes_from_a_run_time_offset() -> None:
    text = """var source = [12]i16{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }; var out = @zeros([4]i16);
    const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> out[i] });
    fn go(at: i16) void {
      @mov16(to, @get_dsd(mem4d_dsd, .{
        .base_address = &source, .offset = at, .extent = .{ 2, 2 }, .stride = .{ 1, 3 } }));
    }"""
    assert out(text, 5) == [5, 6, 9, 10]


def test_dsrs_go_on_where_they_ended() -> None:
    text = """var source = [6]f16{ 1.0, 2.0, 3.0, 4.0, 5.0, 6.0 };
    var out = @zeros([6]f16);
    const from = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> source[i] });
    const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> out[i] });
    const a = @get_dsr(dsr_dest, 1); const b = @get_dsr(dsr_src1, 2);
    fn go() void {
      @load_to_dsr(a, to, .{ .save_address = true });
      @load_to_dsr(b, from, .{ .save_address = true });
      for (@range(i16, 3)) |i| { @fnegh(a, b); }
    }"""
    assert out(text) == [-1, -2, -3, -4, -5, -6]


def test_map_over_memory() -> None:
    text = """var x = [5]f32{ 1.0, 2.0, 3.0, 4.0, 5.0 }; var out = @zeros([6]f32);
    const from = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{5} -> x[i] });
    const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{5} -> out[4 - i] });
    fn line(v: f32, slope: f32, at: f32) f32 { return v * slope + at; }
    fn add(v: f32, sum: *f32) f32 { return v + sum.*; }
    fn go(n: u16) void {
      @map(line, from, 2.0, @as(f32, n), to);
      @map(add, @set_dsd_length(from, n), &out[5], &out[5]);
    }"""
    assert out(text, 3) == [13, 11, 9, 7, 5, 6]


def test_strides_count_elements_of_the_width_that_is_read() -> None:
    text = """var x = [3]f32{ 1.0, 2.0, 4.0 }; var h = [3]f16{ 8.0, 16.0, 32.0 };
    var short = [1]i16{ 0 }; var long = [1]u32{ 0 }; var out = @zeros([3]f32);
    var a = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{1} -> short[i] });
    var b = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{1} -> long[i] });
    fn add(v: f32, sum: *f32) f32 { return v + sum.*; }
    fn add_half(v: f16, sum: *f32) f32 { return @as(f32, v) + sum.*; }
    fn go() void {
      a = @set_dsd_length(@set_dsd_base_addr(a, &x), 3);
      b = @set_dsd_length(@set_dsd_base_addr(b, &h), 3);
      @map(add, a, &out[0], &out[0]);
      @map(add_half, b, &out[1], &out[1]);
      @fadds(&out[2], 0.0, a);
    }"""
    assert out(text) == [7.0, 56.0, 4.0]


def test_map_over_a_box() -> None:
    text = """var source = @zeros([3, 3]i16); var out = @zeros([4]i16);
    const corner = @get_dsd(mem4d_dsd, .{ .tensor_access = |i, j|{2, 2} -> source[i + 1, j] });
    const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> out[i] });
    fn next(v: i16) i16 { return v + 1; }
    fn go() void {
      for (@range(i16, 3)) |i| { for (@range(i16, 3)) |j| { source[i, j] = i * 3 + j; } }
      @map(next, corner, to);
    }"""
    assert out(text) == [4, 5, 7, 8]


def test_settings_of_fabric_operations_become_rows() -> None:
    text = """const c = @get_color(3); const done = @get_local_task_id(9);
    var x = @zeros([4]f32); const mem = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> x[i] });
    const tx = @get_dsd(fabout_dsd, .{ .extent = 4, .fabric_color = c,
      .output_queue = @get_output_queue(2), .control = true, .advance_switch = true });
    task finish() void {}
    fn go(n: u16) void {
      @fmovs(@set_dsd_length(tx, n), mem, .{ .async = true, .activate = finish, .index = n });
    }
    comptime { @bind_local_task(finish, done); @export_symbol(go); }"""
    code = lowered(text)
    (row,) = [each for each in code.instructions if each[0] == Op.VECTOR]
    assert row[1] == Vector.FMOVS
    assert row[2] == NONE
    options = code.options[row[7]]
    assert (options[0], options[1]) == (1, 9)
    assert row[8] != NONE
    fabric = [tuple(each) for each in code.dsds if each[0] == 4]
    (only,) = fabric
    assert only[13:18] == (2, 3, 1, 0, 1)


# --- Tasks, checks, prints ------------------------------------------------------------------------


def test_tasks_and_blocking() -> None:
    text = """const first = @get_local_task_id(8); const second = @get_local_task_id(9);
    var out = @zeros([2]i16);
    task one() void { out[0] += 1; if (out[0] < 4) { @activate(first); } else { @unblock(second); } }
    task two() void { out[1] = out[0] * 10; @block(second); }
    fn go() void { @activate(second); @activate(first); }
    comptime { @bind_local_task(one, first); @bind_local_task(two, second); @block(second); }"""
    assert out(text) == [4, 40]


def test_data_tasks_have_their_arguments_in_registers() -> None:
    text = """const c = @get_color(5); var out = @zeros([2]u16);
    task got(low: u16, high: u16) void { out[0] = low; out[1] = high; }
    fn go() void {}
    comptime { @bind_data_task(got, @get_data_task_id(c)); }"""
    pe = ran(text)
    task = pe.code.tasks[Target.DATA_TASK, 5]
    for (register, _), value in zip(task.params, (7, 9), strict=True):
        pe.registers[register] = value
    pe.run(task.entry)
    assert pe.read("out") == [7, 9]


def test_assertions_trap() -> None:
    text = "var out: i16 = 0; fn go(a: i16) void { @assert(a < 5); out = a; }"
    assert out(text, 3) == [3]
    with pytest.raises(Trap, match="assertion failed: @assert"):
        out(text, 7)


def test_a_missing_return_traps() -> None:
    text = """fn f(a: i16) i16 { while (a > 0) { return a; } }
    var out: i16 = 0; fn go(a: i16) void { out = f(a); }"""
    assert out(text, 3) == [3]
    with pytest.raises(Trap, match="'f' ended without returning"):
        out(text, -1)


def test_configuration_words_behind_pointers() -> None:
    text = """var out: u16 = 0;
    fn go(x: u16) void { @bitcast(*u16, @as(u16, 2 * 0x7e10)).* = x; out = @get_config(0x7e10) + 1; }"""
    assert out(text, 41) == [42]


def test_printed_text() -> None:
    code = lowered(
        """const print = @import_module("<simprint>");
    fn go(x: u16) void { print.fmt("{d} of {s}", .{ x, "a {" }); }
    comptime { @export_symbol(go); }"""
    )
    pe = Pe(code)
    pe.call("go", 6)
    assert pe.printed == [("{d} of a {{\n", (6, 0, 0, 0))]


# --- Tightness ------------------------------------------------------------------------------------


def test_a_counting_loop_is_four_instructions_an_iteration() -> None:
    text = """var out = @zeros([200]i16);
    fn go() void { for (@range(i16, 200)) |i| { out[i] = i; } }"""
    short = text.replace("range(i16, 200)", "range(i16, 100)")
    assert ran(text).steps - ran(short).steps == 400  # store, add, compare, jump


def test_nothing_is_moved_twice() -> None:
    text = (
        "var out: i16 = 0; fn go(a: i16, b: i16) void { var s: i16 = a; s = s * b + a; out = s; }"
    )
    ops = [Op(row[0]) for row in ran(text, 1, 2).code.instructions]
    assert ops.count(Op.MOVE) == 1
    assert Op.LOAD not in ops


# --- Messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ("var x = 5;", "'x' needs a type"),
        ("out = a + @as(i32, a);", "have the types i16 and i32"),
        ("out = @as(i32, a);", "expected a value of type i16, got one of type i32"),
        ("a = 3;", "is constant"),
        ("out = missing;", "'missing' is not declared"),
        ("@no_such(a);", "there is no builtin @no_such"),
        ("@__host_ready();", "there is no builtin @__host_ready"),
        ("if (a) {}", "expected a bool"),
        ("break;", "'break' outside of a loop"),
        ("const p: [a]i16 = undefined_;", "has to be known at compile time"),
        ("@fmovs(a, a);", "not a DSD, DSR or pointer"),
        ("@fadds(&out, &out);", "@fadds takes 3 operands, got 2"),
        ("out = f(a, a);", "'f' takes 1 argument(s), got 2"),
        ("table[4] = 1;", "index 4 is outside of [3]i16"),
        ("@comptime_assert(false, \"why\");", "this assertion is false: why"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(statements: str, said: str) -> None:
    text = f"""var out: i16 = 0; var table = @zeros([3]i16); fn f(x: i16) i16 {{ return x; }}
    fn go(a: i16) void {{ {statements} }} comptime {{ @export_symbol(go); }}"""
    shown = refused(text)
    assert said in shown
    assert shown.startswith("main.csl:")


def test_too_much_memory_is_refused_with_a_map() -> None:
    said = refused(
        """var big = @zeros([20000]u16); var bigger = @zeros([6000]f32);
    fn go() void {} comptime { @export_symbol(big); @export_symbol(bigger); @export_symbol(go); }"""
    )
    assert "takes 12000 words of a PE's 24576, and 20000 are used by others" in said
    assert "20000 words  big" in said


def test_the_memory_map_says_who_uses_what() -> None:
    code = lowered(
        """var a: i16 = 7; var b = [2]f32{ 1.0, -2.0 };
    fn go() void {} comptime { @export_symbol(a); @export_symbol(b); @export_symbol(go); }"""
    )
    rows = {row.name: row for row in code.memory_map}
    assert (rows["a"].words, rows["b"].words) == (1, 4)
    at = rows["b"].address
    assert code.memory[rows["a"].address] == 7
    assert code.memory[at : at + 4].tobytes() == np.array([1, -2], np.float32).tobytes()
    assert any(name.startswith("text (estimate: ") for name in rows)
