"""The KV cache of decode: rows of cores hold consecutive positions, physical order = logical order.

*Shift* (WaferLLM): a new entry enters the last row; a row that would then hold more than its upper
neighbour hands its oldest entry one hop up, all rows at once. Rows differ by at most one entry, and the
capacity is rows x row capacity.

    7 entries on 3 rows      append 7        append 8
    row 0   0 1 2            0 1 2           0 1 2
    row 1   3 4              3 4 5           3 4 5
    row 2   5 6              6 7             6 7 8

*Concat* (what a paged cache does on a mesh): new entries stay in the last row, which fills first.

Everything follows from the number of entries: with T entries row y holds positions
[offset(y), offset(y + 1)), offset(y) = y (T // rows) + min(y, T % rows), and position t lies in slot
t mod row capacity of its row. So the only state is the entries and T.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from waferllm.errors import InputError
from waferllm.fabric import Step, index, shift, size
from waferllm.layout import ROWS

POLICIES = ("shift", "concat")


def offset(row: Array | np.ndarray | int, entries: Array | int, rows: int) -> Array:
    """The first position that `row` holds when `entries` are balanced over `rows`."""
    each, more = entries // rows, entries % rows
    return jnp.minimum(row, more) + row * each


def check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InputError(f"KV cache '{policy}': use one of {', '.join(POLICIES)}.")


def capacity(policy: str, rows: int, row_slots: int, prompt: int) -> int:
    """Entries that fit in all, for a prompt of that many entries spread evenly over the rows."""
    check_policy(policy)
    if policy == "shift":
        return rows * row_slots
    return prompt + row_slots - prompt // rows if prompt <= rows * row_slots else rows * row_slots


def append_shift(
    cache: Float[Array, "s cap d"],
    entry: Float[Array, "s d"],
    entries: Int[Array, "s"],
    active: Bool[Array, "s"],
) -> Float[Array, "s cap d"]:
    """Append one entry per sequence slot `s`; `entries` counts those there before.

    One hop: rows below row `entries mod rows` hand their oldest entry up, the last row takes the new one.
    While a row is still empty the first such row takes it, for every row has the new entry at hand.
    """
    rows, row, slots = size(ROWS), index(ROWS), cache.shape[1]
    grows, filling = entries % rows, entries < rows
    oldest = _entry(cache, offset(row, entries, rows) % slots)
    got = shift(oldest, ROWS, Step(-1))
    got = jnp.where((filling | (row == rows - 1))[:, None], entry, got)
    at = offset(row + 1, entries + 1, rows) - 1
    return _put(cache, at % slots, got, active & (row >= grows))


def append_concat(
    cache: Float[Array, "s cap d"],
    entry: Float[Array, "s d"],
    entries: Int[Array, "s"],
    active: Bool[Array, "s"],
) -> Float[Array, "s cap d"]:
    """Append one entry per sequence slot in the last row; nothing moves."""
    last = index(ROWS) == size(ROWS) - 1
    return _put(cache, entries % cache.shape[1], entry, active & last)


def positions(
    slots: int, entries: Int[Array, "s"], prompt: Int[Array, "s"], policy: str
) -> tuple[Int[Array, "s cap"], Bool[Array, "s cap"]]:
    """The position that each of this core's slots holds, and whether it holds one.

    `entries` counts all entries; with concat, `prompt` of them were spread over the rows.
    """
    rows, row = size(ROWS), index(ROWS)
    spread = entries if policy == "shift" else prompt
    first = offset(row, spread, rows)
    after = offset(row + 1, spread, rows)
    if policy == "concat":
        after = jnp.where(row == rows - 1, entries, after)
    first, after = first[:, None], after[:, None]
    held = first + (jnp.arange(slots) - first) % slots
    return held, held < after


def _entry(cache: Array, slot: Array) -> Array:
    return jnp.take_along_axis(cache, slot[:, None, None], axis=1, mode="clip")[:, 0]


def _put(cache: Array, slot: Array, entry: Array, where: Array) -> Array:
    sequence = jnp.arange(cache.shape[0])
    kept = jnp.where(where[:, None], entry.astype(cache.dtype), cache[sequence, slot])
    return cache.at[sequence, slot].set(kept, mode="promise_in_bounds", unique_indices=True)
