"""Attention on the mesh against plain NumPy, head by head, for every way that heads meet columns.

Heads are dealt here by an explicit loop: a column holds whole key/value heads, or one is cut over `span`
neighbouring columns; unused entries are zero and unused cache slots hold garbage.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.agree.words import walk
from waferllm.kernels.attention import (
    CoreHeads,
    decode_attention,
    prefill_attention,
    score_positions,
    write_chunk,
)
from waferllm.kernels.gemv import TREE, AllReduce
from waferllm.layout import Blocks, Mesh
from waferllm.program import Program, Spec, run


@dataclass(frozen=True)
class Case:
    """Heads on a mesh; `span` columns share a key/value head of which each holds `width` entries."""

    mesh: tuple[int, int]
    heads: int
    kv: int
    head_dim: int
    span: int
    width: int
    window: int | None = None
    way: str = "meshgemv"

    @property
    def group(self) -> int:
        return self.heads // self.kv

    @property
    def kv_per_core(self) -> int:
        return -(-self.kv // (self.mesh[1] // self.span))

    @property
    def core_heads(self) -> CoreHeads:
        return CoreHeads(
            kv=self.kv_per_core, group=self.group, width=self.width, span=self.span,
            scale=self.head_dim**-0.5, window=self.window,
        )  # fmt: skip

    def dealt(self) -> list[tuple[int, int, int]]:
        """(column, its slot for a key/value head, that head) for all that are real."""
        found = []
        for x in range(self.mesh[1]):
            for slot in range(self.kv_per_core):
                head = x // self.span * self.kv_per_core + slot
                if x // self.span < self.mesh[1] // self.span and head < self.kv:
                    found.append((x, slot, head))
        return found

    def entries(self, x: int) -> tuple[int, int]:
        """The part of a head's entries that column x holds."""
        first = x % self.span * self.width
        return min(first, self.head_dim), min(first + self.width, self.head_dim)

    def place(self, per_head: np.ndarray) -> np.ndarray:
        """(..., heads of any kind, head_dim) -> (..., columns x what a column holds)."""
        group = per_head.shape[-2] // self.kv
        cols = self.mesh[1]
        out = np.zeros(
            (*per_head.shape[:-2], cols, self.kv_per_core, group, self.width), np.float32
        )
        for x, slot, head in self.dealt():
            a, b = self.entries(x)
            out[..., x, slot, :, : b - a] = per_head[..., head * group : (head + 1) * group, a:b]
        return out.reshape(*per_head.shape[:-2], -1)

    def collect(self, placed: np.ndarray) -> np.ndarray:
        """The inverse of `place` for query heads."""
        shape = (*placed.shape[:-1], self.mesh[1], self.kv_per_core, self.group, self.width)
        placed, out = (
            placed.reshape(shape),
            np.zeros((*placed.shape[:-1], self.heads, self.head_dim)),
        )
        for x, slot, head in self.dealt():
            a, b = self.entries(x)
            to = slice(head * self.group, (head + 1) * self.group)
            out[..., to, a:b] = placed[..., x, slot, :, : b - a]
        return out


