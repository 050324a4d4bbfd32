"""Fit the constants of `waferllm.plmr.constants` to the "fit" rows of `published.toml`.

    python tools/calibrate.py          fit, print constants, their uncertainty and every row's error
    python tools/calibrate.py --all    the same with all rows, to see what the held-out ones would change
    python tools/calibrate.py --without decode_wse2      the same without a table, to see it predicted

Least squares of log(predicted / measured), every table weighing the same, from several starts. It
prints; the constants are typed into `constants.py`, rounded, by whoever reads the result.
"""

import argparse
import math
from collections import Counter

import numpy as np
from scipy.optimize import least_squares

from waferllm.plmr.constants import CONSTANTS, softwares
from waferllm.reports.validate import FIT, Row, Validation, published, row_of, summary, validate

Fitted = dict[str, float]


def rows_of(values: Fitted, everything: bool, without: str) -> list[Row]:
    """The rows to fit, predicted with these constants."""
    software = softwares(values)
    return [
        row_of(table, row, software)
        for table in published()
        if table["kind"] != "published"
        for row in table["rows"]
        if (everything or row["use"] == FIT) and table["name"] != without
    ]


def residuals(x: np.ndarray, everything: bool, without: str) -> np.ndarray:
    values = dict(zip((c.name for c in CONSTANTS), map(float, x), strict=True))
    rows = rows_of(values, everything, without)
    weight = Counter(row.table for row in rows)
    logs = [math.log1p(row.error) / math.sqrt(weight[row.table]) for row in rows]
    return np.array(logs)


def fit(everything: bool, without: str) -> tuple[Fitted, np.ndarray]:
    """The best constants, and one standard error of each."""
    start = np.array([c.value for c in CONSTANTS])
    starts = [start * scale for scale in (1.0, 0.6, 1.6)]
    found = [
        least_squares(
            residuals,
            at,
            bounds=(0, np.inf),
            x_scale=start,
            diff_step=1e-3,
            args=(everything, without),
        )
        for at in starts
    ]
    best = min(found, key=lambda f: f.cost)
    freedom = max(1, len(best.fun) - len(best.x))
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * 2 * best.cost / freedom
    values = dict(zip((c.name for c in CONSTANTS), map(float, best.x), strict=True))
    return values, np.sqrt(np.diag(covariance))


def show(made: Validation) -> None:
    for table in (t for t in made.tables if t["kind"] != "published"):
        rows = made.of(table=table["name"])
        print(f"{table['name']:<16} mean {summary(rows)['mean_absolute_error']:6.1%}")
        for row in rows:
            print(f"    {row.use:<6}{row.label:<20}{row.measured_cycles:>12,.0f}"
                  f"{row.predicted_cycles:>12,.0f}{row.error:>+8.1%}")  # fmt: skip
    for use in (None, "fit", "check"):
        found = summary(made.of(use=use))
        print(use or "all", {k: round(v, 4) for k, v in found.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="fit to all rows")
    tables = [t["name"] for t in published() if t["kind"] != "published"]
    parser.add_argument(
        "--without", choices=tables, default="", help="leave a table out of the fit"
    )
    asked = parser.parse_args()
    values, errors = fit(asked.all, asked.without)
    for constant, error in zip(CONSTANTS, errors, strict=True):
        new = values[constant.name]
        print(
            f"{constant.name:<8}{constant.value:>9.2f} -> {new:>9.2f} +- {error:.2f} {constant.unit}"
        )
    show(validate(softwares(values)))


if __name__ == "__main__":
    main()
