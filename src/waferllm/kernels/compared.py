"""The systems WaferLLM is compared with, as one core's programs: T10, Ladder and Megatron.

Nobody outside has seen the ports that were measured, so these are written from what each system
assumes of a machine, and the mesh then charges for it:

    T10        any core reaches any other at equal cost. A tile goes to a core somewhere on the line
               and there is no route for every pair, so every core on the way relays it: `relay`.
    Ladder     one shared memory. A load asks the core that has the tile, which may be anywhere: the
               request crosses both axes, and so does the reply: `load`. A store crosses them, too.
    Megatron   1-D tensor parallelism over one line of cores (`models.compared`).

A relay is a message per core: received into memory, kept or not, sent on. Relays go round the
interleaved ring, which is the kindest order: no relay is further than 2 hops.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from waferllm.errors import InputError
from waferllm.fabric import Ring, index, ring_index, shift, size
from waferllm.fabric.primitives import OPS
from waferllm.kernels.gemm import multiply, summa
from waferllm.layout import COLS, ROWS, Mesh
from waferllm.program import Kernel

#: How a core gets another core's tile: (tile, axis, source) -> the tile of `source` on the line.
Fetch = Callable[[Array, str, Array], Array]


def relay(x: Array, axis: str, source: Array) -> Array:
    """The `x` of core `source` of the line, which may differ from core to core: N - 1 relays.

    Every core's `x` goes once round the ring, and each core keeps the one that it wants.
    """
    n = size(axis)
    if n == 1:
        return x
    position = jnp.where(source & 1, n - 1 - (source >> 1), source >> 1)
    wanted = (ring_index(axis) - position) % n

    def turn(held: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], None]:
        moving, kept = held
        moving = shift(moving, axis, Ring())
        return (moving, jnp.where(wanted == t, moving, kept)), None

    return lax.scan(turn, (x, x), jnp.arange(1, n))[0][1]


def cross(x: Array, axis: str) -> Array:
    """A core's own `x`, after a way over the other axis: where an address is not known to be near."""
    other = COLS if axis == ROWS else ROWS
    return relay(x, other, index(other))


def load(x: Array, axis: str, source: Int[Array, ""]) -> Array:
    """The `x` of core `source` of the line from shared memory: a request over both axes, and a reply."""
    asked = cross(relay(source, axis, index(axis)), axis)
    return cross(relay(x, axis, asked), axis)


def shared_allreduce(x: Array, axis: str, *, op: str = "sum", span: int | None = None) -> Array:
    """Partial results stored in shared memory, where they meet, and the result loaded by every core."""
    n = size(axis, span)
    if span not in (None, size(axis)):
        raise InputError(f"shared memory knows no spans, got {span}: reduce over the whole axis.")

    def store(held: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        moving, total = held
        moving = shift(moving, axis, Ring())
        return (moving, OPS[op](total, moving)), None

    total = cross(lax.scan(store, (x, x), None, length=n - 1)[0][1], axis)
    return load(total, axis, jnp.zeros((), jnp.int32))


def t10_gemm_core(
    a: Float[Array, "m k1"], b: Float[Array, "k2 n"], *, acc: jnp.dtype = jnp.float32
) -> Float[Array, "m n"]:
    """Compute-shift: at each step the next k-blocks of A and B come from wherever they lie."""
    return _fetching(a, b, relay, acc)


def ladder_gemm_core(
    a: Float[Array, "m k1"], b: Float[Array, "k2 n"], *, acc: jnp.dtype = jnp.float32
) -> Float[Array, "m n"]:
    """Shared memory: at each step a core loads the next tiles of A and B."""
    return _fetching(a, b, load, acc)


def _fetching(a: Array, b: Array, fetch: Fetch, acc: jnp.dtype) -> Array:
    """C += A B over k-blocks; no two cores of a line want the same tile at a time."""
    rows, cols = size(ROWS), size(COLS)
    steps = Mesh(rows, cols).steps
    per_row, per_col = steps // rows, steps // cols
    first = index(ROWS) * per_row + index(COLS) * per_col

    def step(c: Array, s: Array) -> tuple[Array, None]:
        block = (first + s) % steps
        now_a = _block(fetch(a, COLS, block // per_col), -1, block, per_col)
        now_b = _block(fetch(b, ROWS, block // per_row), -2, block, per_row)
        return c + multiply(now_a, now_b, acc), None

    c, _ = lax.scan(step, jnp.zeros((a.shape[0], b.shape[1]), acc), jnp.arange(steps))
    return c.astype(a.dtype)


def fetching_gemm_t(
    a: Float[Array, "m k"], b: Float[Array, "n k"], fetch: Fetch, *, acc: jnp.dtype = jnp.float32
) -> Float[Array, "m n"]:
    """C = A B^T on a square mesh: B's tile of row x reaches column x along the row, then the column."""
    rows, cols = size(ROWS), size(COLS)
    if rows != cols:
        raise InputError(
            f"a fetched A B^T needs a square mesh, got {rows}x{cols}. Use dist_gemm_t."
        )
    here = index(COLS)

    def step(c: Array, s: Array) -> tuple[Array, None]:
        block = (here + s) % cols
        now_b = fetch(fetch(b, COLS, block), ROWS, here)
        return c + multiply(fetch(a, COLS, block), jnp.swapaxes(now_b, -1, -2), acc), None

    c, _ = lax.scan(step, jnp.zeros((a.shape[0], b.shape[0]), acc), jnp.arange(cols))
    return c.astype(a.dtype)


def _block(tile: Array, dim: int, which: Array, count: int) -> Array:
    """Block `which`, modulo `count`, of the `count` blocks along a dimension of a tile."""
    if count == 1:
        return tile
    width = tile.shape[dim] // count
    return lax.dynamic_slice_in_dim(tile, which % count * width, width, dim)


t10_gemm = Kernel(t10_gemm_core, summa.layouts, summa.shape)
ladder_gemm = Kernel(ladder_gemm_core, summa.layouts, summa.shape)
