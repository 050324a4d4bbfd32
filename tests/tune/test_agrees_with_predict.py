"""`tune` and `predict --schedule real` are two ways to one figure: same placement, same cycles."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from waferllm.chip import WSE2
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.programs import ModelPrograms
from waferllm.models.published import group_cores
from waferllm.models.registry import find_config
from waferllm.plmr.time import time, time_of
from waferllm.plmr.walk import read
from waferllm.reports import regions
from waferllm.reports.predict import predict_decode, predict_prefill
from waferllm.tune import options
from waferllm.tune.members import decode_programs, read_decode
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


@pytest.mark.parametrize(("side", "share"), [(248, 1), (331, 2)])
def test_every_chunk_attends_to_what_is_there_by_then(side: int, share: int) -> None:
    """The layers of all chunks read one by one, against the two that stand for them."""
    config = replace(MODEL, name="two layers", layers=2, vocab=1000)
    made = next(prefills(Work(config, WSE2, 4000, 1, "float16"), Mesh(side, side), share))
    programs = ModelPrograms(config, Mesh(side, side), chunk=share * side, capacity=4000,
                             dtype=jnp.float16)  # fmt: skip
    layers = [
        time(programs.prefill_layer(chunks=n), WSE2).cycles for n in range(1, made.chunks + 1)
    ]
    assert layers == sorted(layers)
    assert made.chunks > 5
    assert made.regions == 1
    each = made.parts["embed"] + made.parts["head"]
    others = sum(config.layers * cycles + each for cycles in layers[:-1])
    assert made.parts["layers"] == pytest.approx(config.layers * layers[-1])
    assert others * (1 - 1e-9) <= made.parts["other chunks"] <= 1.005 * others


@pytest.mark.parametrize("kv", ["shift", "concat"])
def test_decode_is_the_mean_over_its_tokens(kv: str) -> None:
    """Every token's context by itself; the mean takes at most one entry of each row more.

    Whole wavelets make single costs differ from a line in the entries by less than a thousandth.
    """
    grid, tree = Mesh(360, 375), {"": AllReduce(k=3)}
    work = Work(replace(MODEL, layers=2), WSE2, 1000, 300, "float16")
    made = next(decodes(work, grid, tree, kv, 1))

    def layer(slots: int) -> float:
        programs = decode_programs(
            work.config, grid, tokens=slots * (grid.rows if kv == "shift" else 1), batch=1, kv=kv,
            combine=tree[""], dtype="float16",
        )  # fmt: skip
        return time_of(read_decode(programs, ("layer",))["layer"], WSE2).cycles

    steps = range(1, 300)
    held = [-(-(1000 + t) // 360) if kv == "shift" else -(-1000 // 360) + t for t in steps]
    cycles = {slots: layer(slots) for slots in set(held)}
    mean = sum(cycles[slots] for slots in held) / len(held)
    entry = (max(cycles.values()) - min(cycles.values())) / (max(held) - min(held))
    assert mean * (1 - 1e-3) <= made.parts["layers"] / 2 <= mean + 1.01 * entry


@pytest.mark.parametrize("side", [60, 100, 187])
def test_what_is_left_untraced_would_not_have_fitted(side: int) -> None:
    work = Work(MODEL, WSE2, 4096, 4096, "float16")
    programs = options.prefill_programs(MODEL, Mesh(side, side), chunk=side, capacity=4096,
                                        dtype="float16")  # fmt: skip
    least, slots = options._least(programs), programs.buffer_slots
    full = regions.Need.of(
        {"embed": read(programs.embed(side)), "layer": read(programs.prefill_layer()),
         "head": read(programs.head())}, slots,
    )  # fmt: skip
    same = replace(full, buffers=0, end_buffers=0)
    assert least == same
    assert min(full.buffers, full.end_buffers) >= 0
    assert bool(list(prefills(work, Mesh(side, side), 1))) == (side == 187)
