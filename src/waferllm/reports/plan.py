"""`plan`: where a model would lie on a chip, and what PLMR says of it, from shapes alone.

No weights, no allocation: the programs that run on a small simulated mesh are traced for the grids on the
chip and read (`waferllm.plmr`). Every figure is predicted; those of the model itself (its parameters and
bytes) are computed from its configuration.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from waferllm.chip import DTYPES, Chip
from waferllm.chip import chip as named_chip
from waferllm.errors import InputError
from waferllm.kernels import gemm as gemms
from waferllm.kernels import gemv as gemvs
from waferllm.kernels.gemv import AllReduce
from waferllm.kernels.kv_cache import POLICIES, check_policy
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.programs import GEMMS, ModelPrograms
from waferllm.models.registry import find_config
from waferllm.plmr import Compliance, Reading, Verdict, check, read
from waferllm.plmr.compliance import LEAST_USEFUL_SHARE, fits
from waferllm.program import Kernel, Program
from waferllm.reports.regions import Need, Regions, Share
from waferllm.units import show_bytes, show_count

GEMM_KERNELS: Mapping[str, Kernel] = {
    "meshgemm": gemms.mesh_gemm,
    "cannon": gemms.cannon,
    "summa": gemms.summa,
    "allgather": gemms.allgather_gemm,
}
GEMV_KERNELS: Mapping[str, Kernel] = {
    "meshgemv": gemvs.mesh_gemv,
    "pipeline": gemvs.pipeline_gemv,
    "ring": gemvs.ring_gemv,
}


@dataclass(frozen=True)
class Usage:
    """What the words of one kernel of a phase's layer ask of the network."""

    kernel: str
    routes_per_core: int
    longest_send_hops: int
    stages: int
    exposed_stages: int
    reductions: int


@dataclass(frozen=True)
class Choice:
    """One algorithm on one product of the model, alone: a column of the comparison."""

    algorithm: str
    chosen: bool
    memory_bytes_per_core: int
    routes_per_core: int
    longest_send_hops: int
    exposed_stages: int
    compliance: Compliance | None
    refused: str = ""


@dataclass(frozen=True)
class PhasePlan:
    """Prefill or decode on its grid: memory, regions, network and verdict.

    `row_slots` KV entries lie on a row of cores; `layers_per_region` is how many layers fit beside them.
    `regions_needed` is None where not even one does. `useful_share` is the part of the placed weights
    that is not padding.
    """

    phase: str
    grid: Mesh
    tokens_at_once: int
    row_slots: int
    share: Share
    layers_per_region: int
    regions: Regions
    reading: Reading
    kernels: tuple[Usage, ...]
    compliance: Compliance
    product: str
    choices: tuple[Choice, ...]

    @property
    def regions_needed(self) -> int | None:
        return self.regions.needed(self.row_slots)

    @property
    def regions_available(self) -> int:
        return self.regions.available

    @property
    def useful_share(self) -> float:
        return self.reading.useful_share

    @property
    def fits(self) -> bool:
        needed = self.regions_needed
        return needed is not None and needed <= self.regions_available


