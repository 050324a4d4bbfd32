"""`waferllm chips`: every chip we know, or every fact of one, each number with its provenance."""

import json as jsonlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waferllm.chip import CHIPS, DTYPES, PROFILES, Chip, Source, Tag, chip, load_chip
from waferllm.chip.facts import CATALOGUE_READ, UNDATED
from waferllm.chip.model import quantity_of
from waferllm.errors import InputError
from waferllm.units import GHz, KiB

if TYPE_CHECKING:
    from rich.table import Table

# One letter per provenance, so that a row of numbers still fits 80 columns.
_MARKS = {
    Tag.SEEN: "p",
    Tag.COMPUTED: "c",
    Tag.RECALLED: "r",
    Tag.UNVERIFIED: "u",
    Tag.ASSUMED: "a",
    Tag.USER: "y",
}
_STYLES = {
    Tag.SEEN: "green",
    Tag.COMPUTED: "cyan",
    Tag.RECALLED: "yellow",
    Tag.UNVERIFIED: "yellow",
    Tag.ASSUMED: "magenta",
    Tag.USER: "blue",
}
_WIDE = 100
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def chips(
    name: Annotated[
        str | None, typer.Argument(help="Show every fact of this chip, e.g. wse2 or wse3@silicon.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--chip", help="A chip of your own, from a TOML file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List the chips, or show every fact of one with its source."""
    if name is not None and file is not None:
        raise InputError(f"Got both the chip name {name!r} and the file {file}; give one of them.")
    one = load_chip(file) if file else chip(name) if name else None
    if as_json:
        typer.echo(chips_table(json=True) if one is None else _dumps(chip_json(one)))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if one is None:
        console.print(chips_table(json=False))
        console.print(f"\n{_legend()}")
    else:
        _show(one, console)


def chips_table(*, json: bool) -> "Table | str":
    """All chips of the catalogue: a Rich table, or with `json` the text of a JSON array."""
    if json:
        return _dumps([chip_json(one) for one in CHIPS.values()])
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("chip", style="bold", no_wrap=True)
    for head in ("grid\nX x Y", "cores", "SRAM\nKiB/core", "routes\n/core"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("clock\nGHz", "hop\ncyc", "link\nB/cyc", "16-bit\nPFLOP/s"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in CHIPS.values():
        table.add_row(one.name, *_row(one))
    return table


def _row(one: Chip) -> list[str]:
    """One chip's cells, each number followed by the letter of its provenance."""
    dtype = next(dtype for dtype in DTYPES if dtype in one.macs_per_cycle.known)
    return [
        _cell(one, "grid_cols", f"{one.grid_cols}x{one.grid_rows}"),
        f"{one.cores_total:,} {_mark(Tag.COMPUTED)}",
        _cell(one, "sram_per_core_bytes", f"{one.sram_per_core_bytes / KiB:g}"),
        _cell(one, "routes_per_core", _plain(one.routes_per_core)),
        _cell(one, "clock_hz", f"{one.clock_hz / GHz:g}"),
        _cell(one, "hop_cycles", f"{one.hop_cycles:g}"),
        _cell(one, "link_bytes_per_cycle", f"{one.link_bytes_per_cycle:g}"),
        f"{one.peak_flops(dtype) / 1e15:.3g} {_mark(Tag.COMPUTED)}",
    ]


def _cell(one: Chip, key: str, text: str) -> str:
    return f"{text} {_mark(one.sources[key].tag)}"


def _mark(tag: Tag) -> str:
    return f"[{_STYLES[tag]}]{_MARKS[tag]}[/]"


def _legend() -> str:
    marks = "  ".join(f"{_mark(tag)} {tag.label}" for tag in Tag if tag is not Tag.USER)
    return (
        f"{marks}\nPeaks: dense float16 (dojo_tile: bfloat16) over the usable grid.\n"
        "`waferllm chips NAME` shows every fact with its source."
    )


def _show(one: Chip, console: Any) -> None:
    """Prints every fact of one chip, what follows from them, notes and profiles."""
    from rich.markup import escape

    console.print(f"[bold]{escape(one.title)}[/]  ({escape(one.name)})\n")
    if console.width < _WIDE:
        _print_facts_narrow(one, console)
    else:
        console.print(_facts_table(one))
    console.print()
    console.print(_derived_table(one))
    console.print(f"\nSources read {CATALOGUE_READ} unless said.")
    for note in one.notes:
        console.print(f"- {escape(note)}")
    for profile, facts in PROFILES.get(one.name, {}).items():
        changes = ", ".join(
            f"{key} = {_shown(key, fact.value)} ({fact.source.tag.label}: {fact.source.text})"
            for key, fact in facts.items()
        )
        console.print(f"- profile [bold]{one.name}@{profile}[/]: {escape(changes)}")


def _facts_table(one: Chip) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("fact", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("source", overflow="fold")
    for key, fact in one.facts.items():
        label = f"[{_STYLES[fact.source.tag]}]{fact.source.tag.label}[/]"
        table.add_row(key, escape(_shown(key, fact.value)), label, escape(_cited(fact.source)))
    return table


def _print_facts_narrow(one: Chip, console: Any) -> None:
    """The facts with each source on a line of its own, for terminals too narrow for a column."""
    from rich.markup import escape
    from rich.padding import Padding

    for key, fact in one.facts.items():
        label = f"[{_STYLES[fact.source.tag]}]{fact.source.tag.label}[/]"
        console.print(f"{key:<28}{escape(_shown(key, fact.value)):>16}  {label}")
        console.print(Padding(f"[dim]{escape(_cited(fact.source))}[/]", (0, 0, 0, 4)))


def _cited(source: Source) -> str:
    """The source's text, with its date where that is not the catalogue's."""
    usual = source.date in (CATALOGUE_READ, UNDATED)
    return source.text if usual else f"{source.text} ({source.date})"


def _derived_table(one: Chip) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("follows from the facts", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("label", no_wrap=True)
    for key, (value, unit) in _derived(one).items():
        table.add_row(key, _with_unit(value, unit), "[cyan]computed[/]")
    return table


def _derived(one: Chip) -> dict[str, tuple[float, str]]:
    """What follows from the facts, with its unit."""
    figures: dict[str, tuple[float, str]] = {
        "cores_total": (one.cores_total, "cores"),
        "free_per_core_bytes": (one.free_per_core_bytes, "B"),
        "free_routes_per_core": (one.free_routes_per_core, "routes"),
        "sram_total_bytes": (one.sram_total_bytes, "B"),
        "sram_bandwidth_bytes_per_s": (one.sram_bandwidth_bytes_per_s, "B/s"),
        "fabric_bandwidth_bytes_per_s": (one.fabric_bandwidth_bytes_per_s, "B/s"),
    }
    for dtype in one.macs_per_cycle.known:
        figures[f"peak_flops.{dtype}"] = (one.peak_flops(dtype), "FLOP/s")
        figures[f"nameplate_flops.{dtype}"] = (one.nameplate_flops(dtype), "FLOP/s")
    return figures


def _shown(key: str, value: float | str) -> str:
    """A value with its unit, as people read it."""
    return value if isinstance(value, str) else _with_unit(value, quantity_of(key).unit)


def _with_unit(value: float, unit: str) -> str:
    """A number for people: 1.1 GHz, 31.1 PB/s, 883,350 cores, 3.556 B/cycle."""
    if math.isinf(value):
        return "unlimited"
    scaled = unit in ("Hz", "B/s", "FLOP/s") or (unit == "B" and value >= 1e9)
    for scale, prefix in _PREFIXES:
        if scaled and value >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:,.0f} {unit}" if value == int(value) else f"{value:.4g} {unit}"


def _plain(value: float) -> str:
    return "any" if math.isinf(value) else f"{value:g}"


def chip_json(one: Chip) -> dict[str, Any]:
    """One chip as JSON data; a number without limit is the string "unlimited"."""
    return {
        "name": one.name,
        "title": one.title,
        "facts": {
            key: {
                "value": _finite(fact.value),
                "unit": quantity_of(key).unit,
                "label": fact.source.tag.label,
                "tag": fact.source.tag.value,
                "source": fact.source.text,
                "date": fact.source.date,
            }
            for key, fact in one.facts.items()
        },
        "derived": {
            key: {"value": _finite(value), "unit": unit, "label": Tag.COMPUTED.label}
            for key, (value, unit) in _derived(one).items()
        },
        "notes": list(one.notes),
        "profiles": sorted(PROFILES.get(one.name, {})),
    }


def _finite(value: float | str) -> float | str:
    return "unlimited" if isinstance(value, float) and math.isinf(value) else value


def _dumps(data: object) -> str:
    return jsonlib.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
