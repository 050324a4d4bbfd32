"""Placed weights: every entry of the checkpoint lies on exactly one core, where its partners are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig, Rope
from waferllm.models.placement import PAD, Placement, move, take


def config(**sizes: Any) -> ModelConfig:
    given = dict(hidden=20, ffn=28, heads=4, kv_heads=2, head_dim=6, vocab=37) | sizes
    return ModelConfig(name="t", family="llama", layers=1, norm_eps=1e-5, rope=Rope(),
                       max_positions=64, **given)  # fmt: skip


PHASES = st.sampled_from(["decode", "prefill"])


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    kv = draw(st.integers(1, 9))
    return Placement(
        config(
            heads=kv * draw(st.integers(1, 4)),
            kv_heads=kv,
            head_dim=2 * draw(st.integers(1, 8)),
            hidden=draw(st.integers(1, 40)),
            ffn=draw(st.integers(1, 60)),
            vocab=draw(st.integers(1, 60)),
        ),
        Mesh(draw(st.integers(1, 7)), draw(st.integers(1, 12))),
        draw(PHASES),
    )


def real(order: np.ndarray) -> list[int]:
    return sorted(order[order != PAD].tolist())


@given(at=placements())
def test_every_index_of_the_checkpoint_appears_exactly_once(at: Placement) -> None:
    c = at.config
    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    sizes = {"hidden": c.hidden, "ffn": c.ffn, "vocab": c.vocab, "keys": kv, "queries": q,
             "attended": q, "qkv": q + 2 * kv, "gate_up": 2 * c.ffn}  # fmt: skip
    for name, size in sizes.items():
        assert real(getattr(at, name)) == list(range(size)), name


@given(at=placements())
def test_every_placed_dimension_tiles_the_mesh_in_all_its_uses(at: Placement) -> None:
    """Decode cuts hidden over rows and ffn over columns; MeshGEMM cuts both into as many as its steps."""
    rows, cols, steps = at.mesh.rows, at.mesh.cols, at.mesh.steps
    prefill = at.phase == "prefill"
    for order, cuts in ((at.hidden, rows), (at.ffn, cols), (at.attended, cols)):
        assert order.size % (steps if prefill else cuts) == 0
    for outer in (at.qkv, at.gate_up, at.vocab, at.keys.reshape(-1), at.frequencies):
        assert outer.size % cols == 0
    assert at.hidden.size - at.config.hidden < (steps if prefill else rows)  # no more than needed
    assert at.ffn.size - at.config.ffn < (steps if prefill else cols)
    assert at.vocab.size - at.config.vocab < cols


@given(at=placements())
def test_a_head_is_cut_over_as_many_columns_as_there_are_for_it_or_a_divisor_of_the_rows(
    at: Placement,
) -> None:
    most = max(1, at.mesh.cols // at.config.kv_heads)
    assert most // 2 < at.span <= most
    assert at.span == most or at.mesh.rows % at.span == 0
    assert at.heads_per_core * (at.mesh.cols // at.span) >= at.config.kv_heads


def heads_of(order: np.ndarray, head_dim: int) -> list[set[int]]:
    """The heads of which each column holds anything."""
    return [set((column[column != PAD] // head_dim).tolist()) for column in order]


@given(at=placements())
def test_a_query_head_sits_with_its_key_head_entry_by_entry(at: Placement) -> None:
    c, group = at.config, at.config.group
    shape = (at.mesh.cols, at.heads_per_core)
    keys = at.keys.reshape(*shape, 1, at.width)
    queries = at.queries.reshape(*shape, group, at.width)
    key_entry = np.where(keys == PAD, PAD, keys % c.head_dim)
    query_entry = np.where(queries == PAD, PAD, queries % c.head_dim)
    np.testing.assert_array_equal(query_entry, np.broadcast_to(key_entry, queries.shape))
    both = queries != PAD
    key_head = np.broadcast_to(keys // c.head_dim, queries.shape)
    np.testing.assert_array_equal(queries[both] // c.head_dim // group, key_head[both])


@given(at=placements())
def test_a_head_lies_whole_on_a_column_or_on_neighbours_that_hold_no_other(at: Placement) -> None:
    held = heads_of(at.keys, at.config.head_dim)
    cols, kv = at.mesh.cols, at.config.kv_heads
    if cols < 2 * kv:
        assert at.span == 1
        assert sum(len(h) for h in held) == kv  # each on one column only
    else:
        assert all(len(h) <= 1 for h in held)
        for head in range(kv):
            columns = [x for x, h in enumerate(held) if head in h]
            assert columns == list(range(columns[0], columns[-1] + 1))
            assert len({x // at.span for x in columns}) == 1  # on one run of `span` columns


@given(at=placements())
def test_rotary_partners_are_adjacent_on_one_core_with_their_frequency(at: Placement) -> None:
    """Hugging Face turns entry i with entry i + head_dim / 2, by frequency i."""
    half = at.config.head_dim // 2
    for order in (at.keys, at.queries):
        assert order.shape[1] % 2 == at.width % 2 == 0
        first, second = order.reshape(-1, 2).T
        np.testing.assert_array_equal(first == PAD, second == PAD)
        here = first != PAD
        assert np.all(first[here] % at.config.head_dim < half)
        np.testing.assert_array_equal(second[here], first[here] + half)
    frequencies = at.frequencies.reshape(at.mesh.cols, 1, -1)
    turned = at.keys.reshape(at.mesh.cols, at.heads_per_core, -1, 2)[..., 0]
    expected = np.broadcast_to(frequencies, turned.shape)
    np.testing.assert_array_equal(
        turned[turned != PAD] % at.config.head_dim, expected[turned != PAD]
    )


@given(at=placements())
def test_a_core_holds_the_parts_of_a_fused_weight_together(at: Placement) -> None:
    """[q | k | v] and [gate | up] of each column are equally long, entry for entry."""
    c, cols = at.config, at.mesh.cols
    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    lengths = [at.queries.shape[1], at.keys.shape[1]]
    for x, column in enumerate(at.qkv.reshape(cols, -1)):
        queries, keys, values = np.split(column, np.cumsum(lengths))
        np.testing.assert_array_equal(queries, at.queries[x])
        np.testing.assert_array_equal(keys, np.where(at.keys[x] == PAD, PAD, at.keys[x] + q))
        np.testing.assert_array_equal(values, np.where(keys == PAD, PAD, keys + kv))
    for x, column in enumerate(at.gate_up.reshape(cols, -1)):
        gate, up = np.split(column, 2)
        np.testing.assert_array_equal(gate, at.ffn.reshape(cols, -1)[x])
        np.testing.assert_array_equal(up, np.where(gate == PAD, PAD, gate + c.ffn))


@given(at=placements())
def test_attention_leaves_its_output_where_w_o_expects_it(at: Placement) -> None:
    """A column's rows of W_O are its query entries, then padding up to whole k-blocks."""
    share = at.queries.shape[1]
    rows = at.attended.reshape(at.mesh.cols, -1)
    np.testing.assert_array_equal(rows[:, :share], at.queries)
    assert np.all(rows[:, share:] == PAD)
    blocks = at.mesh.steps // at.mesh.cols if at.phase == "prefill" else 1
    assert 0 <= rows.shape[1] - share < blocks


