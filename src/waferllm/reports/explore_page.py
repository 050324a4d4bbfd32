"""An exploration as one HTML page that needs no network: it sorts, filters and hovers by itself."""

import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from waferllm.errors import InputError
from waferllm.reports.explore_plots import Sensitivity
from waferllm.reports.explore_rows import BY_KEY, METRICS, Exploration, Figure, Row, pareto

MAX_ROWS = 5_000


def write_page(
    path: Path,
    made: Exploration,
    *,
    x_key: str = "usd_per_mtok",
    y_key: str = "user_tokens_per_s",
    sensitivity: tuple[str, str, float, tuple[Sensitivity, ...]] | None = None,
) -> None:
    """Write the page; `sensitivity` is a system, a metric's title, the change of each input, and the rows.

    Above MAX_ROWS designs the page keeps the front of its two metrics and the best of the rest, and says so.
    Raises InputError when the file's name does not end in .html.
    """
    if path.suffix.lower() != ".html":
        raise InputError(f"page {path}: give a name that ends in .html.")
    path.write_text(page(made, x_key, y_key, sensitivity), encoding="utf-8")


def page(
    made: Exploration,
    x_key: str,
    y_key: str,
    sensitivity: tuple[str, str, float, tuple[Sensitivity, ...]] | None,
) -> str:
    """The page's text; data goes in as JSON in which no character can end the script element."""
    parts = files("waferllm.reports") / "page"
    data = json.dumps(_data(made, x_key, y_key, sensitivity), allow_nan=False, ensure_ascii=False)
    fills = {
        "@TITLE@": html.escape(made.title),
        "@STYLE@": (parts / "page.css").read_text("utf-8"),
        "@SCRIPT@": "".join(
            (parts / name).read_text("utf-8") for name in ("table.js", "charts.js")
        ),
        "@DATA@": data.replace("<", "\\u003c"),
    }
    text = (parts / "page.html").read_text("utf-8")
    for mark, fill in fills.items():  # data last: nothing in it is taken for a mark
        text = text.replace(mark, fill)
    return text


def _data(
    made: Exploration,
    x_key: str,
    y_key: str,
    sensitivity: tuple[str, str, float, tuple[Sensitivity, ...]] | None,
) -> dict[str, Any]:
    rows, notes = _kept(made, x_key, y_key), list(made.notes)
    if len(rows) < len(made.rows):
        notes.insert(0, f"{len(made.rows):,} designs were evaluated; this page keeps {len(rows):,}: those "
                        "that none beats in both plotted figures, and the best of the others.")  # fmt: skip
    return {
        "title": made.title,
        "objective": made.objective,
        "partial": made.partial,
        "notes": notes,
        "metrics": [
            {"key": m.key, "title": m.title, "unit": m.unit, "lower": m.lower_is_better}
            for m in METRICS
        ],
        "rows": [_row(row) for row in rows],
        "x": x_key,
        "y": y_key,
        "sensitivity": None if sensitivity is None else _sensitivity(*sensitivity),
    }


def _kept(made: Exploration, x_key: str, y_key: str) -> tuple[Row, ...]:
    if len(made.rows) <= MAX_ROWS:
        return made.rows
    best = {id(row) for row in pareto(made.rows, x_key, y_key)[:MAX_ROWS]}
    room = MAX_ROWS - len(best)
    kept = []
    for row in made.rows:
        others = id(row) not in best
        if others and room <= 0:
            continue
        room -= others
        kept.append(row)
    return tuple(kept)


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "label": row.label,
        "fits": row.fits,
        "why_not": row.why_not,
        "sharding": f"{row.sharding}, batch {row.batch:,}" if row.batch else row.sharding,
        "prefill_bound": row.prefill_bound,
        "decode_bound": row.decode_bound,
        "helps_most": row.helps_most,
        "recalled": list(row.recalled),
        "warnings": list(row.warnings),
        "figures": {k: _figure(k, figure) for k, figure in row.figures.items() if k in BY_KEY},
        "cost": row.cost_usd_per_mtok,
        "design": row.design,
    }


def _figure(key: str, figure: Figure) -> list[float] | str:
    """Value, low and high in the shown unit; a missing one is its reason."""
    if figure.value is None:
        return figure.why_missing
    scale = BY_KEY[key].scale
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return [scale * figure.value, scale * low, scale * high]


def _sensitivity(
    system: str, metric: str, change: float, rows: tuple[Sensitivity, ...]
) -> dict[str, Any]:
    ordered = sorted(rows, key=lambda one: -max(abs(one.when_lower), abs(one.when_higher)))
    return {
        "system": system,
        "metric": metric,
        "percent": round(100 * change),
        "rows": [[one.name, one.when_lower, one.when_higher] for one in ordered[:10]],
    }
