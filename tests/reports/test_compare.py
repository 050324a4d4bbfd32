"""A comparison keeps predictions and publications apart, and comes out in the published order."""

import json

import pytest
import typer
from typer.testing import CliRunner

from waferllm.cli.compare import compare as command
from waferllm.errors import InputError
from waferllm.reports.compare import PREDICTED, PUBLISHED, compare

app = typer.Typer()
app.command()(command)
# Typed from the published table: prefill and decode tokens/s on 1, 8 and 2x8 A100.
SGLANG = [(13988.3, 78.9), (17361.6, 260.4), (13994.2, 164.6)]


@pytest.fixture(scope="module")
def made():
    return compare()


def wafer(made):
    return {one.name.strip().split(" (")[0]: one for one in made.systems if one.origin == PREDICTED}


def test_gpu_rows_are_the_published_figures_and_marked_so(made):
    gpus = [one for one in made.systems if one.origin == PUBLISHED]
    assert [(one.prefill_tokens_per_s, one.decode_tokens_per_s) for one in gpus] == SGLANG
    assert all("OSDI" in one.source for one in gpus)


def test_the_published_order_of_systems_comes_out(made):
    found = wafer(made)
    for rate in ("prefill_tokens_per_s", "decode_tokens_per_s"):
        mesh, t10, ladder = (getattr(found[n], rate) for n in ("WaferLLM", "T10", "Ladder"))
        assert mesh > t10 > ladder
    best = max(decode for _, decode in SGLANG)
    assert 6 < found["WaferLLM"].decode_tokens_per_s / best < 20  # the paper's range
    assert found["Ladder"].decode_tokens_per_s < min(decode for _, decode in SGLANG)


def test_every_ingredient_left_out_costs_something(made):
    found = wafer(made)
    whole = found["WaferLLM"]
    assert found["pipeline sums"].decode_tokens_per_s < whole.decode_tokens_per_s / 2
    assert found["ring sums"].decode_tokens_per_s < whole.decode_tokens_per_s / 2
    rows = made.decode_grid.rows
    assert whole.kv_capacity_tokens == rows * found["concat KV"].kv_capacity_tokens > 0


def test_the_time_of_a_request_is_its_prompt_and_its_tokens(made):
    one = wafer(made)["T10"]
    prompt, rest = 4096 / one.prefill_tokens_per_s, 4096 / one.decode_tokens_per_s
    assert one.seconds == pytest.approx(prompt + rest)


def test_json_and_plot(tmp_path):
    file = tmp_path / "systems.png"
    result = CliRunner().invoke(app, ["--model", "llama3-8b", "--json", "--plot", str(file)])
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert {one["origin"] for one in data["systems"]} == {PREDICTED, PUBLISHED}
    assert file.read_bytes().startswith(b"\x89PNG")


MISTAKES = {
    "--model llama9": "llama9",
    "--chip wse9": "Unknown chip",
    "--decode-grid 2000x2000": "larger than wse2",
    "--decode-grid 300x360": "square",
    "--prefill-grid 600x300": "grids only",
    "--input 0": "at least 1",
    "--input 99999999": "8192 positions",
    "--plot systems.pdf": ".png",
}


@pytest.mark.parametrize(("arguments", "says"), MISTAKES.items())
def test_a_mistake_is_one_sentence(arguments, says):
    result = CliRunner().invoke(app, arguments.split())
    assert isinstance(result.exception, InputError), result.output
    assert says in str(result.exception)
