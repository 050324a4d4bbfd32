"""Typical mistakes in whole programs: each message has the file, the line, a caret, and what to do."""

from pathlib import Path

import pytest

from waferllm.csl.diagnostics import CslError
from waferllm.csl.host.program import build
from waferllm.csl.target import Target

LAYOUT = """layout {
  @set_rectangle(2, 1);
  @set_tile_code(0, 0, "pe.csl", .{ PARAMS });
  @set_tile_code(1, 0, "pe.csl", .{ PARAMS });
  MORE
}
"""
PE = """TOP
var A = @zeros([8]f32); const q = @get_input_queue(2); const r = @get_output_queue(2);
const a = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> A[i] });
const in2 = @get_dsd(fabin_dsd, .{ .extent = 8, .fabric_color = @get_color(2), .input_queue = q });
const out = @get_dsd(fabout_dsd, .{ .extent = 8, .fabric_color = @get_color(2), .output_queue = r });
fn set(p: *f32) f32 { p.* = 1.0; return p.*; }
task work() void {}
fn go(n: i16, x: f32) void {
  BODY
}
comptime {
  END
  @export_symbol(go);
}
"""
ROUTE = ".{ .routes = .{ .rx = .{WEST}, .tx = .{RAMP} } }"
NOWHERE = ".{ .routes = .{ .rx = .{WEST}, .txx = .{RAMP} } }"
IN_BODY, IN_END, IN_TOP, IN_MORE = "pe.csl:9", "pe.csl:12", "pe.csl:1", "layout.csl:5"


def said(folder: Path, **holes: str) -> list[str]:
    """The lines that the compiler prints about a program with these pieces."""
    for name, text in (("layout.csl", LAYOUT), ("pe.csl", PE)):
        for hole in ("PARAMS", "MORE", "TOP", "BODY", "END"):
            text = text.replace(hole, holes.get(hole.lower(), ""))
        (folder / name).write_text(text)
    with pytest.raises(CslError) as caught:
        build(folder / "layout.csl", {}, target=Target())
    return str(caught.value).replace(f"{folder}/", "").splitlines()


