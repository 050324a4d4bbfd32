"""Wafers in the same table: their programs placed and timed by `tune` and `plmr`, several in a row.

A replica is k wafers, each with 1/k of the layers; x goes from one to the next over the link between
systems. Both phases use the same wafers in turns, with the weights re-laid between them, as `tune`
models it: a wave of requests is prefilled one after another, then decoded together. Power has two
readings that bound it (`plmr.energy`): activity, which is shown, and rated power all the time. Longer than
most files because figures, prices, ranges and refusals of the one kind of system stand together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from waferllm.chip import Chip
from waferllm.chip import chip as named_chip
from waferllm.chip.facts import Fact, Source, Tag
from waferllm.errors import CapacityError, InputError, UnsupportedError, WaferError
from waferllm.explore import economics
from waferllm.explore.result import BelowFloorError, Result
from waferllm.explore.systems import System
from waferllm.explore.workloads import Workload
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.registry import find_config
from waferllm.plmr.energy import STATIC
from waferllm.plmr.time import CAUSES
from waferllm.reports.explore_rows import Figure
from waferllm.reports.predict import predict_decode, predict_prefill
from waferllm.tune.options import Decode, Prefill, Work, decodes, prefills
from waferllm.tune.search import can_hold, grids, relayout_cycles

DTYPE = "float16"
GRIDS_TRIED = 8
BATCHES = (1, 4)
TREES = {"K=2": AllReduce(k=2)}
LEVERS: tuple[tuple[str, str, float], ...] = (
    ("25 % more clock", "clock_hz", 1.25),
    ("25 % more SRAM per core", "sram_per_core_bytes", 1.25),
    ("20 % shorter software stages", "stage_cycles", 0.8),
    ("25 % wider fabric links", "link_bytes_per_cycle", 1.25),
    ("twice the multiply-adds", "macs_per_cycle.float16", 2.0),
)
_WORDS = {"usd_per_mtok": "less $ per Mtok", "joules_per_token": "less J per token",
          "gco2e_per_mtok": "less gCO2e per Mtok", "tpot_s": "less time per token",
          "system_tokens_per_s": "more tokens/s"}  # fmt: skip


_Phase = TypeVar("_Phase", Prefill, Decode)


@dataclass(frozen=True)
class Placed:
    """One placement of both phases on k wafers, times of a replica, rates of all of them."""

    wafers: int
    replicas: int
    prefill: Prefill
    decode: Decode
    ttft_s: float
    tpot_s: float
    wave_s: float
    requests: int
    dynamic_j: float

    @property
    def requests_per_s(self) -> float:
        return self.replicas * self.requests / self.wave_s

    def __str__(self) -> str:
        each = f"{self.decode.regions} regions of {self.decode.grid}"
        return f"PP{self.wafers} DP{self.replicas}, {each}"


def search_wafers(
    system: System,
    work: Workload,
    model: str | Path | ModelConfig,
    objective: tuple[str, float],
    *,
    advise: bool = True,
) -> Result:
    """The best placement of a dense model on wafers, under (figure, sign) of an objective.

    Raises UnsupportedError for what the wafer's programs do not do, CapacityError where nothing fits or
    nothing answers in time.
    """  # fmt: skip
    config = _config(model, work)
    chip = named_chip(system.wafer)
    best = _best(system, chip, config, work, objective, None)
    figures, parts = _figures(system, work, best)
    helps = _helps(system, chip, config, work, objective, best) if advise else ""
    _check_floor(chip, config, work, best)
    return Result(
        system=system.name, model=config.name, workload=work.name, sharding=None, cut=str(best),
        chips=system.chips, batch=best.requests, figures=figures,
        decode_s=_causes(config, chip, work, best, "decode"),
        prefill_s=_causes(config, chip, work, best, "prefill"),
        cost_usd_per_mtok=parts["cost"], carbon_g_per_mtok=parts["carbon"],
        power_w=parts["power"], recalled=system.recalled,
        warnings=tuple(_warnings(system, chip, work, best)), helps_most=helps,
    )  # fmt: skip


def _config(model: str | Path | ModelConfig, work: Workload) -> ModelConfig:
    try:
        config = model if isinstance(model, ModelConfig) else find_config(model)
    except UnsupportedError as error:
        raise CapacityError(f"wafer programs are for dense decoders: {error}") from error
    except InputError as error:
        raise CapacityError(f"wafer programs are for dense decoders; {model} is none.") from error
    if work.denoise_steps or work.encoder_params:
        raise CapacityError(
            f"wafer programs have no {'denoising' if work.denoise_steps else 'image encoder'}:"
            f" the workload {work.name} cannot be placed."
        )
    return config


def _tokens(work: Workload) -> tuple[int, int]:
    """Prompt and answer; text before the prompt is read again, its KV is not kept between requests."""
    return round(work.cached_tokens + work.prompt_tokens), max(round(work.output_tokens), 1)


def _placements(
    system: System,
    chip: Chip,
    config: ModelConfig,
    work: Workload,
    wafers: int,
    same: Sequence[Mesh],
) -> Iterator[Placed]:
    """On the same grids as another placement, or on all that are tried."""  # fmt: skip
    stage = replace(config, layers=-(-config.layers // wafers))
    prompt, output = _tokens(work)
    job = Work(stage, chip, prompt, output, DTYPE, chips=wafers)
    holding = [one for one in grids(chip) if can_hold(job, one)]
    middle = chip.cores_total // 8
    tried = same or sorted(holding, key=lambda g: abs(g.cores - middle))
    first = _some(tried, lambda g: prefills(job, g, 1) if g.rows == g.cols else ())
    if not first:
        return
    then = _some(
        tried, lambda g: (d for batch in BATCHES for d in decodes(job, g, TREES, "shift", batch))
    )
    for prefill in _undominated(first):
        for decode in then:
            yield _placed(system, chip, config, output, wafers, prefill, decode)


def _some(tried: Sequence[Mesh], of: Callable[[Mesh], Iterable[_Phase]]) -> list[_Phase]:
    """What fits on the first few grids on which anything does."""
    made: list[_Phase] = []
    holding = 0
    for grid in tried:
        found = list(of(grid))
        made += found
        holding += bool(found)
        if holding == GRIDS_TRIED:
            break
    return made


def _undominated(prefills: list[Prefill]) -> list[Prefill]:
    """The quickest for one prompt, and the quickest for many."""
    if not prefills:
        return []
    made = [
        min(prefills, key=lambda p: p.pass_cycles), min(prefills, key=lambda p: p.busy_cycles)
    ]  # fmt: skip
    return made[:1] if made[0] == made[1] else made


def _placed(
    system: System,
    chip: Chip,
    config: ModelConfig,
    output: int,
    wafers: int,
    prefill: Prefill,
    decode: Decode,
) -> Placed:
    """Times of k wafers in a row from those of one; embedding and output are counted once."""  # fmt: skip
    hz, rows = chip.clock_hz, prefill.grid.rows
    between = wafers - 1
    hop_s = _hop_s(system, decode.batch * config.hidden * 2)
    chunk_hop_s = _hop_s(system, rows * config.hidden * 2)
    ends, body = _split(decode.parts)
    path_s = (ends + wafers * body) / hz + between * hop_s
    tpot_s = max(path_s, decode.in_flight * (decode.busy_cycles / hz + bool(between) * hop_s))
    p_ends, p_body = _split(prefill.parts)
    ttft_s = (p_ends + wafers * p_body + prefill.parts.get("other chunks", 0.0)) / hz
    ttft_s += between * chunk_hop_s
    held = config.parameters * 2 / wafers
    turn_s = 2 * float(relayout_cycles(held, chip)) / hz
    requests = decode.requests
    wave_s = ttft_s + turn_s + (output - 1) * tpot_s + (requests - 1) * prefill.busy_cycles / hz
    joules = requests * prefill.dynamic_j + (output - 1) * decode.in_flight * decode.dynamic_j
    return Placed(
        wafers, system.chips // wafers, prefill, decode, ttft_s, tpot_s, wave_s, requests,
        wafers * joules / (requests * output),
    )  # fmt: skip


def _split(parts: Mapping[str, float]) -> tuple[float, float]:
    """Cycles of embedding and output, and of layers and moves."""
    ends = parts["embed"] + parts["head"]
    return ends, parts["layers"] + parts["moves"]


def _hop_s(system: System, sent_bytes: float) -> float:
    return system["net.latency_us"] * 1e-6 + sent_bytes / (system["net.gbps"] * 1e9)


def _least_wafers(chip: Chip, config: ModelConfig) -> int:
    return -(-config.parameters * 2 // (chip.cores_total * chip.free_per_core_bytes))


def _best(
    system: System,
    chip: Chip,
    config: ModelConfig,
    work: Workload,
    objective: tuple[str, float],
    like: Placed | None,
) -> Placed:
    """The best placement on as few wafers as hold the model; `like` fixes wafers and grid."""  # fmt: skip
    most = min(system.chips, config.layers)
    counts = [like.wafers] if like else range(_least_wafers(chip, config), most + 1)
    same = (like.prefill.grid, like.decode.grid) if like else ()
    for wafers in counts:
        made = list(_placements(system, chip, config, work, wafers, same))
        timely = [
            one for one in made
            if one.ttft_s <= work.max_ttft_s and one.tpot_s <= work.max_tpot_s
        ]  # fmt: skip
        if made and not timely:
            raise CapacityError(
                f"{config.name} on {system.name} is too slow for {work.name}: TTFT at best "
                f"{min(p.ttft_s for p in made):.3g} s, TPOT {min(p.tpot_s for p in made):.3g} s."
            )
        if timely:
            return min(timely, key=lambda one: _score(system, work, one, objective))
    raise CapacityError(_no_room(system, chip, config, work))


def _no_room(system: System, chip: Chip, config: ModelConfig, work: Workload) -> str:
    """Why nothing fits, and how many wafers would do."""
    have = system.chips * chip.cores_total * chip.free_per_core_bytes / 1e9
    least = max(system.chips + 1, _least_wafers(chip, config))
    counts = range(least, min(2 * least, config.layers) + 1)
    enough = next((n for n in counts if any(_placements(system, chip, config, work, n, ()))), None)
    then = f"{enough} wafers would do" if enough else f"nor do {counts.stop - 1} wafers hold it"
    return (
        f"{config.name} does not fit {system.name}: weights in {DTYPE} are "
        f"{config.parameters * 2 / 1e9:,.1f} GB, all cores have {have:,.1f} GB beside code, and padding, "
        f"KV cache and buffers of every phase must fit a core beside its part of them; {then}."
    )


def _score(system: System, work: Workload, one: Placed, objective: tuple[str, float]) -> float:
    key, sign = objective
    value = _economics(work, one, dict(system.values()))[0][key]
    return inf if isnan(value) else sign * float(value)


def _economics(
    work: Workload, one: Placed, d: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """All figures, and cost, carbon and power by part."""
    _, output = _tokens(work)
    rate = one.requests_per_s * output * d["site.load"]
    static = d.get("static", STATIC.value)
    power = {
        "static": d["chip.count"] * d["chip.tdp_w"] * static,
        "activity": rate * one.dynamic_j,
        "host": d["chip.count"] * d["host.w"],
    }
    watts = sum(power.values())
    cost, carbon = economics.yearly_usd(np, d, watts), economics.yearly_kg(d, watts)
    mtok = rate * economics.SECONDS_PER_YEAR / 1e6
    figures = {
        "ttft_s": one.ttft_s,
        "tpot_s": one.tpot_s,
        "user_tokens_per_s": 1 / one.tpot_s,
        "system_tokens_per_s": one.requests_per_s * output,
        "power_w": watts,
        "usd_per_mtok": sum(cost.values()) / mtok,
        "gco2e_per_mtok": 1000 * sum(carbon.values()) / mtok,
        "joules_per_token": watts / rate,
        "capital_usd": economics.capital_usd(np, d),
        "usd_per_chip_hour": sum(cost.values()) / economics.HOURS_PER_YEAR / d["chip.count"],
        "embodied_kg": economics.embodied_kg(d),
        "site_power_w": watts * d["site.pue"],
        "racks": np.ceil(d["chip.count"] / d["site.chips_per_rack"]),
    }
    parts = {
        "cost": {name: value / mtok for name, value in cost.items()},
        "carbon": {name: 1000 * value / mtok for name, value in carbon.items()},
        "power": power,
    }
    return figures, parts


def _figures(
    system: System, work: Workload, one: Placed
) -> tuple[dict[str, Figure], dict[str, dict[str, float]]]:
    """Figures with the ranges of prices, site and static share; times have none."""
    d: dict[str, Any] = dict(system.values())
    keys = [*system.ranged, "static"]
    count = 1 + 2 * len(keys)
    for n, key in enumerate(keys):
        # at rated power all the time, activity is part of the static share
        ends = (STATIC.value, 1.0) if key == "static" else system.number(key).ends
        row = np.full(count, STATIC.value if key == "static" else d[key])
        row[1 + 2 * n : 3 + 2 * n] = ends
        d[key] = row
    with np.errstate(all="ignore"):
        made, _ = _economics(work, one, d)
    _, parts = _economics(work, one, dict(system.values()))
    from waferllm.explore.evaluating import figure, quadrature

    figures = {
        key: figure(
            float(np.broadcast_to(value, (count,))[0]),
            quadrature(np.broadcast_to(value, (count,))),
            key,
            system,
        )
        for key, value in made.items()
    }
    plain = {
        group: {name: float(value) for name, value in values.items() if not isnan(float(value))}
        for group, values in parts.items()
    }
    return figures, plain


def _causes(
    config: ModelConfig, chip: Chip, work: Workload, one: Placed, phase: str
) -> dict[str, float]:
    """A token's or a prompt's time split as the same programs' cycles are, on the chosen grid."""
    prompt, output = _tokens(work)
    if phase == "decode":
        made = predict_decode(
            config, chip, one.decode.grid, context=prompt + output // 2, schedule="real"
        )
        seconds = one.tpot_s
    else:
        made = predict_prefill(config, chip, one.prefill.grid, input_len=prompt, schedule="real")
        seconds = one.ttft_s
    split = made.breakdown()
    total = sum(split[cause] for cause in CAUSES)
    return {cause: seconds * split[cause] / total for cause in CAUSES}


