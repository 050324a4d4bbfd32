"""Every published row beside our prediction: `validate()`. Rows that were fitted to are kept apart.

So are ports of other systems, whose code nobody has seen: their programs are our reading of what
each assumes (`models.compared`).
"""

import statistics
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from waferllm.chip import chip as named_chip
from waferllm.layout import Mesh
from waferllm.models.compared import decode_program, prefill_program
from waferllm.models.registry import find_config
from waferllm.plmr.constants import SOFTWARE, Software, constants_json
from waferllm.plmr.time import Time, time
from waferllm.program import Program
from waferllm.reports.timed import (
    gemm_program,
    gemv_program,
    layer_program,
    multicast_program,
    reduce_program,
)

FIT, CHECK, PORT = "fit", "check", "port"


@dataclass(frozen=True)
class Row:
    """One published row: what was measured, in cycles, and what we predict."""

    table: str
    label: str
    use: str
    measured_cycles: float
    predicted_cycles: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_cycles / self.measured_cycles - 1


@dataclass(frozen=True)
class Validation:
    """All rows, with the tables they come from; `unexplained` tables are not predicted."""

    rows: tuple[Row, ...]
    tables: tuple[Mapping[str, Any], ...]

    @property
    def unexplained(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(table for table in self.tables if table["kind"] == "published")

    @property
    def timed(self) -> tuple[Row, ...]:
        """The rows of programs whose code is known: all but the ports."""
        return tuple(row for row in self.rows if row.use != PORT)

    def of(self, *, table: str | None = None, use: str | None = None) -> tuple[Row, ...]:
        """The rows of a table, or of a use, or all."""
        return tuple(
            row for row in self.rows if table in (None, row.table) and use in (None, row.use)
        )

    def to_json(self) -> dict[str, Any]:
        """One object: tables with rows and errors, and the errors by use."""
        return {
            "tables": [self._table_json(table) for table in self.tables],
            "summary": {
                "all": summary(self.timed),
                **{use: summary(self.of(use=use)) for use in (FIT, CHECK, PORT)},
            },
            "constants": constants_json(),
        }

    def _table_json(self, table: Mapping[str, Any]) -> dict[str, Any]:
        head = {key: table[key] for key in ("name", "title", "source")}
        if table["kind"] == "published":
            return {**head, "predicted": False, "rows": table["rows"]}
        rows = self.of(table=table["name"])
        return {
            **head,
            "predicted": True,
            "chip": table["chip"],
            "software": table["software"],
            **summary(rows),
            "rows": [
                {
                    "row": row.label,
                    "use": row.use,
                    "measured_cycles": row.measured_cycles,
                    "predicted_cycles": row.predicted_cycles,
                    "error": row.error,
                }
                for row in rows
            ],
        }


def summary(rows: tuple[Row, ...]) -> dict[str, float]:
    """How many rows, and their mean, median and worst absolute error as shares of the measured."""
    errors = [abs(row.error) for row in rows]
    return {
        "count": len(errors),
        "mean_absolute_error": statistics.fmean(errors),
        "median_absolute_error": statistics.median(errors),
        "worst_absolute_error": max(errors),
    }


def validate(software: Mapping[str, Software] = SOFTWARE) -> Validation:
    """Predicts every published row that is a program here."""
    tables = published()
    rows = [
        row_of(table, row, software)
        for table in tables
        if table["kind"] != "published"
        for row in table["rows"]
    ]
    return Validation(tuple(rows), tables)


@lru_cache(maxsize=1)
def published() -> tuple[Mapping[str, Any], ...]:
    """The tables of `published.toml`."""
    text = files("waferllm.reports").joinpath("published.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["table"])


def row_of(
    table: Mapping[str, Any], row: Mapping[str, Any], software: Mapping[str, Software] = SOFTWARE
) -> Row:
    """One row, predicted."""
    label, program = _program(table, row)
    chip = named_chip(table["chip"])
    made = time(program, chip, software[table["software"]])
    return Row(table["name"], label, row["use"], _measured(table, row), _stamped(table, row, made))


def _stamped(table: Mapping[str, Any], row: Mapping[str, Any], made: Time) -> float:
    """Our cycles as that measurement's clocks would show them.

    The multicast's stamps come from clocks set by a wave that itself travels the line and are
    corrected by one cycle for each hop, so that only one of a hop's cycles shows.
    """
    if table["kind"] != "multicast":
        return made.cycles
    return made.cycles - (made.chip.hop_cycles - 1) * (row["receivers"] - 1)


def _measured(table: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """Cycles of the row; of one layer where tokens per second of a whole model were published."""
    if "cycles" in row:
        return float(row["cycles"])
    tokens = table["tokens"] if table["kind"] == "prefill" else 1
    return tokens * table["clock_hz"] / row["tokens_per_s"] / table["layers"]


def _program(table: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[str, Program]:
    kind = table["kind"]
    if kind == "reduce":
        program = reduce_program(table["side"], table["payload_bytes"], row["step"])
        return f"step {row['step']}", program
    if kind == "multicast":
        program = multicast_program(row["receivers"], row["payload_bytes"])
        return f"{row['payload_bytes']} B to {row['receivers']}", program
    side = row["side"]
    mesh = Mesh(side, side)
    if kind in ("decode", "prefill"):
        return str(mesh), _layer(table, mesh)
    length, algorithm = row["length"], table["algorithm"]
    if kind == "gemm":
        program = gemm_program(algorithm, length, length, length, mesh, "float16")
    else:
        program = gemv_program(algorithm, length, length, mesh, table.get("group_cores"), "float16")
    return f"{length} on {mesh}", program


def _layer(table: Mapping[str, Any], mesh: Mesh) -> Program:
    config, tokens = find_config(table["model"]), table["tokens"]
    if "system" not in table:
        return layer_program(config, mesh, tokens, table["kind"], None)
    if table["kind"] == "decode":
        return decode_program(table["system"], config, mesh, tokens)
    return prefill_program(table["system"], config, mesh, tokens)
