"""Figures of a report's sheets: each drawn from the rows that stand in its CSV file, and nothing else."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waferllm.reports.book import Sheet, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B")


def draw(sheet: Sheet, path: Path) -> None:
    """Write the sheet's figure as a PNG file."""
    from matplotlib.figure import Figure

    assert sheet.plot is not None
    canvas = Figure(figsize=(9, 5), dpi=120, layout="constrained", facecolor="white")
    axes = canvas.subplots()
    axes.set_title(sheet.title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    _PLOTS[sheet.plot](axes, sheet)
    _source(canvas, sheet)
    canvas.savefig(path)


def _source(canvas: "Figure", sheet: Sheet) -> None:
    canvas.supxlabel(sheet.note, fontsize=8, color="#444444", wrap=True)


def _lines(axes: "Axes", sheet: Sheet) -> None:
    for name, colour in zip(_first(sheet), COLOURS, strict=False):
        rows = [row for row in sheet.rows if row[0] == name]
        axes.plot(
            [_f(r[1]) for r in rows], [_f(r[2]) for r in rows], "o-", color=colour, label=name
        )
    axes.set(yscale="log", xlabel="side of the grid, cores", ylabel=sheet.columns[2])
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    low, high = axes.get_ylim()
    if high < 20 * low:  # hardly a power of ten: name what is between, too
        axes.yaxis.set_minor_formatter(lambda value, _: _short(value))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)


def _bars(axes: "Axes", sheet: Sheet) -> None:
    """Predicted beside published, one pair for each system and number of cores."""
    names = [f"{row[0]} {row[1]}" for row in sheet.rows]
    beside = 0.2 if any(row[3] != "" for row in sheet.rows) else 0.0
    for column, shift, colour in ((2, -beside, COLOURS[0]), (3, beside, COLOURS[1])):
        at = [i for i, row in enumerate(sheet.rows) if row[column] != ""]
        values = [_f(sheet.rows[i][column]) for i in at]
        if values:
            bars = axes.barh(
                [i + shift for i in at], values, 0.38, color=colour, label=sheet.columns[column]
            )
            axes.bar_label(bars, [_short(v) for v in values], padding=3, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xscale="log", xlabel="tokens/s of one request")
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(loc="center right", fontsize=8)


def _grouped(axes: "Axes", sheet: Sheet) -> None:
    """A bar for each value column, side by side for each row."""
    names = [f"{row[0]}\n{row[1]}" for row in sheet.rows]
    count = len(sheet.columns) - 2
    for k, column in enumerate(sheet.columns[2:]):
        values = [_f(row[2 + k]) for row in sheet.rows]
        at = [i + 0.8 / count * (k - (count - 1) / 2) for i in range(len(names))]
        bars = axes.bar(at, values, 0.76 / count, color=COLOURS[k], label=column)
        axes.bar_label(
            bars,
            [_short(v) if count < 3 else f"{v:.2g}" for v in values],
            fontsize=8 if count < 3 else 6,
        )
    axes.set_xticks(range(len(names)), names)
    every = [_f(v) for row in sheet.rows for v in row[2:]]
    if min(every) > 0:
        axes.axhline(1, color="#6B6B6B", lw=0.8)
        axes.set(yscale="log", ylabel="times", ylim=(min(every) / 2, 30 * max(every)))
    else:
        axes.set(yscale="symlog", ylabel="tokens", ylim=(0, 10 * max(every)))
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _clusters(axes: "Axes", sheet: Sheet) -> None:
    systems, groups = _first(sheet), list(dict.fromkeys(row[1] for row in sheet.rows))
    for k, (system, colour) in enumerate(zip(systems, COLOURS, strict=False)):
        values = [_f(row[2]) for row in sheet.rows if row[0] == system]
        width = 0.85 / len(systems)
        at = [i + width * (k - (len(systems) - 1) / 2) for i in range(len(groups))]
        bars = axes.bar(at, values, 0.95 * width, color=colour, label=system)
        axes.bar_label(bars, [_short(v) for v in values], fontsize=7)
    axes.set_xticks(range(len(groups)), [str(g) for g in groups])
    axes.set(yscale="log", xlabel=sheet.columns[1], ylabel=sheet.columns[2])
    axes.margins(y=0.15)
    axes.legend(frameon=False, ncols=len(systems), loc="upper left", fontsize=8)


