"""`waferllm explore`: which system should serve a model, ranked; sweeps of designs, plots and a page."""

import json as jsonlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waferllm.cli.interrupt import INTERRUPTED

if TYPE_CHECKING:
    from waferllm.cli.explore_ask import Question
    from waferllm.reports.explore_plots import Sensitivity
    from waferllm.reports.explore_rows import Exploration

SYSTEMS = "h200x8,b200x8,gb200-nvl72,hbf-node,wse3x8"
SWEPT = "hbf-node"
CHANGE = 0.1


def explore(
    *,
    model: Annotated[
        str, typer.Option(help="Checkpoint directory, config.json, or a public name.")
    ] = "llama3-70b",
    workload: Annotated[
        str,
        typer.Option(help="chat, reasoning, long-context, rag, multimodal, diffusion, agents, …"),
    ] = "chat",
    systems: Annotated[
        str | None,
        typer.Option(
            help=f"Names (h200x8) and FILE.toml, by commas.  [default: {SYSTEMS}; in a sweep {SWEPT}]",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="tco, power, co2e, latency or throughput.")
    ] = "tco",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="part.key=value of every system, or workload.key=value; repeatable."
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="part.key=low:high[:count] or part.key=a|b|c, by commas; all designs are evaluated."
        ),
    ] = None,
    max_designs: Annotated[int, typer.Option(min=1, help="Refuse larger sweeps.")] = 100_000,
    sharding: Annotated[
        str | None, typer.Option(help="Take this one, such as tp=8,batch=32, instead of the best.")
    ] = None,
    max_power_mw: Annotated[float, typer.Option(help="Budget: power of the site in MW.")] = float(
        "inf"
    ),
    max_racks: Annotated[float, typer.Option(help="Budget: racks.")] = float("inf"),
    max_embodied_t: Annotated[float, typer.Option(help="Budget: tonnes of embodied CO2e.")] = float(
        "inf"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page to FILE.html that sorts, filters and hovers without a network."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the Pareto front to FILE.png.")] = None,
    cost: Annotated[
        Path | None, typer.Option(help="Write the parts of the cost to FILE.png.")
    ] = None,
    tornado: Annotated[
        Path | None, typer.Option(help="Write what moves the best system's objective to FILE.png.")
    ] = None,
) -> None:
    """Rank systems for a model and a workload, or sweep designs; every figure is predicted."""  # fmt: skip
    from waferllm.cli.explore_ask import (
        Question,
        named_systems,
        parse_sharding,
        split_settings,
        workload_of,
    )
    from waferllm.cli.explore_options import parse_settings
    from waferllm.explore import Budget

    _check_files({"--html": html, "--plot": plot, "--cost": cost, "--tornado": tornado})
    numbers, asked = split_settings(parse_settings(settings or ()))
    question = Question(
        model=model,
        workload=workload_of(workload, asked),
        systems=named_systems(systems or (SWEPT if sweep else SYSTEMS), numbers),
        objective=_known(objective),
        budget=Budget(
            max_power_mw=max_power_mw, max_racks=max_racks, max_embodied_t=max_embodied_t
        ),
        sharding=parse_sharding(sharding) if sharding else None,
    )
    made = _swept(question, sweep, max_designs) if sweep else _ranked(question)
    moved = _moved(question, made) if tornado or html else None
    _write(made, moved, html, plot, cost, tornado)
    _print(made, as_json)
    if made.partial:
        raise typer.Exit(INTERRUPTED)


def _known(objective: str) -> str:
    from waferllm.chip.facts import nearest
    from waferllm.errors import InputError
    from waferllm.explore import OBJECTIVES

    if objective not in OBJECTIVES:
        raise InputError(f"Unknown objective {objective!r}. {nearest(objective, OBJECTIVES)}")
    return objective


