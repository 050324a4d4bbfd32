"""`waferllm roofline`: what each phase of a model reaches on one system, batch by batch."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from waferllm.explore import Sharding
    from waferllm.explore.roofline import Roofline


def roofline(
    *,
    model: Annotated[
        str, typer.Option(help="Checkpoint directory, config.json, or a public name.")
    ] = "qwen3-32b",
    system: Annotated[str, typer.Option(help="A name (h100x4) or FILE.toml.")] = "h100x4",
    workload: Annotated[
        str, typer.Option(help="Whose lengths are used; see waferllm systems.")
    ] = "chat",
    batch: Annotated[str, typer.Option(help="N, N,N,… or low:high, doubling.")] = "1:256",
    sharding: Annotated[
        str | None, typer.Option(help="Such as tp=4.  [default: tensor parallel over all chips]")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="part.key=value or workload.key=value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the roofline to FILE.png.")] = None,
) -> None:
    """Operations per byte and per second of prefill and decode, against the roofs of one chip."""
    from waferllm.cli.explore_ask import named_systems, split_settings, workload_of
    from waferllm.cli.explore_options import parse_batches, parse_settings
    from waferllm.errors import InputError
    from waferllm.explore.roofline import roofline as evaluate

    if plot is not None and plot.suffix.lower() != ".png":
        raise InputError(f"--plot {plot}: expected a file name ending in .png.")
    numbers, asked = split_settings(parse_settings(settings or ()))
    made = evaluate(
        named_systems(system, numbers)[0],
        workload_of(workload, asked),
        model=model,
        batches=parse_batches(batch),
        sharding=_sharding(sharding),
    )
    if plot is not None:
        _draw(plot, made)
    if as_json:
        typer.echo(jsonlib.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(made)


def _sharding(text: str | None) -> "Sharding | None":
    from waferllm.cli.explore_ask import parse_sharding

    return parse_sharding(text) if text else None


def _draw(plot: Path, made: "Roofline") -> None:
    from waferllm.reports.explore_plots import Ceiling, WorkPoint
    from waferllm.reports.explore_plots import roofline as draw

    ceilings = [
        Ceiling(tier, made.peak_flop_per_s, speed) for tier, speed in made.bytes_per_s.items()
    ]
    points = [
        WorkPoint(one.phase, one.label, one.flop_per_byte, one.flop_per_s) for one in made.points
    ]
    draw(plot, made.title, ceilings, points)


def _show(made: "Roofline") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from waferllm.reports.explore_rows import show

    console = Console(highlight=False)
    console.print(f"[bold]{made.title}[/]")
    roofs = ", ".join(f"{tier} {show(v / 1e12)} TB/s" for tier, v in made.bytes_per_s.items())
    console.print(f"Roofs of one chip: {show(made.peak_flop_per_s / 1e12)} TFLOP/s, {roofs}.")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("phase")
    for head in ("batch", "FLOP/B", "TFLOP/s", "of the roof", "ms"):
        table.add_column(head, justify="right")
    table.add_column("bound by")
    for one in made.points:
        table.add_row(
            one.phase, f"{one.batch:,}", show(one.flop_per_byte), show(one.flop_per_s / 1e12),
            f"{one.share_of_roof:.0%}", show(1e3 * one.seconds), one.bound,
        )  # fmt: skip
    console.print(table)
    for line in made.notes:
        console.print(line)
