"""Runs a checkout of published programs with their own scripts, each in a copy, and writes a table."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from waferllm.csl.host.cs_python import BIN, SITE
from waferllm.errors import InputError

SCRIPTS = ("commands_wse2.sh", "commands_wse3.sh", "run_sim.sh")
# `run_sim.sh` takes sizes; these are small ones that its formulas divide evenly.
ARGUMENTS = {"MeshGEMM": ("8", "64", "64", "64"), "MeshGEMV": ("8", "64", "64", "2")}
# Files that a script removes at its end and that only the vendor's cluster leaves behind.
LEFTOVERS = ("wsjob-0.json", "run_meta.json")
CHECKS = re.compile(r"^\s*assert\b|np\.testing|assert_", re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?|nan|inf")
# What f16 sums of a few dozen products may differ by.
TOLERANCE = 0.02

PASSES, AGREES, RUNS, FAILS, UNSUPPORTED = "passes", "agrees", "runs", "fails", "unsupported"


# Why a published script cannot pass here; shown beside what it said.
NOTES = {
    "topic-02-libraries/": "a Monte Carlo estimate of pi from 200 points has to be within 0.1, less than "
    "its standard deviation of 0.12; how the vendor's <random> makes its numbers is not published",
    "spmv-hypersparse/": "its script needs pandas, which is no dependency of this package",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one script went: one of the words above, why in a line, and the wall time."""

    script: str
    verdict: str
    why: str
    wall_s: float


