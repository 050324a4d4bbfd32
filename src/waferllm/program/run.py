"""Run a program: on simulated cores in this process, or on the devices of a JAX mesh.

Both take and give whole arrays. Simulated, the cores are array dimensions under `vmap`; natural order
in memory is kept, so that placing an array that already tiles costs nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from waferllm.errors import InputError
from waferllm.layout import (
    AXES,
    COLS,
    ROWS,
    Blocks,
    Layout,
    Mesh,
    RingColumns,
    RingSkewed,
    column_index,
    skew_index,
)
from waferllm.program.program import Program, Spec, _is_spec
from waferllm.program.systolic import rewrite


def run(program: Program, *arrays: Any, devices: jax.sharding.Mesh | None = None) -> Any:
    """The program's results for these global arrays, as global arrays.

    With `devices`, a JAX mesh with axes "y" and "x" of the program's size, every core is a device;
    otherwise all cores are simulated in this process. Arrays of other dtypes or shapes are refused.
    """
    if program.outputs is None:
        raise InputError(f"{program.name} states no outputs. Give Program a Spec for its result.")
    specs, structure = jax.tree.flatten(program.inputs, is_leaf=_is_spec)
    leaves = jax.tree.leaves(arrays)
    if len(leaves) != len(specs):
        raise InputError(f"{program.name} takes {len(specs)} arrays, got {len(leaves)}.")
    if jax.tree.structure(arrays) != structure:
        raise InputError(
            f"{program.name} takes its arrays as {structure}, got {jax.tree.structure(arrays)}. "
            "Name and nest them as the program's inputs are."
        )
    for i, (array, spec) in enumerate(zip(leaves, specs, strict=True)):
        if tuple(array.shape) != tuple(spec.shape) or array.dtype != jnp.dtype(spec.dtype):
            raise InputError(
                f"{program.name}, array {i}: got {array.dtype}{list(array.shape)}, expected "
                f"{jnp.dtype(spec.dtype)}{list(spec.shape)}, the shape the program was made for."
            )
    return executable(program, devices)(*arrays)


@lru_cache(maxsize=128)
def executable(program: Program, devices: jax.sharding.Mesh | None = None) -> Callable[..., Any]:
    """A compiled function of global arrays; made once per program and devices."""
    return jax.jit(on_cores(program) if devices is None else on_devices(program, devices))


def on_cores(program: Program) -> Callable[..., Any]:
    """The program as a plain JAX function of global arrays, its cores simulated by `vmap`."""
    mesh = program.mesh
    specs = jax.tree.leaves(program.inputs, is_leaf=_is_spec)
    outs, out_tree = jax.tree.flatten(program.outputs, is_leaf=_is_spec)
    skewed = [i for i, s in enumerate(specs) if isinstance(s.layout, RingSkewed)]
    flat, unskewed = rewrite(program.jaxpr, mesh, skewed)
    specs = [
        replace(s, layout=Blocks((ROWS, COLS))) if i in unskewed else s for i, s in enumerate(specs)
    ]
    placed_dims = [_core_dims(s.layout, len(s.shape)) for s in specs]
    out_dims = [_core_dims(_blocks(s.layout), len(s.shape)) for s in outs]
    inner = jax.vmap(
        flat,
        in_axes=tuple(_after_rows(d) for d in placed_dims),
        out_axes=tuple(_after_rows(d) or 0 for d in out_dims),
        axis_name=COLS,
        axis_size=mesh.cols,
    )
    outer = jax.vmap(
        inner,
        in_axes=tuple(d[0] for d in placed_dims),
        out_axes=tuple(_out_rows(d) for d in out_dims),
        axis_name=ROWS,
        axis_size=mesh.rows,
    )

    def call(*arrays: Any) -> Any:
        leaves = jax.tree.leaves(arrays)
        tiles = [place(a, s.layout, mesh) for a, s in zip(leaves, specs, strict=True)]
        results = outer(*tiles)
        whole = [collect(r, s, mesh) for r, s in zip(results, outs, strict=True)]
        return jax.tree.unflatten(out_tree, whole)

    return call


def on_devices(program: Program, devices: jax.sharding.Mesh) -> Callable[..., Any]:
    """The program as a function of global arrays, one device for each core."""
    mesh = program.mesh
    if dict(devices.shape) != {ROWS: mesh.rows, COLS: mesh.cols}:
        raise InputError(
            f"{program.name} is made for a {mesh} mesh; the devices form {dict(devices.shape)}. "
            f"Give a JAX mesh with axes y={mesh.rows}, x={mesh.cols}."
        )
    specs = jax.tree.leaves(program.inputs, is_leaf=_is_spec)
    outs, out_tree = jax.tree.flatten(program.outputs, is_leaf=_is_spec)
    tree = jax.tree.structure(program.inputs, is_leaf=_is_spec)

    def flat(*tiles: Array) -> tuple[Array, ...]:
        return tuple(jax.tree.leaves(program.core(*jax.tree.unflatten(tree, tiles))))

    sharded = jax.shard_map(
        flat,
        mesh=devices,
        in_specs=tuple(partition(s.layout, len(s.shape)) for s in specs),
        out_specs=tuple(partition(s.layout, len(s.shape)) for s in outs),
        check_vma=False,
    )

    def call(*arrays: Any) -> Any:
        leaves = jax.tree.leaves(arrays)
        tiles = [
            jax.lax.with_sharding_constraint(
                natural(place(a, s.layout, mesh), s.layout),
                NamedSharding(devices, partition(s.layout, a.ndim)),
            )
            for a, s in zip(leaves, specs, strict=True)
        ]
        results = sharded(*tiles)
        whole = [
            _crop(_reorder(r, s.layout, mesh), s.shape) for r, s in zip(results, outs, strict=True)
        ]
        return jax.tree.unflatten(out_tree, whole)

    return call


def place(array: Array, layout: Layout, mesh: Mesh) -> Array:
    """Pad a global array and show its cores: every cut dimension becomes (cores, share).

    RingSkewed gives (..., rows, cols, k, n) instead, its k-blocks permuted.
    """
    padded = layout.padded(array.shape, mesh)
    if padded != array.shape:
        array = jnp.pad(array, [(0, p - s) for p, s in zip(padded, array.shape, strict=True)])
    if isinstance(layout, RingSkewed):
        return _skew(array, mesh)
    split: list[int] = []
    for axis, length in zip(_input_axes(layout), padded, strict=True):
        split += [length] if axis is None else [mesh.side(axis), length // mesh.side(axis)]
    return array.reshape(split)


def _skew(array: Array, mesh: Mesh) -> Array:
    *lead, k, n = array.shape
    steps, cols = mesh.steps, mesh.cols
    blocks = array.reshape(*lead, steps, k // steps, cols, n // cols)
    blocks = jnp.moveaxis(blocks, -2, -3).reshape(*lead, steps * cols, k // steps, n // cols)
    index = skew_index(mesh) * cols + np.arange(cols)  # (rows, per_row, cols)
    index = np.moveaxis(index, 1, 2).reshape(-1)
    picked = jnp.take(blocks, index, axis=len(lead), mode="clip")
    return picked.reshape(*lead, mesh.rows, cols, k // mesh.rows, n // cols)


def natural(placed: Array, layout: Layout) -> Array:
    """The global array (padded, for RingSkewed in placed order) whose contiguous tiles are the cores'."""
    if isinstance(layout, RingSkewed):
        *lead, rows, cols, k, n = placed.shape
        return jnp.moveaxis(placed, -2, -3).reshape(*lead, rows * k, cols * n)
    shape: list[int] = []
    at = 0
    for axis in _input_axes(layout):
        shape.append(placed.shape[at] if axis is None else placed.shape[at] * placed.shape[at + 1])
        at += 1 if axis is None else 2
    return placed.reshape(shape)


