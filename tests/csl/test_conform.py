"""`csl conform` on a tiny checkout: one script of each kind, run in copies, and the table."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from waferllm.cli.app import app
from waferllm.csl.host import conform

PROGRAM = """
const sys_mod = @import_module("<memcpy/memcpy>", .{ .width = 1, .height = 1 });
var total: i16 = 0;

fn go(n: i16) void { total = n * (n + 1) / 2; sys_mod.unblock_cmd_stream(); }
comptime { @export_symbol(total); @export_symbol(go); }
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0);
  @export_name("total", i16, true);
  @export_name("go", fn(i16)void);
}
"""
SCRIPT = """
import numpy as np
from cerebras.sdk.runtime.sdkruntimepybind import MemcpyDataType, MemcpyOrder, SdkRuntime
runner = SdkRuntime("out")
runner.load()
runner.run()
runner.launch("go", np.int16(10), nonblock=False)
got = np.zeros(1, np.uint32)
runner.memcpy_d2h(got, runner.get_id("total"), 0, 0, 1, 1, 1, streaming=False, nonblock=False,
                  order=MemcpyOrder.ROW_MAJOR, data_type=MemcpyDataType.MEMCPY_16BIT)
runner.stop()
assert got[0] == 55
"""
COMMANDS = "cslc layout.csl --fabric-dims=8,3 --fabric-offsets=4,1 -o out --memcpy --channels=1\n"
FAILING = "import numpy as np\nnp.testing.assert_array_equal([55], [56])\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "published"
    refused = PROGRAM.replace("total = n", "total = @get_symbol_value(i16, 0) + n")
    for name, program, script, commands in (
        ("passes", PROGRAM, SCRIPT, f"{COMMANDS}cs_python run.py\n"),
        ("fails", PROGRAM, FAILING, "cs_python run.py\n"),
        ("runs", PROGRAM, "", "echo done # and python run.py checks nothing\n"),
        ("unsupported", refused, "", COMMANDS),
    ):
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "layout.csl").write_text(program)
        (folder / "run.py").write_text(script)
        (folder / "commands_wse2.sh").write_text(f"set -e\n{commands}")
    return root


def test_each_script_gets_the_verdict_that_it_deserves(checkout: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    out = tmp_path / "table.md"
    ran = CliRunner().invoke(app, ["csl", "conform", str(checkout), "--out", str(out)])
    assert ran.exit_code == 1  # not all passes
    rows = [line.split(" | ") for line in out.read_text().splitlines() if "commands_wse2" in line]
    verdicts = {row[0].split("/")[0].strip("| "): row[1] for row in rows}
    assert verdicts == {name: name for name in ("passes", "fails", "runs", "unsupported")}
    text = out.read_text()
    assert "4 scripts: 1 passes, 1 runs, 1 fails, 1 unsupported." in text
    assert "AssertionError:; Arrays are not equal" in text
    assert "unsupported: @get_symbol_value is not implemented" in text
    # The checkout itself is as it was.
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before


def test_results_are_kept_between_calls(checkout: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first = conform.conform(checkout, only="runs", state=state)
    (checkout / "runs" / "commands_wse2.sh").write_text("exit 1")
    assert conform.conform(checkout, only="runs", state=state) == first


def test_a_section_is_replaced_or_added() -> None:
    text = "# Title\n\nWords.\n\n## one\n\nold\n\n## two\n\nkept\n"
    assert conform.with_section(text, "## one\n\nnew\n") == text.replace("old", "new")
    assert conform.with_section(text, "## three\n\nnew\n") == f"{text}\n## three\n\nnew\n"
    assert conform.with_section("", "## three\n") == "## three\n"