@dataclass(frozen=True)
class Plan:
    """A model on a chip.

    `kv_capacity` is in tokens per sequence, by policy, with the layers spread over all regions that the
    chip holds; "bound" is what no placement exceeds: all SRAM, no padding.
    """

    config: ModelConfig
    chip: Chip
    dtype: str
    batch: int
    input_len: int
    output_len: int
    kv: str
    gemm: str
    gemv: str
    phases: tuple[PhasePlan, ...]
    kv_capacity: Mapping[str, int]
    advice: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return all(phase.fits for phase in self.phases)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON data; every figure is predicted, those under `model` computed."""
        config = self.config
        return {
            "label": "predicted",
            "model": {
                "label": "computed",
                "name": config.name,
                "parameters": config.parameters,
                "layers": config.layers,
                "weight_bytes": config.parameters * jnp.dtype(self.dtype).itemsize,
            },
            "chip": self.chip.name,
            "sram_per_core_bytes": self.chip.sram_per_core_bytes,
            "dtype": self.dtype,
            "batch": self.batch,
            "input_tokens": self.input_len,
            "output_tokens": self.output_len,
            "kv": self.kv,
            "gemm": self.gemm,
            "gemv": self.gemv,
            "fits": self.fits,
            "kv_capacity_tokens": dict(self.kv_capacity),
            **{phase.phase: _phase_json(phase, self.chip) for phase in self.phases},
            "advice": list(self.advice),
        }


def plan(
    model: ModelConfig | str | Path,
    chip: Chip | str = "wse2",
    prefill_grid: Mesh | tuple[int, int] | str = "660x660",
    decode_grid: Mesh | tuple[int, int] | str = "360x360",
    input_len: int = 4096,
    output_len: int = 4096,
    *,
    kv: str = "shift",
    gemm: str = "meshgemm",
    gemv: str = "meshgemv",
    dtype: str = "float16",
    batch: int = 1,
) -> Plan:
    """How the model would lie on the chip.

    Raises `InputError` for names that are not known, sizes that cannot be, and grids larger than the chip.
    """
    config = model if isinstance(model, ModelConfig) else find_config(model)
    chip = chip if isinstance(chip, Chip) else named_chip(chip)
    grids = {"prefill": _grid(prefill_grid), "decode": _grid(decode_grid)}
    _check_options(chip, kv, gemm, gemv, dtype)
    for phase, grid in grids.items():
        _check_grid(grid, chip, phase)
    for name, count in (("input", input_len), ("output", output_len), ("batch", batch)):
        if count < 1:
            raise InputError(f"{name} = {count}: a plan needs at least 1.")
    asked = _Asked(config, chip, input_len, output_len, kv, gemm, gemv, dtype, batch)
    prefill = _prefill(asked, grids["prefill"])
    decode, capacity = _decode(asked, grids["decode"])
    phases = (prefill, decode)
    return Plan(
        config=config,
        chip=chip,
        dtype=dtype,
        batch=batch,
        input_len=input_len,
        output_len=output_len,
        kv=kv,
        gemm=gemm,
        gemv=gemv,
        phases=phases,
        kv_capacity=capacity,
        advice=tuple(_advice(asked, phases, capacity)),
    )


@dataclass(frozen=True)
class _Asked:
    """The question, checked."""

    config: ModelConfig
    chip: Chip
    input_len: int
    output_len: int
    kv: str
    gemm: str
    gemv: str
    dtype: str
    batch: int

    def programs(self, grid: Mesh, **sizes: int) -> ModelPrograms:
        return ModelPrograms(
            self.config,
            grid,
            slots=self.batch,
            kv=self.kv,
            gemm=self.gemm,
            combine=AllReduce(self.gemv),
            dtype=jnp.dtype(self.dtype),
            **sizes,
        )

    @property
    def tokens(self) -> int:
        return self.input_len + self.output_len


def _prefill(asked: _Asked, grid: Mesh) -> PhasePlan:
    """The prompt in the largest chunks with which the fewest regions do, or in the smallest if none do."""
    most = -(-asked.input_len // grid.rows)

    def laid(share: int) -> tuple[Regions, Reading, int]:
        programs = asked.programs(grid, chunk=share * grid.rows, capacity=asked.input_len)
        readings = {
            "embed": read(programs.embed(programs.chunk)),
            "layer": read(programs.prefill_layer()),
            "head": read(programs.head()),
        }
        need = Need.of(readings, programs.buffer_slots)
        return _regions(asked, grid, need), readings["layer"], programs.buffer_slots

    share, (regions, reading, slots) = 1, laid(1)
    if most > 1 and _all_fits(regions, slots):
        whole = laid(most)
        share = most
        if not _all_fits(whole[0], whole[2]):
            share = _largest_share(regions.share(slots), whole[0].share(whole[2]), most, asked.chip)
        regions, reading, slots = whole if share == most else laid(share)
    sizes = (asked.config.hidden, 2 * asked.config.ffn)
    return _phase(
        asked, "prefill", regions, reading, slots, share * grid.rows,
        f"x[{show_count(share * grid.rows)}, {show_count(sizes[0])}] W[{show_count(sizes[0])}, "
        f"{show_count(sizes[1])}]",
        _choices(asked, GEMM_KERNELS, asked.gemm, grid, [(share * grid.rows, sizes[0]), sizes]),
    )  # fmt: skip


def _largest_share(least: Share, most: Share, tokens: int, chip: Chip) -> int:
    """Tokens per row and chunk, from 1 to below `tokens`, that leave room: memory is linear in them."""
    room = chip.sram_per_core_bytes - least.total
    return max(1, min(tokens - 1, 1 + room * (tokens - 1) // max(1, most.total - least.total)))


def _decode(asked: _Asked, grid: Mesh) -> tuple[PhasePlan, dict[str, int]]:
    slots = _row_slots(asked, grid)
    rows = 1 if asked.kv == "concat" else grid.rows  # ModelPrograms gives concat's last row everything

    def programs(slots: int) -> ModelPrograms:
        return asked.programs(grid, chunk=grid.rows, capacity=slots * rows)

    at = programs(slots)
    readings = {
        "embed": read(at.embed(asked.batch)),
        "layer": read(at.decode_layer()),
        "head": read(at.head()),
    }
    twice = read(programs(2 * slots).decode_layer())
    regions = _regions(asked, grid, Need.of(readings, slots, twice))
    row = regions.row_capacity()
    sizes = (asked.config.hidden, 2 * asked.config.ffn)
    phase = _phase(
        asked, "decode", regions, readings["layer"], slots, asked.batch,
        f"x[{show_count(sizes[0])}] W[{show_count(sizes[0])}, {show_count(sizes[1])}]",
        _choices(asked, GEMV_KERNELS, asked.gemv, grid, [sizes[:1], sizes]),
    )  # fmt: skip
    return phase, {"shift": row * grid.rows, "concat": row, "bound": _bound(asked)}


def _bound(asked: _Asked) -> int:
    """Tokens if every byte of the chip beside code held weights without padding, or KV."""
    config, item = asked.config, jnp.dtype(asked.dtype).itemsize
    free = asked.chip.cores_total * asked.chip.free_per_core_bytes - config.parameters * item
    entry = 2 * config.layers * config.kv_heads * config.head_dim * item * asked.batch
    return max(0, free // entry)


def _row_slots(asked: _Asked, grid: Mesh) -> int:
    """KV entries on the fullest row: balanced with shift; with concat all output is in the last row."""
    if asked.kv == "shift":
        return -(-asked.tokens // grid.rows)
    return -(-asked.input_len // grid.rows) + asked.output_len


def _regions(asked: _Asked, grid: Mesh, need: Need) -> Regions:
    return Regions(asked.chip, grid, asked.config.layers, asked.config.tied, need)


def _all_fits(regions: Regions, slots: int) -> bool:
    needed = regions.needed(slots)
    return needed is not None and needed <= regions.available


def _phase(
    asked: _Asked,
    phase: str,
    regions: Regions,
    reading: Reading,
    slots: int,
    tokens: int,
    product: str,
    choices: tuple[Choice, ...],
) -> PhasePlan:
    share = regions.share(slots)
    reading = replace(reading, useful_share=_useful(asked, reading))
    compliance = check(reading, asked.chip)
    verdicts = tuple(
        _memory_verdict(share, regions) if v.letter == "M" and v.holds else v
        for v in compliance.verdicts
    )
    return PhasePlan(
        phase=phase,
        grid=regions.grid,
        tokens_at_once=tokens,
        row_slots=slots,
        share=share,
        layers_per_region=max(0, regions.layers_in_one(slots)),
        regions=regions,
        reading=reading,
        kernels=_usage(reading),
        compliance=Compliance(verdicts),
        product=product,
        choices=choices,
    )


def _memory_verdict(share: Share, regions: Regions) -> Verdict:
    """M for the model: a core of the fullest region, all regions used."""
    limit = regions.chip.sram_per_core_bytes
    holds = share.total <= limit
    verb = "takes" if holds else "would take"
    return Verdict(
        "M",
        holds,
        f"With {share.layers} of {regions.layers} layers, the fullest of {regions.available} regions "
        f"{verb} {show_bytes(share.total)} of {show_bytes(limit)} per core.",
    )


def _useful(asked: _Asked, reading: Reading) -> float:
    """The share of placed weights that is not padding, times what the walk found of the arguments."""
    item = jnp.dtype(asked.dtype).itemsize
    placed = sum(a.bytes_per_core for a in reading.arguments if a.name.startswith("[0]"))
    true = asked.config.parameters_per_layer * item
    return reading.useful_share * min(1.0, true / (placed * reading.mesh.cores))


def _usage(reading: Reading) -> tuple[Usage, ...]:
    """The words of a reading, grouped by the kernel that says them."""
    said: dict[str, list[tuple[int, Any]]] = {}
    for phase in reading.phases:
        for one in phase.words:
            said.setdefault(one.caller, []).append((phase.times * one.calls, one))
    return tuple(_usage_of(name, spoken) for name, spoken in said.items())


def _usage_of(name: str, spoken: Sequence[tuple[int, Any]]) -> Usage:
    channels = {channel for _, one in spoken for channel in one.word.channels}
    return Usage(
        kernel=name.removesuffix("_core"),
        routes_per_core=sum(c.geometry.routes_per_core for c in channels),
        longest_send_hops=max(one.word.geometry.longest_send_hops for _, one in spoken),
        stages=sum(calls * one.word.geometry.stages for calls, one in spoken),
        exposed_stages=sum(
            calls * one.word.geometry.stages for calls, one in spoken if one.exposed
        ),
        reductions=sum(calls for calls, one in spoken if one.word.name.startswith("reduce")),
    )


def _choices(
    asked: _Asked,
    kernels: Mapping[str, Kernel],
    chosen: str,
    grid: Mesh,
    shapes: Sequence[tuple[int, ...]],
) -> tuple[Choice, ...]:
    """Every algorithm on one product."""
    return tuple(
        _choice(name, name == chosen, lambda k=kernel: _alone(k, grid, tuple(shapes), asked.dtype), asked.chip)
        for name, kernel in kernels.items()
    )  # fmt: skip


def _choice(name: str, chosen: bool, reading: Callable[[], Reading], chip: Chip) -> Choice:
    try:
        found = reading()
    except InputError as error:
        return Choice(name, chosen, 0, 0, 0, 0, None, str(error))
    return Choice(
        name,
        chosen,
        found.memory_bytes_per_core,
        found.routes_per_core,
        found.longest_send_hops,
        found.exposed_stages,
        check(found, chip),
    )


@lru_cache(maxsize=64)
def _alone(
    kernel: Kernel, grid: Mesh, shapes: tuple[tuple[int, ...], ...], dtype: str
) -> Reading:
    return read(Program(kernel, mesh=grid, shapes=shapes, dtype=jnp.dtype(dtype)))


def _advice(
    asked: _Asked, phases: Sequence[PhasePlan], capacity: Mapping[str, int]
) -> list[str]:
    """What stands in the way, and what would remove it; one sentence each."""
    advice: list[str] = []
    for phase in phases:
        advice += _room(asked, phase)
        if not phase.compliance["P"].holds:
            side = min(phase.grid.rows, phase.grid.cols)
            advice.append(
                f"{phase.phase}: choose a square grid such as {side}x{side}, or sides with a large "
                f"common divisor: {phase.grid} cuts dimensions into {phase.grid.steps:,} blocks and pads "
                "them to that."
            )
        if not phase.compliance["R"].holds and not math.isinf(asked.chip.free_routes_per_core):
            most = max(phase.kernels, key=lambda k: k.routes_per_core)
            advice.append(
                f"{phase.phase}: {phase.reading.routes_per_core} routes are those of all kernels "
                f"together; set anew between kernels, the most are {most.routes_per_core} "
                f"({most.kernel})."
            )
    if asked.kv == "concat" and capacity["shift"] >= asked.tokens > capacity["concat"]:
        advice.append(
            f"decode: concat fills its last row after {capacity['concat']:,} tokens; shift holds "
            f"{capacity['shift']:,} in the same memory."
        )
    return advice


def _room(asked: _Asked, phase: PhasePlan) -> list[str]:
    """What would make a phase fit."""
    needed, available = phase.regions_needed, phase.regions_available
    if phase.fits:
        return []
    share, chip = phase.share, asked.chip
    whole = asked.config.parameters * jnp.dtype(asked.dtype).itemsize
    wafer = chip.cores_total * chip.free_per_core_bytes
    if whole > wafer:
        return [
            f"{phase.phase}: the weights alone are {show_bytes(whole)} and {chip.name} has "
            f"{show_bytes(wafer)} beside code: use at least {-(-whole // wafer)} chips, a smaller model "
            "or fewer bits."
        ]
    if phase.useful_share < LEAST_USEFUL_SHARE:
        return []  # padding is what is in the way; the advice on P says so
    how = _another_grid(phase) or f"use {-(-needed // max(1, available))} chips" if needed else ""
    if needed is None:
        held = show_bytes(share.buffers + share.activations)
        return [
            f"{phase.phase}: not one layer fits a {phase.grid} region beside its table and {held} of "
            "buffers and activations: choose a larger grid, or fewer tokens."
        ]
    return [
        f"{phase.phase}: a region of {phase.grid} holds {phase.layers_per_region} of "
        f"{asked.config.layers} layers, so {needed} regions are needed and {available} fit {chip.name}: "
        f"{how}, or plan fewer tokens."
    ]


def _another_grid(phase: PhasePlan) -> str:
    """The largest square grid that would about hold the phase: bytes scale with 1 / cores."""
    regions = phase.regions
    sides = range(min(regions.chip.grid_rows, regions.chip.grid_cols), 9, -10)
    for side in sides:
        scaled = regions.on(Mesh(side, side))
        needed = scaled.needed(phase.row_slots)
        if needed is not None and needed <= scaled.available:
            return f"a grid of about {side}x{side} ({scaled.available} regions) would hold it"
    return ""


def _grid(grid: Mesh | tuple[int, int] | str) -> Mesh:
    return Mesh.parse(grid) if isinstance(grid, str) else Mesh.of(grid)


def _check_options(chip: Chip, kv: str, gemm: str, gemv: str, dtype: str) -> None:
    check_policy(kv)
    AllReduce(gemv)
    if gemm not in GEMMS:
        raise InputError(f"GEMM algorithm '{gemm}': use one of {', '.join(GEMMS)}.")
    if dtype not in DTYPES:
        raise InputError(f"dtype '{dtype}': use one of {', '.join(DTYPES)}.")
    _ = chip.macs_per_cycle[dtype]  # raises for a data type that the chip does not have


def _check_grid(grid: Mesh, chip: Chip, phase: str) -> None:
    if not fits(grid, chip):
        raise InputError(
            f"{phase} grid {grid} is larger than {chip.name}, which has {chip.grid_rows}x"
            f"{chip.grid_cols} cores (rows x columns)."
        )


def _phase_json(phase: PhasePlan, chip: Chip) -> dict[str, Any]:
    reading, free = phase.reading, chip.free_routes_per_core
    return {
        "grid": [phase.grid.rows, phase.grid.cols],
        "tokens_at_once": phase.tokens_at_once,
        "kv_entries_per_row": phase.row_slots,
        "layers_per_region": phase.layers_per_region,
        "regions_needed": phase.regions_needed,
        "regions_available": phase.regions_available,
        "fits": phase.fits,
        "bytes_per_core": {
            "limit": chip.sram_per_core_bytes,
            "code": phase.share.code,
            "weights": phase.share.weights,
            "kv": phase.share.kv,
            "activations": phase.share.activations,
            "buffers": phase.share.buffers,
            "total": phase.share.total,
        },
        "routes_per_core": reading.routes_per_core,
        "routes_free_per_core": None if math.isinf(free) else int(free),
        "longest_send_hops": reading.longest_send_hops,
        "reductions_per_layer": reading.reductions,
        "exposed_stages_per_layer": reading.exposed_stages,
        "sent_bytes_per_core_per_layer": reading.sent_bytes_per_core,
        "byte_hops_per_layer": reading.byte_hops_total,
        "useful_share": phase.useful_share,
        "kernels": [vars(usage) for usage in phase.kernels],
        "verdict": _verdict_json(phase.compliance),
        "product": phase.product,
        "algorithms": [_choice_json(choice) for choice in phase.choices],
    }


def _choice_json(choice: Choice) -> dict[str, Any]:
    if choice.compliance is None:
        return {"algorithm": choice.algorithm, "chosen": choice.chosen, "refused": choice.refused}
    return {
        "algorithm": choice.algorithm,
        "chosen": choice.chosen,
        "memory_bytes_per_core": choice.memory_bytes_per_core,
        "routes_per_core": choice.routes_per_core,
        "longest_send_hops": choice.longest_send_hops,
        "exposed_stages": choice.exposed_stages,
        "violates": choice.compliance.violates,
        "verdict": _verdict_json(choice.compliance),
    }


def _verdict_json(compliance: Compliance) -> dict[str, dict[str, Any]]:
    return {v.letter: {"holds": v.holds, "reason": v.reason} for v in compliance.verdicts}
