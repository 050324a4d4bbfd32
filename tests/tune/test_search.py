"""The tuner's answers against a search in plain loops, closed forms and physical floors."""

import itertools
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from waferllm.chip import WSE2
from waferllm.cli.app import app
from waferllm.errors import CapacityError, InputError
from waferllm.layout import Mesh
from waferllm.models.registry import find_config
from waferllm.plmr.energy import constant_power_j
from waferllm.plmr.flight import stream_cycles
from waferllm.plmr.time import time
from waferllm.reports.regions import regions_on
from waferllm.tune import search
from waferllm.tune.bound import light_cone_hops
from waferllm.tune.options import Work, decodes, move_program
from waferllm.tune.search import trees, tune

SMALL = replace(
    find_config("llama3-8b"), name="small", hidden=1024, ffn=2816, layers=4, heads=16, kv_heads=4,
    head_dim=64, vocab=8000, tied=False,
)  # fmt: skip
GRIDS = [Mesh(240, 240), Mesh(248, 187), Mesh(331, 375)]


@pytest.fixture(scope="module")
def found():
    patch = pytest.MonkeyPatch()
    patch.setattr(search, "grids", lambda chip: GRIDS)
    patch.setattr(search, "BATCHES", (1, 2))
    yield tune(SMALL, "wse2", 480, 64, top=4)
    patch.undo()


def test_every_placement_fits_a_core_and_the_wafer(found):
    for one in (*found.best, *found.front):
        for phase in (one.prefill, one.decode):
            assert phase.core_bytes <= WSE2.sram_per_core_bytes
            assert 1 <= phase.regions <= regions_on(WSE2, phase.grid)
        assert one.decode.in_flight <= one.decode.regions


def test_the_best_beats_its_neighbours_and_orders_the_rest(found):
    latencies = [one.latency_s for one in found.best]
    assert latencies == sorted(latencies)
    assert all(latencies[0] <= one.latency_s for _, one in found.neighbours)
    assert {key.split()[0] for key, _ in found.neighbours} == {"prefill", "decode"}
    assert latencies[0] == min(one.latency_s for one in found.front)


def test_the_front_is_what_no_other_dominates(found):
    worths = [(-one.latency_s, one.output_tokens_per_s, -one.activity_j) for one in found.front]
    for a, b in itertools.permutations(worths, 2):
        assert not all(x >= y for x, y in zip(a, b, strict=True))


def test_a_request_takes_its_parts(found):
    best = found.best[0]
    assert best.latency_s == pytest.approx(best.ttft_s + best.relayout_s + 63 * best.tpot_s)
    assert sum(best.decode.parts.values()) == pytest.approx(best.decode.path_cycles)
    assert sum(best.prefill.parts.values()) == pytest.approx(best.prefill.pass_cycles)
    wave_s = best.decode.requests * 64 / best.output_tokens_per_s
    assert wave_s >= best.latency_s
    energy = constant_power_j(wave_s, WSE2) / (best.decode.requests * 64)
    assert best.constant_power_j == pytest.approx(energy)
    assert found.bound_latency_s < best.latency_s


def test_more_batches_in_flight_than_regions_bring_no_speed_beyond_the_slowest_region():
    work = Work(SMALL, WSE2, 480, 64, "float16")
    grid = Mesh(240, 240)
    made = list(decodes(work, grid, trees(grid), "shift", 1))
    alone = {(d.tree, d.regions): d for d in made if d.in_flight == 1}
    for one in made:
        first = alone[one.tree, one.regions]
        assert one.step_cycles >= first.step_cycles
        assert one.in_flight / one.step_cycles <= 1 / one.busy_cycles * (1 + 1e-12)
        assert one.core_bytes >= first.core_bytes


def test_a_move_carries_a_row_over_one_link():
    program = move_program(300, 4096, "float16")
    cycles = time(program, WSE2).cycles
    floor = stream_cycles(8192, WSE2) + 300 * WSE2.hop_cycles
    assert floor <= cycles <= 1.05 * floor


@pytest.mark.parametrize("radius", [0, 1, 2, 7])
def test_a_light_cone_holds_the_cells_that_are_counted(radius):
    reach = range(-radius, radius + 1)
    cells = sum(abs(x) + abs(y) <= radius for x in reach for y in reach)
    assert light_cone_hops(cells) == radius
    assert light_cone_hops(cells + 1) == radius + 1


def test_what_does_not_fit_says_so():
    with pytest.raises(
        CapacityError, match=r"does not fit wse2 in prefill: its weights are 141\.1 GB"
    ):
        tune("llama3-70b", "wse2", 4096, 4096)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="latency"):
        tune(SMALL, objective="latncy")
    with pytest.raises(InputError, match="at least 1 token"):
        tune(SMALL, input_len=0)
    with pytest.raises(InputError, match="positions"):
        tune(SMALL, input_len=10**6)


def test_an_interrupted_search_keeps_what_it_has(monkeypatch):
    monkeypatch.setattr(search, "grids", lambda chip: GRIDS[:1])

    def progress(done, total):
        if done == 3 < total:
            raise KeyboardInterrupt

    made = tune(SMALL, "wse2", 480, 64, progress=progress)
    assert made.interrupted
    assert made.best


def test_the_command_prints_one_object(monkeypatch):
    monkeypatch.setattr(search, "grids", lambda chip: GRIDS[:1])
    monkeypatch.setattr(search, "BATCHES", (1,))
    result = CliRunner().invoke(
        app, "tune --model qwen2-0.5b --input 480 --output 64 --json".split()
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert data["bound"]["best_over_bound"] > 1
    assert data["best"][0]["tpot_s"] > 0
