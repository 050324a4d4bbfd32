"""`tune` and `predict --schedule real` are two ways to one figure: same placement, same cycles."""

import pytest

from waferllm.chip import WSE2
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.published import group_cores
from waferllm.models.registry import find_config
from waferllm.reports.predict import predict_decode, predict_prefill
from waferllm.tune.options import Work, decodes, prefills

MODEL = find_config("llama3-8b")


@pytest.mark.parametrize(("rows", "cols"), [(360, 360), (331, 187), (720, 720)])
def test_decode(rows: int, cols: int) -> None:
    groups = 18
    made = predict_decode(MODEL, WSE2, (rows, cols), context=4096, schedule="real", groups=groups)
    size = group_cores(rows, groups)
    tuned = decodes(Work(MODEL, WSE2, 4096, 1, "float16"), Mesh(rows, cols),
                    {"": AllReduce(groups=size)}, "shift", 1)  # fmt: skip
    fewest = min(tuned, key=lambda one: (one.regions, one.in_flight))
    assert made.cycles == pytest.approx(fewest.path_cycles, rel=1e-9)
    assert fewest.regions == 1 + next(part.times for part in made.parts if part.name == "move")


@pytest.mark.parametrize("side", [248, 375])
def test_prefill_in_chunks_of_a_token_a_row(side: int) -> None:
    made = predict_prefill(MODEL, WSE2, (side, side), input_len=2048, schedule="real", chunk=side,
                           groups=1)  # fmt: skip
    tuned = prefills(Work(MODEL, WSE2, 2048, 1, "float16"), Mesh(side, side), 1)
    quickest = min(tuned, key=lambda one: one.pass_cycles)
    assert made.cycles == pytest.approx(quickest.pass_cycles, rel=1e-9)
