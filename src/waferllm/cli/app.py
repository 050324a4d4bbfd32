"""The Typer application, and what happens to errors: one sentence, exit code 2, no traceback."""

import sys
from collections.abc import Sequence

import typer

from waferllm.cli.chips import chips
from waferllm.cli.generate import generate
from waferllm.cli.plan import plan
from waferllm.errors import WaferError

INTERRUPTED = 130
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


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("waferllm"))
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits the process."""
    try:
        app(args=None if argv is None else list(argv))
    except WaferError as error:
        typer.secho(f"waferllm: {error}", fg=typer.colors.RED, err=True)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`waferllm … | head`); nobody is left to tell.
        sys.stderr.close()
        sys.exit(0)
