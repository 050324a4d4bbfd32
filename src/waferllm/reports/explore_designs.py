"""A sweep as tables for a terminal: the best designs, and what each axis does to the metric."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from waferllm.reports.explore_rows import BY_KEY, Exploration, Row, show, show_figure

BEST = 10
FEW_VALUES = 11
SHOWN = ("usd_per_mtok", "tpot_s", "system_tokens_per_s")


def sweep_tables(made: Exploration) -> Iterator[Group]:
    """The best designs that fit, then for each value of each axis the best that the others allow."""
    axes = list(made.rows[0].design)
    many = len({row.name for row in made.rows}) > 1
    title = f"The best of {len(made.fitting):,} designs that fit, by {made.objective} (predicted)"
    yield _titled(title, _best(made, axes, many=many))
    for axis in axes:
        title = f"{BY_KEY[made.metric].title} at best for each {axis} (predicted)"
        yield _titled(title, _along(made, axis))


def _best(made: Exploration, axes: Sequence[str], *, many: bool) -> Table:
    shown = [BY_KEY[key] for key in dict.fromkeys((made.metric, *SHOWN))]
    table = _table()
    if many:
        table.add_column("system", no_wrap=True)
    for axis in axes:
        table.add_column(axis.replace(".", "\n", 1), justify="right")
    for metric in shown:
        unit = "" if not metric.unit or metric.unit in metric.title else f" {metric.unit}"
        table.add_column(f"{metric.title}{unit}", justify="right")
    table.add_column("sharding")
    for row in made.fitting[:BEST]:
        first, *rest = (show_figure(row.figures[m.key], m) for m in shown)
        cells = [first.replace(" (", "\n("), *(cell.partition(" (")[0] for cell in rest)]
        design = [f"{value:.4g}" for value in row.design.values()]
        table.add_row(*[row.name] * many, *design, *cells, f"{row.sharding}, batch {row.batch:,}")
    return table


def _along(made: Exploration, axis: str) -> Table:
    """One row: what the metric is at best for each value, of all designs that have it."""
    values = sorted({row.design[axis] for row in made.rows})
    step = -(-len(values) // FEW_VALUES)
    table = _table()
    for value in values[::step]:
        table.add_column(f"{value:.4g}", justify="right", no_wrap=True)
    table.add_row(*(_at_best(made, axis, value) for value in values[::step]))
    return table


def _at_best(made: Exploration, axis: str, value: float) -> str:
    """The rows are ranked: the first with the value is the best."""
    found: Row | None = next((row for row in made.fitting if row.design[axis] == value), None)
    figure = None if found is None else found.value(made.metric)
    return "none fits" if found is None else "n/a" if figure is None else _scaled(made, figure)


def _scaled(made: Exploration, value: float) -> str:
    return show(value * BY_KEY[made.metric].scale)


def _titled(title: str, table: Table) -> Group:
    """A table's own title would be broken at the table's width."""
    return Group(Text(title, style="italic"), table)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
