"""What a core can say to its neighbours: the fabric words.

Every word is called inside a core function, names the mesh axis along which it speaks, and returns
one core's value. `span` lets the axis be cut into shorter lines of that many consecutive cores.
"""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from waferllm.errors import InputError
from waferllm.fabric import primitives as p
from waferllm.fabric.routes import Ring, Route, Tree, balanced_tree


def size(axis: str, span: int | None = None) -> int:
    """Cores on one line of the axis."""
    try:
        return p.line_length(lax.axis_size(axis), span)
    except NameError:
        raise InputError(
            f"no mesh axis '{axis}' here: fabric words are for core functions, which Program and "
            "run(), or vmap or shard_map with that axis, put on a mesh."
        ) from None


def index(axis: str, span: int | None = None) -> Array:
    """This core's place on its line, from 0. Shape ()."""
    here = lax.axis_index(axis)
    return here if span is None else here % span


def ring_index(axis: str, span: int | None = None) -> Array:
    """This core's position on the interleaved ring of its line, from 0. Shape ()."""
    here, n = index(axis, span), size(axis, span)
    return jnp.where(here & 1, n - 1 - (here >> 1), here >> 1)


def ring_core(position: Array, n: int) -> Array:
    """The core at a position of the interleaved ring of `n`: the inverse of `ring_index`."""
    return jnp.where(2 * position < n, 2 * position, 2 * (n - position) - 1)


def shift(x: Array, axis: str, route: Route, *, span: int | None = None) -> Array:
    """Send `x` along a static route; get what the route brings, zeros where it brings nothing."""
    size(axis, span)
    return p.shift_p.bind(x, axis=axis, route=route, span=span)


def rotate(x: Array, axis: str, count: ArrayLike, *, span: int | None = None) -> Array:
    """Shift `x` by `count` places on the interleaved ring, the shorter way round.

    `count` may differ between lines (it is what aligns tiles before MeshGEMM) but not within one.
    Costs as many ring shifts as the furthest line needs: at most half the ring.
    """
    n = size(axis, span)
    if n == 1:
        return x
    count = jnp.asarray(count) % n
    nearest = jnp.where(count > n // 2, count - n, count)
    return p.rotate_p.bind(x, nearest, axis=axis, span=span, most=n // 2)


def reduce(
    x: Array,
    axis: str,
    tree: Tree | None = None,
    *,
    root: ArrayLike | None = None,
    op: str = "sum",
    span: int | None = None,
) -> Array:
    """Combine `x` over a line with `op` ("sum" or "max"); the root gets the result, others keep `x`.

    With `tree` (default: the balanced K = 2 tree) the root is the tree's. With `root`, which may be
    traced and differ between lines, both ends push partial sums to that core in one chain.
    """
    _check_op(op)
    n = size(axis, span)
    if n == 1:
        return x
    if root is not None:
        _check_root(root, axis, n)
        return p.reduce_to_p.bind(x, jnp.asarray(root), axis=axis, op=op, span=span)
    return p.reduce_p.bind(x, axis=axis, tree=tree or balanced_tree(n), op=op, span=span)


def broadcast(x: Array, axis: str, root: int | Array, *, span: int | None = None) -> Array:
    """The root's `x`, on every core of the line, by hardware multicast.

    A static root needs one route. A traced root may be any core, so it needs a route for each.
    """
    n = size(axis, span)
    _check_root(root, axis, n)
    if n == 1:
        return x
    if isinstance(root, int):
        return p.broadcast_p.bind(x, axis=axis, root=root, span=span)
    return p.broadcast_from_p.bind(x, root, axis=axis, span=span)


def allreduce(
    x: Array, axis: str, tree: Tree | None = None, *, op: str = "sum", span: int | None = None
) -> Array:
    """MeshGEMV's allreduce: reduce over a K-tree, then multicast from its root."""
    _check_op(op)
    n = size(axis, span)
    if n == 1:
        return x
    tree = tree or balanced_tree(n)
    total = reduce(x, axis, tree, op=op, span=span)
    return broadcast(total, axis, tree.root(n), span=span)


def pipeline_allreduce(x: Array, axis: str, *, op: str = "sum", span: int | None = None) -> Array:
    """The vendor's default: partial sums pass through every core of the line, then a multicast back."""
    return allreduce(x, axis, Tree(end=True), op=op, span=span)


def ring_allreduce(x: Array, axis: str, *, op: str = "sum", span: int | None = None) -> Array:
    """The textbook ring on the interleaved ring: reduce-scatter, then allgather, 2(N-1) stages.

    `x` is cut into N chunks (padded with zeros), each 1/N of it; every stage moves one chunk 2 hops.
    """
    _check_op(op)
    n = size(axis, span)
    if n == 1:
        return x
    flat = x.reshape(-1)
    flat = jnp.pad(flat, (0, -flat.size % n))
    here = ring_index(axis, span)

    def scatter(chunks: Array, turn: Array) -> tuple[Array, None]:
        got = shift(chunks[(here - turn) % n], axis, Ring(), span=span)
        at = (here - turn - 1) % n
        return chunks.at[at].set(p.OPS[op](got, chunks[at])), None

    def gather(chunks: Array, turn: Array) -> tuple[Array, None]:
        got = shift(chunks[(here + 1 - turn) % n], axis, Ring(), span=span)
        return chunks.at[(here - turn) % n].set(got), None

    chunks, _ = lax.scan(scatter, flat.reshape(n, -1), jnp.arange(n - 1))
    chunks, _ = lax.scan(gather, chunks, jnp.arange(n - 1))
    whole = chunks.reshape(-1)[: x.size].reshape(x.shape)
    over = lax.axis_size(axis) % n  # cores left over by the span keep their own value
    return jnp.where(index(axis) < lax.axis_size(axis) - over, whole, x) if over else whole


def _check_op(op: str) -> None:
    if op not in p.OPS:
        raise InputError(f"reduce with op '{op}': use one of {', '.join(p.OPS)}.")


def _check_root(root: ArrayLike, axis: str, n: int) -> None:
    if isinstance(root, int) and not 0 <= root < n:
        raise InputError(f"root {root} on a line of {n} cores along '{axis}': use 0 to {n - 1}.")


def allgather(x: Array, axis: str, *, span: int | None = None) -> Array:
    """Every core's `x` on every core: one multicast, and so one route, for each. Shape (N, *x)."""
    n = size(axis, span)
    return lax.map(lambda root: broadcast(x, axis, root, span=span), jnp.arange(n))
