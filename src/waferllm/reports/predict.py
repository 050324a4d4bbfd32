"""`predict`: the time of a product, or of a model's decode or prefill, on a named chip.

A prediction is the time of programs (`plmr.time`) times how often they run. Two schedules of a model:

    published   one layer as the authors of WaferLLM timed it, times the layers (`models.published`)
    real        what this package runs: embedding, layers over as few regions as hold them, moves
                between regions, output (`whole`)
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from waferllm.chip import DTYPES, Chip
from waferllm.chip import chip as named_chip
from waferllm.chip.facts import nearest
from waferllm.errors import CapacityError, InputError
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.published import GROUPS, group_cores
from waferllm.models.registry import find_config
from waferllm.plmr import Compliance, check
from waferllm.plmr.compliance import check_grid
from waferllm.plmr.constants import software
from waferllm.plmr.costing import reading_of
from waferllm.plmr.energy import dynamic_j
from waferllm.plmr.time import time
from waferllm.program import Program
from waferllm.reports.prediction import Part, Prediction
from waferllm.reports.timed import gemm_program, gemv_program, layer_program, timed_in
from waferllm.reports.whole import Placed, placed

SCHEDULES = ("published", "real")
AUTO = "auto"
GRID_STEP = 60
Grid = Mesh | tuple[int, int] | str
Groups = int | str | None


def predict_gemm(
    M: int,
    K: int,
    N: int,
    chip: Chip | str = "wse2",
    grid: Grid = AUTO,
    *,
    algorithm: str = "meshgemm",
    dtype: str = "float16",
    style: str | None = None,
) -> Prediction:
    """C[M, N] = A[M, K] B[K, N] on a grid."""
    found, style = _chip(chip, dtype), style or timed_in(algorithm)

    def made(mesh: Mesh) -> Prediction:
        program = gemm_program(algorithm, M, K, N, mesh, dtype)
        asked = {"M": M, "K": K, "N": N, "algorithm": algorithm, "dtype": dtype, "software": style}
        part = _part("product", 1, program, found, style)
        return Prediction(asked, found, mesh, (part,), M * K * N, mesh.cores)

    return _on(grid, found, made)


def predict_gemv(
    K: int,
    N: int,
    chip: Chip | str = "wse2",
    grid: Grid = AUTO,
    *,
    algorithm: str = "meshgemv",
    groups: Groups = AUTO,
    dtype: str = "float16",
    style: str | None = None,
) -> Prediction:
    """v[K] W[K, N] on a grid; `groups` counts those of the tree's first phase."""
    found, style = _chip(chip, dtype), style or timed_in(algorithm)

    def made(mesh: Mesh, count: int | None) -> Prediction:
        size = _group_cores(mesh, count) if algorithm == "meshgemv" else None
        program = gemv_program(algorithm, K, N, mesh, size, dtype)
        asked = {"K": K, "N": N, "algorithm": algorithm, "dtype": dtype, "software": style}
        if size:
            asked["groups"] = -(-mesh.rows // size)
        part = _part("product", 1, program, found, style)
        return Prediction(asked, found, mesh, (part,), K * N, mesh.cores)

    if algorithm != "meshgemv" and isinstance(groups, int):
        raise InputError(f"groups = {groups}: {algorithm} has none, only meshgemv. Leave them out.")
    if algorithm != "meshgemv":
        return _on(grid, found, lambda mesh: made(mesh, None))
    return _on(grid, found, lambda mesh: _grouped(groups, mesh, lambda n: made(mesh, n)))


def predict_decode(
    model: ModelConfig | str | Path,
    chip: Chip | str = "wse2",
    grid: Grid = AUTO,
    *,
    context: int = 4096,
    schedule: str = "published",
    groups: Groups = None,
    dtype: str = "float16",
) -> Prediction:
    """One token of one request, with `context` tokens in the cache, through all layers."""
    return _model("decode", model, chip, grid, context, schedule, groups, dtype)


def predict_prefill(
    model: ModelConfig | str | Path,
    chip: Chip | str = "wse2",
    grid: Grid = AUTO,
    *,
    input_len: int = 4096,
    schedule: str = "published",
    groups: Groups = None,
    dtype: str = "float16",
    chunk: int | str | None = None,
) -> Prediction:
    """A prompt of `input_len` tokens through all layers, at once or in chunks (of the real schedule).

    A chunk is rounded up to whole rows of the grid; "auto" takes the quickest with which the model fits.
    """
    return _model("prefill", model, chip, grid, input_len, schedule, groups, dtype, chunk)


def _model(
    phase: str,
    model: ModelConfig | str | Path,
    chip: Chip | str,
    grid: Grid,
    tokens: int,
    schedule: str,
    groups: Groups,
    dtype: str,
    chunk: int | str | None = None,
) -> Prediction:
    config = model if isinstance(model, ModelConfig) else find_config(model)
    found = _chip(chip, dtype)
    if schedule not in SCHEDULES:
        raise InputError(f"Unknown schedule {schedule!r}. {nearest(schedule, SCHEDULES)}")
    if schedule == "published" and dtype != "float16":
        raise InputError(
            f"the published schedule was timed in float16, got {dtype}: use --schedule real."
        )
    if tokens < 1:
        word = "context" if phase == "decode" else "input"
        raise InputError(f"{word} = {tokens}: a prediction needs at least 1 token.")
    _check_chunk(chunk, schedule)
    asked = {
        "phase": phase, "model": config.name, "schedule": schedule, "dtype": dtype,
        "context" if phase == "decode" else "input": tokens, "software": "kernel",
    }  # fmt: skip

    def made(mesh: Mesh, count: int | None) -> Prediction:
        size = _group_cores(mesh, count)
        said = {**asked, "groups": -(-mesh.rows // size) if size else 1}
        out = tokens if phase == "prefill" else 1
        macs = out * config.layers * sum(layer_products(config))
        if schedule == "published":
            program = layer_program(config, mesh, tokens, phase, count)
            part = _part("layer", config.layers, program, found, "kernel")
            return Prediction(said, found, mesh, (part,), macs, mesh.cores, out, config.layers)
        tried = [
            placed(config, found, mesh, tokens, phase, size, dtype, some)
            for some in _chunks(tokens, mesh, chunk)
        ]
        return _quickest(
            [
                Prediction(
                    _chunked(said, one),
                    found,
                    mesh,
                    _real(one, found),
                    macs + config.vocab * config.hidden,
                    mesh.cores if one.chunks == 1 else found.cores_total,
                    out,
                    config.layers,
                )
                for one in tried
            ]
        )

    return _on(grid, found, lambda mesh: _grouped(groups, mesh, lambda n: made(mesh, n)))


def layer_products(config: ModelConfig) -> tuple[int, int, int, int]:
    """Weights of a layer's products that wait for each other: q k v, o, gate and up, down."""
    heads = config.heads * config.head_dim
    return (
        config.hidden * (heads + 2 * config.kv_heads * config.head_dim),
        heads * config.hidden,
        2 * config.hidden * config.ffn,
        config.ffn * config.hidden,
    )


def check_positions(config: ModelConfig, tokens: int) -> None:
    """Refuse more tokens than a model has positions for."""
    if tokens > config.max_positions:
        raise InputError(
            f"{tokens} tokens: {config.name} has {config.max_positions} positions. Ask for fewer."
        )


def _check_chunk(chunk: int | str | None, schedule: str) -> None:
    if chunk is not None and schedule != "real":
        raise InputError("the published schedule takes the prompt at once: use --schedule real.")
    if chunk is not None and chunk != AUTO and not (isinstance(chunk, int) and chunk > 0):
        raise InputError(f"chunk = {chunk!r}: use a number of tokens above 0, or auto.")


def _chunks(tokens: int, mesh: Mesh, chunk: int | str | None) -> list[int]:
    """The chunk that was asked for, or all that "auto" tries: a prompt's rows halved until one is left."""
    if chunk != AUTO:
        return [chunk if isinstance(chunk, int) else tokens]
    shares = [-(-tokens // mesh.rows)]
    while shares[-1] > 1:
        shares.append(-(-shares[-1] // 2))
    return [share * mesh.rows for share in shares]


def _chunked(said: dict[str, Any], made: Placed) -> dict[str, Any]:
    return said | {"chunks": made.chunks} if made.chunks > 1 else said


def _quickest(tried: list[Prediction]) -> Prediction:
    """Of those that fit, or of the last if none does."""
    holding = [one for one in tried if one.compliance["M"].holds]
    return min(holding or tried[-1:], key=lambda one: one.cycles)


def _real(made: Placed, chip: Chip) -> tuple[Part, ...]:
    """The parts of a whole model on its regions; M is judged for all of them, with the layer."""
    parts = {
        name: _part(name, 1, program, chip, "kernel") for name, program in made.programs.items()
    }
    times = made.times({name: part.time.cycles for name, part in parts.items()})
    layer = parts["layer"]
    verdicts = [made.verdict() if v.letter == "M" else v for v in layer.compliance.verdicts]
    parts["layer"] = replace(layer, compliance=Compliance(tuple(verdicts)))
    return tuple(replace(part, times=times[name]) for name, part in parts.items())


def _part(name: str, times: int, program: Program, chip: Chip, style: str) -> Part:
    made = time(program, chip, software(style))
    reading = reading_of(program)
    return Part(name, times, made, check(reading, chip), dynamic_j(reading))


def _group_cores(mesh: Mesh, groups: int | None) -> int | None:
    """Cores of a first-phase group, or None where the balanced tree is to choose."""
    size = group_cores(mesh.rows, groups)
    return size if size > 1 else None


def _grouped(groups: Groups, mesh: Mesh, made: Callable[[int | None], Prediction]) -> Prediction:
    """The prediction for a number of groups; "auto" tries them around sqrt(side), None is published."""
    if isinstance(groups, int) and not 1 <= groups <= mesh.rows:
        raise InputError(f"{groups} groups on a line of {mesh.rows} cores: use 1 to {mesh.rows}.")
    if groups is None or isinstance(groups, int):
        return made(groups)
    if groups != AUTO:
        raise InputError(f"groups = {groups!r}: use a whole number, or auto.")
    middle = mesh.rows**0.5
    tried = {round(middle * scale) for scale in (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0)}
    tried |= {GROUPS.get(mesh.rows, round(middle))}
    usable = sorted(n for n in tried if 1 <= n <= mesh.rows) or [1]
    return min((made(n) for n in usable), key=lambda one: one.cycles)


def _on(grid: Grid, chip: Chip, made: Callable[[Mesh], Prediction]) -> Prediction:
    """The prediction on a grid; "auto" tries squares in steps of 60 cores that hold the program."""
    if grid != AUTO:
        mesh = Mesh.parse(grid) if isinstance(grid, str) else Mesh.of(grid)
        check_grid(mesh, chip)
        return made(mesh)
    side = min(chip.grid_rows, chip.grid_cols)
    sides = range(GRID_STEP, side + 1, GRID_STEP) if side >= GRID_STEP else (side,)
    tried = [made(Mesh(n, n)) for n in sides]
    holding = [one for one in tried if one.compliance["M"].holds]
    if not holding and len(tried[0].parts) > 1:
        raise CapacityError(f"nothing fits {chip.name}. {tried[-1].compliance['M'].reason}")
    return min(holding or tried, key=lambda one: one.cycles)


def _chip(chip: Chip | str, dtype: str) -> Chip:
    found = chip if isinstance(chip, Chip) else named_chip(chip)
    if dtype not in DTYPES:
        raise InputError(f"Unknown dtype {dtype!r}. {nearest(dtype, DTYPES)}")
    _ = found.macs_per_cycle[dtype]  # raises for a data type that the chip does not have
    return found
