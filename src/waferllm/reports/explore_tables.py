"""An exploration as tables for a terminal: who fits, in which order, at what price, and what to change."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from waferllm.reports.explore_designs import sweep_tables
from waferllm.reports.explore_rows import METRICS, Exploration, Metric, Row, show_figure

RECALLED_MARK = "r"
TOP_ROWS = 20
EXAMPLES = 3
WIDE_COLUMNS = 125  # one line for each system needs this; below it, one column for each
LABEL_WIDTH, COLUMN_WIDTH = 18, 20  # of the metrics, and of one system among several


def render(made: Exploration, width: int) -> RenderableType:
    """The ranking, what bounds and helps each system, those that do not fit, and the notes.

    `width` is the terminal's, in characters: narrow ones get a column for each system.
    """
    parts: list[RenderableType] = [Text(made.title, style="bold")]
    if made.partial:
        parts.append(Text(f"PARTIAL: {made.partial}", style="bold yellow"))
    if made.fitting:
        parts += _tables(made, width)
    else:
        parts.append(Text("None of these systems can serve this workload."))
    refused = [row for row in made.rows if not row.fits]
    if refused:
        parts.append(_refused(refused, EXAMPLES if made.swept else TOP_ROWS))
    parts += [Text(line) for line in (*_footnotes(made), *made.notes)]
    return Group(*_spaced(parts))


def _tables(made: Exploration, width: int) -> list[RenderableType]:
    if made.swept:
        return list(sweep_tables(made))
    if width >= WIDE_COLUMNS:
        return [_ranking(made), _reasons(made)]
    return _narrow(made, width)


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """An empty line before each table and after the last."""
    made: list[RenderableType] = []
    for before, part in zip((None, *parts), parts, strict=False):
        if not (isinstance(part, Text) and isinstance(before, Text | None)):
            made.append(Text())
        made.append(part)
    return made


def _ranking(made: Exploration) -> Table:
    table = _table(_ranked_by(made))
    table.add_column("", justify="right")
    table.add_column("system", no_wrap=True)
    for metric in METRICS:
        table.add_column(_heading(metric), justify="right")
    for place, row in enumerate(made.fitting[:TOP_ROWS], 1):
        table.add_row(str(place), _marked(row), *(_cell(row, metric) for metric in METRICS))
    return table


def _ranked_by(made: Exploration) -> str:
    return f"Ranked by {made.objective} (predicted)"


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )


def _narrow(made: Exploration, width: int) -> list[RenderableType]:
    """Blocks of a few systems side by side, all figures and reasons below each name."""
    best = made.fitting[:TOP_ROWS]
    across = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    starts = range(0, len(best), across)
    return [_block(made, start, best[start : start + across]) for start in starts]


def _block(made: Exploration, start: int, rows: Sequence[Row]) -> Table:
    table = _table(_ranked_by(made) if start == 0 else "")
    table.add_column("")
    for place, row in enumerate(rows, start + 1):
        table.add_column(f"{place}. {_marked(row)}")
    for metric in METRICS:
        table.add_row(_heading(metric), *(_cell(row, metric) for row in rows))
    table.add_section()
    for label, read in _REASONS:
        table.add_row(label, *(read(row) for row in rows))
    return table


def _sharding(row: Row) -> str:
    return f"{row.sharding}, batch {row.batch:,}" if row.batch else row.sharding


_REASONS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("sharding", _sharding),
    ("prefill bound by", lambda row: row.prefill_bound),
    ("decode bound by", lambda row: row.decode_bound),
    ("would help most", lambda row: row.helps_most),
)


def _heading(metric: Metric) -> str:
    in_title = not metric.unit or metric.unit in metric.title or metric.title.startswith("gCO2e")
    return metric.title if in_title else f"{metric.title} {metric.unit}"


def _cell(row: Row, metric: Metric) -> str:
    figure = row.figures.get(metric.key)
    if figure is None:
        return "n/a"
    return show_figure(figure, metric).replace(" (", "\n(")


def _marked(row: Row) -> str:
    return f"{row.label} {RECALLED_MARK}" if row.recalled else row.label


def _reasons(made: Exploration) -> Table:
    table = _table("How, and what holds it back (predicted)")
    table.add_column("system", no_wrap=True)
    for label, _ in _REASONS:
        table.add_column(label)
    for row in made.fitting[:TOP_ROWS]:
        table.add_row(row.label, *(read(row) for _, read in _REASONS))
    return table


def _refused(rows: list[Row], most: int) -> Table:
    table = _table("Does not fit (predicted)")
    table.add_column("system", no_wrap=True)
    table.add_column("why")
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(row.why_not, []).append(row.label)
    for why, (first, *others) in list(reasons.items())[:most]:
        table.add_row(f"{first}\nand {len(others):,} more" if others else first, why)
    if len(reasons) > most:
        rest = sum(len(labels) for labels in list(reasons.values())[most:])
        table.add_row(f"{rest:,} more", "for reasons like these; --json has all")
    return table


def _footnotes(made: Exploration) -> list[str]:
    shown = made.fitting[: 1 if made.swept else TOP_ROWS]
    lines = []
    if made.swept and shown:
        best = shown[0]
        lines.append(f"The best ({best.label}): prefill bound by {best.prefill_bound}, decode by "
                     f"{best.decode_bound}; would help most: {best.helps_most}.")  # fmt: skip
    if len(made.fitting) > TOP_ROWS and not made.swept:
        lines.append(f"The best {TOP_ROWS} of {len(made.fitting):,} that fit; --json has all.")
    if any(figure.ranges for row in shown for figure in row.figures.values()):
        lines.append("Brackets: the range that uncertain inputs imply.")
    for row in shown:
        lines += [f"{row.name}: {line}" for line in (*row.warnings, *_missing(row))]
    return list(dict.fromkeys(lines)) + _recalled(shown)


def _recalled(rows: Sequence[Row]) -> list[str]:
    """Each set of recalled inputs once, with the systems that rest on it."""
    names: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.recalled and row.name not in names.setdefault(row.recalled, []):
            names[row.recalled].append(row.name)
    return [
        f"{RECALLED_MARK} ({', '.join(systems)}): recalled, not read in a source: {', '.join(keys)}."
        for keys, systems in names.items()
    ]


def _missing(row: Row) -> list[str]:
    """Each reason once, with the metrics that it leaves out."""
    reasons: dict[str, list[str]] = {}
    for metric in METRICS:
        figure = row.figures.get(metric.key)
        if figure is not None and figure.value is None:
            reasons.setdefault(figure.why_missing, []).append(metric.title)
    return [f"{', '.join(titles)} left out: {why}" for why, titles in reasons.items()]
