"""One system, workload and sharding into a `Result`: capacity, floors, ranges, warnings."""

from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.errors import CapacityError, InputError
from waferllm.explore import core
from waferllm.explore.inputs import formats, model_numbers, workload_numbers
from waferllm.explore.result import BelowFloorError, Result
from waferllm.explore.shapes import Shape, find_shape
from waferllm.explore.sharding import Sharding, check
from waferllm.explore.systems import System
from waferllm.explore.systems import system as named_system
from waferllm.explore.workloads import Workload, find_workload
from waferllm.models.config import ModelConfig
from waferllm.reports.explore_rows import Figure
from waferllm.units import GB

ROUNDING = 1e-9
Grouped = dict[str, dict[str, Any]]
MIN_FLASH_YEARS = 5.0
LEAST_SLOWING = 0.01


def inputs(
    system: System, shape: Shape, workload: Workload
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(d, m, w) of `core.evaluate`."""
    return dict(system.values()), dict(model_numbers(shape, workload)), workload_numbers(workload)


def numpy_evaluate(d: Any, m: Any, w: Any, s: Any) -> Grouped:
    """`core.evaluate` with NumPy, checked against the floors. Raises BelowFloorError."""
    with np.errstate(all="ignore"):
        made = core.evaluate(np, d, m, w, s)
        floors = core.floor_s(np, d, m, w, s)
    figures = made["figures"]
    for key, times in (("tpot_s", made["alone"]["token_s"]), ("ttft_s", figures["ttft_s"])):
        short = times < floors[key] * (1 - ROUNDING)
        if np.any(short):
            raise BelowFloorError(f"{key} below its floor in {int(np.sum(short))} design(s).")
    most = floors["tokens_per_s_most"]
    if np.any((d["chip.count"] > 0) & (w["steps"] == 0)
              & (figures["system_tokens_per_s"] > most * (1 + ROUNDING))):  # fmt: skip
        raise BelowFloorError("tokens per second above what memory and compute can give.")
    return made


def evaluate(
    system: System | str,
    workload: Workload | str,
    sharding: Sharding,
    *,
    model: str | Path | Shape | ModelConfig,
) -> Result:
    """What a system does with a workload under a given sharding; every figure is predicted.

    Raises InputError for names and shardings that cannot be, CapacityError where memory does not hold
    weights and KV, BelowFloorError (never the user's fault) for a time that physics forbids.
    """
    found = named_system(system) if isinstance(system, str) else system
    shape, work = find_shape(model), find_workload(workload)
    if found.wafer:
        raise InputError(f"{found.name}: wafers take no sharding; explore.search places them.")
    check(sharding, shape, found.chips)
    d, m, w = inputs(found, shape, work)
    made = numpy_evaluate(d, m, w, sharding.values())
    if problem := homeless(made):
        raise CapacityError(f"{shape.name} on {found.name}, {sharding}: {problem}")
    return finish(found, shape, work, sharding, made)


def homeless(made: Grouped) -> str:
    """What found no place in a single design's memory, or nothing."""
    weights, kv = (float(made["fits"][key]) for key in ("weights_bytes", "kv_bytes"))
    if weights > 0:
        return f"weights lack {weights / GB:.1f} GB on each chip."
    if kv > 0:
        return f"the KV cache lacks {kv / GB:.1f} GB on each chip."
    return ""


def finish(
    system: System, shape: Shape, work: Workload, sharding: Sharding, made: Grouped, **more: Any
) -> Result:
    """A `Result` of one design's arrays, with ranges from uncertain inputs."""
    ends = ranges(system, shape, work, sharding)
    figures = {
        key: figure(float(value), ends[key], key, system) for key, value in made["figures"].items()
    }
    has_price = figures["usd_per_mtok"].value is not None
    flash = _plain(made["flash"]) if system["hbf.stacks"] else {}
    return Result(
        system=system.name,
        model=shape.name,
        workload=work.name,
        sharding=sharding,
        cut=str(sharding),
        chips=system.chips,
        batch=sharding.batch,
        figures=figures,
        decode_s={} if work.denoise_steps else _plain(made["decode_s"]),
        prefill_s=_plain(made["prefill_s"]),
        cost_usd_per_mtok=_plain(made["cost"]) if has_price else {},
        carbon_g_per_mtok=_known(made["carbon"]),
        power_w=_known(made["power"]),
        held_bytes=_plain(made["held"]),
        work=_plain(made["work"]),
        flash=flash,
        recalled=used_recalled(system),
        warnings=tuple(_warnings(system, shape, work, sharding, flash, made)),
        **more,
    )


def _plain(group: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in group.items()}


def _known(group: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in _plain(group).items() if not isnan(value)}


def used_recalled(system: System) -> tuple[str, ...]:
    """Recalled inputs that a result depends on: of parts that are there."""
    absent = {"building": not system["site.building_usd_per_w"]}
    return tuple(key for key in system.recalled if not (absent["building"] and "building" in key))


def ranges(
    system: System, shape: Shape, work: Workload, sharding: Sharding
) -> dict[str, tuple[float, float]]:
    """Low and high of every figure: each uncertain input at both ends, deviations added in quadrature.

    Inputs are taken as independent; the figure itself uses their values. An end at which memory does
    not hold the batch counts as no deviation, for a smaller batch would be chosen there.
    """
    d, m, w = inputs(system, shape, work)
    keys = system.ranged
    count = 1 + 2 * len(keys)
    for n, key in enumerate(keys):
        row = np.full(count, d[key])
        row[1 + 2 * n : 3 + 2 * n] = system.number(key).ends
        d[key] = row
    made = numpy_evaluate(d, m, w, sharding.values())
    fits = np.broadcast_to(sum(made["fits"].values()) <= 0, (count,))
    ends = {key: np.broadcast_to(value, (count,)) for key, value in made["figures"].items()}
    return {key: quadrature(np.where(fits, value, value[0])) for key, value in ends.items()}


def quadrature(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Low and high from [value, input 1 low, input 1 high, input 2 low, ...]."""
    middle = float(values[0])
    off = (values[1:] - middle).reshape(-1, 2)
    up, down = np.maximum(off.max(axis=1), 0), np.minimum(off.min(axis=1), 0)
    low = middle - float(np.sqrt((down**2).sum()))
    return max(low, middle * 1e-3), middle + float(np.sqrt((up**2).sum()))


def figure(value: float, ends: tuple[float, float], key: str, system: System) -> Figure:
    """A figure with its range, or the reason why it is missing."""
    if isnan(value):
        return Figure(None, why_missing=_why_missing(key, system))
    return Figure(value, min(ends[0], value), max(ends[1], value))


_NEEDS = {
    "usd_per_mtok": ("chip.usd", "chip.tdp_w", "host.usd", "host.w"),
    "capital_usd": ("chip.usd", "host.usd"),
    "usd_per_chip_hour": ("chip.usd", "chip.tdp_w", "host.usd", "host.w"),
    "gco2e_per_mtok": ("chip.die_cm2", "chip.kg_per_cm2", "chip.tdp_w", "host.w", "host.kg"),
    "embodied_kg": ("chip.die_cm2", "chip.kg_per_cm2", "host.kg"),
}
_POWER = ("chip.tdp_w", "chip.static_share", "host.w")


def _why_missing(key: str, system: System) -> str:
    gone = [name for name in system.missing if name in _NEEDS.get(key, _POWER)]
    gone = gone or list(system.missing)
    return f"{', '.join(gone)} of {system.name} unknown: {system.missing[gone[0]]}"


def _warnings(
    system: System,
    shape: Shape,
    work: Workload,
    sharding: Sharding,
    flash: Mapping[str, float],
    arrays: Grouped,
) -> list[str]:
    made = []
    for phase in ("decode", "prefill"):
        times = _plain(arrays[f"{phase}_s"])
        if times["power"] > LEAST_SLOWING * sum(times.values()):
            share = 1 - times["power"] / sum(times.values())
            made.append(f"cooling of {system['chip.thermal_w']:,.0f} W holds {phase} to {share:.0%}"
                        " of its speed.")  # fmt: skip
    dtype = formats(shape, work)[0]
    if dtype in ("fp8", "int8") and not system["chip.tflops_8"]:
        made.append("no 8-bit arithmetic: weights are unpacked to 16 bits.")
    idle = system.chips - sharding.chips
    if idle:
        made.append(f"{idle} of {system.chips} chips stand idle.")
    if work.store_gb and (away := float(arrays["held"]["store_away"]) * system.chips / GB) > 1e-6:
        made.append(
            f"{away:,.0f} GB of the context store have no place and are read over the network."
        )
    if flash:
        made += _flash_warnings(system, flash)
    return made


def _flash_warnings(system: System, flash: Mapping[str, float]) -> list[str]:
    made = []
    if flash["years"] < MIN_FLASH_YEARS:
        made.append(f"flash wears out in {flash['years']:.1f} years.")
    live = flash["years_if_live_kv"]
    made.append(
        f"live KV stays in DRAM: in flash it would wear it out in {live:.2g} years"
        f" and take {flash['live_kv_of_write_bandwidth']:.1%} of its write bandwidth."
    )
    if system["hbf.buffer_mb"] < flash["buffer_mb_needed"] * 0.99:
        made.append(
            f"read-ahead buffer of {system['hbf.buffer_mb']:.3g} MB is less than the "
            f"{flash['buffer_mb_needed']:.3g} MB that the bandwidth needs."
        )
    return made
