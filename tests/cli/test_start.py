"""How the command line starts, and what it prints without a model."""

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import Command

SILENT = """
import sys
from waferllm.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    heavy = {"jax", "numpy", "tokenizers", "waferllm.engine.llm"} & set(sys.modules)
    sys.exit(f"imported {heavy}" if heavy else stop.code)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["generate", "--help"], ["plan", "-h"], ["chips"], ["--version"], ["generat"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == (2 if arguments == ["generat"] else 0), done.stderr
    assert done.stdout or done.stderr


def test_help_names_the_commands_and_the_documented_options(command: Command) -> None:
    whole = command("--help").out
    assert all(name in whole for name in ("generate", "plan", "chips"))
    shown = command("generate", "--help").out
    options = "mesh prefill-mesh kv dtype chip seed ignore-eos chat devices json prompt-file"
    for name in f"{options} model temperature top-k top-p min-p stop max-tokens".split():
        assert f"--{name} " in shown


def test_without_a_command_the_help_is_shown(command: Command) -> None:
    ran = command()
    assert "Usage" in ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err


def test_plan_prints_tables_or_one_object(command: Command) -> None:
    grids = ("--prefill-grid", "30x40", "--decode-grid", "20x30")
    assert "PLMR" in command("plan", "--model", "qwen2-0.5b", *grids).out
    data = json.loads(command("plan", "--model", "qwen2-0.5b", *grids, "--json").out)
    assert data["prefill"]["grid"] == [30, 40]
    assert data["decode"]["grid"] == [20, 30]


def test_chips_lists_them_or_shows_one(command: Command) -> None:
    names = [chip["name"] for chip in json.loads(command("chips", "--json").out)]
    assert names[:2] == ["wse2", "wse3"]
    assert json.loads(command("chips", "cs3", "--json").out)["name"] == "wse3"
    assert all(name in command("chips").out for name in names)


def test_a_pipe_whose_reader_goes_away_is_no_crash() -> None:
    """As in `waferllm chips --json | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "waferllm.cli", "chips", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == ""


def test_a_terminal_without_unicode_shows_question_marks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "waferllm.cli", "plan", "--model", "café"],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 2
    assert b"'caf?'" in done.stderr