CASES = {
    "MHA, a head a column": Case((3, 4), 4, 4, 6, span=1, width=6),
    "GQA, more heads than columns": Case((5, 3), 14, 7, 4, span=1, width=4, window=4),
    "GQA, a head over two columns, one left over": Case((3, 5), 6, 2, 6, 2, width=4, window=3),
    "MQA, a head over all columns": Case((1, 4), 3, 1, 6, span=4, width=2),
    "GQA, a head over two columns": Case((3, 4), 4, 2, 8, span=2, width=4, way="ring"),
    "MQA, one column": Case((4, 1), 3, 1, 6, span=1, width=6, way="ring"),
    "MQA, tall": Case((5, 4), 3, 1, 8, span=4, width=2, way="pipeline"),
}
WIDE, CUT = list(CASES)[1:3]
DEFAULT = list(CASES)[:4]
PREFILL = [n if n in (WIDE, CUT) else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
NAMES = [n if n in DEFAULT else pytest.param(n, marks=pytest.mark.slow) for n in CASES]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def attention(
    q: np.ndarray, keys: np.ndarray, values: np.ndarray, first: int, window: int | None
) -> np.ndarray:
    """Queries (n, heads, d) from position `first` on, over keys (t, kv, d): one by one in float64."""
    out = np.zeros(q.shape)
    group = q.shape[1] // keys.shape[1]
    for i in range(len(q)):
        seen = [t for t in range(first + i + 1) if window is None or t > first + i - window]
        for h in range(q.shape[1]):
            k, v = keys[seen, h // group].astype(float), values[seen, h // group].astype(float)
            score = k @ q[i, h].astype(float) / np.sqrt(q.shape[-1])
            weight = np.exp(score - score.max())
            out[i, h] = weight / weight.sum() @ v
    return out


# Decode


SLOTS = 4


def cache_place(policy: str, rows: int, entries: int, prompt: int, t: int) -> int:
    """Where entry t lies: row x slots + slot. Concat keeps all after the prompt in the last row."""
    spread = entries if policy == "shift" else prompt
    each, more = divmod(spread, rows)
    starts = [y * each + min(y, more) for y in range(rows)]
    row = rows - 1 if t >= spread else max(y for y in range(rows) if starts[y] <= t)
    return row * SLOTS + t % SLOTS


POLICIES = ("shift", "concat")


def decode_counts(policy: str, rows: int) -> tuple[list[int], list[int]]:
    """(entries, prompts) of four sequences: one token, a few, a full cache, and none at all."""
    prompts = [0, 2, rows, 0]  # after them concat has room in the last row only
    full = rows * SLOTS if policy == "shift" else rows + SLOTS - 1
    return [1, rows + 1, full, 0], prompts


@cache
def decoded(name: str) -> dict[str, np.ndarray]:
    """Both policies of the cache in one program, so that it compiles once."""
    case = CASES[name]
    rows = case.mesh[0]
    q, keys, values = decode_tokens(case)
    per_core = case.mesh[1] * case.kv_per_core * case.width
    kv = Spec((4, rows * SLOTS, per_core), Blocks((None, "y", "x")))
    line = Spec((4,), Blocks((None,)), jnp.int32)
    tokens = Spec((4, per_core * case.group), Blocks((None, "x")))

    def core(q, caches):
        return {
            policy: decode_attention(q, *cache, heads=case.core_heads, policy=policy,
                                     combine=AllReduce(case.way))
            for policy, cache in caches.items()
        }  # fmt: skip

    caches = {}
    for policy in POLICIES:
        counts, prompts = decode_counts(policy, rows)
        held = [np.full(kv.shape, 1e3, np.float32) for _ in range(2)]
        for placed, into in zip((case.place(keys), case.place(values)), held, strict=True):
            for s, (count, prompt) in enumerate(zip(counts, prompts, strict=True)):
                for t in range(count):
                    into[s, cache_place(policy, rows, count, prompt, t)] = placed[s, t]
        caches[policy] = (*held, np.array(counts, np.int32), np.array(prompts, np.int32))
    program = Program(
        core, mesh=case.mesh, outputs=dict.fromkeys(POLICIES, tokens), name="decode",
        inputs=(tokens, dict.fromkeys(POLICIES, (kv, kv, line, line))),
    )  # fmt: skip
    result = run(program, case.place(q), caches)
    return {policy: case.collect(np.asarray(out)) for policy, out in result.items()}


def decode_tokens(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    longest = case.mesh[0] * SLOTS
    keys, values = (noise(4, longest, case.kv, case.head_dim, seed=i) for i in (1, 2))
    return noise(4, case.heads, case.head_dim), keys, values


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_decode_is_numpys_attention_over_whatever_each_sequence_has(name: str, policy: str) -> None:
    case, got = CASES[name], decoded(name)[policy]
    q, keys, values = decode_tokens(case)
    counts, _ = decode_counts(policy, case.mesh[0])
    for s, count in enumerate(counts[:3]):
        exact = attention(q[s : s + 1], keys[s], values[s], count - 1, case.window)[0]
        np.testing.assert_allclose(got[s], exact, rtol=2e-5, atol=2e-6, err_msg=f"sequence {s}")
    assert not np.any(got[3])  # nothing to attend to: zeros, not NaN


# Prefill


@dataclass(frozen=True)
class Buffer:
    """A prefill buffer on `rows` rows: every chunk is spread over all of them, chunk after chunk."""

    rows: int
    chunk: int
    slots: int

    @classmethod
    def of(cls, case: Case, chunk: int, tokens: int) -> "Buffer":
        blocks = Mesh(case.mesh[0], case.span).steps // case.mesh[0]
        share = chunk // case.mesh[0]
        slots = -(-tokens // chunk) * share
        return cls(case.mesh[0], chunk, -(-slots // blocks) * blocks)

    def place(self, t: int) -> int:
        share = self.chunk // self.rows
        row, within = divmod(t % self.chunk, share)
        return row * self.slots + t // self.chunk * share + within


@cache
def prefill_program(case: Case, chunk: int, tokens: int, dtype: Any = jnp.float32) -> Program:
    """(q, k, v of a chunk, buffers, start, length) -> (attention of the chunk, buffers)."""
    buffer = Buffer.of(case, chunk, tokens)
    heads = case.core_heads

    def core(q, k, v, keys, values, start, length):
        keys = write_chunk(keys, k, start // chunk)
        values = write_chunk(values, v, start // chunk)
        out = prefill_attention(q, keys, values, start, length, heads=heads,
                                combine=AllReduce(case.way))  # fmt: skip
        return out, keys, values

    per_core = case.mesh[1] * case.kv_per_core * case.width
    both = Blocks(("y", "x"))
    q = Spec((chunk, per_core * case.group), both, dtype)
    new, held = (Spec((n, per_core), both, dtype) for n in (chunk, case.mesh[0] * buffer.slots))
    scalar = Spec((), Blocks(()), jnp.int32)
    return Program(core, mesh=case.mesh, inputs=(q, new, new, held, held, scalar, scalar),
                   outputs=(q, held, held), name="prefill")  # fmt: skip


def prefill(
    case: Case, chunk: int, q: np.ndarray, keys: np.ndarray, values: np.ndarray,
    junk: int = 3, capacity: int = 0, dtype: Any = jnp.float32,
) -> np.ndarray:  # fmt: skip
    """All tokens, chunk by chunk; what pads the last chunk, and an older prompt's rest, is junk."""
    tokens = len(q)
    program = prefill_program(case, chunk, max(tokens, capacity), dtype)
    buffers = [noise(*program.inputs[3].shape, seed=junk + i).astype(dtype) for i in range(2)]
    outs = []
    for start in range(0, tokens, chunk):
        real = min(chunk, tokens - start)
        given = [
            noise(chunk, *w.shape[1:], seed=junk + 7 + i) for i, w in enumerate((q, keys, values))
        ]
        for whole, part in zip((q, keys, values), given, strict=True):
            part[:real] = whole[start : start + real]
        placed = [case.place(part).astype(dtype) for part in given]
        out, *buffers = run(program, *placed, *buffers, np.int32(start), np.int32(real))
        outs.append(case.collect(np.asarray(out, np.float32))[:real])
    return np.concatenate(outs)


def tokens_of(case: Case, tokens: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q = noise(tokens, case.heads, case.head_dim, seed=seed)
    k, v = (noise(tokens, case.kv, case.head_dim, seed=seed + i) for i in (1, 2))
    return q, k, v


@pytest.mark.parametrize("name", PREFILL)
def test_prefill_in_chunks_is_numpys_causal_attention(name: str) -> None:
    """Two whole chunks and a part of a third, over a buffer with the rest of an older prompt."""
    case = CASES[name]
    chunk = 2 * case.mesh[0]
    tokens = 2 * chunk + max(1, chunk // 2)
    q, k, v = tokens_of(case, tokens)
    got = prefill(case, chunk, q, k, v)
    np.testing.assert_allclose(got, attention(q, k, v, 0, case.window), rtol=5e-5, atol=5e-6)


def test_several_chunks_give_what_one_chunk_gives() -> None:
    case = CASES[CUT]
    tokens = 12
    q, k, v = tokens_of(case, tokens)
    one, two = prefill(case, 12, q, k, v), prefill(case, 6, q, k, v, capacity=15)
    np.testing.assert_allclose(one, two, rtol=5e-5, atol=5e-6)
    np.testing.assert_allclose(one, attention(q, k, v, 0, case.window), rtol=5e-5, atol=5e-6)


@pytest.mark.parametrize("name", [WIDE, CUT])
def test_padding_tokens_and_an_older_prompt_change_no_bit(name: str) -> None:
    case = CASES[name]
    chunk = 2 * case.mesh[0]
    tokens = 2 * chunk + max(1, chunk // 2)
    given = tokens_of(case, tokens)
    np.testing.assert_array_equal(
        prefill(case, chunk, *given, junk=3), prefill(case, chunk, *given, junk=50)
    )


def test_score_columns_lie_where_the_product_with_v_first_needs_them() -> None:
    """Each row of cores holds every key position once, block by block from the row's own block on."""
    rows, span, chunk, cap = 3, 4, 6, 8
    program = Program(
        lambda x: score_positions(cap, chunk, span)[None] + x.astype(jnp.int32) * 0,
        mesh=(rows, span),
        inputs=[Spec((rows, 4 * 6), Blocks(("y", "x")))],
        outputs=Spec((rows, span * 6), Blocks(("y", "x")), jnp.int32),
        name="order",
    )
    got = np.asarray(run(program, np.zeros((rows, 24), np.float32)))
    width = cap // 4  # 12 steps: four blocks of two keys a row, three blocks a column
    for y in range(rows):
        own = walk(3).index(y) * 4  # the first of the row's own four blocks of keys
        expected = np.zeros(24, int)
        for block in range(12):
            row, sub = walk(3)[block // 4], block % 4
            later = (block - own) % 12
            holder = walk(4)[later // 3]
            for i in range(width):
                slot = sub * width + i
                at = (holder * 3 + later % 3) * width + i
                expected[at] = slot // 2 * chunk + row * 2 + slot % 2
        np.testing.assert_array_equal(got[y], expected)
        assert sorted(expected.tolist()) == list(range(24))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_prefill_is_near_the_exact_one(dtype: str) -> None:
    case = CASES[CUT]
    q, k, v = (x.astype(jnp.dtype(dtype)).astype(np.float32) for x in tokens_of(case, 15))
    got = prefill(case, 6, q, k, v, dtype=jnp.dtype(dtype))
    tolerance = 0.05 if dtype == "bfloat16" else 0.007
    np.testing.assert_allclose(got, attention(q, k, v, 0, case.window), atol=tolerance)


def test_float16_scores_beyond_its_range_are_still_attended_to() -> None:
    """Qwen's raw scores exceed 65504; scaled and less their maximum they are small. Decode keeps float32."""
    case = Case((1, 4), 4, 4, 256, span=1, width=256)
    tokens = 3
    q = np.full((tokens, 4, 256), 16.5, np.float32)
    k, v = q.copy(), noise(tokens, 4, 256)
    v = v.astype(np.float16).astype(np.float32)
    got = prefill(case, 4, q, k, v, dtype=jnp.float16)
    np.testing.assert_allclose(got, attention(q, k, v, 0, None), atol=0.01)


def test_the_default_way_to_combine_is_the_k_tree() -> None:
    assert AllReduce() == TREE
