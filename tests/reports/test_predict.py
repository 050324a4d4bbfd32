"""`predict` answers with the programs' time, in units that agree, and in the published order."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from waferllm.chip import WSE2, chip
from waferllm.cli.predict import predict_app
from waferllm.errors import CapacityError, InputError
from waferllm.models.registry import find_config
from waferllm.plmr.time import BelowFloorError
from waferllm.reports.predict import (
    predict_decode,
    predict_gemm,
    predict_gemv,
    predict_prefill,
)

KEYS = {"cycles", "seconds", "breakdown", "plmr", "chip", "constants"}
MODEL_KEYS = KEYS | {"cycles_per_layer", "tokens_per_s"}
CS3 = "wse3@silicon"


def run(*arguments):
    return CliRunner().invoke(predict_app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ("gemm --M 4320 --K 4320 --N 4320 --chip wse3 --grid 540x540", KEYS),
        ("gemv --K 16384 --N 16384 --grid 600x600 --groups 24", KEYS),
        ("decode --model llama3-8b --grid 420x420 --context 4096", MODEL_KEYS),
        ("prefill --model llama3-8b --grid 600x600 --input 4096", MODEL_KEYS),
        ("decode --schedule real --grid 420x420", MODEL_KEYS),
    ],
)
def test_json_is_one_object_with_the_promised_keys(arguments, keys):
    result = run(*arguments.split(), "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert keys <= set(data)
    parts = ("compute", "fabric", "stages", "software")
    assert sum(data["breakdown"][part] for part in parts) == pytest.approx(data["cycles"])
    assert sum(data["breakdown"]["by_kernel"].values()) == pytest.approx(data["cycles"])
    assert data["seconds"] == pytest.approx(data["cycles"] / data["chip"]["clock_hz"])


def test_the_table_says_predicted():
    result = run("decode", "--grid", "420x420")
    assert result.exit_code == 0
    assert "(predicted)" in result.output
    assert "tokens/s per request" in result.output


def test_tokens_per_second_follow_from_layers_and_clock():
    decode = predict_decode("llama3-8b", "wse2", "420x420")
    assert decode.tokens_per_s == pytest.approx(1.1e9 / (32 * decode.cycles_per_layer))
    prefill = predict_prefill("llama3-8b", "wse2", "480x480", input_len=4096)
    assert prefill.tokens_per_s == pytest.approx(4096 * 1.1e9 / (32 * prefill.cycles_per_layer))


def test_decode_is_within_8_percent_of_the_published_tokens_per_second():
    for side, published in ((420, 2699.9), (540, 2501.5), (660, 2243.3)):
        made = predict_decode("llama3-8b", "wse2", (side, side))
        assert made.tokens_per_s == pytest.approx(published, rel=0.08)


def test_the_real_schedule_adds_embedding_output_and_moves_between_regions():
    made = predict_decode("llama3-8b", "wse2", "360x360", schedule="real")
    assert [(part.name, part.times) for part in made.parts] == [
        ("embed", 1), ("layer", 32), ("move", 3), ("head", 1)
    ]  # fmt: skip
    # A row's part of x, 12 of 4,096 entries in fp16, two to a word, crosses 361 cores.
    move = next(part for part in made.parts if part.name == "move")
    assert move.time.cycles > 361
    assert "4 regions of 4" in made.compliance["M"].reason


def test_a_model_that_does_not_fit_says_what_would_make_it_fit():
    large = predict_decode("llama2-13b", "wse2", "600x600", schedule="real")
    assert not large.compliance["M"].holds
    assert "needs 3 regions of 600x600, wse2 has 1" in large.compliance["M"].reason
    with pytest.raises(CapacityError, match="nothing fits wse2"):
        predict_decode("llama3-70b", "wse2", schedule="real")


def test_chunks_follow_each_other_through_the_regions():
    whole = predict_prefill("llama3-8b", "wse2", "248x248", schedule="real")
    assert not whole.compliance["M"].holds
    parts = predict_prefill("llama3-8b", "wse2", "248x248", schedule="real", chunk="auto")
    assert parts.compliance["M"].holds
    assert parts.question["chunks"] == 17
    times = {part.name: part.times for part in parts.parts}
    # 32 layers once, and for each of the 16 other chunks those of the fullest of twelve regions.
    layers = sum(times[name] for name in ("layer", "layer of chunk 2"))
    assert (layers - 32, times["move"] - 11) == (16 * 3, 16)


def test_the_published_schedule_has_no_chunks():
    with pytest.raises(InputError, match="takes the prompt at once"):
        predict_prefill("llama3-8b", "wse2", "480x480", chunk=480)


def test_a_config_and_a_name_give_the_same():
    by_name = predict_decode("llama3-8b", "wse2", "420x420")
    by_config = predict_decode(find_config("llama3-8b"), WSE2, (420, 420))
    assert by_name.cycles == by_config.cycles


@pytest.mark.parametrize("side", [180, 360, 540, 720])
def test_meshgemm_beats_every_other_gemm(side):
    cycles = {
        name: predict_gemm(2160, 2160, 2160, CS3, (side, side), algorithm=name).cycles
        for name in ("meshgemm", "cannon", "summa", "allgather")
    }
    assert min(cycles, key=cycles.__getitem__) == "meshgemm"


def test_cannon_pays_for_its_wrap_around_edge_where_products_do_not_hide_it():
    mesh, cannon = (
        predict_gemm(720, 720, 720, CS3, (720, 720), algorithm=name).cycles
        for name in ("meshgemm", "cannon")
    )
    assert cannon > 2 * mesh


@pytest.mark.parametrize("side", [120, 360, 600])
def test_the_tree_beats_ring_and_pipeline(side):
    cycles = {
        name: predict_gemv(6 * side, 6 * side, CS3, (side, side), algorithm=name).cycles
        for name in ("meshgemv", "ring", "pipeline")
    }
    assert min(cycles, key=cycles.__getitem__) == "meshgemv"


def test_a_library_call_costs_more_than_the_same_words_by_hand():
    library, hand = (
        predict_gemv(720, 720, CS3, (120, 120), algorithm="pipeline", style=style).cycles
        for style in ("library", "kernel")
    )
    assert library > hand


def test_automatic_groups_are_at_least_as_good_as_the_published():
    auto = predict_gemv(16384, 16384, "wse2", "600x600", groups="auto")
    assert auto.cycles <= predict_gemv(16384, 16384, "wse2", "600x600", groups=24).cycles


def test_an_automatic_grid_is_the_best_of_those_that_hold_the_product():
    auto = predict_gemv(4320, 4320, CS3, "auto", groups=15)
    assert auto.compliance["M"].holds
    assert auto.cycles <= predict_gemv(4320, 4320, CS3, "240x240", groups=15).cycles


def test_a_longer_context_and_prompt_take_longer():
    short, long = (
        predict_decode("llama3-8b", "wse2", "420x420", context=n).cycles for n in (1024, 16384)
    )
    assert short < long
    short, long = (
        predict_prefill("llama3-8b", "wse2", "480x480", input_len=n).cycles for n in (960, 4096)
    )
    assert short < long


def test_the_clock_changes_seconds_and_not_cycles():
    fast, slow = (
        predict_decode("llama3-8b", chip(name), "420x420") for name in ("wse2", "wse2@clock850")
    )
    assert fast.cycles == slow.cycles
    assert slow.seconds / fast.seconds == pytest.approx(1.1 / 0.85)


def test_a_prediction_below_its_floor_is_never_made():
    made = predict_gemm(540, 540, 540, "wse2", "54x54")
    least = 540**3 / (54 * 54 * 4)  # an fp16 core of a wse2 multiplies and adds four times a cycle
    assert made.cycles > least
    part = made.parts[0]
    quick = replace(part, time=replace(part.time, cycles=0.99 * least))
    with pytest.raises(BelowFloorError, match="cycles"):
        replace(made, parts=(quick,))
    with pytest.raises(BelowFloorError, match="J"):
        replace(made, parts=(replace(part, dynamic_j=540**3 * 1.4e-12),))


def test_the_multiply_adds_of_a_model_are_those_of_its_weights():
    """llama3-8b: 4096 wide, 14336 in its FFN, 8 of 32 heads of 128 for keys, 32 layers, vocabulary 128256."""
    made = predict_decode("llama3-8b", "wse2", "480x480", schedule="real")
    layer = 4096 * 4096 + 2 * 4096 * 1024 + 4096 * 4096 + 3 * 4096 * 14336
    assert made.macs == 32 * layer + 128256 * 4096
    assert predict_prefill("llama3-8b", "wse2", "480x480", input_len=10).macs == 10 * 32 * layer


MISTAKES = {
    "gemm --M 9 --K 9 --N 9 --grid 3x3 --algorithm sumna": "Did you mean summa",
    "gemv --K 9 --N 9 --grid 3x3 --algorithm meshgmev": "Did you mean meshgemv",
    "gemm --M 9 --K 9 --N 9 --grid 2000x2000": "larger than wse2",
    "gemm --M 0 --K 9 --N 9 --grid 3x3": "at least 1",
    "gemm --M 9 --K 9 --N 9 --grid 3by3": "ROWSxCOLUMNS",
    "gemm --M 9 --K 9 --N 9 --grid 3x3 --chip wse9": "Unknown chip",
    "gemm --M 9 --K 9 --N 9 --grid 3x3 --dtype float8": "Unknown dtype",
    "gemm --M 9 --K 9 --N 9 --grid 3x3 --software libary": "Did you mean library",
    "gemv --K 9 --N 9 --grid 3x3 --groups 7": "groups on a line",
    "gemv --K 9 --N 9 --grid 3x3 --groups few": "--groups few",
    "gemv --K 9 --N 9 --grid 3x3 --groups 0": "use 1 to 3",
    "gemv --K 9 --N 9 --grid 3x3 --groups 2 --algorithm ring": "ring has none",
    "decode --grid 420x420 --schedule real --context 99999999": "8192 positions",
    "prefill --grid 420x420 --input 9000 --schedule real": "8192 positions",
    "prefill --grid 420x420 --schedule real --chunk some": "or auto",
    "decode --model llama9 --grid 420x420": "llama9",
    "decode --grid 420x360": "square",
    "decode --grid 420x420 --schedule reel": "Did you mean real",
    "decode --grid 420x420 --context 0": "at least 1 token",
    "prefill --grid 420x420 --dtype float32": "float16",
}


@pytest.mark.parametrize(("arguments", "says"), MISTAKES.items())
def test_a_mistake_is_one_sentence(arguments, says):
    result = run(*arguments.split())
    assert isinstance(result.exception, InputError), result.output
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