@given(at=placements())
def test_what_attention_is_told_fits_what_is_placed(at: Placement) -> None:
    heads = at.core_heads(0)
    assert at.keys.shape == (at.mesh.cols, heads.kv * heads.width)
    assert at.queries.shape == (at.mesh.cols, heads.kv * heads.group * heads.width)
    assert heads.span * heads.width >= at.config.head_dim
    assert heads.scale == pytest.approx(1 / np.sqrt(at.config.head_dim))


ORDERS = ("hidden", "ffn", "vocab", "attended", "qkv", "gate_up")


@given(data=st.data(), first=placements())
def test_moving_between_meshes_is_placing_anew_and_moves_compose(
    data: st.DataObject, first: Placement
) -> None:
    side = st.integers(1, 9)
    second, third = (
        Placement(first.config, Mesh(data.draw(side), data.draw(side)), data.draw(PHASES))
        for _ in "ab"
    )
    name = data.draw(st.sampled_from(ORDERS))
    a, b, c = (getattr(p, name) for p in (first, second, third))
    weight = np.random.default_rng(0).normal(size=(3, 1 + max(real(a))))
    placed = take(weight, a, 1)
    np.testing.assert_array_equal(take(placed, move(a, b), 1), take(weight, b, 1))
    through = take(take(placed, move(a, b), 1), move(b, c), 1)
    np.testing.assert_array_equal(through, take(placed, move(a, c), 1))
    np.testing.assert_array_equal(take(through, move(c, a), 1), placed)


@given(at=placements(), other=st.tuples(st.integers(1, 7), st.integers(1, 12)))
def test_a_norm_weight_of_one_head_moves_though_several_columns_hold_it(
    at: Placement, other: tuple[int, int]
) -> None:
    """Qwen3's QK norm: one head's weight, repeated for every run of columns that shares a head."""
    to = Placement(at.config, Mesh(*other))
    weight = np.random.default_rng(0).normal(size=at.config.head_dim)
    a, b = at.head.reshape(-1), to.head.reshape(-1)
    assert set(real(a)) == set(range(at.config.head_dim))
    np.testing.assert_array_equal(take(take(weight, a, 0), move(a, b), 0), take(weight, b, 0))


def test_taking_pads_with_zeros_and_leaves_an_unchanged_order_alone() -> None:
    array = np.arange(1, 7).reshape(2, 3)
    np.testing.assert_array_equal(
        take(array, np.array([2, PAD, 0, 1]), 1), [[3, 0, 1, 2], [6, 0, 4, 5]]
    )
    np.testing.assert_array_equal(take(array, np.array([PAD, 1]), 0), [[0, 0, 0], [4, 5, 6]])
    assert take(array, np.arange(3), 1) is array
    assert take(array, np.arange(2), 1).shape == (2, 2)


def test_llama3_8b_on_a_wafer_grid_cuts_every_head_over_45_columns() -> None:
    at = Placement(config(heads=32, kv_heads=8, head_dim=128, hidden=4096, ffn=14336, vocab=128256),
                   Mesh(360, 360))  # fmt: skip
    assert (at.span, at.heads_per_core, at.group, at.width) == (45, 1, 4, 4)
    assert (at.hidden.size, at.ffn.size) == (4320, 14400)
