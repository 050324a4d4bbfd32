"""Distributed matrix products C = A B and C = A B^T, each as one core's program.

A[M, K], B[K, N] and C[M, N] lie in tiles over the mesh. `mesh_gemm` is MeshGEMM (WaferLLM, OSDI'25):
Cannon's algorithm on the interleaved ring, so that no step sends further than 2 hops. The others are
what it is compared with.

    align A along its row       k-blocks of A and B meet: core (y, x) starts at block p(y) + q(x)
    repeat N times              multiply the tiles at hand while both move one ring position on
        A  <- 2 hops along x
        B  <- 2 hops along y
        C += A B
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from waferllm.errors import InputError
from waferllm.fabric import (
    Ring,
    Route,
    Step,
    allgather,
    broadcast,
    index,
    reduce,
    ring_core,
    ring_index,
    rotate,
    shift,
    size,
)
from waferllm.layout import COLS, ROWS, Blocks, Layout, Mesh, RingColumns, RingSkewed
from waferllm.program import Kernel


def multiply(a: Array, b: Array, acc: jnp.dtype) -> Array:
    """The local product of two tiles, (..., m, k) x (..., k, n), accumulated in `acc`."""
    return jnp.matmul(a, b, preferred_element_type=acc)


def mesh_gemm_core(
    a: Float[Array, "*b m k1"],
    b: Float[Array, "*b k2 n"],
    *,
    acc: jnp.dtype = jnp.float32,
    span: int | None = None,
    aligned: bool = False,
    skewed: bool = True,
) -> Float[Array, "*b m n"]:
    """MeshGEMM on one core: C's tile from tiles of A and B.

    On Y x X cores K is cut into lcm(Y, X) blocks, numbered along the rings, one for each step. A core
    holds the next lcm/X blocks of A and the next lcm/Y of B in the order of their use; a block that it
    has used it sends on, and its neighbour's takes the place. On a square mesh a tile is one block. A
    comes in plain blocks and is aligned first, unless it is `aligned` already. B arrives skewed
    (`RingSkewed`), or with `skewed=False` in blocks numbered along the row ring, and is aligned first.
    `span` makes every run of that many columns a mesh of its own. C is returned in A's dtype.
    """
    rows, cols = size(ROWS), size(COLS, span)
    steps = Mesh(rows, cols).steps
    per_row, per_col = steps // rows, steps // cols  # k-blocks in a tile of B, and of A
    at_a = at_b = jnp.arange(steps)  # which of its blocks a core uses at each step
    if not aligned:
        ahead = ring_index(ROWS) * per_row
        a, at_a = _align(a, -1, COLS, ahead, per_col, span), at_a + ahead
    if not skewed and cols > 1:
        ahead = ring_index(COLS, span) * per_col
        b, at_b = _align(b, -2, ROWS, ahead, per_row), at_b + ahead

    def step(held: tuple, at: tuple[Array, Array]) -> tuple[tuple, None]:
        a, now_a, b, now_b, c = held
        c = c + multiply(now_a, now_b, acc)
        a, now_a = _onwards(a, now_a, -1, COLS, at[0], per_col, span)
        b, now_b = _onwards(b, now_b, -2, ROWS, at[1], per_row)
        return (a, now_a, b, now_b, c), None

    lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = jnp.zeros((*lead, a.shape[-2], b.shape[-1]), acc)
    first_a, first_b = _block(a, -1, at_a[0], per_col), _block(b, -2, at_b[0], per_row)
    rest_a, rest_b = a if per_col > 1 else None, b if per_row > 1 else None
    (*_, c), _ = lax.scan(step, (rest_a, first_a, rest_b, first_b, c), (at_a, at_b))
    return c.astype(first_a.dtype)


def _align(
    tile: Array, dim: int, axis: str, ahead: Array, count: int, span: int | None = None
) -> Array:
    """The `count` blocks along `dim` from `ahead` blocks further on along the ring, each at its place."""
    tile = rotate(tile, axis, -(ahead // count), span=span)
    if count == 1 or size(axis, span) == 1:
        return tile
    length = tile.shape[dim]
    place = jnp.arange(length).reshape(-1, *[1] * (-1 - dim)) // (length // count)
    return jnp.where(place < ahead % count, shift(tile, axis, Ring(-1), span=span), tile)


def _block(tile: Array, dim: int, which: Array | int, count: int) -> Array:
    """Block `which` (modulo `count`) of the `count` blocks along a dimension of a tile."""
    if count == 1:
        return tile
    width = tile.shape[dim] // count
    return lax.dynamic_slice_in_dim(tile, which % count * width, width, dim)


def _replace(tile: Array, block: Array, dim: int, which: Array, count: int) -> Array:
    """The tile with another block at that place."""
    if count == 1:
        return block
    at = which % count * block.shape[dim]
    return lax.dynamic_update_slice_in_dim(tile, block, at, dim)


def _onwards(
    tile: Array | None,
    used: Array,
    dim: int,
    axis: str,
    at: Array,
    count: int,
    span: int | None = None,
) -> tuple[Array | None, Array]:
    """Send the used block `at` on: the tile with the one received in its place, and the next block.

    A tile of one block is that block, and is not kept beside it.
    """
    if size(axis, span) > 1:
        used = shift(used, axis, Ring(-1), span=span)
        tile = None if tile is None else _replace(tile, used, dim, at, count)
    return tile, used if tile is None else _block(tile, dim, at + 1, count)


def dist_gemm_t_core(
    a: Float[Array, "*b m k"],
    b: Float[Array, "*b n k"],
    *,
    acc: jnp.dtype = jnp.float32,
    span: int | None = None,
    aligned: bool = False,
    result: Any = None,
) -> Float[Array, "*b m N/X"]:
    """dist-GEMM-T on one core: C = A B^T without ever transposing B on the mesh.

    B's tiles, rows over y and K over x like A's, pass by along y in 2-hop shifts. At each step every core
    multiplies its A with the B at hand; the partial products are summed along x, each block of C at the
    core that owns it, which moves with the ring. C's columns come in the order of the row ring, so that
    they meet the rows of a matrix in blocks over y in `mesh_gemm_core(..., skewed=False)`; with
    `aligned`, each row's begin with its own block, as that product's first step needs them. C is
    returned in `result`, by default A's dtype.
    """
    rows, cols = size(ROWS), size(COLS, span)
    steps = Mesh(rows, cols).steps
    per_row, per_col = steps // rows, steps // cols
    width = b.shape[-2] // per_row
    ahead = 0 if aligned else ring_index(ROWS) * per_row

    def step(held: tuple[Array, Array], turn: Array) -> tuple[tuple, None]:
        b, c = held
        partial = multiply(a, jnp.swapaxes(b, -1, -2), acc)

        def collect(i: Array | int, c: Array) -> Array:
            block = (ahead + turn * per_row + i) % steps
            owner = block // per_col
            part = _block(partial, -1, jnp.asarray(i), per_row)
            if cols > 1:
                total = reduce(part, COLS, root=ring_core(owner, cols), span=span)
                held = _block(c, -1, block, per_col)
                part = jnp.where(owner == ring_index(COLS, span), total, held)
            return _replace(c, part, -1, block, per_col)

        c = collect(0, c) if per_row == 1 else lax.fori_loop(0, per_row, collect, c)
        return (shift(b, ROWS, Ring(-1)) if rows > 1 else b, c), None

    lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = jnp.zeros((*lead, a.shape[-2], per_col * width), acc)
    (_, c), _ = lax.scan(step, (b, c), jnp.arange(rows))
    return c.astype(result or a.dtype)


def cannon_core(
    a: Float[Array, "m k"], b: Float[Array, "k n"], *, acc: jnp.dtype = jnp.float32
) -> Float[Array, "m n"]:
    """Cannon's algorithm: as MeshGEMM, but on the line closed into a ring by a wrap-around edge.

    Both operands lie in plain blocks; the skew takes N-1 one-hop shifts, of which row y (column x) joins
    in the first y (x). The edge from the last core back to the first is N-1 hops long.
    """
    steps = _square("Cannon")
    onwards: Route = Step(-1, wrap=True)

    def skew(tile: Array, axis: str, by: Array) -> Array:
        def turn(tile: Array, t: Array) -> tuple[Array, None]:
            return jnp.where(t < by, shift(tile, axis, onwards), tile), None

        return lax.scan(turn, tile, jnp.arange(steps - 1))[0]

    def step(held: tuple[Array, Array, Array], _: None) -> tuple[tuple, None]:
        a, b, c = held
        c = c + multiply(a, b, acc)
        return (shift(a, COLS, onwards), shift(b, ROWS, onwards), c), None

    a, b = skew(a, COLS, index(ROWS)), skew(b, ROWS, index(COLS))
    c = jnp.zeros((a.shape[0], b.shape[1]), acc)
    (_, _, c), _ = lax.scan(step, (a, b, c), None, length=steps)
    return c.astype(a.dtype)


def summa_core(
    a: Float[Array, "m k1"], b: Float[Array, "k2 n"], *, acc: jnp.dtype = jnp.float32
) -> Float[Array, "m n"]:
    """SUMMA: at step s the owners of k-block s multicast it along their row and column."""
    rows, cols = size(ROWS), size(COLS)
    steps = Mesh(rows, cols).steps
    per_row, per_col = steps // rows, steps // cols

    def step(c: Array, s: Array) -> tuple[Array, None]:
        block_a = broadcast(_block(a, -1, s % per_col, per_col), COLS, s // per_col)
        block_b = broadcast(_block(b, -2, s % per_row, per_row), ROWS, s // per_row)
        return c + multiply(block_a, block_b, acc), None

    c, _ = lax.scan(step, jnp.zeros((a.shape[0], b.shape[1]), acc), jnp.arange(steps))
    return c.astype(a.dtype)


def allgather_gemm_core(
    a: Float[Array, "m k1"], b: Float[Array, "k2 n"], *, acc: jnp.dtype = jnp.float32
) -> Float[Array, "m n"]:
    """Gather the whole row of A and the whole column of B on every core, then multiply once."""
    row = jnp.moveaxis(allgather(a, COLS), 0, 1).reshape(a.shape[0], -1)
    col = allgather(b, ROWS).reshape(-1, b.shape[1])
    return multiply(row, col, acc).astype(a.dtype)


def _square(name: str) -> int:
    rows, cols = size(ROWS), size(COLS)
    if rows != cols:
        raise InputError(
            f"{name} needs a square mesh, got {rows}x{cols}. Use mesh_gemm, which cuts any mesh."
        )
    return rows


def _product(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    if a[1] != b[0]:
        raise InputError(
            f"a{list(a)} times b{list(b)}: a has {a[1]} columns and b {b[0]} rows; they must be equal."
        )
    return a[0], b[1]


def _product_t(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    if a[1] != b[1]:
        raise InputError(
            f"a{list(a)} times b{list(b)} transposed: a has {a[1]} columns and b {b[1]}; they must be equal."
        )
    return a[0], b[0]


def blocks(mesh: Mesh) -> tuple[Layout, Layout, Layout]:
    """A, B and C of a product in plain blocks, K divisible into the mesh's steps."""
    return (
        Blocks((ROWS, COLS), (1, mesh.steps)),
        Blocks((ROWS, COLS), (mesh.steps, 1)),
        Blocks((ROWS, COLS)),
    )


def _plain(mesh: Mesh) -> tuple[tuple[Layout, ...], Layout]:
    a, b, c = blocks(mesh)
    return (a, b), c


def _skewed(mesh: Mesh) -> tuple[tuple[Layout, ...], Layout]:
    a, _, c = blocks(mesh)
    return (a, RingSkewed()), c


def _transposed(mesh: Mesh) -> tuple[tuple[Layout, ...], Layout]:
    return (Blocks((ROWS, COLS)), Blocks((ROWS, COLS), (mesh.steps, 1))), RingColumns()


dist_gemm_t = Kernel(dist_gemm_t_core, _transposed, _product_t)
mesh_gemm = Kernel(mesh_gemm_core, _skewed, _product)
cannon = Kernel(cannon_core, _plain, _product)
summa = Kernel(summa_core, _plain, _product)
allgather_gemm = Kernel(allgather_gemm_core, _plain, _product)
