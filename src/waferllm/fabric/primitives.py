"""The JAX primitives behind the fabric words: the only file that touches JAX's batching registry.

Each primitive works in three ways. Traced per core (`jax.make_jaxpr` with an `axis_env`) it stays
visible in the jaxpr, with its routing pattern as a parameter. Under `vmap` with a named axis the
cores of a line are one array dimension, and a rule here moves or adds along it. Under `shard_map` it
lowers to `ppermute` and `all_gather`, in the same order of additions: both give the same bits.

`span` cuts the line into lines of that many consecutive cores which work side by side; cores left
over at the end keep their own value. A traced operand (`count`, `root`) is the same for all cores of
a line; its leading dimensions, if any, pair up with leading dimensions of the value.

`jax.interpreters.batching` is not a stable interface: JAX is pinned, and
`tests/fabric/test_primitives.py` fails first when it moves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from waferllm.errors import InputError
from waferllm.fabric.routes import NOBODY, Ring, Route, Tree, ring_order, ring_positions

OPS: dict[str, Callable[[Array, Array], Array]] = {"sum": jnp.add, "max": jnp.maximum}

shift_p = Primitive("shift")
rotate_p = Primitive("rotate")
reduce_p = Primitive("reduce")
reduce_to_p = Primitive("reduce_to")
broadcast_p = Primitive("broadcast")
broadcast_from_p = Primitive("broadcast_from")


def line_length(size: int, span: int | None) -> int:
    """Cores per line when an axis of `size` cores is cut into lines of `span`."""
    if span is None:
        return size
    if not 1 <= span <= size:
        raise InputError(f"a span of {span} cores on an axis of {size}: use 1 to {size}.")
    return span


# Along an array dimension: `v` holds the cores of one axis in its leading dimension.


def _by_line(v: Array, span: int | None, fn: Callable[[Array], Array]) -> Array:
    """Apply `fn: (line, ...) -> (line, ...)` to every line of the leading dimension of `v`."""
    if span is None or span == v.shape[0]:
        return fn(v)
    lines = v.shape[0] // span
    whole = v[: lines * span].reshape(lines, span, *v.shape[1:])
    done = jax.vmap(fn)(whole).reshape(lines * span, *v.shape[1:])
    return jnp.concatenate([done, v[lines * span :]])


def _shift_line(v: Array, *, route: Route) -> Array:
    source = route.sources(v.shape[0])
    moved = jnp.take(v, np.maximum(source, 0), axis=0)
    if np.any(source == NOBODY):
        alive = (source != NOBODY).reshape(-1, *[1] * (v.ndim - 1))
        moved = jnp.where(alive, moved, jnp.zeros_like(moved))
    return moved


def _take_each(v: Array, index: Array) -> Array:
    """`v[index[i, *lead], *lead]` for `v` (n, *lead, ...) and `index` (n or 1, *lead)."""
    if index.ndim == 1:
        return jnp.take(v, index, axis=0)
    return jnp.take_along_axis(v, index.reshape(*index.shape, *[1] * (v.ndim - index.ndim)), axis=0)


def _rotate_line(v: Array, count: Array) -> Array:
    n = v.shape[0]
    position = jnp.asarray(ring_positions(n)).reshape(n, *[1] * count.ndim)
    return _take_each(v, jnp.asarray(ring_order(n))[(position - count) % n])


def _fold(parts: list[Array], op: Callable[[Array, Array], Array]) -> list[Array]:
    """Running partials of a chain: element i has passed through parts 0..i."""
    partials = parts[:1]
    for own in parts[1:]:
        partials.append(op(partials[-1], own))
    return partials


def _chain_total(group: Array, root: int, op: Callable[[Array, Array], Array]) -> Array:
    """Both ends of the leading dimension push partials to `root`: first the right side, then the left."""
    total, cores = group[root], list(group)
    if cores[root + 1 :]:
        total = op(_fold(cores[:root:-1], op)[-1], total)
    if cores[:root]:
        total = op(_fold(cores[:root], op)[-1], total)
    return total


def _reduce_line(v: Array, *, tree: Tree, op: str) -> Array:
    n, left = v.shape[0], v
    for size in (*tree.groups, n):
        whole, rest = divmod(left.shape[0], size)
        done = []
        if whole:
            groups = left[: whole * size].reshape(whole, size, *v.shape[1:])
            root = 0 if tree.end else size // 2
            done.append(_chain_total(jnp.moveaxis(groups, 1, 0), root, OPS[op]))
        if rest:
            root = 0 if tree.end else rest // 2
            done.append(_chain_total(left[whole * size :], root, OPS[op])[None])
        left = jnp.concatenate(done)
        if left.shape[0] == 1:
            break
    return v.at[tree.root(n)].set(left[0])


def _reduce_to_line(v: Array, root: Array, *, op: str) -> Array:
    """One chain from both ends to a root that moves from call to call."""
    add, n = OPS[op], v.shape[0]
    if n == 1:
        return v
    left = jnp.stack(_fold(list(v), add))  # left[i]: cores 0..i, pushed rightwards
    right = jnp.stack(_fold(list(v[::-1]), add)[::-1])  # right[i]: cores n-1..i, pushed leftwards
    at = root[None]
    total = _take_each(v, at)
    after, before = (_beside(a, total) for a in (at < n - 1, at > 0))
    total = jnp.where(after, add(_take_each(right, jnp.minimum(at + 1, n - 1)), total), total)
    total = jnp.where(before, add(_take_each(left, jnp.maximum(at - 1, 0)), total), total)
    core = jnp.arange(n).reshape(n, *[1] * root.ndim)
    return jnp.where(_beside(core == root, v), total, v)


def _broadcast_line(v: Array, *, root: int) -> Array:
    return jnp.broadcast_to(v[root], v.shape)


def _broadcast_from_line(v: Array, root: Array) -> Array:
    return jnp.broadcast_to(_take_each(v, root[None])[:1], v.shape)


# Across devices: `x` is one core's value inside `shard_map`.


def _lines(axis: str, span: int | None) -> tuple[int, int, int, Array]:
    """(line length, whole lines, axis size, this core's index) on a device axis."""
    size = lax.axis_size(axis)
    n = line_length(size, span)
    return n, size // n, size, lax.axis_index(axis)


def _permute(x: Array, axis: str, pairs: list[tuple[int, int]], n: int, lines: int) -> Array:
    every = [(s + k * n, d + k * n) for k in range(lines) for s, d in pairs]
    return lax.ppermute(x, axis, every)


def _beside(traced: Array, x: Array) -> Array:
    """A count or root whose leading dimensions pair up with those of `x`."""
    return traced.reshape(*traced.shape, *[1] * (x.ndim - traced.ndim))


def _idle(core: Array, n: int, lines: int, idle: Array, busy: Array) -> Array:
    return jnp.where(core >= n * lines, idle, busy)


def _shift_device(x: Array, *, axis: str, route: Route, span: int | None) -> Array:
    n, lines, _, core = _lines(axis, span)
    pairs = [(int(s), d) for d, s in enumerate(route.sources(n)) if s != NOBODY]
    return _idle(core, n, lines, x, _permute(x, axis, pairs, n, lines))


def _rotate_device(x: Array, count: Array, *, axis: str, span: int | None, most: int) -> Array:
    forward = partial(_shift_device, axis=axis, route=Ring(1), span=span)
    backward = partial(_shift_device, axis=axis, route=Ring(-1), span=span)
    count = _beside(count, x)
    for turn in range(most):
        ahead, back = forward(x), backward(x)
        x = jnp.where(turn < count, ahead, jnp.where(turn < -count, back, x))
    return x


def _reduce_device(x: Array, *, axis: str, tree: Tree, op: str, span: int | None) -> Array:
    n, lines, _, core = _lines(axis, span)
    here, acc, add = core % n, x, OPS[op]

    def receive(acc: Array, pairs: list[tuple[int, int]]) -> Array:
        if not pairs:
            return acc
        got = _permute(acc, axis, pairs, n, lines)
        return jnp.where(jnp.isin(here, np.array([d for _, d in pairs])), add(got, acc), acc)

    for phase in tree.phases(n):
        for away in range(max(c.stages for c in phase), 0, -1):
            right = [
                (c.members[c.root + away], c.members[c.root + away - 1])
                for c in phase
                if c.root + away < len(c.members)
            ]
            left = [
                (c.members[c.root - away], c.members[c.root - away + 1])
                for c in phase
                if c.root - away >= 0
            ]
            acc = receive(acc, right)
            acc = receive(acc, left)
    return _idle(core, n, lines, x, jnp.where(here == tree.root(n), acc, x))


def _reduce_to_device(x: Array, root: Array, *, axis: str, op: str, span: int | None) -> Array:
    n, lines, _, core = _lines(axis, span)
    here, add = core % n, OPS[op]
    left = right = x
    for turn in range(1, n):
        got = _permute(left, axis, [(turn - 1, turn)], n, lines)
        left = jnp.where(here == turn, add(got, left), left)
        at = n - turn
        got = _permute(right, axis, [(at, at - 1)], n, lines)
        right = jnp.where(here == at - 1, add(got, right), right)
    from_left = _permute(left, axis, [(i, i + 1) for i in range(n - 1)], n, lines)
    from_right = _permute(right, axis, [(i + 1, i) for i in range(n - 1)], n, lines)
    total = jnp.where(here < n - 1, add(from_right, x), x)
    total = jnp.where(here > 0, add(from_left, total), total)
    return _idle(core, n, lines, x, jnp.where(here == _beside(root, x), total, x))


def _broadcast_from_device(x: Array, root: Array, *, axis: str, span: int | None) -> Array:
    n, lines, _, core = _lines(axis, span)
    every = lax.all_gather(x, axis)
    return _idle(core, n, lines, x, _take_each(every, (core // n * n + root)[None])[0])


def _broadcast_device(x: Array, *, axis: str, root: int, span: int | None) -> Array:
    return _broadcast_from_device(x, jnp.asarray(root), axis=axis, span=span)


# Registration.


def _same_value(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _outside(name: str) -> Callable[..., Any]:
    def impl(*_: Any, axis: str, **__: Any) -> Any:
        raise InputError(
            f"{name} along '{axis}' outside a mesh: run the core function with Program and run(), "
            "or under vmap or shard_map with that axis."
        )

    return impl


def _register(prim: Primitive, line: Callable[..., Array], device: Callable[..., Array]) -> None:
    """`line(v, *traced, **own)` works along the leading dimension; `device(x, *traced, **params)`."""

    def batch(axis_data: Any, values: tuple, dims: tuple, *, axis: str, **params: Any) -> tuple:
        (v, *traced), (d, *traced_dims) = values, dims
        if axis_data.name != axis:
            return _other_axis(prim, v, traced, d, traced_dims, dict(axis=axis, **params))
        if any(t is not None for t in traced_dims):
            raise InputError(
                f"{prim.name}: its count or root differs between the cores of axis '{axis}', along "
                "which it works; every core of a line must agree on it."
            )
        size = axis_data.size
        rows = jnp.broadcast_to(v[None], (size, *v.shape)) if d is None else jnp.moveaxis(v, d, 0)
        own = {k: p for k, p in params.items() if k not in ("span", "most")}
        span = params["span"]
        line_length(size, span)
        if prim is broadcast_p and span in (None, size):
            return rows[params["root"]], None
        if prim is broadcast_from_p and span in (None, size):
            return _take_each(rows, traced[0][None])[0], None
        return _by_line(rows, span, lambda r: line(r, *traced, **own)), 0

    prim.def_impl(_outside(prim.name))
    prim.def_abstract_eval(_same_value)
    batching.fancy_primitive_batchers[prim] = batch
    mlir.register_lowering(prim, mlir.lower_fun(device, multiple_results=False))


def _other_axis(
    prim: Primitive, v: Array, traced: list, d: int | None, traced_dims: list, params: dict
) -> tuple[Array, int | None]:
    """A batch dimension that the primitive does not work along passes through it."""
    if traced and traced_dims[0] is not None:
        (operand,) = traced
        operand = jnp.moveaxis(operand, traced_dims[0], 0)
        rows = operand.shape[0]
        v = jnp.broadcast_to(v[None], (rows, *v.shape)) if d is None else jnp.moveaxis(v, d, 0)
        return prim.bind(v, operand, **params), 0
    if d is None:
        return prim.bind(v, *traced, **params), None
    lead = traced[0].ndim if traced else 0
    return prim.bind(jnp.moveaxis(v, d, lead), *traced, **params), lead


_register(shift_p, _shift_line, _shift_device)
_register(rotate_p, _rotate_line, _rotate_device)
_register(reduce_p, _reduce_line, _reduce_device)
_register(reduce_to_p, _reduce_to_line, _reduce_to_device)
_register(broadcast_p, _broadcast_line, _broadcast_device)
_register(broadcast_from_p, _broadcast_from_line, _broadcast_from_device)
