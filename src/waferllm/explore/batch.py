"""A million designs at once: the evaluation under `jax.jit`, over arrays of systems and shardings.

The same pure function as for one design (`core.evaluate`), in float32. Arrays broadcast, so a design
is a row of any shape; `jax.vmap` and `jax.grad` of `compiled()` work as on any JAX function. Designs
that do not fit are not left out: look at `fits`.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from waferllm.errors import InputError
from waferllm.explore import core
from waferllm.explore.evaluating import Grouped, inputs
from waferllm.explore.numbers import check
from waferllm.explore.result import BelowFloorError
from waferllm.explore.shapes import Shape, find_shape
from waferllm.explore.sharding import MAY_BE_ZERO, Sharding
from waferllm.explore.systems import System
from waferllm.explore.systems import system as named_system
from waferllm.explore.workloads import Workload, find_workload

#: Relative rounding of some hundred float32 operations.
ROUNDING = 1e-4
#: Designs at once: few enough that a core's cache holds what a pass over them keeps (measured: twice 2**18).
CHUNK = 1 << 15
_SHARDING_KEYS = tuple(Sharding().values())


@lru_cache(maxsize=1)
def compiled() -> Callable[[Any, Any, Any, Any], Grouped]:
    """`core.evaluate` under jit: (d, m, w, s), dictionaries of floats and arrays, to groups of arrays."""
    return jax.jit(lambda d, m, w, s: core.evaluate(jnp, d, m, w, s))


@lru_cache(maxsize=1)
def _checked() -> Callable[[Any, Any, Any, Any], tuple[Grouped, Any]]:
    """The evaluation and how far the shortest token is above its floor, relative."""

    def run(d: Any, m: Any, w: Any, s: Any) -> tuple[Grouped, Any]:
        made = core.evaluate(jnp, d, m, w, s)
        floor = core.floor_s(jnp, d, m, w, s)["tpot_s"]
        return made, jnp.min(made["alone"]["token_s"] / floor)

    return jax.jit(run)


def evaluate_many(
    system: System | str,
    workload: Workload | str,
    designs: Mapping[str, ArrayLike],
    *,
    model: str | Path | Shape,
    sharding: Sharding | None = None,
) -> Grouped:
    """All figures of N designs: arrays [N] by group and name, as `core.evaluate` gives them.

    `designs` maps keys of a system (`hbm.stacks`), or of a sharding (`tp`, `batch`), to arrays [N].
    Raises InputError for unknown keys, impossible values or unequal lengths, BelowFloorError as ever.
    """
    found = named_system(system) if isinstance(system, str) else system
    work = find_workload(workload)
    if found.wafer:
        raise InputError(f"{found.name}: wafers are placed by explore.search, one by one.")
    arrays = _arrays(designs)
    counted = {k: float(np.max(v)) for k, v in arrays.items() if k.endswith((".stacks", ".gain"))}
    d, m, w = inputs(found.with_numbers(counted), find_shape(model), work)
    s: dict[str, Any] = (sharding or Sharding()).values()
    for key, values in arrays.items():
        (s if key in s else d)[key] = values
    parts = _chunks(d, m, w, s, len(next(iter(arrays.values()))))
    return jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)


def _arrays(designs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray[Any, Any]]:
    made = {key: np.asarray(values, dtype=np.float32) for key, values in designs.items()}
    if not made:
        raise InputError("evaluate_many needs at least one array of designs.")
    lengths = {key: values.shape for key, values in made.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise InputError(f"designs must be arrays of one length; got {lengths}.")
    if not next(iter(lengths.values()))[0]:
        raise InputError("designs are empty arrays; give at least one value each.")
    for key, values in made.items():
        if key in _SHARDING_KEYS:
            if not (values >= (0 if key in MAY_BE_ZERO else 1)).all():
                raise InputError(f"sharding {key}: {values.min()} is too small.")
            continue
        for value in (values.min(), values.max()):
            check(key, float(value))
    return made


def _chunks(d: Any, m: Any, w: Any, s: Any, count: int) -> list[Any]:
    """Equal chunks, side by side on all cores; the last is filled up, so that all compile once."""
    size = min(CHUNK, count)

    def cut(value: Any, start: int, last: int) -> Any:
        if not np.ndim(value):
            return value
        part = value[start:last]
        return np.concatenate([part, np.repeat(part[-1:], size - len(part))])

    def run(start: int) -> Any:
        last = min(start + size, count)
        made, least = _checked()(
            *({k: cut(v, start, last) for k, v in one.items()} for one in (d, m, w, s))
        )
        if float(least) < 1 - ROUNDING:
            raise BelowFloorError(f"a token takes {float(least):.4f} of its floor.")
        return jax.tree.map(lambda v: np.broadcast_to(np.asarray(v), (size,))[: last - start], made)

    starts = range(0, count, size)
    first = run(starts[0])  # compiles, before others wait for the same
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [first, *pool.map(run, starts[1:])]
