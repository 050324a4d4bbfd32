"""`waferllm csl env`, `compile`, `run` and `conform`: published host scripts over our machine."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waferllm.errors import InputError

if TYPE_CHECKING:
    from waferllm.csl.host.conform import Result

FAILED = 1
EVENTS = 1 << 20  # rows of a trace that are kept


def env(
    profile: Annotated[
        str, typer.Option(help="Cycles as the chip's simulator or its silicon counts them.")
    ] = "sim",
) -> None:
    """Print shell commands that put cslc, cs_python and the modules cerebras.* on the paths.

    For the shell: eval "$(waferllm csl env)"
    """
    from waferllm.csl.host.cs_python import BIN, PROFILE_VARIABLE, SITE

    if profile not in ("sim", "silicon"):
        raise InputError(f"got --profile {profile}, expected sim or silicon.")

    for name in ("cslc", "cs_python"):
        if not os.access(BIN / name, os.X_OK):
            raise InputError(
                f"got {BIN / name}, expected a file that may be executed. Install waferllm from a "
                f"wheel, or: chmod +x {BIN}/*"
            )
    typer.echo(f"export WAFERLLM_PYTHON={shlex.quote(sys.executable)}")
    typer.echo(f"export {PROFILE_VARIABLE}={profile}")
    typer.echo(f'export PATH={shlex.quote(str(BIN))}:"$PATH"')
    typer.echo(f'export PYTHONPATH={shlex.quote(str(SITE))}"${{PYTHONPATH:+:$PYTHONPATH}}"')


def compile_(context: typer.Context) -> None:
    """Compile a program; takes the options of cslc (see `waferllm csl compile --help`)."""
    from waferllm.csl.host.cslc import main

    raise typer.Exit(main(context.args))


def run(
    out: Annotated[Path, typer.Argument(help="A folder that cslc wrote and cs_python ran.")],
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write a trace for ui.perfetto.dev.")
    ] = None,
    heatmap: Annotated[
        Path | None, typer.Option("--heatmap", help="Write a PNG of how busy links are.")
    ] = None,
    activity: Annotated[
        Path | None, typer.Option("--activity", help="Write a PNG of what PEs did.")
    ] = None,
    cycles: Annotated[
        bool, typer.Option("--cycles", help="Print where the cycles went (also without options).")
    ] = False,
    profile: Annotated[str, typer.Option("--profile", help="sim or silicon.")] = "sim",
) -> None:
    """Run a program again: the host gives the commands that it gave when cs_python ran it last."""
    from waferllm.csl.host.commands import JOURNAL, Commands, Journal
    from waferllm.csl.host.program import load_program
    from waferllm.csl.machine.diagnose import mistakes
    from waferllm.csl.machine.show import summary, write_activity, write_heatmap
    from waferllm.csl.machine.trace import write_trace

    journal = Journal.load(out / JOURNAL)
    commands = Commands(load_program(out), profile, events=EVENTS if trace else 0)
    commands.set_symbols()
    commands.replay(journal)
    if cycles or not (trace or heatmap or activity):
        for line in summary(commands.machine):
            typer.echo(line)
    for line in mistakes(commands.machine):
        typer.echo(f"warning: {line}", err=True)
    if trace is not None:
        typer.echo(f"{trace}: {write_trace(commands.machine, trace):,} spans")
    for path, write in ((heatmap, write_heatmap), (activity, write_activity)):
        if path is not None:
            write(commands.machine, path)
            typer.echo(str(path))


def conform(
    checkout: Annotated[Path, typer.Argument(help="A checkout with command files.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Scripts at a time.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Markdown file; a section of the same title is replaced."),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="Of the section; the folder's name if left out.")
    ] = None,
    only: Annotated[
        str, typer.Option("--only", help="Part of a script's path; * and ? match.")
    ] = "*",
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for each script.")] = 300,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="File that keeps results between calls.")
    ] = None,
) -> None:
    """Run every script of a checkout in a copy of it; exit code 1 if any does not pass."""
    from waferllm.csl.host import conform as work

    def show(result: "Result", done: int, total: int) -> None:
        why = f": {result.why}" if result.why else ""
        line = f"[{done}/{total}] {result.wall_s:6.1f} s  {result.script}  {result.verdict}{why}"
        typer.echo(line)

    if not checkout.is_dir():
        raise InputError(f"got {checkout}, expected the folder of a checkout")
    results = work.conform(
        checkout.resolve(), jobs=jobs, only=only, timeout_s=timeout, state=resume, progress=show
    )
    text = work.table(title or checkout.resolve().name, results)
    if out is not None:
        before = out.read_text(encoding="utf-8") if out.exists() else ""
        out.write_text(work.with_section(before, text), encoding="utf-8")
    typer.echo(text.splitlines()[2])
    if any(result.verdict in {work.FAILS, work.UNSUPPORTED} for result in results):
        raise typer.Exit(FAILED)
