"""How a figure answers to every number of a system: exact derivatives by `jax.grad`, and steps both ways."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.chip.facts import nearest
from waferllm.errors import CapacityError, InputError
from waferllm.explore import core
from waferllm.explore.evaluating import homeless, inputs, numpy_evaluate
from waferllm.explore.numbers import SHARES
from waferllm.explore.shapes import Shape, find_shape
from waferllm.explore.sharding import Sharding
from waferllm.explore.sharding import check as check_sharding
from waferllm.explore.systems import System
from waferllm.explore.systems import system as named_system
from waferllm.explore.workloads import Workload, find_workload

#: Numbers that count things or choose a kind: no derivative is meant.
_DISCRETE = (
    "chip.count",
    "chip.spares",
    "link.size",
    "link.topology",
    "link.reduces",
    "sram.holds",
)


@dataclass(frozen=True)
class Sensitivity:
    """One input's hold on a figure.

    `elasticity` is d ln(figure) / d ln(input) at the design, -1 where the figure is inverse to the input;
    `when_lower` and `when_higher` are the relative changes of the figure at `change` less and more of the
    input, which also see where another bound takes over.
    """

    key: str
    elasticity: float
    change: float
    when_lower: float
    when_higher: float


def sensitivity(
    system: System | str,
    workload: Workload | str,
    sharding: Sharding,
    *,
    model: str | Path | Shape,
    metric: str = "usd_per_mtok",
    change: float = 0.1,
    exact: bool = True,
) -> tuple[Sensitivity, ...]:
    """Every number of the system that moves the figure, the strongest first.

    Without `exact`, elasticities are those of the two steps, and JAX need not compile (seconds).

    Raises InputError for an unknown metric, a change outside 0 to 1, or a figure that is missing, and
    CapacityError where memory does not hold the design.
    """
    found = named_system(system) if isinstance(system, str) else system
    shape, work = find_shape(model), find_workload(workload)
    if found.wafer:
        raise InputError(f"{found.name}: wafers have no sensitivities here; vary the chip's facts.")
    check_sharding(sharding, shape, found.chips)
    if not 0 < change < 1:
        raise InputError(f"change = {change}: expected a share between 0 and 1, such as 0.1.")
    d, m, w = inputs(found, shape, work)
    s = sharding.values()
    made = numpy_evaluate(d, m, w, s)
    if problem := homeless(made):
        raise CapacityError(f"{shape.name} on {found.name}, {sharding}: {problem}")
    known = made["figures"]
    if metric not in known:
        raise InputError(f"Unknown figure {metric!r}. {nearest(metric, known)}")
    if isnan(float(known[metric])):
        raise InputError(f"{metric} of {found.name} is missing: {_gone(found)}")
    keys = [key for key, value in d.items() if value and key not in _DISCRETE and not isnan(value)]
    steps = _steps(d, m, w, s, keys, metric, change)
    if exact:
        slopes = _slopes(d, m, w, s, keys, metric)
    else:
        slopes = {key: (high - low) / (2 * change) for key, (low, high) in steps.items()}
    moving = [
        Sensitivity(key, slopes[key], change, *steps[key])
        for key in keys
        if slopes[key] or any(steps[key])
    ]
    return tuple(sorted(moving, key=lambda one: -max(abs(one.when_lower), abs(one.when_higher))))


def _gone(system: System) -> str:
    return ", ".join(f"{key} ({text})" for key, text in system.missing.items())


def _slopes(d: Any, m: Any, w: Any, s: Any, keys: list[str], metric: str) -> dict[str, float]:
    """Elasticities by `jax.grad` of the logarithm in the logarithms of the inputs.

    Not under jit: for one design, compiling takes twice as long as the steps themselves.
    """
    import jax
    import jax.numpy as jnp

    # what is not published has no hold on a figure that is known; NaN would spoil its derivative
    fixed = {key: 0.0 if isnan(value) else value for key, value in d.items()}
    fixed |= {key: 1e9 for key in ("chip.tdp_w", "chip.thermal_w") if isnan(d[key])}

    def figure(logs: dict[str, Any]) -> Any:
        numbers = fixed | {key: jnp.exp(log) for key, log in logs.items()}
        return jnp.log(core.evaluate(jnp, numbers, m, w, s)["figures"][metric])

    logs = {key: jnp.log(float(d[key])) for key in keys}
    return {key: float(slope) for key, slope in jax.grad(figure)(logs).items()}


def _steps(
    d: Any, m: Any, w: Any, s: Any, keys: list[str], metric: str, change: float
) -> dict[str, tuple[float, float]]:
    count = 1 + 2 * len(keys)
    moved = dict(d)
    for n, key in enumerate(keys):
        row = np.full(count, d[key])
        most = min(1.0, d[key] * (1 + change)) if key in SHARES else d[key] * (1 + change)
        row[1 + 2 * n : 3 + 2 * n] = d[key] * (1 - change), most
        moved[key] = row
    values = np.broadcast_to(numpy_evaluate(moved, m, w, s)["figures"][metric], (count,))
    relative = values / values[0] - 1
    return {
        key: (float(relative[1 + 2 * n]), float(relative[2 + 2 * n])) for n, key in enumerate(keys)
    }