def environment() -> dict[str, str]:
    """The environment that `waferllm csl env` makes, for a child process."""
    held = dict(os.environ)
    held["WAFERLLM_PYTHON"] = sys.executable
    held["PATH"] = os.pathsep.join([str(BIN), held.get("PATH", "")])
    held["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SITE), held.get("PYTHONPATH")]))
    held["MPLBACKEND"] = "Agg"
    return held


def scripts(checkout: Path, only: str = "*") -> list[Path]:
    """The scripts of a checkout that match a pattern; raises `InputError` if there are none."""
    found = sorted(path.relative_to(checkout) for name in SCRIPTS for path in checkout.rglob(name))
    chosen = [path for path in found if fnmatch(str(path), f"*{only}*")]
    if not chosen:
        raise InputError(
            f"got {checkout} and pattern {only!r}, expected a checkout with {', '.join(SCRIPTS)}: "
            f"{len(found)} script(s), none of which match"
        )
    return chosen


def run_script(checkout: Path, script: Path, timeout_s: float) -> Result:
    """Run one script in a copy of the checkout."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="waferllm-conform-") as scratch:
        copy = Path(scratch) / "checkout"
        shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git"))
        arguments = next((a for name, a in ARGUMENTS.items() if name in script.parts), ())
        if "rm wsjob" in (copy / script).read_text():
            for name in LEFTOVERS:
                (copy / script).with_name(name).touch()
        code, output = _bash(copy / script, arguments, timeout_s)
        verdict, why = judge(code, output, _sources(copy / script), timeout_s)
    wall_s = round(time.monotonic() - started, 1)
    return Result(script=str(script), verdict=verdict, why=why, wall_s=wall_s)


def _bash(script: Path, arguments: Sequence[str], timeout_s: float) -> tuple[int | None, str]:
    """The exit code and output of a script in its own folder; None if it ran out of time."""
    with subprocess.Popen(
        ["bash", script.name, *arguments],
        cwd=script.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return None, child.communicate()[0]
        return child.returncode, output


def _sources(script: Path) -> str:
    """The Python files that a script runs."""
    names = re.findall(r"[\w./-]+\.py", script.read_text())
    files = [script.parent / name for name in dict.fromkeys(names)]
    return "\n".join(path.read_text() for path in files if path.is_file())


def judge(code: int | None, output: str, sources: str, timeout_s: float) -> tuple[str, str]:
    """The verdict on a script that ended, and why."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if code is None:
        return FAILS, f"still running after {timeout_s:g} s"
    if code:
        told = [line for line in lines if "is not implemented" in line]
        return (UNSUPPORTED, told[-1]) if told else (FAILS, _reason(lines, code))
    if CHECKS.search(sources):
        return PASSES, ""
    compared = largest_difference(output)
    if compared is None:
        return RUNS, "its script checks nothing"
    if compared <= TOLERANCE:
        return AGREES, f"printed results differ by {compared:.2%} at most"
    return FAILS, f"printed results differ by {compared:.2%}"


def _reason(lines: list[str], code: int) -> str:
    """The line that says most: the last error of a compiler or a script."""
    telling = [
        at for at, line in enumerate(lines) if re.search(r"error|Error|fault|cslc:|\.py:\d+:", line)
    ]
    if not telling:
        return (lines or [f"exit code {code}"])[-1][:300]
    # NumPy's assertions say what differs in the lines after.
    count = 3 if lines[telling[-1]].endswith(":") else 1
    return "; ".join(lines[telling[-1] : telling[-1] + count])[:300]


def largest_difference(output: str) -> float | None:
    """How far the numbers after "Actual" are from those after "Expected", of the largest of them.

    None if the output does not print both. Where every row of PEs has the result, all are compared.
    """
    match = re.search(r"Expected result:(.*?)Actual result:(.*?)\n\s*\n", output, re.DOTALL)
    if match is None:
        return None
    wanted, got = (np.array([float(n) for n in NUMBER.findall(text)]) for text in match.groups())
    if wanted.size == 0 or got.size % wanted.size or not np.isfinite(got).all() or not got.size:
        return float("inf")
    wanted = np.tile(wanted, got.size // wanted.size)
    return float(np.abs(wanted - got).max() / max(np.abs(wanted).max(), 1e-30))


def conform(
    checkout: Path,
    *,
    jobs: int = 1,
    only: str = "*",
    timeout_s: float = 300,
    state: Path | None = None,
    progress: Callable[[Result, int, int], None] = lambda *_: None,
) -> list[Result]:
    """Run all scripts that match; results in `state` of an earlier, interrupted call are kept."""
    done = _load(state)
    wanted = scripts(checkout, only)
    rest = [script for script in wanted if str(script) not in done]
    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(lambda script: run_script(checkout, script, timeout_s), rest):
            done[result.script] = result
            _save(state, done.values())
            progress(result, len(done), len(wanted))
    return [done[str(script)] for script in wanted]


def _load(state: Path | None) -> dict[str, Result]:
    if state is None or not state.exists():
        return {}
    return {each["script"]: Result(**each) for each in json.loads(state.read_text())}


def _save(state: Path | None, results: Iterable[Result]) -> None:
    if state is not None:
        state.write_text(json.dumps([asdict(result) for result in results], indent=1))


def table(title: str, results: Sequence[Result]) -> str:
    """Results as a section of Markdown."""
    counts = {
        word: sum(result.verdict == word for result in results)
        for word in (PASSES, AGREES, RUNS, FAILS, UNSUPPORTED)
    }
    summary = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    rows = [
        f"| {result.script} | {result.verdict} | {result.wall_s:.1f} | {_cell(_explained(result))} |"
        for result in results
    ]
    head = [f"## {title}", "", f"{len(results)} scripts: {summary}.", ""]
    return "\n".join(
        [*head, "| script | verdict | wall time, s | why |", "|---|---|--:|---|", *rows, ""]
    )


def with_section(text: str, section: str) -> str:
    """A Markdown text with a section in the place of the one with the same heading, or at its end."""
    heading = section.splitlines()[0]
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept = [section if part.splitlines()[:1] == [heading] else part for part in parts]
    if section not in kept:
        kept.append(section)
    return "\n\n".join(part.strip("\n") for part in kept if part.strip()) + "\n"


def _explained(result: Result) -> str:
    """Why a script did not pass: what it said, and what we know about it."""
    known = [note for part, note in NOTES.items() if part in result.script]
    return "; ".join([result.why, *known]) if result.verdict == FAILS else result.why


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
