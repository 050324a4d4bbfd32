"""`waferllm chips`: fits the terminal, labels every figure, and its JSON is strict."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from waferllm.chip import CHIPS, Tag, chip
from waferllm.cli.chips import chip_json, chips, chips_table
from waferllm.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "examples" / "chips" / "my_wafer.toml"


def output(*arguments: str, columns: int = 80) -> str:
    app = typer.Typer()
    app.command()(chips)
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns)})
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", [None, *CHIPS, "wse3@silicon"])
def test_nothing_is_cut_off_or_wraps_past_the_terminal(name: str | None, columns: int) -> None:
    text = output(*([name] if name else []), columns=columns)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns


def test_the_list_marks_every_number_with_where_it_came_from() -> None:
    row = next(line for line in output().splitlines() if line.startswith("wse2"))
    shown = "750x994 p 745,500 c 48 p 24 p 1.1 p 1 p 4 p 6.56 c"
    assert row.split()[1:] == shown.split()
    for tag in set(Tag) - {Tag.USER}:
        assert tag.label in output()


@pytest.mark.parametrize("columns", [80, 120])
def test_one_chip_shows_every_fact_with_label_and_source(columns: int) -> None:
    text = output("dojo", columns=columns)
    words = " ".join(text.split())
    for key, fact in chip("dojo").facts.items():
        line = next(line for line in text.splitlines() if line.startswith(key))
        assert fact.source.tag.label in line
        assert fact.source.text.split(maxsplit=1)[0] in words


def test_a_file_is_shown_as_the_users_own() -> None:
    text = output("--chip", str(EXAMPLE))
    assert "my_wafer" in text
    assert "yours" in text


def test_a_name_and_a_file_together_are_refused() -> None:
    with pytest.raises(InputError, match="give one of them"):
        output("wse2", "--chip", str(EXAMPLE))


def test_json_holds_all_chips_and_no_infinity() -> None:
    listed = json.loads(output("--json"), parse_constant=pytest.fail)
    assert [one["name"] for one in listed] == list(CHIPS)
    assert listed == json.loads(str(chips_table(json=True)))
    assert listed[2]["facts"]["routes_per_core"]["value"] == "unlimited"
    assert json.loads(output("wse2", "--json")) == chip_json(CHIPS["wse2"]) == listed[0]
    assert listed[0]["derived"]["cores_total"] == {
        "value": 745_500,
        "unit": "cores",
        "label": "computed",
    }
