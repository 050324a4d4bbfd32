"""Layout blocks and PE code of programs that we wrote, against what they plainly say."""

from pathlib import Path

import pytest

from tests.csl.support import PROGRAMS
from waferllm.csl import types as t
from waferllm.csl.compile import evaluate_layout, evaluate_tile, read_colors, read_params
from waferllm.csl.diagnostics import CslError
from waferllm.csl.layout import ColorConfig, Layout, Switch
from waferllm.csl.modules import Files
from waferllm.csl.target import Architecture, Target
from waferllm.csl.tile import Tile
from waferllm.csl.values import Dsr, show
from waferllm.errors import InputError

RING = PROGRAMS / "ring.csl"


def ring(params: str = "width:5,items:6", arch: Architecture = "wse2") -> Layout:
    return evaluate_layout(RING, read_params(params), target=Target(arch=arch))


def pe(x: int, arch: Architecture = "wse2") -> Tile:
    found = ring(arch=arch)
    return evaluate_tile(found.tiles[x, 0], (5, 1), target=Target(arch=arch), files=Files())


def test_a_layout_has_a_rectangle_codes_routes_and_exports() -> None:
    found = ring()
    assert (found.width, found.height) == (5, 1)
    assert set(found.tiles) == {(x, 0) for x in range(5)}
    assert found.routes_total == 8
    assert found.printed == ("width 5",)
    assert {name: (str(e.type), e.mutable) for name, e in found.exports.items()} == {
        "data": ("[*]f32", True),
        "start": ("fn() void", False),
    }


@pytest.mark.parametrize("x", range(5))
def test_each_pe_has_the_colors_of_its_turn(x: int) -> None:
    found = ring()
    send, receive = (2, 3) if x % 2 == 0 else (3, 2)
    params = found.tiles[x, 0].params
    assert params["send"].data == send
    assert params["receive"].data == receive
    assert params["last"].data == (x == 4)
    expected = {}
    if x < 4:
        expected[send] = ColorConfig(("RAMP",), ("EAST",))
    if x > 0:
        expected[receive] = ColorConfig(
            ("WEST",),
            ("RAMP",),
            switches=(Switch(None, ("EAST",)), None, None),
            ring_mode=True,
            pop_mode="always_pop",
            filter=(("kind", "range"), ("min_idx", 0), ("max_idx", 6)),
        )
    assert found.colors[x, 0] == expected


def test_pes_with_equal_params_share_one_code(tmp_path: Path) -> None:
    (tmp_path / "pe.csl").write_text("param n: i16;")
    (tmp_path / "layout.csl").write_text("""
      layout {
        @set_rectangle(3, 5);
        for (@range(u16, 3)) |x| {
          for (@range(u16, 5)) |y| { @set_tile_code(x, y, "pe.csl", .{ .n = y % 2 }); }
        }
      }""")
    codes = evaluate_layout(tmp_path / "layout.csl").codes
    assert sorted(map(len, codes.values())) == [6, 9]
    assert {len({y % 2 for _, y in where}) for where in codes.values()} == {1}


def test_a_tile_has_tasks_queues_routes_registers_and_symbols() -> None:
    tile = pe(4)
    assert {key: task.decl.name for key, task in tile.tasks.items()} == {
        ("local_task_id", 9): "done",
        ("data_task_id", 3): "got",
    }
    assert tile.activated == {9}
    assert pe(1).activated == set()
    assert tile.blocked == {("local_task_id", 9)}
    assert {key: queue.color for key, queue in tile.queues.items()} == {("input_queue", 2): 3}
    assert tile.colors == {7: ColorConfig(("NORTH",), ("SOUTH",))}
    assert sorted(tile.symbols) == ["data", "start"]
    loaded = tile.dsrs[Dsr("dsr_dest", 5)]
    assert loaded.dsd.type == t.FABOUT
    assert loaded.options["async"].data is True


def test_the_architecture_reaches_the_tile() -> None:
    tile = pe(4, arch="wse3")
    assert ("data_task_id", 2) in tile.tasks
    assert tile.queues["output_queue", 3].color == 2


def test_a_tile_s_variables_have_first_values_and_sizes() -> None:
    tile = pe(0)
    named = {place.decl.name: place.get() for place in tile.variables()}
    assert sorted(named) == ["count", "data", "data_ptr", "room", "weights"]
    assert named["count"].data == 12
    assert named["weights"].data == (0.5, 1.0, 2048.0)  # 2049 lies between two f16; ties to even
    assert tile.data_bytes == 2 + 6 * 4 + 2 + 16 * 4 + 3 * 2


