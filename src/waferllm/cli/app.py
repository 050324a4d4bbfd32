"""The Typer application, and what happens to errors: one sentence, exit code 2, no traceback."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

import typer

from waferllm.cli.chips import chips
from waferllm.cli.compare import compare
from waferllm.cli.csl import csl_app
from waferllm.cli.explore import explore
from waferllm.cli.generate import generate
from waferllm.cli.interrupt import leave_at_once
from waferllm.cli.plan import plan
from waferllm.cli.predict import predict_app
from waferllm.cli.report import report
from waferllm.cli.roofline import roofline
from waferllm.cli.systems import systems
from waferllm.cli.tune import tune
from waferllm.cli.validate import validate
from waferllm.errors import WaferError

MISTAKE = 2

app = typer.Typer(
    name="waferllm",
    help="LLM inference on wafer-scale chips: text from a simulated wafer, and what PLMR says of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(generate)
app.command()(plan)
app.command()(chips)
app.add_typer(predict_app, name="predict")
app.command()(tune)
app.command()(validate)
app.command()(compare)
app.command()(explore)
app.command()(roofline)
app.command()(systems)
app.command()(report)
app.add_typer(csl_app, name="csl")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("waferllm"))
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits the process.

    Typer exits with 2 for an unknown option, and quietly when the reader of a pipe has gone.
    """
    if argv is None:
        leave_at_once()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without Unicode shows ? for the rest
            stream.reconfigure(errors="replace")
    try:
        app(args=None if argv is None else list(argv))
    except WaferError as error:
        _refuse(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _refuse(f"{place}{error.strerror or error}.")


def _refuse(sentence: str) -> NoReturn:
    """One line on standard error, broken between words only where a terminal is too narrow."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    line = Text(f"waferllm: {' '.join(sentence.splitlines())}", style="red")
    console.print(line, soft_wrap=not console.is_terminal)
    sys.exit(MISTAKE)