def _check_files(files: dict[str, Path | None]) -> None:
    """Before minutes of work: names end as they must, and the folders are there."""
    from waferllm.errors import InputError

    for option, path in files.items():
        ending = ".html" if option == "--html" else ".png"
        if path is None:
            continue
        if path.suffix.lower() != ending:
            raise InputError(f"{option} {path}: expected a file name ending in {ending}.")
        if not path.parent.is_dir():
            raise InputError(f"{option} {path}: there is no folder {path.parent}; make it first.")


def _ranked(question: "Question") -> "Exploration":
    return question.shown(question.rows({}, advise=True))


def _swept(question: "Question", sweep: str, max_designs: int) -> "Exploration":
    from waferllm.cli.explore_ask import check_axes
    from waferllm.cli.explore_options import parse_sweep
    from waferllm.cli.explore_sweep import sweep as run

    grid = parse_sweep(sweep, max_designs)
    check_axes(grid, question)
    chunk = max(1, 16 // len(question.systems))
    done = run(
        grid,
        lambda designs: [row for design in designs for row in question.rows(design)],
        chunk_designs=chunk,
    )
    return _advised(question, question.shown(done.rows, done.partial))


def _advised(question: "Question", made: "Exploration") -> "Exploration":
    """The best design of a sweep, asked again for what would help it most."""
    if not made.fitting:
        return made
    best = made.fitting[0]
    one = next(one for one in question.systems if one.name == best.name)
    (row,) = replace(question, systems=(one,)).rows(best.design, advise=True)
    return replace(made, rows=(row, *made.rows[1:]))


Moved = tuple[str, str, float, "tuple[Sensitivity, ...]"]


def _moved(question: "Question", made: "Exploration") -> Moved | None:
    """What moves the objective of the best system that is no wafer: (system, metric, change, rows)."""
    from waferllm.cli.explore_ask import split_settings
    from waferllm.explore import search, sensitivity
    from waferllm.reports.explore_plots import Sensitivity
    from waferllm.reports.explore_rows import BY_KEY

    known = {one.name: one for one in question.systems if not one.wafer}
    best = next((row for row in made.fitting if row.name in known), None)
    if best is None or best.value(question.metric) is None:
        return None
    numbers, asked = split_settings(best.design)
    system, work = known[best.name].with_numbers(numbers), question.workload.with_(**asked)
    chosen = question.sharding or search(
        system, work, model=question.model, objective=question.objective, budget=question.budget,
        advise=False,
    ).sharding  # fmt: skip
    assert chosen is not None  # only wafers have none
    rows = sensitivity(
        system, work, chosen, model=question.model, metric=question.metric, change=CHANGE,
        exact=False,
    )  # fmt: skip
    shown = tuple(Sensitivity(one.key, one.when_lower, one.when_higher) for one in rows)
    return best.label, BY_KEY[question.metric].title, CHANGE, shown


def _write(
    made: "Exploration", moved: Moved | None, html: Path | None, plot: Path | None,
    cost: Path | None, tornado: Path | None,
) -> None:  # fmt: skip
    """The files that were asked for."""
    from waferllm.errors import InputError

    if html is not None:
        from waferllm.reports.explore_page import write_page

        write_page(html, made, sensitivity=moved)
    if plot is not None:
        from waferllm.reports.explore_plots import front

        front(plot, made, "usd_per_mtok", "user_tokens_per_s")
    if cost is not None:
        from waferllm.reports.explore_plots import breakdown

        breakdown(cost, made)
    if tornado is not None:
        from waferllm.reports.explore_plots import tornado as draw

        if moved is None:
            raise InputError(f"--tornado: no system here has {made.objective} to vary inputs of.")
        name, metric, change, rows = moved
        draw(tornado, f"{made.title}, {name}: what moves {metric}", metric, change, rows)


def _print(made: "Exploration", as_json: bool) -> None:
    if as_json:
        typer.echo(jsonlib.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from waferllm.reports.explore_tables import render

    console = Console(highlight=False)
    console.print(render(made, console.width))
