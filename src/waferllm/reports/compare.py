"""`compare`: what runs one model on a wafer in other ways, beside published GPU systems.

Wafer rows are predicted from programs of one layer in the published schedule, times the layers, as
those systems were compared: no embedding, output, sampling or moves between regions. GPU rows are
published figures and predicted nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from waferllm.chip import Chip
from waferllm.chip import chip as named_chip
from waferllm.errors import InputError
from waferllm.layout import Mesh
from waferllm.models.compared import decode_program, prefill_program
from waferllm.models.config import ModelConfig
from waferllm.models.registry import find_config
from waferllm.plmr import Compliance, check
from waferllm.plmr.compliance import check_grid
from waferllm.plmr.constants import software
from waferllm.plmr.costing import reading_of
from waferllm.plmr.time import time
from waferllm.program import Program
from waferllm.reports.plan import plan
from waferllm.reports.predict import check_positions
from waferllm.reports.validate import published

PREDICTED, PUBLISHED = "predicted", "published"
#: The model of the published GPU table.
GPU_MODEL, GPU_TABLE = "llama3-8b", "sglang_a100"


@dataclass(frozen=True)
class Strategy:
    """A way to run a model on a wafer: whose prefill, whose decode sums, and which KV cache."""

    name: str
    prefill: str
    decode: str
    kv: str


STRATEGIES = (
    Strategy("WaferLLM (all parts)", "waferllm", "waferllm", "shift"),
    Strategy("  concat KV", "waferllm", "waferllm", "concat"),
    Strategy("  pipeline sums", "waferllm", "pipeline", "shift"),
    Strategy("  ring sums", "waferllm", "ring", "shift"),
    Strategy("T10 (compute-shift)", "t10", "t10", "concat"),
    Strategy("Ladder (shared SRAM)", "ladder", "ladder", "concat"),
    Strategy("Megatron (one row)", "megatron", "megatron", "concat"),
)


@dataclass(frozen=True)
class System:
    """One row: rates in tokens/s of one request, seconds from prompt to last token.

    `violates` names the letters of PLMR that prefill or decode breaks; None for a published row.
    """

    name: str
    origin: str
    source: str
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    seconds: float | None
    kv_capacity_tokens: int | None
    violates: str | None


@dataclass(frozen=True)
class Comparison:
    """All systems for one model, one chip and one length of text."""

    model: str
    chip: Chip
    prefill_grid: Mesh
    decode_grid: Mesh
    input_len: int
    output_len: int
    systems: tuple[System, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "chip": self.chip.name,
            "prefill_grid": str(self.prefill_grid),
            "decode_grid": str(self.decode_grid),
            "input": self.input_len,
            "output": self.output_len,
            "systems": [asdict(one) for one in self.systems],
        }


def compare(
    model: ModelConfig | str | Path = GPU_MODEL,
    chip: Chip | str = "wse2",
    prefill_grid: Mesh | str = "600x600",
    decode_grid: Mesh | str = "360x360",
    input_len: int = 4096,
    output_len: int = 4096,
) -> Comparison:
    """Every strategy on the wafer, and the published GPU systems if they ran this model.

    Raises `InputError` for unknown names, grids that are not square or larger than the chip, and
    lengths below 1.
    """
    config = model if isinstance(model, ModelConfig) else find_config(model)
    chip = chip if isinstance(chip, Chip) else named_chip(chip)
    grids = [Mesh.parse(g) if isinstance(g, str) else g for g in (prefill_grid, decode_grid)]
    for grid in grids:
        check_grid(grid, chip)
        if grid.rows != grid.cols:
            raise InputError(
                f"grid {grid}: the systems are compared in the published schedule, which was timed on square "
                "grids only, such as 600x600."
            )
    for name, count in (("input", input_len), ("output", output_len)):
        if count < 1:
            raise InputError(f"--{name} {count}: a comparison needs at least 1 token.")
    check_positions(config, input_len)
    capacity = plan(config, chip, grids[0], grids[1], input_len, output_len).kv_capacity
    wafer = tuple(
        _wafer(one, config, chip, grids[0], grids[1], input_len, output_len, capacity)
        for one in STRATEGIES
    )
    gpus = _gpus() if config.name == GPU_MODEL else ()
    return Comparison(config.name, chip, grids[0], grids[1], input_len, output_len, (*wafer, *gpus))


def _wafer(
    one: Strategy, config: ModelConfig, chip: Chip, prefill_grid: Mesh, decode_grid: Mesh,
    input_len: int, output_len: int, capacity: Mapping[str, int],
) -> System:  # fmt: skip
    """A strategy; decode at the mean length of its context, which time grows linearly with."""
    first = prefill_program(one.prefill, config, prefill_grid, input_len)
    context = input_len + output_len // 2
    later = decode_program(one.decode, config, decode_grid, context)
    prefill, decode = (
        config.layers * time(p, chip, software("kernel")).seconds for p in (first, later)
    )
    alone = one.prefill == "megatron"  # no plan places a model on one row of cores
    return System(
        name=one.name,
        origin=PREDICTED,
        source=f"programs on {prefill_grid} and {decode_grid} cores of {chip.name}",
        prefill_tokens_per_s=input_len / prefill,
        decode_tokens_per_s=1 / decode,
        seconds=prefill + output_len * decode,
        kv_capacity_tokens=None if alone else capacity[one.kv],
        violates=_violates(first, later, chip),
    )


def _violates(first: Program, later: Program, chip: Chip) -> str:
    found: list[Compliance] = [check(reading_of(program), chip) for program in (first, later)]
    return "".join(c for c in "PLMR" if not all(one[c].holds for one in found))


def _gpus() -> tuple[System, ...]:
    table = next(one for one in published() if one["name"] == GPU_TABLE)
    return tuple(
        System(
            name=f"SGLang, {row['gpus']} A100",
            origin=PUBLISHED,
            source=table["source"],
            prefill_tokens_per_s=row["prefill_tokens_per_s"],
            decode_tokens_per_s=row["decode_tokens_per_s"],
            seconds=None,
            kv_capacity_tokens=None,
            violates=None,
        )
        for row in table["rows"]
    )


Cell = Callable[[System], str]
COLUMNS: Mapping[str, Cell] = {
    "system": lambda one: one.name,
    "origin": lambda one: one.origin,
    "prefill/s": lambda one: f"{one.prefill_tokens_per_s:,.1f}",
    "decode/s": lambda one: f"{one.decode_tokens_per_s:,.1f}",
    "all, s": lambda one: "" if one.seconds is None else f"{one.seconds:,.3g}",
    "KV tokens": lambda one: (
        "" if one.kv_capacity_tokens is None else f"{one.kv_capacity_tokens:,}"
    ),
    "breaks": lambda one: "" if one.violates is None else one.violates or "-",
}


def title(made: Comparison) -> str:
    return (
        f"{made.model}, {made.input_len:,} tokens in and {made.output_len:,} out, one request; "
        f"{made.chip.name}, prefill {made.prefill_grid}, decode {made.decode_grid}"
    )


def notes(made: Comparison) -> str:
    """What the columns mean, and whose figures they are."""
    said = (
        "prefill/s, decode/s: tokens of one request. predicted: "
        "one layer's program times the layers, without embedding, output or moves; "
        "decode at the mean context. T10, Ladder and Megatron as they assume a machine to be. "
        "KV tokens: what the plan's placement holds. breaks: letters of PLMR that fail."
    )
    if any(one.origin == PUBLISHED for one in made.systems):
        return f"{said} published: WaferLLM, OSDI'25, at 4,096 tokens."
    return f"{said} No published GPU figures for {made.model} are at hand, only for {GPU_MODEL}."
