"""`waferllm systems`: the catalogue of the explorer; every number of a system with its source."""

import json as jsonlib
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from waferllm.explore import System


def systems(
    name: Annotated[
        str | None, typer.Argument(help="Show every number of this one: h200x8, wse3x4, FILE.toml.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="part.key=value; repeatable.")
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Show measurements beside predictions instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List systems, workloads and models of the explorer, or every number of one system."""
    from rich.console import Console

    from waferllm.errors import InputError

    if calibration and name:
        raise InputError(f"--calibration is of all systems; leave out {name}.")
    if settings and not name:
        raise InputError("--set changes one system: name it, such as waferllm systems h200x8.")
    if calibration:
        made: Any = _calibration_json()
    elif name is None:
        made = _catalogue_json()
    else:
        made = _system_json(_found(name, settings or []))
    if as_json:
        typer.echo(jsonlib.dumps(made, indent=2, ensure_ascii=False, allow_nan=False))
        return
    show = _show_calibration if calibration else _show_system if name else _show_catalogue
    show(Console(highlight=False), made)


def _found(name: str, settings: list[str]) -> "System":
    from waferllm.cli.explore_ask import named_systems
    from waferllm.cli.explore_options import parse_settings

    return named_systems(name, parse_settings(settings))[0]


def _catalogue_json() -> dict[str, Any]:
    from waferllm.explore import MODELS, SYSTEMS, WORKLOADS, system

    return {
        "systems": {name: _summary(system(name)) for name in SYSTEMS},
        "workloads": {work.name: work.says for work in WORKLOADS.values()},
        "models": list(MODELS),
    }


def _summary(one: "System") -> dict[str, Any]:
    """Of one accelerator: peak, memory by tier, power and price; null where it is not published."""
    from waferllm.explore.placing import capacity_bytes

    tiers = capacity_bytes(one.values())
    made: dict[str, Any] = {"title": one.title, "chips": one.chips}
    made["tflops_16"] = _known(one["chip.tflops_16"])
    made["usable_gb"] = {tier: size / 1e9 for tier, size in tiers.items() if size}
    made["tdp_w"], made["usd"] = _known(one["chip.tdp_w"]), _known(one["chip.usd"])
    return made


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _system_json(one: "System") -> dict[str, Any]:
    """Every number that is not zero; one that nobody has published is null."""
    from waferllm.explore import FIELDS

    numbers = {}
    for key, quantity in FIELDS.items():
        number = one.number(key)
        if number.value == 0:
            continue
        low, high = number.ends
        missing = number.is_missing
        numbers[key] = {
            "value": None if missing else number.value,
            "low": None if missing else low,
            "high": None if missing else high,
            "unit": quantity.unit,
            "says": quantity.says,
            "label": number.source.tag.label,
            "tag": number.source.tag.value,
            "source": number.source.text,
        }
    return {"name": one.name, "title": one.title, "wafer": one.wafer or None, "numbers": numbers}


def _calibration_json() -> dict[str, Any]:
    from waferllm.explore.calibrated import calibration

    made = calibration()
    return {
        "summary": made.summary(),
        "points": {
            kind: [
                {"what": p.what, "measured": p.measured, "predicted": p.predicted, "unit": p.unit,
                 "error": p.error, "fitted": p.fitted}
                for p in points
            ]
            for kind, points in made.points.items()
        },
    }  # fmt: skip


def _show_catalogue(console: Any, made: dict[str, Any]) -> None:
    heads = ["system", "", "16-bit TFLOP/s", "usable GB", "W"]
    rows = [
        [name, "" if one["title"] == f"1 x {name}" else one["title"], _plain(one["tflops_16"]),
         ", ".join(f"{tier.upper()} {_plain(size)}" for tier, size in one["usable_gb"].items()),
         _plain(one["tdp_w"])]
        for name, one in made["systems"].items()
    ]  # fmt: skip
    console.print(_table(heads, rows))
    console.print(
        "Figures are of one accelerator; waferllm systems NAME shows how many, and sources.\n"
    )
    console.print(_table(["workload", ""], [[k, says] for k, says in made["workloads"].items()]))
    console.print("\n[bold]models[/] (or a config.json)")
    console.print(", ".join(made["models"]))
    console.print("\nAn accelerator takes a count: h100x4, wse3x6. Every number of one: "
                  "waferllm systems h100x4.")  # fmt: skip


def _show_system(console: Any, made: dict[str, Any]) -> None:
    from rich.markup import escape

    console.print(f"[bold]{escape(made['title'] or made['name'])}[/]  ({escape(made['name'])})")
    rows = [
        [key, _value(number), number["unit"], _label(number), number["source"]]
        for key, number in made["numbers"].items()
    ]
    console.print(_table(["number", "value", "unit", "label", "source"], rows))
    console.print("Brackets: the range used for uncertain numbers. Numbers at zero are not shown.")


def _plain(value: float | None) -> str:
    return "n/a" if value is None else f"{float(f'{value:.4g}'):,.10g}"


def _value(number: dict[str, Any]) -> str:
    if number["value"] is None:
        return "not published"
    text = _plain(number["value"])
    if number["low"] == number["high"]:
        return text
    return f"{text} ({_plain(number['low'])}–{_plain(number['high'])})"


def _label(number: dict[str, Any]) -> str:
    from waferllm.chip.facts import Tag

    weak = number["tag"] in (Tag.RECALLED, Tag.UNVERIFIED)
    return f"[yellow]{number['label']}[/]" if weak else number["label"]


def _show_calibration(console: Any, made: dict[str, Any]) -> None:
    rows = [
        [kind, f"{one['points']:,}", f"{one['median_error']:.1%}", f"{one['largest_error']:.0%}"]
        for kind, one in made["summary"].items()
    ]
    console.print(_table(["measurements", "points", "median error", "largest"], rows))
    whole = [
        [
            p["what"],
            f"{p['measured']:.3g}",
            f"{p['predicted']:.3g}",
            p["unit"],
            f"{p['error']:+.1%}",
        ]
        for kind, points in made["points"].items()
        if kind.startswith("tokens")
        for p in points
    ]
    console.print(_table(["tokens of whole models", "measured", "predicted", "", "error"], whole))
    console.print("Measured: published by others, sources in --json and docs/explorer.md; "
                  "predicted: by this model. All points: --json.")  # fmt: skip


def _table(heads: list[str], rows: list[list[str]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for n, head in enumerate(heads):
        table.add_column(head, justify="left", overflow="fold", no_wrap=n == 0)
    for row in rows:
        table.add_row(*row)
    return table
