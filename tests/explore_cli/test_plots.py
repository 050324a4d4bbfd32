"""Plots, read back as pixels: what is drawn has the proportions of its numbers."""

from pathlib import Path

import numpy as np
import pytest

from tests.explore_cli.sample import exploration, row
from waferllm.errors import InputError
from waferllm.reports.explore_plots import (
    COLOURS,
    Ceiling,
    Curve,
    Sensitivity,
    WorkPoint,
    breakdown,
    curves,
    front,
    roofline,
    tornado,
)
from waferllm.reports.explore_rows import Exploration


def pixels(path: Path, colour: str) -> np.ndarray:
    """Where a colour is: rows and columns, from a mask [height, width]."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    mask = np.abs(imread(path)[..., :3] - np.array(to_rgb(colour))).max(axis=-1) < 0.01
    return np.argwhere(mask)


def test_the_parts_of_a_cost_are_drawn_in_their_proportions(tmp_path: Path) -> None:
    breakdown(tmp_path / "cost.png", exploration())
    capital, energy, hosting = (len(pixels(tmp_path / "cost.png", c)) for c in COLOURS[:3])
    assert capital / energy == pytest.approx(3 / 2, rel=0.05)
    assert energy / hosting == pytest.approx(2, rel=0.05)


def test_designs_of_one_system_have_a_bar_each(tmp_path: Path) -> None:
    rows = tuple(
        row("hbf-node", 1.0 + n, 0.1, 9.0, design={"hbf.stacks": float(n)}) for n in range(3)
    )
    breakdown(tmp_path / "cost.png", Exploration("a sweep", "$ per Mtok", rows))
    lines = np.unique(
        pixels(tmp_path / "cost.png", COLOURS[2])[:, 0]
    )  # the last part: no legend beside it
    tall = np.split(lines, np.flatnonzero(np.diff(lines) > 1) + 1)
    assert sum(len(band) > 20 for band in tall) == 3


def test_a_roof_is_flat_past_its_ridge_and_no_point_is_above_it(tmp_path: Path) -> None:
    path = tmp_path / "roof.png"
    ceiling = Ceiling("HBM", 1e15, 5e12)  # the ridge is at 200 operations per byte
    points = [WorkPoint("decode", f"batch {n}", float(n), n * 5e12 * 0.5) for n in (1, 10, 100)]
    roofline(path, "a machine", [ceiling], points)
    roof, dots = pixels(path, COLOURS[6]), pixels(path, COLOURS[0])
    top = roof[roof[:, 1] > roof[:, 1].max() - 100]  # the last 100 columns
    assert np.ptp(top[:, 0]) < 8
    assert (
        dots[dots[:, 1] > 400][:, 0].min() > roof[roof[:, 1] > 400][:, 0].min()
    )  # past the legend


def test_a_tornado_reaches_as_far_as_its_numbers_with_the_largest_on_top(tmp_path: Path) -> None:
    path = tmp_path / "tornado.png"
    rows = [Sensitivity("small", -0.02, 0.02), Sensitivity("large", 0.08, -0.08)]
    tornado(path, "what matters", "cost", 0.1, rows)
    widths = np.bincount(pixels(path, COLOURS[5])[:, 0])  # of the bars where the input is lower
    coloured = np.flatnonzero(widths)
    assert widths[coloured[10]] / widths[coloured[-10]] == pytest.approx(4, rel=0.05)


def test_a_front_and_curves_are_drawn(tmp_path: Path) -> None:
    front(tmp_path / "front.png", exploration(), "ttft_s", "user_tokens_per_s")
    assert len(pixels(tmp_path / "front.png", COLOURS[1])) > 50
    line = Curve("flat", [1.0, 10.0, 100.0], [2.0, 2.0, 2.0])
    curves(tmp_path / "curve.png", "flat", "x", "y", [line], log="x")
    drawn = pixels(tmp_path / "curve.png", COLOURS[0])
    wide = drawn[drawn[:, 1] < 900]  # left of the legend
    assert np.ptp(wide[:, 0]) < 20


def test_a_plot_of_nothing_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    nothing = Exploration("nothing", "$ per Mtok", ())
    with pytest.raises(InputError, match="nothing to plot"):
        front(tmp_path / "front.png", nothing, "ttft_s", "tpot_s")
    with pytest.raises(InputError, match="price"):
        breakdown(tmp_path / "cost.png", nothing)
    with pytest.raises(InputError, match="only PNG"):
        breakdown(tmp_path / "cost.pdf", exploration())
