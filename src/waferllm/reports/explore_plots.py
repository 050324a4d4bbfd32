"""Plots of an exploration as PNG files: roofline, Pareto front, tornado, cost breakdown, curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waferllm.errors import InputError
from waferllm.reports.explore_rows import BY_KEY, Exploration, Metric, pareto, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B", "#8C6D31")
INK, FAINT = "#22272e", "#c8ced6"
MAX_BARS = 12
MAX_NAMES = 8
NAME_PIXELS = 130


@dataclass(frozen=True)
class Ceiling:
    """A roof of one machine: operations per second, and bytes per second of one memory."""

    name: str
    flop_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class WorkPoint:
    """What one phase at one batch reaches; `flop_per_byte` counts what memory must move."""

    phase: str
    label: str
    flop_per_byte: float
    flop_per_s: float


@dataclass(frozen=True)
class Sensitivity:
    """Relative change of a metric when one input falls or rises, such as -0.08 for 8 % less."""

    name: str
    when_lower: float
    when_higher: float


@dataclass(frozen=True)
class Curve:
    """One line of a plot over a swept quantity."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def roofline(
    path: Path, title: str, ceilings: Sequence[Ceiling], points: Sequence[WorkPoint]
) -> None:
    """Attainable against intensity, both logarithmic, with one point for each phase and batch."""
    canvas, axes = _canvas(title)
    xs = [point.flop_per_byte for point in points]
    ridges = [ceiling.flop_per_s / ceiling.bytes_per_s for ceiling in ceilings]
    low, high = min([*xs, *ridges]) / 3, max([*xs, *ridges]) * 3
    for ceiling, ridge, colour in zip(ceilings, ridges, COLOURS[6:] + COLOURS, strict=False):
        y = [value * ceiling.bytes_per_s / 1e12 for value in (low, ridge)]
        peak = ceiling.flop_per_s / 1e12
        name = f"{ceiling.name}: {show(peak)} TFLOP/s, {show(ceiling.bytes_per_s / 1e12)} TB/s"
        axes.plot([low, ridge, high], [*y, peak], color=colour, lw=2, label=name, zorder=2)
    for phase, colour in zip(dict.fromkeys(point.phase for point in points), COLOURS, strict=False):
        chosen = [point for point in points if point.phase == phase]
        _points(axes, chosen, phase, colour)
    _logarithmic(axes, "xy")
    axes.set_xlim(low, high)
    axes.set_xlabel("operations per byte moved, FLOP/B")
    axes.set_ylabel("TFLOP/s")
    _legend(axes)
    _save(canvas, path)


def _points(axes: "Axes", points: Sequence[WorkPoint], phase: str, colour: str) -> None:
    xs = [point.flop_per_byte for point in points]
    ys = [point.flop_per_s / 1e12 for point in points]
    axes.plot(xs, ys, "o-", color=colour, lw=1, ms=6, label=f"{phase} (predicted)", zorder=3)
    for point in (points[0], points[-1])[: len(points)]:
        at = (point.flop_per_byte, point.flop_per_s / 1e12)
        axes.annotate(point.label, at, (8, -9), textcoords="offset points", size=8)


def front(path: Path, made: Exploration, x_key: str, y_key: str) -> None:
    """Every design that fits as a dot, the undominated ones joined and named.

    Raises InputError when no design has both metrics.
    """
    x_metric, y_metric = BY_KEY[x_key], BY_KEY[y_key]
    best = pareto(made.rows, x_key, y_key)
    if not best:
        raise InputError(
            f"no system has both {x_metric.title} and {y_metric.title}: nothing to plot."
        )
    canvas, axes = _canvas(f"{made.title}: {y_metric.title} against {x_metric.title} (predicted)")
    known = [
        (row, x, y)
        for row in made.fitting
        if (x := row.value(x_key)) is not None and (y := row.value(y_key)) is not None
    ]
    x_s, y_s = x_metric.scale, y_metric.scale
    axes.plot([x * x_s for _, x, _ in known], [y * y_s for _, _, y in known], "o",
              color=COLOURS[5], ms=6, alpha=0.6, label=f"{len(known):,} that fit")  # fmt: skip
    xs = [(row.value(x_key) or 0.0) * x_s for row in best]
    ys = [(row.value(y_key) or 0.0) * y_s for row in best]
    axes.plot(xs, ys, "o-", color=COLOURS[1], ms=7, label="not beaten in both")
    axes.set(xlabel=_label(x_metric), ylabel=_label(y_metric))
    _logarithmic(axes, "xy")
    if len(known) <= MAX_NAMES:
        best = tuple(row for row, _, _ in known)
        xs, ys = [x * x_s for _, x, _ in known], [y * y_s for _, _, y in known]
    _name_points(axes, [row.label for row in best], xs, ys)
    _legend(axes)
    _save(canvas, path)