CASES = {
    "a wrong type": (
        {"body": "A[0] = n;"},
        f"{IN_BODY}:10: error: expected a value of type f32, got one of type i16",
        "convert it: @as(f32, …)",
    ),
    "two types": (
        {"body": "A[0] = x * n;"},
        f"{IN_BODY}:10: error: the operands of '*' have the types f32 and i16",
        "convert one of them: @as(f32, …)",
    ),
    "an unknown name": (
        {"top": "const length: f32 = 2.0;", "body": "A[0] = lenght;"},
        f"{IN_BODY}:10: error: 'lenght' is not declared",
        "did you mean 'length'?",
    ),
    "an unknown builtin": (
        {"body": "@fmac(a, a, a, x);"},
        f"{IN_BODY}:3: error: there is no builtin @fmac",
        "did you mean 'fmacs'?",
    ),
    "an unknown setting": (
        {"body": "@fmovs(out, a, .{ .asynch = true });"},
        f"{IN_BODY}:3: error: there is no setting 'asynch'",
        "did you mean 'async'?",
    ),
    "a missing param": (
        {"top": "param size: u16; var B = @zeros([size]f32);"},
        f"{IN_TOP}:1: error: param 'size' is not given",
        "nor does it have a default",
    ),
    "an unknown param": (
        {"top": "param size: u16;", "params": ".size = 1, .sise = 3"},
        f"{IN_TOP}:1: error: pe.csl has no param 'sise'",
        "did you mean 'size'?",
    ),
    "a color configured twice": (
        {"more": f"@set_color_config(0, 0, @get_color(3), {ROUTE}); " * 2},
        f"{IN_MORE}:93: error: color 3 of PE (0, 0) is set twice",
        None,
    ),
    "a color configured by the layout and the PE": (
        {
            "more": f"@set_color_config(1, 0, @get_color(3), {ROUTE});",
            "end": f"@set_local_color_config(@get_color(3), {ROUTE});",
        },
        f"{IN_END}:3: error: color 3 of PE (1, 0) is configured by the layout, too",
        "one of @set_color_config and @set_local_color_config",
    ),
    "too many colors": (
        {"more": f"@set_color_config(0, 0, @get_color(24), {ROUTE});"},
        f"{IN_MORE}:27: error: 24 is no color on wse2",
        "routable colors on wse2 run from 0 to 23",
    ),
    "an unknown field of a route": (
        {"more": f"@set_color_config(0, 0, @get_color(2), {NOWHERE});"},
        f"{IN_MORE}:42: error: routes: there is no field 'txx'",
        "did you mean 'tx'?",
    ),
    "the wrong kind of DSD": (
        {"body": "const b = @set_dsd_stride(out, 2);"},
        f"{IN_BODY}:29: error: @set_dsd_stride takes a mem1d_dsd, got fabout_dsd",
        None,
    ),
    "an input that is written to": (
        {"body": "@fmovs(in2, a);"},
        f"{IN_BODY}:10: error: a fabin_dsd cannot be written to",
        None,
    ),
    "a missing operand": (
        {"body": "@fmacs(a, a, x);"},
        f"{IN_BODY}:3: error: @fmacs takes 4 operands, got 3",
        None,
    ),
    "an index outside of the array": (
        {"body": "A[8] = x;"},
        f"{IN_BODY}:3: error: index 8 is outside of [8]f32",
        "the indices run from 0 to 7",
    ),
    "a task id that is taken": (
        {
            "top": "task other() void {}",
            "end": "@bind_local_task(work, @get_local_task_id(9)); "
            "@bind_local_task(other, @get_local_task_id(9));",
        },
        f"{IN_END}:50: error: task 'work' is bound to 9 already",
        None,
    ),
    "a task that is not bound": (
        {"body": "@activate(@get_local_task_id(9));"},
        f"{IN_BODY}:3: error: no task is bound to local task id 9",
        "@bind_local_task",
    ),
    "a task that is called": (
        {"body": "work();"},
        f"{IN_BODY}:3: error: 'work' is a task; tasks are activated, not called",
        None,
    ),
    "a pointer to another type": (
        {"top": "var H = @zeros([8]f16);", "body": "_ = set(&H[0]);"},
        f"{IN_BODY}:11: error: expected a value of type *f32, got a value of type *f16",
        None,
    ),
    "a constant that is changed": (
        {"top": "const k: i16 = 2;", "body": "k = 3;"},
        f"{IN_BODY}:3: error: 'k' is constant",
        "declare it 'var' to change it",
    ),
    "a PE outside": (
        {"more": '@set_tile_code(2, 0, "pe.csl");'},
        f"{IN_MORE}:3: error: PE (2, 0) is outside of the 2x1 rectangle",
        "x runs from 0 to 1, y from 0 to 0",
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake_is_shown_where_it_is_with_what_to_do(tmp_path: Path, mistake: str) -> None:
    holes, head, hint = CASES[mistake]
    lines = said(tmp_path, **holes)
    assert lines[0] == head
    file, line, column = head.split(":")[:3]
    text = (tmp_path / file).read_text().splitlines()[int(line) - 1]
    assert lines[1] == f"{line:>5} | {text}"
    assert lines[2].index("^") == len("    1 | ") + int(column) - 1
    assert (lines[3] if len(lines) > 3 else "") == f"  hint: {hint}" or hint is None


def test_memory_that_does_not_suffice_is_shown_with_who_uses_it(tmp_path: Path) -> None:
    top = "var B = @zeros([9000]f32); var C = @zeros([4000]f32);"
    lines = said(tmp_path, top=top, body="B[0] = x; C[0] = x;")
    assert "'C' takes 8000 words of a PE's 24576, and " in lines[0]
    assert any("18000 words  B  (pe.csl:1)" in line for line in lines)


def test_an_error_in_a_pe_s_code_says_which_pe_gets_it(tmp_path: Path) -> None:
    lines = said(tmp_path, top="param size: u16;", params=".size = -3")
    assert lines[0] == "pe.csl:1:1: error: -3 does not fit into u16"
    assert any(
        line.startswith("layout.csl:3:3: note: while the code that a PE gets here")
        for line in lines
    )
