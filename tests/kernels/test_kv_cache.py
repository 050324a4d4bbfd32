"""The KV cache after every append, against the paper's rule written with Python lists.

Entry t of sequence s is the vector (1000 s + t, ...), so what a core holds says what it is.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array

from tests.agree.programs import kv_append
from waferllm.errors import InputError
from waferllm.fabric import Step
from waferllm.kernels.kv_cache import append_concat, append_shift, capacity, positions
from waferllm.layout import Blocks, Mesh
from waferllm.program import Program, Spec, run

MESHES = [(3, 4), (5, 3), (1, 4), (4, 1)]
SLOTS, SEQUENCES = 3, 3  # slots of one row: few, so that they wrap around within a test

Rows = list[list[int]]


def spread(entries: int, rows: int) -> Rows:
    """A prompt as prefill leaves it: consecutive runs, the earlier rows one longer if need be."""
    each, more = divmod(entries, rows)
    held, first = [], 0
    for y in range(rows):
        held.append(list(range(first, first + each + (y < more))))
        first += len(held[-1])
    return held


def append(held: Rows, entry: int, policy: str) -> Rows:
    """The paper's rule: the last row takes the entry; a row that would hold more than its upper
    neighbour hands its oldest one up."""
    held = [list(row) for row in held]
    held[-1].append(entry)
    if policy == "shift":
        for y in range(len(held) - 1, 0, -1):
            if len(held[y]) > len(held[y - 1]):
                held[y - 1].append(held[y].pop(0))
    return held


def fits(held: Rows, slots: int) -> bool:
    return all(len(row) <= slots for row in held)


def vector(sequence: int, entry: int, width: int) -> np.ndarray:
    return 1000 * (sequence + 1) + entry + np.arange(width) / 64


@cache
def machine(policy: str, mesh: tuple[int, int], slots: int = SLOTS) -> Program:
    """(cache, entry, entries, active) -> cache, one step of appends."""
    return kv_append(policy, Mesh.of(mesh), SEQUENCES, slots, mesh[1] + 1)


@cache
def claim(policy: str, mesh: tuple[int, int], slots: int = SLOTS) -> Program:
    """(entries, prompt) -> the position that every slot of every row holds, and whether it does."""
    counts = Spec((SEQUENCES,), Blocks((None,)), jnp.int32)
    rows = SEQUENCES, mesh[0] * slots
    return Program(
        lambda entries, prompt: positions(slots, entries, prompt, policy),
        mesh=mesh,
        inputs=(counts, counts),
        outputs=tuple(Spec(rows, Blocks((None, "y")), dtype) for dtype in (jnp.int32, jnp.bool_)),
        name="positions",
    )


class Cache:
    """The real cache and the lists beside it; every step compares the two."""

    def __init__(self, policy: str, mesh: tuple[int, int], prompts: list[int], slots: int = SLOTS):
        self.policy, self.mesh, self.slots = policy, mesh, slots
        self.append = machine(policy, mesh, slots)
        self.width = mesh[1] + 1
        self.prompts = prompts
        self.held = [spread(p, mesh[0]) for p in prompts]
        self.cache = np.full((SEQUENCES, mesh[0] * slots, self.width), -1, np.float32)
        for s, held in enumerate(self.held):
            for y, row in enumerate(held):
                for t in row:
                    self.cache[s, y * slots + t % slots] = vector(s, t, self.width)

    def lengths(self) -> list[int]:
        return [sum(len(row) for row in held) for held in self.held]

    def room(self, s: int) -> bool:
        return fits(append(self.held[s], self.lengths()[s], self.policy), self.slots)

    def step(self, active: list[bool]) -> None:
        before, lengths = self.held, self.lengths()
        entries = np.stack([vector(s, t, self.width) for s, t in enumerate(lengths)])
        self.cache = np.asarray(
            run(self.append, self.cache, entries.astype(np.float32),
                np.array(lengths, np.int32), np.array(active))
        )  # fmt: skip
        self.held = [
            append(held, lengths[s], self.policy) if active[s] else held
            for s, held in enumerate(before)
        ]
        self.check()
        self.check_hops(before)

    def check(self) -> None:
        """Everything is where the lists say, in logical order, and the kernel knows it."""
        lengths = np.array(self.lengths(), np.int32)
        at, has = run(claim(self.policy, self.mesh, self.slots), lengths,
                      np.array(self.prompts, np.int32))  # fmt: skip
        at, has = np.asarray(at), np.asarray(has)
        for s, held in enumerate(self.held):
            assert [t for row in held for t in row] == list(range(lengths[s]))
            for y, row in enumerate(held):
                slots = slice(y * self.slots, (y + 1) * self.slots)
                assert sorted(at[s, slots][has[s, slots]].tolist()) == row
                for slot, (t, real) in enumerate(zip(at[s, slots], has[s, slots], strict=True)):
                    if real:
                        got = self.cache[s, y * self.slots + slot]
                        np.testing.assert_array_equal(got, vector(s, t, self.width))
            if self.policy == "shift":
                count = [len(row) for row in held]
                assert max(count) - min(count) <= 1

    def check_hops(self, before: Rows) -> None:
        """No entry moved further than to the row above, except a new one that found an empty row."""
        for old, new in zip(before, self.held, strict=True):
            was = {t: y for y, row in enumerate(old) for t in row}
            now = {t: y for y, row in enumerate(new) for t in row}
            assert all(was[t] - now[t] in (0, 1) for t in was)
            assert all(now[t] in (len(new) - 1, t) for t in now.keys() - was.keys())


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("policy", ["shift", "concat"])
def test_from_empty_to_full_every_entry_is_where_the_rule_puts_it(
    policy: str, mesh: tuple[int, int]
) -> None:
    """Three sequences at once: one from nothing, one from a prompt, one that rests every other step."""
    cache = Cache(policy, mesh, [0, mesh[0] + 1 if mesh[0] > 1 else 1, 0])
    cache.check()
    for step in range(mesh[0] * SLOTS + 1):
        cache.step([cache.room(0), cache.room(1), cache.room(2) and step % 2 == 0])
    full = mesh[0] * SLOTS if policy == "shift" else SLOTS
    assert cache.lengths()[0] == full
    assert not cache.room(0)


@settings(max_examples=12)
@given(data=st.data(), policy=st.sampled_from(["shift", "concat"]))
def test_any_prompts_and_any_pattern_of_activity_keep_the_order(
    data: st.DataObject, policy: str
) -> None:
    mesh = (3, 4)
    prompts = data.draw(st.lists(st.integers(0, 9), min_size=SEQUENCES, max_size=SEQUENCES))
    cache = Cache(policy, mesh, prompts)
    cache.check()
    for wish in data.draw(st.lists(st.tuples(*[st.booleans()] * SEQUENCES), max_size=10)):
        cache.step([w and cache.room(s) for s, w in enumerate(wish)])


def test_slots_wrap_around_many_times() -> None:
    """One slot a row: every entry passes through every slot above its own on its way up."""
    cache = Cache("shift", (5, 3), [0, 2, 5], slots=1)
    for _ in range(5):
        cache.step([cache.room(s) for s in range(SEQUENCES)])
    assert cache.lengths() == [5, 5, 5]


def test_a_sequence_at_rest_keeps_every_bit_whatever_its_count_says() -> None:
    """A freed slot of the engine: not active, its count stale, its cache another's to fill."""
    program = machine("shift", (3, 4))
    cache = np.random.default_rng(0).normal(size=program.inputs[0].shape).astype(np.float32)
    entry = np.ones(program.inputs[1].shape, np.float32)
    counts = np.array([0, 4, 9], np.int32)
    after = np.asarray(run(program, cache, entry, counts, np.array([False, True, False])))
    np.testing.assert_array_equal(after[[0, 2]], cache[[0, 2]])
    assert not np.array_equal(after[1], cache[1])


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3)])
def test_concat_never_touches_any_row_but_the_last(mesh: tuple[int, int]) -> None:
    program = machine("concat", mesh)
    cache = np.random.default_rng(0).normal(size=program.inputs[0].shape).astype(np.float32)
    entry = np.ones(program.inputs[1].shape, np.float32)
    for count in range(SLOTS):
        cache_after = np.asarray(
            run(program, cache, entry, np.full(3, count, np.int32), np.ones(3, bool))
        )
        above = slice(0, (mesh[0] - 1) * SLOTS)
        np.testing.assert_array_equal(cache_after[:, above], cache[:, above])
        changed = np.flatnonzero(np.any(cache_after != cache, axis=(0, 2)))
        assert changed.tolist() == [(mesh[0] - 1) * SLOTS + count]


