"""A comparison as a table and as a plot."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from waferllm.reports.compare import COLUMNS, PREDICTED, PUBLISHED, Comparison, notes, title

COLOURS = {PREDICTED: "#0072B2", PUBLISHED: "#D55E00"}


def render(made: Comparison) -> RenderableType:
    """All systems, those of the wafer first."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if i < 2 else "right")
    for before, one in zip((None, *made.systems), made.systems, strict=False):
        if before is not None and before.origin != one.origin:
            table.add_section()
        table.add_row(*(cell(one) for cell in COLUMNS.values()))
    return Group(Text(title(made)), table, Text(notes(made)))


def plot(path: Path, made: Comparison) -> None:
    """Prefill and decode rates side by side, logarithmic, predicted and published in two colours."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(11, 5), dpi=130, layout="constrained", facecolor="white")
    sides = canvas.subplots(1, 2, sharey=True)
    canvas.suptitle(title(made), fontsize=11)
    names = [one.name.strip() for one in made.systems]
    for axes, phase in zip(sides, ("prefill", "decode"), strict=True):
        rates = [getattr(one, f"{phase}_tokens_per_s") for one in made.systems]
        bars = axes.barh(names, rates, color=[COLOURS[one.origin] for one in made.systems])
        axes.bar_label(
            bars,
            [f"{rate:,.0f}" if rate >= 1000 else f"{rate:.3g}" for rate in rates],
            padding=3,
            fontsize=8,
        )
        axes.set(xscale="log", xlabel=f"{phase}, tokens/s of one request")
        axes.set_xlim(min(rates) / 2, max(rates) * 6)
        axes.grid(visible=True, axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    sides[0].invert_yaxis()
    for origin in dict.fromkeys(one.origin for one in made.systems):
        sides[0].barh([names[0]], [0], color=COLOURS[origin], label=origin)
    canvas.legend(loc="outside lower center", ncols=2, frameon=False)
    canvas.savefig(path)