def test_descriptors_hold_their_properties() -> None:
    module = pe(0).module
    tail = module.find("tail").get()  # type: ignore[union-attr]
    assert tail.type == t.MEM1D
    shown = {k: show(v) for k, v in tail.data.properties.items() if k != "base_address"}
    assert shown == {"offset": "1", "stride": ".{1}", "extent": ".{6}"}


ONE_PE = "@set_rectangle(1, 1); "
LAYOUTS = [
    ('@set_tile_code(0, 0, "pe.csl");', "before @set_rectangle"),
    ("@set_rectangle(1, 1); @set_rectangle(1, 1);", "called twice"),
    (
        '@set_rectangle(2, 1); @set_tile_code(0, 0, "pe.csl");',
        "PE (1, 0) of the 2x1 rectangle has no code",
    ),
    ('ONE @set_tile_code(0, 1, "pe.csl");', "outside of the 1x1 rectangle"),
    ('ONE @set_tile_code(0, 0, "no.csl");', "there is no file 'no.csl'"),
    ('ONE for (@range(u16, 2)) |i| @set_tile_code(0, 0, "pe.csl");', "is set twice"),
    ("ONE @set_color_config(0, 0, 3, .{ .routes = .{} });", "expected a color, got 3"),
    ("ONE @set_color_config(0, 0, c, .{ .route = .{} });", "did you mean 'routes'?"),
    ("ONE @set_color_config(0, 0, c, .{ .switches = .{} });", "needs routes"),
    ("ONE @set_color_config(0, 0, c, .{ .routes = .{ .rx = 1 } });", "expected a direction"),
    (
        "ONE for (@range(u16, 2)) |i| { @set_color_config(0, 0, c, .{ .routes = .{} }); }",
        "color 1 of PE (0, 0) is set twice",
    ),
    ('@export_name("a", i16); @export_name("a", i16);', "exported twice"),
    ("@bind_local_task(c, c);", "belongs in a PE's code"),
]


@pytest.mark.parametrize(("body", "says"), LAYOUTS)
def test_a_wrong_layout_is_refused(tmp_path: Path, body: str, says: str) -> None:
    (tmp_path / "pe.csl").write_text("")
    (tmp_path / "layout.csl").write_text(
        f"const c = @get_color(1); layout {{ {body.replace('ONE ', ONE_PE)} }}"
    )
    with pytest.raises(CslError) as caught:
        evaluate_layout(tmp_path / "layout.csl")
    assert says in str(caught.value)


TILES = [
    (
        "task f() void {} comptime { @bind_data_task(f, @get_data_task_id(@get_color(1))); }",
        "at least one parameter"),
    ("task f(x: i16) void {} comptime { @bind_local_task(f, @get_local_task_id(9)); }", "no parameter"),
    ("fn f() void {} comptime { @bind_local_task(f, @get_local_task_id(9)); }", "expected a task"),
    (
        "task f() void {} task g(x: u32) void {} comptime { @bind_local_task(f, "
        "@get_local_task_id(9)); @bind_data_task(g, @get_data_task_id(@get_color(9))); }",
        "is bound to 9 already"),
    ("var a: i16; comptime { @export_symbol(a); @export_symbol(a); }", "exported twice"),
    ("const d = @get_dsd(mem1d_dsd, .{ .extend = 3 });", "did you mean 'extent'?"),
    ("var a: [4]i16; const d = @get_dsd(mem1d_dsd, .{ .base_address = a, .extent = 3 });", "is a var"),
    ("comptime { @initialize_queue(@get_input_queue(2)); }", "a color is missing"),
    ("const n = @get_rectangle().height; comptime { @comptime_assert(n == 2); }", "this assertion is false"),
    ("comptime { @set_rectangle(1, 1); }", "belongs in a layout block"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), TILES)
def test_wrong_pe_code_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "pe.csl").write_text(text)
    layout = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl"); }'
    (tmp_path / "layout.csl").write_text(layout)
    code = evaluate_layout(tmp_path / "layout.csl").tiles[0, 0]
    with pytest.raises(CslError) as caught:
        evaluate_tile(code, (1, 1))
    assert says in str(caught.value)


def test_params_and_colors_are_read_as_cslc_reads_them() -> None:
    found = read_params("P:0x10,scale:-1.5,fast:true")
    assert {name: each.data for name, each in found.items()} == {
        "P": 16,
        "scale": -1.5,
        "fast": True,
    }
    assert read_colors("rx:3")["rx"].type == t.COLOR
    for bad in ("P", "P:", ":1", "P:1,P:2", "P:x y"):
        with pytest.raises(InputError):
            read_params(bad)
    with pytest.raises(InputError):
        read_colors("rx:24")


def test_a_missing_or_unknown_param_is_named() -> None:
    with pytest.raises(CslError, match="param 'width' is not given"):
        ring("items:3")
    with pytest.raises(CslError, match="has no param 'widht'"):
        ring("widht:3")