def _name_points(axes: "Axes", names: Sequence[str], xs: list[float], ys: list[float]) -> None:
    """Names from the left on, leaving out those that would lie on one already written."""
    axes.margins(0.12)
    axes.autoscale_view()
    taken: list[tuple[float, float]] = []
    for name, x, y in zip(names, xs, ys, strict=True):
        across, up = axes.transData.transform((x, y))
        if any(abs(across - a) < NAME_PIXELS and abs(up - b) < 26 for a, b in taken):
            continue
        taken.append((across, up))
        right = axes.transAxes.inverted().transform((across, up))[0] > 0.85
        axes.annotate(name, (x, y), (-6 if right else 6, 6), textcoords="offset points",
                      size=8, color=INK, ha="right" if right else "left")  # fmt: skip


def tornado(
    path: Path, title: str, metric: str, change: float, rows: Sequence[Sensitivity]
) -> None:
    """How much the metric moves when each input falls or rises by `change`, the largest on top."""
    shown = sorted(rows, key=lambda one: max(abs(one.when_lower), abs(one.when_higher)))[-MAX_BARS:]
    canvas, axes = _canvas(title, height=1.8 + 0.38 * len(shown))
    places = range(len(shown))
    lower = [100 * one.when_lower for one in shown]
    higher = [100 * one.when_higher for one in shown]
    axes.barh(places, lower, color=COLOURS[5], label=f"input {change:.0%} lower")
    axes.barh(places, higher, color=COLOURS[1], label=f"input {change:.0%} higher")
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(list(places), [one.name for one in shown])
    axes.set_xlabel(f"change of {metric}, % (predicted)")
    axes.grid(visible=False, axis="y")
    _legend(axes)
    _save(canvas, path)


def breakdown(path: Path, made: Exploration) -> None:
    """Dollars per million tokens as stacked parts, one bar for each system that has a price.

    Raises InputError when none has.
    """
    rows = [row for row in made.fitting if row.cost_usd_per_mtok][:MAX_BARS][::-1]
    if not rows:
        raise InputError("no system here has a price: there is no cost to break down.")
    canvas, axes = _canvas(f"{made.title}: cost (predicted)", height=1.8 + 0.42 * len(rows))
    left = [0.0] * len(rows)
    parts = dict.fromkeys(part for row in rows for part in row.cost_usd_per_mtok)
    for part, colour in zip(parts, COLOURS * (1 + len(parts) // len(COLOURS)), strict=False):
        width = [row.cost_usd_per_mtok.get(part, 0.0) for row in rows]
        axes.barh(range(len(rows)), width, left=left, color=colour, label=part)
        left = [start + more for start, more in zip(left, width, strict=True)]
    for place, total in enumerate(left):
        axes.annotate(
            f"${show(total)}", (total, place), (5, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_xlabel("$ per million tokens")
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    _legend(axes)
    _save(canvas, path)


def curves(
    path: Path, title: str, x_label: str, y_label: str, lines: Sequence[Curve], *, log: str = ""
) -> None:
    """Lines over a swept quantity; `log` names the logarithmic axes, such as "x" or "xy"."""
    canvas, axes = _canvas(title)
    for line, colour in zip(lines, COLOURS * (1 + len(lines) // len(COLOURS)), strict=False):
        axes.plot(line.x, line.y, "o-", color=colour, lw=2, ms=4, label=line.name)
    _logarithmic(axes, log)
    axes.set(xlabel=x_label, ylabel=y_label)
    _legend(axes)
    _save(canvas, path)


def _canvas(title: str, *, height: float = 4.8) -> "tuple[Canvas, Axes]":
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, height), dpi=150, layout="constrained", facecolor="white")
    axes = canvas.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, wrap=True)
    axes.grid(visible=True, color=FAINT, lw=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def _logarithmic(axes: "Axes", names: str) -> None:
    """Logarithmic axes that name 1, 2 and 5 of each decade in plain figures, or only 1 over many decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def _legend(axes: "Axes") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor=FAINT)


def _label(metric: Metric) -> str:
    better = "lower" if metric.lower_is_better else "higher"
    unit = f", {metric.unit}" if metric.unit and metric.unit not in metric.title else ""
    return f"{metric.title}{unit} ({better} is better)"


def _save(canvas: "Canvas", path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"plot {path}: only PNG is written; give a name that ends in .png.")
    canvas.savefig(path)