def _helps(
    system: System,
    chip: Chip,
    config: ModelConfig,
    work: Workload,
    objective: tuple[str, float],
    best: Placed,
) -> str:
    """The best of some changes of the wafer on the same grid and number of wafers."""  # fmt: skip
    was = _score(system, work, best, objective)
    gains: dict[str, float] = {}
    for words, key, factor in LEVERS:
        value = float(chip.facts[key].value) * factor
        whole = isinstance(chip.facts[key].value, int)
        fact = Fact(round(value) if whole else value, Source("what if", Tag.ASSUMED))
        other = chip.with_facts({key: fact}, name=f"{chip.name}, {words}")
        try:
            made = _best(system, other, config, work, objective, best)
        except WaferError:
            continue
        gains[words] = (was - _score(system, work, made, objective)) / abs(was)
    words = max(gains, key=lambda name: gains[name], default="")
    if not words or gains[words] < 1e-3:
        return "no single change helps"
    return f"{words}: {gains[words]:.0%} {_WORDS[objective[0]]}"


def _warnings(system: System, chip: Chip, work: Workload, one: Placed) -> Iterator[str]:
    if work.cached_tokens:
        yield "KV is not kept between requests: text before the prompt is read again."
    if work.dtype and work.dtype != "bf16":
        yield f"weights are in {DTYPE}: the wafer's programs have no {work.dtype}."
    idle = system.chips - one.wafers * one.replicas
    if idle:
        yield f"{idle} of {system.chips} wafers stand idle."
    yield f"times are of programs on {chip.name} (plmr); moves between wafers are a latency and a rate."


def _check_floor(chip: Chip, config: ModelConfig, work: Workload, one: Placed) -> None:
    """All weights and a request's KV leave their SRAM once for each token."""
    prompt, output = _tokens(work)
    kv = 2 * config.layers * config.kv_heads * config.head_dim * (prompt + output / 2) * 2
    read = chip.cores_total * chip.sram_read_bytes_per_cycle * chip.clock_hz * one.wafers
    # a placement may cast what it reads, but never read less than the layers' weights
    floor_s = (config.layers * config.parameters_per_layer * 2 + kv) / read
    if one.tpot_s < floor_s:
        raise BelowFloorError(f"a token takes {one.tpot_s:.3g} s, its floor is {floor_s:.3g} s.")
