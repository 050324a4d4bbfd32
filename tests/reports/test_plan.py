"""A plan agrees with arithmetic on shapes and with its own programs; mistakes get a sentence."""

import json
import random
from dataclasses import replace

import pytest
from rich.console import Console

from waferllm.chip import WSE2
from waferllm.errors import InputError, WaferError
from waferllm.layout import Mesh
from waferllm.models.programs import ModelPrograms
from waferllm.models.registry import named
from waferllm.plmr import read
from waferllm.reports.plan import plan
from waferllm.reports.plan_view import render
from waferllm.reports.regions import Need, Regions, regions_on


def small(**options):
    """A two-layer model that fits a few small regions."""
    config = replace(
        named("llama3-8b"),
        layers=2,
        hidden=256,
        ffn=512,
        heads=8,
        kv_heads=4,
        head_dim=32,
        vocab=1000,
    )
    return plan(config, "wse2", "24x24", "12x18", 100, 200, **options)


def test_weights_and_kv_follow_from_shapes():
    made = small()
    decode = made.phases[1]
    config, cores = made.asked.config, decode.grid.cores
    assert decode.row_slots == -(-300 // 12)
    true = config.parameters_per_layer * 2
    placed = decode.share.weights / decode.share.layers if decode.share.tables == 0 else None
    need = decode.regions.need
    assert need.weights * cores >= true
    assert placed in (None, need.weights)
    width = 2 * -(
        -config.head_dim // (2 * (18 // config.kv_heads))
    )  # whole rotary pairs per column
    assert need.entry == 2 * width * 2  # keys and values, two bytes each


def test_capacity_with_shift_is_rows_times_that_of_concat():
    capacity = small().kv_capacity
    assert capacity["shift"] == 12 * capacity["concat"]
    assert capacity["concat"] > 0
    assert capacity["shift"] <= capacity["bound"]


def test_the_predicted_capacity_fits_and_one_more_entry_does_not():
    made = small()
    decode = made.phases[1]
    row = made.kv_capacity["concat"]
    regions = decode.regions
    assert regions.needed(row) <= regions.available
    more = regions.needed(row + 1)
    assert more is None or more > regions.available


@pytest.mark.parametrize(("model", "grid"), [("llama3-8b", "360x360"), ("qwen3-8b", "300x200")])
def test_buffers_at_capacity_are_as_a_reading_at_that_capacity_says(model, grid):
    made = plan(model, "wse2", "500x500", grid, 512, 512)
    decode, row = made.phases[1], made.kv_capacity["concat"]
    mesh = Mesh.parse(grid)
    programs = ModelPrograms(
        made.asked.config, mesh, chunk=mesh.rows, capacity=row * mesh.rows, dtype="float16"
    )
    parts = (programs.decode_layer(), programs.head(), programs.embed(1))
    whole = max(read(part).temporaries_bytes_per_core for part in parts)
    predicted = decode.regions.need.passing(row, 1) - decode.share.activations
    assert whole <= predicted <= 1.02 * whole + 64


def test_regions_fill_the_chip_upright_or_turned():
    assert regions_on(WSE2, Mesh(360, 360)) == 2 * 2
    assert regions_on(WSE2, Mesh(750, 994)) == 1
    assert regions_on(WSE2, Mesh(331, 375)) == 3 * 2
    assert regions_on(WSE2, Mesh(995, 3)) == 0


def test_needed_regions_by_hand():
    need = Need(
        weights=10_000,
        table=8_000,
        entry=0,
        activations=0,
        buffers=1_000,
        buffers_per_slot=0,
        end_buffers=0,
        slots=1,
    )
    free = WSE2.free_per_core_bytes - 1_000  # 4 layers, or 3 beside a table
    assert (free // 10_000, (free - 8_000) // 10_000) == (4, 3)

    def needed(layers):
        return Regions(WSE2, Mesh(100, 100), layers, False, need).needed(1)

    assert [needed(n) for n in (2, 3, 6, 7, 10, 11)] == [1, 2, 2, 3, 3, 4]


def test_only_a_region_with_a_table_needs_the_buffers_of_the_ends():
    need = Need(
        weights=1_000,
        table=0,
        entry=0,
        activations=0,
        buffers=100,
        buffers_per_slot=0,
        end_buffers=WSE2.free_per_core_bytes - 2_000,  # two layers fit beside them
        slots=1,
    )
    middle = (WSE2.free_per_core_bytes - 100) // 1_000

    def needed(layers, ends):
        return Regions(WSE2, Mesh(100, 100), layers, False, need, ends).needed(1)

    assert [needed(n, 2) for n in (4, 5, 4 + middle, 5 + middle)] == [2, 3, 3, 4]
    assert [needed(n, 1) for n in (2, 3, 2 + middle, 3 + middle)] == [1, 2, 2, 3]


def test_the_most_even_spread_is_what_trying_all_finds():
    rng = random.Random(0)
    for _ in range(300):
        need = Need(
            weights=rng.randint(1, 5_000), table=rng.randint(0, 20_000), entry=rng.randint(1, 100),
            activations=50, buffers=rng.randint(0, 3_000), buffers_per_slot=0.0,
            end_buffers=rng.randint(0, 9_000), slots=5,
        )  # fmt: skip
        layers, ends, count = rng.randint(1, 80), rng.choice([1, 2]), rng.randint(2, 60)
        slots = rng.randint(1, 50)

        def held(middle, end, need=need, slots=slots):
            """(bytes, layers) of the fullest region."""
            sums = [(middle, 0), (end, 1)]
            return max(
                (n * need.layer(slots) + t * need.table + need.passing(slots, t), n)
                for n, t in sums
            )

        tried = []
        for middle in range(layers + 1) if count > ends else [0]:
            end = max(0, -(-(layers - (count - ends) * middle) // ends))
            tried.append((middle, end))
        found = Regions(WSE2, Mesh(360, 360), layers, False, need, ends).spread(count, slots)
        assert found in tried
        assert held(*found) == min(held(*one) for one in tried)


def test_a_share_spreads_layers_over_all_regions():
    need = Need(
        weights=1_000,
        table=2_500,
        entry=10,
        activations=50,
        buffers=100,
        buffers_per_slot=2.0,
        end_buffers=90,
        slots=5,
    )
    share = Regions(WSE2, Mesh(360, 360), 10, False, need).share(7)
    # Four regions and ten layers of 1,070 bytes, the outer two regions beside a table.
    assert max(2 * 1_070 + 2_500, 3 * 1_070) == 2 * 1_070 + 2_500
    assert max(1 * 1_070 + 2_500, 4 * 1_070) == 4 * 1_070
    assert (share.layers, share.tables, share.weights, share.kv) == (4, 0, 4_000, 280)
    assert share.buffers == 100 + 2 * 2
    assert share.total == 6_000 + 4_000 + 280 + 50 + 104


def test_plan_compares_algorithms_side_by_side():
    prefill, decode = small(gemm="cannon", gemv="ring").phases
    assert {c.algorithm: c.compliance.violates for c in prefill.choices} == {
        "meshgemm": "", "cannon": "L", "summa": "LR", "allgather": "LMR",
    }  # fmt: skip
    assert {c.algorithm: c.compliance.violates for c in decode.choices} == {
        "meshgemv": "", "pipeline": "L", "ring": "L",
    }  # fmt: skip
    assert [c.algorithm for c in (*prefill.choices, *decode.choices) if c.chosen] == [
        "cannon",
        "ring",
    ]
    assert not prefill.compliance["L"].holds
    assert not decode.compliance["L"].holds


def test_concat_is_refused_room_that_shift_has():
    made = plan("llama3-8b", "wse2", "660x660", "330x330", 4096, 4096, kv="concat")
    decode = made.phases[1]
    assert decode.row_slots == -(-4096 // 330) + 4096
    assert not decode.fits
    assert any("shift holds" in line for line in made.advice)


def test_a_model_larger_than_the_wafer_is_said_with_the_chips_it_needs():
    made = plan("qwen2-72b", "wse2", "660x660", "660x660")
    whole = made.asked.config.parameters * 2
    chips = -(-whole // (WSE2.cores_total * WSE2.free_per_core_bytes))
    assert any(f"at least {chips} chips" in line for line in made.advice)
    assert made.kv_capacity["bound"] == 0


def test_json_is_strict_json_with_every_figure():
    data = json.loads(json.dumps(small().to_json(), allow_nan=False))
    assert data["label"] == "predicted"
    for phase in ("prefill", "decode"):
        assert set(data[phase]["verdict"]) == set("PLMR")
        assert data[phase]["bytes_per_core"]["limit"] == WSE2.sram_per_core_bytes
        assert data[phase]["kernels"]
        assert data[phase]["algorithms"]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("grid", ["660x660", "994x750"])
def test_the_rendering_keeps_to_the_width(width, grid, capsys):
    Console(width=width, force_terminal=False).print(render(plan("llama3-8b", "wse2", grid, grid)))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "predicted" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gpt5", "wse2"), "Nearest"),
        (("llama3-8b", "wse9"), "Unknown chip"),
        (("llama3-8b", "wse2", "995x751"), "larger than wse2"),
        (("llama3-8b", "wse2", "0x0"), "at least 1"),
        (("llama3-8b", "wse2", "660"), "expected ROWSxCOLUMNS"),
        (("llama3-8b", "wse2", "660x660", "360x360", 0), "at least 1"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments, says):
    with pytest.raises(WaferError, match=says):
        plan(*arguments)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("gemm", "GEMM algorithm"),
        ("gemv", "GEMV algorithm"),
        ("kv", "KV cache"),
        ("dtype", "dtype"),
    ],
)
def test_an_unknown_option_names_what_there_is(option, says):
    with pytest.raises(InputError, match=says):
        plan("llama3-8b", **{option: "no"})


def test_a_dtype_that_the_chip_lacks_is_refused():
    with pytest.raises(InputError, match="no rate"):
        plan("llama3-8b", "dojo", "40x40", "40x40", dtype="float16")