def _stacked(axes: "Axes", sheet: Sheet) -> None:
    """Shares of each row's cycles, with the cycles written beside: totals differ a hundredfold."""
    names = [str(row[0]) for row in sheet.rows]
    totals = [sum(_f(v) for v in row[1:]) for row in sheet.rows]
    left = [0.0] * len(names)
    for k, column in enumerate(sheet.columns[1:]):
        widths = [
            100 * _f(row[1 + k]) / total for row, total in zip(sheet.rows, totals, strict=True)
        ]
        axes.barh(
            names, widths, left=left, color=COLOURS[k], label=column.removesuffix(" (predicted)")
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for i, total in enumerate(totals):
        axes.annotate(
            f"{_short(total)} cycles",
            (100, i),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set(xlim=(0, 118), xlabel="% of the layer's cycles (predicted)")
    axes.invert_yaxis()
    axes.legend(
        frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.12), fontsize=9
    )


def _matrix(axes: "Axes", sheet: Sheet) -> None:
    for i, row in enumerate(sheet.rows):
        for j, verdict in enumerate(row[1:5]):
            good = verdict == "holds"
            axes.add_patch(_square(j, i, COLOURS[2] if good else COLOURS[1]))
            axes.text(
                j + 0.5, i + 0.5, str(verdict), ha="center", va="center", color="white", fontsize=9
            )
        axes.text(4.1, i + 0.5, f"{row[5]:,} routes, {row[6]:,} hops", va="center", fontsize=8)
    axes.set(xlim=(0, 5.4), ylim=(len(sheet.rows), 0))
    axes.set_xticks([0.5, 1.5, 2.5, 3.5, 4.7], [*"PLMR", "per core; longest send"])
    axes.set_yticks([i + 0.5 for i in range(len(sheet.rows))], [str(row[0]) for row in sheet.rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _square(x: float, y: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, color=colour)


def _scatter(axes: "Axes", sheet: Sheet) -> None:
    for use, colour, marker in zip(("fitted", "checked", "port"), COLOURS, "os^", strict=False):
        rows = [row for row in sheet.rows if row[2] == use]
        worst = max(abs(_f(row[5])) for row in rows)
        axes.plot(
            [_f(r[3]) for r in rows], [_f(r[4]) for r in rows], marker, color=colour, ms=5, alpha=0.8,
            label=f"{use}: {len(rows)} rows, worst error {worst:.0f} %",
        )  # fmt: skip
    ends = [min(_f(r[3]) for r in sheet.rows) / 2, max(_f(r[3]) for r in sheet.rows) * 2]
    axes.plot(ends, ends, color="#6B6B6B", lw=1, label="equal")
    axes.fill_between(
        ends,
        [0.75 * e for e in ends],
        [1.25 * e for e in ends],
        color="#6B6B6B",
        alpha=0.15,
        label="25 % either way",
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="measured, cycles (published)",
        ylabel="cycles (predicted)",
    )
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)


def _first(sheet: Sheet) -> list[str]:
    return list(dict.fromkeys(str(row[0]) for row in sheet.rows))


def _f(value: Value) -> float:
    return float(value)


def _short(value: float) -> str:
    """A figure of about three digits, without an exponent."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / limit * (1 if limit > 1e4 else 10):,.3g}{suffix}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


_PLOTS: Mapping[str, Callable[["Axes", Sheet], None]] = {
    "lines": _lines, "bars": _bars, "grouped": _grouped, "clusters": _clusters, "stacked": _stacked,
    "matrix": _matrix, "scatter": _scatter,
}  # fmt: skip
