"""Predictions and validations as tables for a person."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from waferllm.plmr.energy import ACTIVITY
from waferllm.reports.prediction import Prediction
from waferllm.reports.validate import CHECK, FIT, PORT, Row, Validation, summary
from waferllm.units import show_count

TOP_KERNELS = 8


def render(made: Prediction) -> RenderableType:
    """Time, breakdown and compliance of one prediction."""
    chip = made.chip
    asked = ", ".join(f"{key} {value}" for key, value in made.question.items())
    head = Table(
        title=f"{asked}\non {made.grid} cores of {chip.name} (predicted)", show_header=False
    )
    head.add_row("cycles", show_count(made.cycles))
    head.add_row("time", f"{made.seconds * 1e6:,.2f} us at {chip.clock_hz / 1e9:.3g} GHz")
    if made.tokens_per_s is not None and made.cycles_per_layer is not None:
        head.add_row("cycles per layer", f"{show_count(made.cycles_per_layer)} x {made.layers}")
        head.add_row("tokens/s per request", f"{made.tokens_per_s:,.1f}")
    energy = made.energy()
    head.add_row(
        "energy",
        f"{energy['constant_power']:.3g} J at constant power, {energy['activity']:.3g} J by activity",
    )
    return Group(head, _breakdown(made), _verdicts(made), _assumed())


def _assumed() -> Text:
    said = "; ".join(f"{a.name} {a.value:g} {a.unit} ({a.source})" for a in ACTIVITY)
    return Text(f"Energy by activity assumes {said}.")


def _breakdown(made: Prediction) -> Table:
    found = made.breakdown()
    table = Table(title="Where the cycles go (predicted)")
    for column, justify in (("", "left"), ("cycles", "right"), ("share", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    rows = [(cause, found[cause]) for cause in ("compute", "fabric", "stages", "software")]
    rows += [
        ("exposed communication", found["exposed_communication"]),
        ("hidden communication", found["hidden_communication"]),
    ]
    for name, cycles in rows:
        table.add_row(name, show_count(cycles), f"{cycles / made.cycles:.1%}")
    table.add_section()
    for name, cycles in list(found["by_kernel"].items())[:TOP_KERNELS]:
        table.add_row(name, show_count(cycles), f"{cycles / made.cycles:.1%}")
    return table


def _verdicts(made: Prediction) -> Text:
    lines = [
        f"{v.letter} {'holds' if v.holds else 'FAILS'}  {v.reason}"
        for v in made.compliance.verdicts
    ]
    return Text("\n".join(lines))


def render_validation(made: Validation) -> RenderableType:
    """Every published row beside our prediction."""
    table = Table(title="Published measurements (cycles) beside our predictions")
    columns = ("row", "use", "measured", "predicted", "error")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    for one in made.tables:
        if one["kind"] == "published":
            continue
        rows = made.of(table=one["name"])
        mean = summary(rows)["mean_absolute_error"]
        table.add_row(Text(one["title"], style="bold"), "", "", "", f"mean {mean:.1%}")
        for row in rows:
            table.add_row(
                f"  {row.label}",
                _SAID[row.use],
                show_count(row.measured_cycles),
                show_count(row.predicted_cycles),
                f"{row.error:+.1%}",
            )
        table.add_section()
    lines = [
        _summary_line(made.timed, "All rows of known code"),
        _summary_line(made.of(use=FIT), "Rows that were fitted"),
        _summary_line(made.of(use=CHECK), "Rows that were only checked"),
        _summary_line(made.of(use=PORT), "Ports of unseen code, from assumptions"),
    ]
    titles = "; ".join(one["title"] for one in made.unexplained)
    lines.append(f"Published and not predicted: {titles}.")
    return Group(table, Text("\n".join(lines)))


_SAID = {FIT: "fitted", CHECK: "checked", PORT: "port"}


def _summary_line(rows: tuple[Row, ...], says: str) -> str:
    found = summary(rows)
    return (
        f"{says} ({found['count']:.0f}): mean {found['mean_absolute_error']:.1%}, median "
        f"{found['median_absolute_error']:.1%}, worst {found['worst_absolute_error']:.1%}."
    )