def test_an_append_is_one_hop_up_and_nothing_else_on_the_fabric() -> None:
    """Read off the jaxpr: a single shift by one core, without wrap-around, along the rows' axis."""
    for policy, expected in (("shift", [("y", Step(-1))]), ("concat", [])):
        said = [
            (e.params["axis"], e.params["route"])
            for e in machine(policy, (5, 3)).jaxpr.jaxpr.eqns
            if "axis" in e.params and "route" in e.params
        ]
        assert said == expected


def test_the_cache_keeps_its_own_dtype() -> None:
    def core(cache: Array, entry: Array, entries: Array, active: Array) -> tuple[Array, Array]:
        given = cache, entry, entries, active
        return append_shift(*given), append_concat(*given)

    plain = machine("shift", (3, 4))
    cache = Spec(plain.inputs[0].shape, plain.inputs[0].layout, jnp.bfloat16)
    program = Program(core, mesh=(3, 4), inputs=(cache, *plain.inputs[1:]), outputs=(cache, cache))
    entry = np.full(plain.inputs[1].shape, 1 / 3, np.float32)
    zeros = np.zeros(cache.shape, jnp.bfloat16)
    for after in run(program, zeros, entry, np.zeros(3, np.int32), np.ones(3, bool)):
        assert after.dtype == jnp.bfloat16
        assert float(jnp.max(after)) == float(jnp.bfloat16(1 / 3))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("policy", ["shift", "concat"])
def test_capacity_is_how_far_the_rule_gets(policy: str, slots: int, rows: int) -> None:
    for prompt in range(rows * slots + 1):
        held, entries = spread(prompt, rows), prompt
        while fits(append(held, entries, policy), slots):
            held, entries = append(held, entries, policy), entries + 1
        assert capacity(policy, rows, slots, prompt) == entries


def test_with_the_same_memory_shift_holds_as_many_times_more_as_there_are_rows() -> None:
    assert capacity("shift", 360, 382, 0) / capacity("concat", 360, 382, 0) == 360
    assert capacity("concat", 360, 382, 0) == 382  # paper: LLaMA3-8B on 360^2
    assert capacity("shift", 360, 382, 0) == 137_520  # paper: 137,548


def test_an_unknown_policy_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="'paged': use one of shift, concat"):
        capacity("paged", 3, 3, 0)
