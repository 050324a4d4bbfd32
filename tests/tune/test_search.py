"""The tuner's answers against a search in plain loops, closed forms and physical floors."""

import itertools
import json
import operator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from waferllm.chip import WSE2, chip
from waferllm.cli.app import app
from waferllm.errors import CapacityError, InputError
from waferllm.layout import Mesh
from waferllm.models.registry import find_config
from waferllm.plmr.energy import constant_power_j
from waferllm.plmr.flight import stream_cycles
from waferllm.plmr.time import BelowFloorError, time
from waferllm.reports.regions import regions_on
from waferllm.reports.validate import published
from waferllm.tune import search
from waferllm.tune.bound import decode_bound_cycles, light_cone_hops, prefill_bound_cycles
from waferllm.tune.options import Work, decodes, move_program, prefills
from waferllm.tune.search import trees, tune
from waferllm.tune.view import _notes

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


def test_setting_dominated_phases_aside_loses_nothing():
    """The best and the front of all pairs, in plain loops over every prefill and decode."""
    work = Work(SMALL, WSE2, 480, 64, "float16")
    first = [p for g in GRIDS[:1] for share in (1, 2) for p in prefills(work, g, share)]
    then = [d for g in GRIDS[1:2] for b in (1, 2) for d in decodes(work, g, trees(g), "shift", b)]
    made = search._chosen(work, "throughput", first, then, 1, False)
    pairs = search._Pairs(work, first, then)
    every = [
        (float(pairs.latency[i, j]), -float(pairs.rate[i, j]), float(pairs.activity[i, j]))
        for i in range(len(first))
        for j in range(len(then))
    ]
    front = {a for a in every if not any(b != a and all(map(operator.le, b, a)) for b in every)}
    shown = {(one.latency_s, -one.output_tokens_per_s, one.activity_j) for one in made.front}
    assert len(made.front) == len(shown)
    assert shown == front
    assert made.placements == len(every)
    assert -made.best[0].output_tokens_per_s == min(rate for _, rate, _ in every)


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
    alone = {d.tree: d.path_cycles for d in made if d.in_flight == d.regions == 1}
    for one in made:
        assert one.step_cycles >= alone[one.tree]  # one region needs no moves
        assert one.in_flight / one.step_cycles <= 1 / one.busy_cycles * (1 + 1e-12)


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


@pytest.mark.parametrize(
    ("model", "name"), [("qwen2-0.5b", "wse2"), ("qwen3-4b", "wse3"), ("llama3-8b", "wse2")]
)
def test_no_plan_beats_the_bound(model, name, monkeypatch):
    monkeypatch.setattr(search, "grids", lambda chip: [Mesh(248, 248)])
    monkeypatch.setattr(search, "SHARES", (1,))
    monkeypatch.setattr(search, "BATCHES", (1, 8))
    monkeypatch.setattr(search, "POLICIES", ("shift",))
    made = tune(model, name, 2048, 256)
    assert made.bound_latency_s < min(one.latency_s for one in made.front)
    weights = made.work.config.layers * made.work.config.parameters_per_layer
    found = chip(name)
    peak = found.cores_total * found.macs_per_cycle["float16"] * found.clock_hz
    for one in (
        made.front
    ):  # operations over peak, with a margin for norms and biases, which are no products
        assert one.ttft_s > 0.99 * 2048 * weights / peak
        assert 1 / one.output_tokens_per_s > 0.99 * (2048 + 255) * weights / 256 / peak


def test_nothing_that_was_measured_beats_the_bound():
    """Tokens/s published for the wafer, of one layer times the layers, against our floors."""
    seen = 0
    for table in published():
        if table.get("kind") not in ("prefill", "decode") or table["chip"] != "wse2":
            continue
        work = Work(find_config(table["model"]), WSE2, 4096, 1, "float16")
        bound = prefill_bound_cycles(work) / 4096 if table["kind"] == "prefill" else None
        for rate in (row["tokens_per_s"] for row in table["rows"] if row.get("tokens_per_s")):
            seen += 1
            assert WSE2.clock_hz / rate > (bound or decode_bound_cycles(work))
    assert seen > 3


@pytest.mark.parametrize(
    ("prefill", "decode", "floor"),
    [
        ({"pass_cycles": 1.0}, {"path_cycles": 1.0, "busy_cycles": 1.0}, "seconds for a request"),
        ({"busy_cycles": 1.0}, {"batch": 10**6}, "seconds for a token"),
        ({"dynamic_j": 0.0}, {"dynamic_j": -1e9}, "joules for a token by activity"),
    ],
)
def test_a_placement_below_a_floor_is_never_shown(prefill, decode, floor):
    work = Work(SMALL, WSE2, 480, 64, "float16")
    grid = Mesh(240, 240)
    first = next(prefills(work, grid, 1))
    then = next(decodes(work, grid, trees(grid), "shift", 1))
    assert search._chosen(work, "latency", [first], [then], 1, False).best
    with pytest.raises(BelowFloorError, match=floor):
        search._chosen(
            work, "latency", [replace(first, **prefill)], [replace(then, **decode)], 1, False
        )


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
        if done == 2 < total:
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


def test_grids_that_were_asked_for_are_costed_as_the_search_costs_them(monkeypatch):
    monkeypatch.setattr(search, "grids", lambda chip: GRIDS[:1])
    asked = (Mesh(248, 248), Mesh(331, 375))
    made = tune(SMALL, "wse2", 480, 64, beside=asked).beside
    work = Work(SMALL, WSE2, 480, 64, "float16")
    alone = [
        one for one in decodes(work, asked[1], {"K=2": trees(asked[1])["K=2"]}, "shift", 1)
        if one.in_flight == 1
    ]  # fmt: skip
    assert made.decode.step_cycles == min(one.step_cycles for one in alone)
    shares = (1, 2, 4)
    passes = [one.pass_cycles for share in shares for one in prefills(work, asked[0], share)]
    assert made.prefill.pass_cycles == min(passes)


def test_a_grid_that_was_asked_for_and_does_not_fit_says_so():
    made = tune("llama3-8b", "wse2", 64, 2, beside=(Mesh(600, 600), Mesh(360, 360)))
    assert made.beside.prefill is None
    assert any("prefill on 600x600 does not fit" in line for line in _notes(made))
