"""What an exploration shows: rows of predicted figures, as plain data that tables, plots and pages read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from waferllm.errors import InputError


@dataclass(frozen=True)
class Metric:
    """One thing by which systems are compared; `scale` turns the stored unit into the shown one."""

    key: str
    title: str
    unit: str
    lower_is_better: bool
    scale: float = 1.0


METRICS = (
    Metric("ttft_s", "TTFT", "ms", lower_is_better=True, scale=1e3),
    Metric("tpot_s", "TPOT", "ms", lower_is_better=True, scale=1e3),
    Metric("user_tokens_per_s", "tok/s per user", "", lower_is_better=False),
    Metric("system_tokens_per_s", "tok/s per system", "", lower_is_better=False),
    Metric("power_w", "average power", "kW", lower_is_better=True, scale=1e-3),
    Metric("usd_per_mtok", "$ per Mtok", "$", lower_is_better=True),
    Metric("gco2e_per_mtok", "gCO2e per Mtok", "g", lower_is_better=True),
    Metric("joules_per_token", "J per token", "J", lower_is_better=True),
)
BY_KEY = {metric.key: metric for metric in METRICS}


@dataclass(frozen=True)
class Figure:
    """A predicted number with the range that uncertain inputs imply; without a value, says why.

    Raises InputError when the range does not hold the value, or when neither value nor reason is given.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why_missing: str = ""

    def __post_init__(self) -> None:
        if self.value is None:
            if not self.why_missing:
                raise InputError("a figure without a value must say why it is missing.")
            return
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not all(map(math.isfinite, (low, self.value, high))):
            raise InputError(
                f"figure {self.value}: expected finite numbers; leave it out and say why."
            )
        if not low <= self.value <= high:
            raise InputError(f"figure {self.value} lies outside its own range {low} to {high}.")

    @property
    def ranges(self) -> bool:
        """Whether uncertain inputs move the figure by more than one part in a thousand."""
        if self.value is None or self.low is None or self.high is None:
            return False
        return self.high - self.low > 1e-3 * abs(self.value)


@dataclass(frozen=True)
class Row:
    """One design: figures by metric key when it fits, the reason when it does not."""

    name: str
    figures: dict[str, Figure] = field(default_factory=dict)
    why_not: str = ""
    sharding: str = ""
    devices: int = 0
    batch: int = 0
    prefill_bound: str = ""
    decode_bound: str = ""
    helps_most: str = ""
    recalled: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cost_usd_per_mtok: dict[str, float] = field(default_factory=dict)
    design: dict[str, float] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether the design serves the workload at all."""
        return not self.why_not

    @property
    def label(self) -> str:
        """The name, and in a sweep the swept quantities in their order: `hbf-node 6/0/0.2`."""
        swept = "/".join(f"{value:.4g}" for value in self.design.values())
        return f"{self.name} {swept}".rstrip()

    def value(self, key: str) -> float | None:
        """The figure's value in its stored unit, or None where it is missing."""
        figure = self.figures.get(key)
        return None if figure is None else figure.value


@dataclass(frozen=True)
class Exploration:
    """Rows ranked by `metric` and the words around them; `partial` says what was left undone."""

    title: str
    objective: str
    rows: tuple[Row, ...]
    metric: str = "usd_per_mtok"
    notes: tuple[str, ...] = ()
    partial: str = ""

    @property
    def fitting(self) -> tuple[Row, ...]:
        """The rows that fit, best first."""
        return tuple(row for row in self.rows if row.fits)

    @property
    def swept(self) -> bool:
        """Whether the rows are designs of a sweep."""
        return any(row.design for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Everything, in stored units (s, W, $, g, J); missing figures carry their reason."""
        return {
            "title": self.title,
            "source": "predicted",
            "objective": self.objective,
            "partial": self.partial or None,
            "notes": list(self.notes),
            "rows": [_row_json(row) for row in self.rows],
        }


def _row_json(row: Row) -> dict[str, Any]:
    if not row.fits:
        return {"system": row.name, "fits": False, "why_not": row.why_not, "design": row.design}
    return {
        "system": row.name,
        "fits": True,
        "sharding": row.sharding,
        "devices": row.devices,
        "batch": row.batch,
        "figures": {key: _figure_json(figure) for key, figure in row.figures.items()},
        "bounds": {"prefill": row.prefill_bound, "decode": row.decode_bound},
        "helps_most": row.helps_most,
        "cost_usd_per_mtok": row.cost_usd_per_mtok,
        "recalled_inputs": list(row.recalled),
        "warnings": list(row.warnings),
        "design": row.design,
    }


def _figure_json(figure: Figure) -> dict[str, Any]:
    if figure.value is None:
        return {"value": None, "why_missing": figure.why_missing}
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return {"value": figure.value, "low": low, "high": high}


def ranked(rows: Sequence[Row], key: str) -> tuple[Row, ...]:
    """Best first by one metric; then those without it, most tokens per second first; then the unfit.

    Raises InputError for an unknown metric.
    """
    if key not in BY_KEY:
        raise InputError(f"metric {key}: use one of {', '.join(BY_KEY)}.")
    sign = 1.0 if BY_KEY[key].lower_is_better else -1.0

    def place(row: Row) -> tuple[int, float]:
        if not row.fits:
            return (2, 0.0)
        value = row.value(key)
        speed = row.value("system_tokens_per_s") or 0.0
        return (1, -speed) if value is None else (0, sign * value)

    return tuple(sorted(rows, key=place))


def pareto(rows: Sequence[Row], x_key: str, y_key: str) -> tuple[Row, ...]:
    """The rows that no other beats in both metrics, ordered along x; equal ones are kept."""
    x_sign, y_sign = (1.0 if BY_KEY[k].lower_is_better else -1.0 for k in (x_key, y_key))
    points = []
    for row in rows:
        x, y = row.value(x_key), row.value(y_key)
        if row.fits and x is not None and y is not None:
            points.append((x_sign * x, y_sign * y, row))
    points.sort(key=lambda point: point[:2])
    front: list[tuple[float, float, Row]] = []
    for point in points:
        if not front or point[1] < front[-1][1] or point[:2] == front[-1][:2]:
            front.append(point)
    return tuple(point[2] for point in front)


def show(value: float) -> str:
    """Three significant digits with thousands separated, such as 0.0123, 4.64 or 12,300."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    digits = 2 - math.floor(math.log10(abs(rounded)))
    if not 1e-4 <= abs(rounded) < 1e9:
        return f"{rounded:.2e}"
    return f"{rounded:,.{max(digits, 0)}f}"


def show_figure(figure: Figure, metric: Metric) -> str:
    """The value in its shown unit with its range in brackets, or n/a."""
    if figure.value is None:
        return "n/a"
    text = show(figure.value * metric.scale)
    if not figure.ranges or figure.low is None or figure.high is None:
        return text
    return f"{text} ({show(figure.low * metric.scale)}–{show(figure.high * metric.scale)})"
