"""Run one core function on simulated cores and on host devices, without `Program`.

Arrays hold the cores in their first two dimensions: (rows, cols, *one core's value).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec

Core = Callable[..., Any]
UNEQUAL = [(3, 4), (5, 3), (1, 4)]
MESHES = [*UNEQUAL, (4, 1)]


def on_cores(core: Core) -> Core:
    """The core function under two `vmap`s, compiled."""
    return jax.jit(jax.vmap(jax.vmap(core, axis_name="x"), axis_name="y"))


def on_devices(core: Core, mesh: tuple[int, int]) -> Core:
    """The core function under `shard_map`, one device a core, compiled."""
    spec = PartitionSpec("y", "x")

    def one(*tiles: Any) -> Any:
        result = core(*jax.tree.map(lambda t: t[0, 0], tiles))
        return jax.tree.map(lambda r: r[None, None], result)

    return jax.jit(
        jax.shard_map(one, mesh=device_mesh(mesh), in_specs=spec, out_specs=spec, check_vma=False)
    )


@cache
def device_mesh(mesh: tuple[int, int]) -> jax.sharding.Mesh:
    devices = np.asarray(jax.devices()[: mesh[0] * mesh[1]]).reshape(mesh)
    return jax.sharding.Mesh(devices, ("y", "x"), axis_types=(AxisType.Auto, AxisType.Auto))


def same_bits(a: Any, b: Any) -> bool:
    """Equal shape, dtype and bytes: -0.0 differs from 0.0, and NaN equals itself."""
    a, b = np.asarray(a), np.asarray(b)
    return (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())
