"""`waferllm csl`: exit codes, messages, and that it starts without JAX."""

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from tests.csl.support import PROGRAMS
from waferllm.cli.csl import csl_app
from waferllm.csl.diagnostics import CslError
from waferllm.csl.parser import parse
from waferllm.csl.source import Source, read_source


def test_check_reports_every_file_and_exits_2_if_one_is_wrong(tmp_path: Path) -> None:
    good, bad = PROGRAMS / "ring.csl", tmp_path / "bad.csl"
    done = CliRunner().invoke(csl_app, ["check", str(good)])
    assert (done.exit_code, done.output) == (0, "1 of 1 file(s) parse\n")
    bad.write_bytes(b"const \xff = 1;")
    done = CliRunner().invoke(csl_app, ["check", str(bad), str(good), str(tmp_path / "none.csl")])
    assert done.exit_code == 2
    assert "is not UTF-8 text" in done.output
    assert "cannot read" in done.output
    assert "1 of 3 file(s) parse" in done.output


def test_ast_prints_an_outline_json_or_csl() -> None:
    path = PROGRAMS / "ring.csl"
    assert "LayoutBlock" in CliRunner().invoke(csl_app, ["ast", str(path)]).output
    shown = json.loads(CliRunner().invoke(csl_app, ["ast", str(path), "--json"]).output)
    assert shown["items"][0]["name"] == "width"
    again = CliRunner().invoke(csl_app, ["ast", str(path), "--csl"]).output
    assert parse(Source("again", again)) == parse(read_source(path))


def test_a_tree_too_deep_to_show_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.csl").write_text("const a = " + "1+" * 20_000 + "1;")
    for option in ([], ["--json"], ["--csl"]):
        done = CliRunner().invoke(csl_app, ["ast", str(tmp_path / "deep.csl"), *option])
        assert isinstance(done.exception, CslError)
        assert "nested too deeply to be shown" in str(done.exception)


def test_layout_says_what_the_block_decided() -> None:
    arguments = ["layout", str(PROGRAMS / "ring.csl"), "--params", "width:4"]
    lines = CliRunner().invoke(csl_app, arguments).output.splitlines()
    assert lines[0] == "width 4"
    assert lines[1] == "4x1 PEs, 3 distinct codes, 6 colors configured, 2 names exported"


def test_tiles_say_what_each_code_binds_and_how_much_memory_it_takes() -> None:
    arguments = ["layout", str(PROGRAMS / "ring.csl"), "--params", "width:3", "--tiles"]
    lines = CliRunner().invoke(csl_app, arguments).output.splitlines()
    assert lines[-1] == (
        "ring_pe.csl at (2, 0) and 0 more: 90 B of variables; "
        "tasks: done = local_task_id 9, got = data_task_id 3; symbols: data, start"
    )


def test_the_front_end_needs_neither_jax_nor_numpy() -> None:
    code = "import sys, waferllm.csl.compile; print(sorted({'jax', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
