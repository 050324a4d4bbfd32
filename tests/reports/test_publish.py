"""A report's files hold its rows, and a file that no longer does is named."""

import csv

import pytest

from waferllm.reports.book import Sheet
from waferllm.reports.publish import stale, write

ROWS = {
    "lines": (("a", 3, 10.0), ("a", 4, 20.0), ("b", 3, 5.0)),
    "bars": (("a", "3x3", 10.0, ""), ("b", "3x3", "", 20.0)),
    "grouped": (("a", "3x3", 0, 20), ("b", "4x4", 4, 5)),
    "clusters": (("a", "1/2", 1.0), ("a", "2/2", 2.0), ("b", "1/2", 1.0), ("b", "2/2", 3.0)),
    "stacked": (("a", 10, 20, 30), ("b", 1, 2, 3)),
    "matrix": (("a", "holds", "fails", "holds", "holds", 9, 2),),
    "scatter": (
        ("t", "r", "fitted", 10, 11, 10.0),
        ("t", "r", "checked", 20, 20, 0.0),
        ("t", "r", "port", 5, 4, -20.0),
    ),
}


def sheet(plot):
    rows = ROWS[plot]
    columns = tuple(f"column {i}" for i in range(len(rows[0])))
    return Sheet(plot, f"Title of {plot}", "Predicted.", columns, rows, plot)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    write(folder, [sheet(plot) for plot in ROWS])
    return folder


@pytest.mark.parametrize("plot", ROWS)
def test_data_and_figure_stand_beside_each_other(written, plot):
    assert (written / f"results/{plot}.png").read_bytes().startswith(b"\x89PNG")
    with (written / f"results/{plot}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == list(sheet(plot).columns)
    assert rows == [[str(value) for value in row] for row in ROWS[plot]]
    assert f"Title of {plot}" in (written / "results.md").read_text("utf-8")


def test_a_changed_row_and_a_lost_figure_are_named(tmp_path):
    found = [sheet("stacked"), sheet("lines")]
    write(tmp_path, found)
    assert stale(tmp_path, found) == []
    (tmp_path / "results/lines.png").unlink()
    changed = Sheet(
        "stacked", found[0].title, "Predicted.", found[0].columns, (("a", 1, 2, 3),), "stacked"
    )
    lost = stale(tmp_path, [changed, found[1]])
    assert set(lost) == {"results.md", "results/stacked.csv", "results/lines.png"}
