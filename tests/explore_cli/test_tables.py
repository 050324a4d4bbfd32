"""Rows, ranking and tables of an exploration."""

import io
import itertools

import pytest
from rich.console import Console

from tests.explore_cli.sample import NO_PRICE, exploration, row
from waferllm.errors import InputError
from waferllm.reports.explore_rows import Figure, Row, pareto, ranked, show
from waferllm.reports.explore_tables import render


def shown(partial: str = "", width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(exploration(partial), width))
    return console.export_text()


def test_cheapest_first_then_without_a_price_then_what_does_not_fit() -> None:
    names = [one.name for one in exploration().rows]
    assert names == ["hbf-node", "h200x8", "wse3x4", "phone"]
    more_is_better = ranked(exploration().rows, "user_tokens_per_s")
    assert [one.name for one in more_is_better] == ["wse3x4", "h200x8", "hbf-node", "phone"]
    with pytest.raises(InputError, match="flops"):
        ranked([], "flops")


def test_the_front_is_the_one_found_by_brute_force() -> None:
    points = itertools.product((1.0, 2.0, 3.0, 4.0), (5.0, 10.0, 20.0))
    rows = [row(f"{usd} {user}", usd, 0.1, user * usd**0.5) for usd, user in points]

    def beaten(a: Row) -> bool:
        ax, ay = a.value("usd_per_mtok"), a.value("user_tokens_per_s")
        others = [(b.value("usd_per_mtok"), b.value("user_tokens_per_s")) for b in rows]
        return any(x <= ax and y >= ay and (x, y) != (ax, ay) for x, y in others)  # type: ignore[operator]

    expected = {one.name for one in rows if not beaten(one)}
    front = pareto(rows, "usd_per_mtok", "user_tokens_per_s")
    assert {one.name for one in front} == expected
    assert 1 < len(expected) < len(rows)


def test_a_missing_figure_must_say_why_and_a_range_holds_its_value() -> None:
    with pytest.raises(InputError, match="why"):
        Figure(None)
    with pytest.raises(InputError, match="outside"):
        Figure(1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="finite"):
        Figure(float("inf"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (4.6414, "4.64"), (12345.0, "12,300"), (0.01234, "0.0123"), (9.999, "10.0"),
     (-2.5, "-2.50"), (999.6, "1,000"), (3.2e12, "3.20e+12")],
)  # fmt: skip
def test_three_digits(value: float, text: str) -> None:
    assert show(value) == text


def test_the_tables_say_all_that_a_reader_must_know() -> None:
    text = shown()
    assert text.index("hbf-node") < text.index("h200x8") < text.index("wse3x4 r")
    assert "210" in text  # 0.21 s in ms
    assert "(0.450–1.80)" in text  # the price of h200x8, halved and doubled
    assert f"$ per Mtok left out: {NO_PRICE}" in text
    assert "r (wse3x4): recalled, not read in a source: wafer price." in text
    assert "hbf-node: flash wears out in 4.1 years" in text
    assert "weights need 141 GB, and its memory holds 16 GB" in text
    assert "predicted" in text
    assert "PARTIAL" not in text


def test_a_narrow_terminal_gets_a_column_for_each_system_and_loses_no_figure() -> None:
    lines = shown(width=80).splitlines()
    assert max(map(len, lines)) <= 80
    (names,) = [line for line in lines if "1. hbf-node" in line]
    assert names.index("2. h200x8") < names.index("3. wse3x4 r")
    ttft = [word for line in lines if "TTFT" in line for word in line.split()]
    assert [word for word in ttft if word.replace(".", "").isdigit()] == ["350", "210", "40.0"]


def test_a_partial_result_says_so_first() -> None:
    assert "PARTIAL: 12 of 90 designs, then Ctrl-C" in shown("12 of 90 designs, then Ctrl-C")


def test_json_keeps_units_ranges_and_reasons() -> None:
    rows = exploration().to_json()["rows"]
    assert rows[1]["figures"]["usd_per_mtok"] == {"value": 0.9, "low": 0.45, "high": 1.8}
    assert rows[2]["figures"]["usd_per_mtok"] == {"value": None, "why_missing": NO_PRICE}
    assert rows[3] == {
        "system": "phone",
        "fits": False,
        "why_not": "weights need 141 GB, and its memory holds 16 GB",
        "design": {},
    }