def collect(result: Array, spec: Spec, mesh: Mesh) -> Array:
    """The global array from what all cores returned; replicated results come from the first core."""
    layout = _blocks(spec.layout)
    for axis in AXES:
        if axis not in layout.axes:
            result = result[0]
    return _crop(_reorder(natural(result, layout), spec.layout, mesh), spec.shape)


def _input_axes(layout: Layout) -> tuple[str | None, ...]:
    if not isinstance(layout, Blocks):
        raise InputError(f"{type(layout).__name__} is a layout for results; give the input blocks.")
    return layout.axes


def _blocks(layout: Layout) -> Blocks:
    """How a result lies in memory before its columns are put in order."""
    if isinstance(layout, RingSkewed):
        raise InputError("RingSkewed is a layout for inputs; give the output blocks.")
    return layout if isinstance(layout, Blocks) else Blocks((ROWS, COLS))


def _reorder(array: Array, layout: Layout, mesh: Mesh) -> Array:
    """Undo the ring order of `RingColumns`."""
    if not isinstance(layout, RingColumns):
        return array
    m, n = array.shape
    blocks = array.reshape(m, mesh.steps, n // mesh.steps)
    return jnp.take(blocks, column_index(mesh), axis=1).reshape(m, n)


def partition(layout: Layout, ndim: int) -> PartitionSpec:
    """The layout as a JAX PartitionSpec."""
    if isinstance(layout, RingSkewed):
        return PartitionSpec(*(None,) * (ndim - 2), ROWS, COLS)
    return PartitionSpec(*_blocks(layout).axes)


def _crop(array: Array, shape: tuple[int, ...]) -> Array:
    return array if array.shape == tuple(shape) else array[tuple(slice(s) for s in shape)]


def _core_dims(layout: Layout, ndim: int) -> tuple[int | None, int | None]:
    """Where the rows and the columns stand among the dimensions of a placed array."""
    if isinstance(layout, RingSkewed):
        return ndim - 2, ndim - 1
    at = 0
    found: dict[str, int | None] = dict.fromkeys(AXES)
    for axis in _input_axes(layout):
        if axis is not None:
            found[axis] = at
            at += 1
        at += 1
    return found[ROWS], found[COLS]


def _after_rows(dims: tuple[int | None, int | None]) -> int | None:
    """The columns' dimension once the rows' dimension is mapped away."""
    rows, cols = dims
    if rows is None or cols is None or cols < rows:
        return cols
    return cols - 1


def _out_rows(dims: tuple[int | None, int | None]) -> int:
    """Where the rows go in a result; replicated axes lead, rows before columns."""
    rows, cols = dims
    if rows is None:
        return 0
    return rows if cols is not None else rows + 1
