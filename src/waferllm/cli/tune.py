"""`waferllm tune`: the best placement of a model on a chip, searched; needs no weights."""

import json as jsonlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from waferllm.cli.interrupt import INTERRUPTED

if TYPE_CHECKING:
    from waferllm.layout import Mesh


def tune(
    *,
    model: Annotated[
        str,
        typer.Option(help="Checkpoint directory, config.json, or a public name like llama3-8b."),
    ] = "llama3-8b",
    chip: Annotated[str, typer.Option(help="Name of a chip, or FILE.toml of your own.")] = "wse2",
    input_len: Annotated[int, typer.Option("--input", help="Prompt tokens.")] = 4096,
    output_len: Annotated[int, typer.Option("--output", help="Tokens to generate.")] = 4096,
    objective: Annotated[str, typer.Option(help="latency, throughput or energy.")] = "latency",
    dtype: Annotated[str, typer.Option(help="float16, bfloat16 or float32.")] = "float16",
    top: Annotated[int, typer.Option(min=1, help="How many of the best to show.")] = 3,
    beside: Annotated[
        str | None,
        typer.Option(
            help="Prefill and decode grid to compare with, as 600x600,360x360 (the paper's)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Search grids, regions, trees, KV policy and batch for the best placement; Ctrl-C keeps it."""
    from rich.console import Console

    from waferllm.cli.predict import named_or_file
    from waferllm.tune.search import tune as search
    from waferllm.tune.view import render, to_json

    found = named_or_file(chip)
    try:
        with _patient(), _bar() as progress:
            made = search(
                model, found, input_len, output_len,
                objective=objective, dtype=dtype, top=top, beside=_pair(beside), progress=progress,
            )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("waferllm: interrupted before anything was found that fits.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(jsonlib.dumps(to_json(made), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        Console(highlight=False).print(render(made))
    if made.interrupted:
        raise typer.Exit(INTERRUPTED)


def _pair(text: str | None) -> "tuple[Mesh, Mesh] | None":
    """Two grids."""
    from waferllm.errors import InputError
    from waferllm.layout import Mesh

    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise InputError(
            f"got --beside {text}, expected a prefill and a decode grid, as in 600x600,360x360."
        )
    return Mesh.parse(parts[0]), Mesh.parse(parts[1])


@contextmanager
def _patient() -> Iterator[None]:
    """Inside, Ctrl-C ends the search and not the process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where a person looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("searching")
        yield lambda done, total: bar.update(task, completed=done, total=total)
