"""The search: every sharding and batch of a system evaluated at once, the best by an objective kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.chip.facts import nearest
from waferllm.errors import CapacityError, InputError
from waferllm.explore import core
from waferllm.explore.evaluating import Grouped, finish, inputs, numpy_evaluate
from waferllm.explore.inputs import formats
from waferllm.explore.levers import helps_most
from waferllm.explore.result import Result, Unfit
from waferllm.explore.shapes import Shape, find_shape
from waferllm.explore.sharding import BATCHES, Sharding, grid
from waferllm.explore.systems import System
from waferllm.explore.systems import system as named_system
from waferllm.explore.workloads import Workload, find_workload
from waferllm.models.config import ModelConfig
from waferllm.units import GB

#: What is to be small (or large, with a minus) under each objective.
OBJECTIVES: Mapping[str, tuple[str, float]] = {
    "tco": ("usd_per_mtok", 1.0),
    "power": ("joules_per_token", 1.0),
    "co2e": ("gco2e_per_mtok", 1.0),
    "latency": ("tpot_s", 1.0),
    "throughput": ("system_tokens_per_s", -1.0),
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a site has: watts with PUE, racks, tonnes of embodied carbon. Infinite by default."""

    max_power_mw: float = inf
    max_racks: float = inf
    max_embodied_t: float = inf

    def __post_init__(self) -> None:
        for key in ("max_power_mw", "max_racks", "max_embodied_t"):
            if not getattr(self, key) > 0:
                raise InputError(f"{key} = {getattr(self, key)}: expected more than zero.")

    def limits(self) -> dict[str, float]:
        """By figure, in its unit, those that are finite."""
        made = {
            "site_power_w": 1e6 * self.max_power_mw,
            "racks": self.max_racks,
            "embodied_kg": 1000 * self.max_embodied_t,
        }
        return {key: value for key, value in made.items() if not isinf(value)}


