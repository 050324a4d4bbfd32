"""What a plan says: the question, the phases, the compared algorithms, and all of it as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from waferllm.chip import Chip
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.programs import ModelPrograms
from waferllm.plmr import Compliance, Reading
from waferllm.reports.regions import Regions, Share


@dataclass(frozen=True)
class Question:
    """What a plan is asked for."""

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
    def item_bytes(self) -> int:
        return jnp.dtype(self.dtype).itemsize

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in the plan's dtype, without padding."""
        return self.config.parameters * self.item_bytes

    @property
    def tokens(self) -> int:
        return self.input_len + self.output_len


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

    `row_slots` KV entries lie on a row of cores; `layers_per_region` is how many layers fit beside
    them. `regions_needed` is None where not even one does. `useful_share` is the part of the placed
    weights that is not padding.
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
    def routes_at_a_time(self) -> int:
        """Routes of the kernel that needs most; routes may be set anew between kernels."""
        return max(kernel.routes_per_core for kernel in self.kernels)

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

    `kv_capacity` is in tokens per sequence, by policy, with the layers spread over all regions that
    the chip holds; "bound" is what no placement exceeds: all SRAM beside code, no padding.
    """

    asked: Question
    phases: tuple[PhasePlan, ...]
    kv_capacity: Mapping[str, int]
    advice: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return all(phase.fits for phase in self.phases)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON data; every figure is predicted, those under `model` computed."""
        asked, config = self.asked, self.asked.config
        return {
            "label": "predicted",
            "model": {
                "label": "computed",
                "name": config.name,
                "parameters": config.parameters,
                "layers": config.layers,
                "weight_bytes": asked.weight_bytes,
            },
            "chip": asked.chip.name,
            "sram_per_core_bytes": asked.chip.sram_per_core_bytes,
            "dtype": asked.dtype,
            "batch": asked.batch,
            "input_tokens": asked.input_len,
            "output_tokens": asked.output_len,
            "kv": asked.kv,
            "gemm": asked.gemm,
            "gemv": asked.gemv,
            "fits": self.fits,
            "kv_capacity_tokens": dict(self.kv_capacity),
            **{phase.phase: _phase_json(phase, asked.chip) for phase in self.phases},
            "advice": list(self.advice),
        }


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
        "routes_per_core": phase.routes_at_a_time,
        "routes_per_core_all_kernels": reading.routes_per_core,
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
