"""Ctrl-C: exit code 130 without a traceback, whenever it comes; what was generated is kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.models.support import FIXTURES
from waferllm.engine.core import Event

# Says on standard error when the command begins, then when it is where the test wants it.
SAY = """
import sys
from waferllm.cli import app
leave_at_once = app.leave_at_once
def say():
    leave_at_once()
    print("begun", file=sys.stderr, flush=True)
app.leave_at_once = say
{where}
app.main()
"""
FIRST_TOKEN = """
from waferllm.cli import interrupt
token = interrupt.Patience.token
def say(self):
    interrupt.Patience.token = token
    token(self)
    print("token", file=sys.stderr, flush=True)
interrupt.Patience.token = say
"""
FIRST_LAYER = """
from waferllm.models import runner
load = runner.load_layer
def say(*arguments):
    print("layer", file=sys.stderr, flush=True)
    return load(*arguments)
runner.load_layer = say
"""
COMPILING = """
from jax._src import compiler
compile = compiler.backend_compile_and_load
def say(*arguments, **options):
    print("compiling", file=sys.stderr, flush=True)
    return compile(*arguments, **options)
compiler.backend_compile_and_load = say
"""


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with so many positions that it would generate for a minute."""
    path = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(FIXTURES / "llama-mha", path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 20_000}))
    return path


@pytest.fixture
def generating(compiled: Path, endless: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a long `generate` that says on standard error where it is."""

    def start(where: str, *options: str) -> subprocess.Popen[str]:
        long = ("--max-len", "20000", "--max-tokens", "19000", "--ignore-eos", "--mesh", "1x1")
        return subprocess.Popen(
            [
                *(sys.executable, "-c", SAY.format(where=where)),
                *("generate", "a b", "--model", str(endless), *long, *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "JAX_COMPILATION_CACHE_DIR": str(compiled),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
        )

    return start


def interrupt(running: subprocess.Popen[str], *said: str) -> str:
    """Ctrl-C when the process has said all that; standard output, once 130 and silence are checked."""
    assert running.stderr
    for word in said:
        assert running.stderr.readline() == f"{word}\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "Exception" not in err
    return out


Generating = Callable[..., subprocess.Popen[str]]


def test_text_so_far_is_kept_with_its_report(generating: Generating) -> None:
    running = generating("")
    assert running.stdout
    assert running.stdout.read(len("a b") + 1).startswith("a b")
    time.sleep(0.1)
    text, report = interrupt(running, "begun").split("\n\ncomputed here: ")
    assert text
    assert "predicted on wse2" in report


def test_json_so_far_is_one_object_that_says_abort(generating: Generating) -> None:
    data = json.loads(interrupt(generating(FIRST_TOKEN, "--json"), "begun", "token"))
    assert data["finish_reason"] == "abort"
    assert 0 < len(data["output_tokens"]) < 19_000
    assert data["execution"]["ttft_s"] > 0


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    ("where", "said"),
    [("", ""), (FIRST_LAYER, "layer"), (COMPILING, "compiling")],
    ids=["start", "weights", "compilation"],
)
def test_before_the_first_token_there_is_nothing_to_keep(
    generating: Generating, where: str, said: str, options: tuple[str, ...]
) -> None:
    if said == "compiling":  # what is kept need not be compiled
        options = (*options, "--max-len", "19999")
    out = interrupt(generating(where, *options), "begun", *([said] if said else []))
    assert out in ("", "a b")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("tenths", range(0, 60, 3))
def test_at_any_moment(generating: Generating, tenths: int, options: tuple[str, ...]) -> None:
    running = generating("", *options)
    time.sleep(tenths / 10)
    interrupt(running, "begun")


IMPORTING = """
import os, signal, sys
from waferllm.cli import main
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "waferllm.cli.app":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
main()
"""


def test_while_commands_are_imported_it_ends_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_several_prompts_are_all_kept(
    command: Command, monkeypatch: pytest.MonkeyPatch, compiled: Path
) -> None:
    """One of them may not have begun; in this process, Ctrl-C comes with the fifth token."""
    del compiled
    from waferllm.cli import session

    tokens: list[Any] = []

    def fifth(self: session.Patience) -> None:
        tokens.append(self)
        if len(tokens) == 5:
            self.heard = True
            raise KeyboardInterrupt

    monkeypatch.setattr(session.Patience, "token", fifth)
    model = ("--model", str(FIXTURES / "llama-mha"), "--mesh", "1x1", "--ignore-eos")
    ran = command("generate", "a b", "c", *model, "--max-tokens", "40", "--json")
    assert ran.code == 130
    outputs = json.loads(ran.out)["outputs"]
    assert [output["finish_reason"] for output in outputs] == ["abort", "abort"]
    assert sum(len(output["output_tokens"]) for output in outputs) == 5


def test_text_held_back_for_a_stop_string_is_shown_in_the_end(
    command: Command, monkeypatch: pytest.MonkeyPatch, compiled: Path
) -> None:
    del compiled
    from waferllm.cli import session

    events: list[Event] = []
    show = session._Printer.event

    def third(self: session._Printer, event: Event) -> None:
        show(self, event)
        events.append(event)
        if len(events) == 3:
            raise KeyboardInterrupt

    model = ("--model", str(FIXTURES / "llama-mha"), "--mesh", "1x1", "--ignore-eos", "-q")
    whole = command("generate", "a b", *model, "--max-tokens", "3").out.removesuffix("\n")
    monkeypatch.setattr(session._Printer, "event", third)
    held = whole[-1] + "something that never comes"
    ran = command("generate", "a b", *model, "--max-tokens", "40", "--stop", held)
    assert "".join(event.text for event in events) == whole[3:-1]
    assert ran.out == f"{whole}\n"
