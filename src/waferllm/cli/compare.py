"""`waferllm compare`: ways to run a model on a wafer, and published GPU systems, side by side."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer


def compare(
    *,
    model: Annotated[
        str, typer.Option(help="Checkpoint directory, config.json, or a public name.")
    ] = "llama3-8b",
    chip: Annotated[str, typer.Option(help="Name of a chip, or FILE.toml of your own.")] = "wse2",
    prefill_grid: Annotated[str, typer.Option(help="Square of cores for prefill.")] = "600x600",
    decode_grid: Annotated[str, typer.Option(help="Square of cores for decode.")] = "360x360",
    input_len: Annotated[int, typer.Option("--input", help="Prompt tokens.")] = 4096,
    output_len: Annotated[int, typer.Option("--output", help="Tokens to generate.")] = 4096,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a plot to FILE.png.")] = None,
) -> None:
    """Wafer strategies (predicted) and GPU systems (published) for one model."""
    from waferllm.chip import chip as named_chip
    from waferllm.chip import load_chip
    from waferllm.errors import InputError
    from waferllm.reports.compare import compare as make
    from waferllm.reports.compare_view import plot as draw
    from waferllm.reports.compare_view import render

    if plot is not None and plot.suffix != ".png":
        raise InputError(f"--plot {plot}: expected a file name ending in .png.")
    found = load_chip(chip) if chip.endswith(".toml") else named_chip(chip)
    made = make(model, found, prefill_grid, decode_grid, input_len, output_len)
    if plot is not None:
        draw(plot, made)
    if as_json:
        typer.echo(jsonlib.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    Console(highlight=False).print(render(made))