def search(
    system: System | str,
    workload: Workload | str,
    *,
    model: str | Path | Shape | ModelConfig,
    objective: str = "tco",
    budget: Budget | None = None,
    batches: Sequence[int] = BATCHES,
    advise: bool = True,
) -> Result:
    """The best sharding and batch of a system under an objective, within service limits and budgets.

    Raises InputError for unknown names, CapacityError in one sentence where nothing serves the workload.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"Unknown objective {objective!r}. {nearest(objective, OBJECTIVES)}")
    found = named_system(system) if isinstance(system, str) else system
    work = find_workload(workload)
    shape = find_shape(model)
    if found.wafer:
        return _wafers(found, work, model, objective, budget or Budget(), advise)
    d, m, w = inputs(found, shape, work)
    batches = tuple(one for one in batches if one <= work.max_requests) or (1,)
    s = grid(shape, found.chips, batches, flash=found["hbf.stacks"] > 0)
    made = numpy_evaluate(d, m, w, s)
    figures = {key: np.broadcast_to(value, s["tp"].shape) for key, value in made["figures"].items()}
    fitting = (made["fits"]["weights_bytes"] <= 0) & (made["fits"]["kv_bytes"] <= 0)
    fitting = np.broadcast_to(fitting, s["tp"].shape) & (s["dp"] * s["batch"] <= work.max_requests)
    allowed = _allowed(found, shape, work, m, figures, fitting, budget or Budget())
    scores = _scores(figures, objective)
    at = int(np.argmin(np.where(allowed, scores, inf)))
    best = Sharding(**{key: int(value[at]) for key, value in s.items()})
    more: dict[str, Any] = {"capacity_bound": _held_down(s, at, fitting, batches)}
    if advise:
        more["helps_most"] = helps_most(found, shape, work, best, objective, OBJECTIVES, batches)
    return finish(found, shape, work, best, _at(made, at), **more)


def _wafers(
    system: System, work: Workload, model: str | Path | Shape | ModelConfig, objective: str,
    budget: Budget, advise: bool,
) -> Result:  # fmt: skip
    """The best placement on wafers, within budgets; imports JAX, which only wafers need."""
    from waferllm.explore.wafer import search_wafers

    if isinstance(model, Shape):
        model = model.name
    made = search_wafers(system, work, model, OBJECTIVES[objective], advise=advise)
    for key, limit in budget.limits().items():
        value = made.value(key)
        if value is not None and value > limit:
            raise CapacityError(
                f"{system.name} is beyond the budget: {key} is {value:,.4g}, the limit {limit:,.4g}."
            )
    return made


def _scores(figures: dict[str, Any], objective: str) -> Any:
    """What is to be small; where a price or power is unknown, tokens per second decide."""
    key, sign = OBJECTIVES[objective]
    values = sign * figures[key]
    if np.isnan(values).all():
        values = -figures["system_tokens_per_s"]
    return np.where(np.isnan(values), inf, values)


def _at(made: Grouped, at: int) -> Grouped:
    return {
        group: {
            key: value[at] if np.ndim(value) else value for key, value in values.items()
        }
        for group, values in made.items()
    }  # fmt: skip


def _held_down(s: Mapping[str, Any], at: int, fitting: Any, batches: tuple[int, ...]) -> bool:
    """Whether the next larger batch of the same sharding has no place in memory."""
    is_last = s["batch"][at] == batches[-1]
    return bool(not is_last and not fitting[at + 1])


def _allowed(
    system: System,
    shape: Shape,
    work: Workload,
    m: Mapping[str, float],
    figures: dict[str, Any],
    fitting: Any,
    budget: Budget,
) -> Any:
    """The designs that fit, answer in time and stay in budget. Raises CapacityError for none."""  # fmt: skip
    if not fitting.any():
        raise CapacityError(_no_room(system, shape, work, m))
    for key, limit, unit in (("ttft_s", work.max_ttft_s, "s"), ("tpot_s", work.max_tpot_s, "s")):
        inside = fitting & (figures[key] <= limit)
        if not inside.any():
            best = figures[key][fitting].min()
            raise CapacityError(
                f"{shape.name} on {system.name} is too slow for {work.name}: {key} is at best "
                f"{best:.3g} {unit}, more than {limit:g} {unit} (alone or with the limits before)."
            )
        fitting = inside
    for key, limit in budget.limits().items():
        inside = fitting & (figures[key] <= limit)
        if not inside.any():
            raise CapacityError(
                f"{system.name} is beyond the budget: {key} is at best "
                f"{np.nanmin(figures[key][fitting]):,.4g}, the limit {limit:,.4g}."
            )
        fitting = inside
    return fitting


def _no_room(system: System, shape: Shape, work: Workload, m: Mapping[str, float]) -> str:
    rooms = {tier: system.chips * float(value) / GB
             for tier, value in core.capacity_bytes(dict(system.values())).items()}  # fmt: skip
    has = ", ".join(f"{tier.upper()} {room:,.0f} GB" for tier, room in rooms.items() if room)
    dtype = formats(shape, work)[0]
    each = work.cached_tokens + work.prompt_tokens + work.output_tokens
    kv = each * m["layers"] * m["kv_layer_bytes"] / GB
    return (
        f"{shape.name} does not fit {system.name}: weights in {dtype} are "
        f"{m['stored_bytes'] / GB:,.1f} GB and one request's KV up to {kv:,.2f} GB; usable are {has}."
    )


def compare(
    systems: Sequence[System | str],
    workload: Workload | str,
    *,
    model: str | Path | Shape | ModelConfig,
    objective: str = "tco",
    budget: Budget | None = None,
) -> list[Result | Unfit]:
    """The best of each system, in the order given; one that cannot serve says why."""
    made: list[Result | Unfit] = []
    for one in systems:
        try:
            made.append(search(one, workload, model=model, objective=objective, budget=budget))
        except CapacityError as error:
            made.append(Unfit(one if isinstance(one, str) else one.name, str(error)))
    return made
