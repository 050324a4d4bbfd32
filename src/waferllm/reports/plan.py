"""`plan`: where a model would lie on a chip, and what PLMR says of it, from shapes alone.

No weights, no allocation: the programs that run on a small simulated mesh are traced for the grids
on the chip and read (`waferllm.plmr`). Every figure is predicted; those of the model itself (its
parameters and bytes) are computed from its configuration.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from waferllm.chip import DTYPES, Chip
from waferllm.chip import chip as named_chip
from waferllm.errors import InputError
from waferllm.kernels.gemv import AllReduce
from waferllm.kernels.kv_cache import check_policy
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.programs import GEMMS, ModelPrograms
from waferllm.models.registry import find_config
from waferllm.plmr import Compliance, Reading, Verdict, check, read
from waferllm.plmr.compliance import check_grid
from waferllm.reports.advice import advice
from waferllm.reports.algorithms import choices, usage
from waferllm.reports.placed import PhasePlan, Plan, Question, Usage
from waferllm.reports.regions import Need, Regions, Share, count_regions
from waferllm.units import show_bytes, show_count

Grid = Mesh | tuple[int, int] | str


def plan(
    model: ModelConfig | str | Path,
    chip: Chip | str = "wse2",
    prefill_grid: Grid = "660x660",
    decode_grid: Grid = "360x360",
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

    Raises `InputError` for names that are not known, sizes that cannot be, and grids larger than
    the chip.
    """
    config = model if isinstance(model, ModelConfig) else find_config(model)
    chip = chip if isinstance(chip, Chip) else named_chip(chip)
    grids = {"prefill": _grid(prefill_grid), "decode": _grid(decode_grid)}
    _check_options(chip, kv, gemm, gemv, dtype)
    for phase, grid in grids.items():
        check_grid(grid, chip, phase)
    for name, count in (("input", input_len), ("output", output_len), ("batch", batch)):
        if count < 1:
            raise InputError(f"{name} = {count}: a plan needs at least 1.")
    asked = Question(config, chip, input_len, output_len, kv, gemm, gemv, dtype, batch)
    prefill = _prefill(asked, grids["prefill"])
    decode, capacity = _decode(asked, grids["decode"])
    phases = (prefill, decode)
    return Plan(asked, phases, capacity, tuple(advice(asked, phases, capacity)))


@dataclass(frozen=True)
class _Laid:
    """A phase laid on its grid, for `tokens` at once and `slots` KV entries per row."""

    tokens: int
    slots: int
    regions: Regions
    reading: Reading

    @property
    def fits(self) -> bool:
        needed = self.regions.needed(self.slots)
        return needed is not None and needed <= self.regions.available


def _prefill(asked: Question, grid: Mesh) -> PhasePlan:
    """The prompt in the largest chunks that fit the chip, or in the smallest if none do."""
    most = -(-asked.input_len // grid.rows)

    def laid(share: int) -> _Laid:
        programs = asked.programs(grid, chunk=share * grid.rows, capacity=asked.input_len)
        readings = {
            "embed": read(programs.embed(programs.chunk)),
            "layer": read(programs.prefill_layer()),
            "head": read(programs.head()),
        }
        slots = programs.buffer_slots
        regions = _regions(asked, grid, Need.of(readings, slots))
        return _Laid(programs.chunk, slots, regions, readings["layer"])

    least = laid(1)
    if most == 1 or not least.fits:
        return _phase(asked, "prefill", least)
    whole = laid(most)
    if whole.fits:
        return _phase(asked, "prefill", whole)
    share = _largest_share(least, whole, most)
    chosen = laid(share) if share > 1 else least
    return _phase(asked, "prefill", chosen if chosen.fits else least)


def _largest_share(least: _Laid, whole: _Laid, tokens: int) -> int:
    """Tokens per row and chunk, below `tokens`, that leave room: memory is about linear in them."""
    low, high = (laid.regions.share(laid.slots).total for laid in (least, whole))
    room = least.regions.chip.sram_per_core_bytes - low
    return max(1, min(tokens - 1, 1 + room * (tokens - 1) // max(1, high - low)))


def _decode(asked: Question, grid: Mesh) -> tuple[PhasePlan, dict[str, int]]:
    """One token of every sequence; and the KV capacity."""
    slots = _row_slots(asked, grid)
    rows = grid.rows if asked.kv == "shift" else 1  # concat's last row may have to hold everything

    def programs(slots: int) -> ModelPrograms:
        return asked.programs(grid, chunk=grid.rows, capacity=slots * rows)

    at = programs(slots)
    readings = {
        "embed": read(at.embed(asked.batch)),
        "layer": read(at.decode_layer()),
        "head": read(at.head()),
    }
    need = Need.of(readings, slots)
    full = _regions(asked, grid, need).row_capacity()  # as if buffers did not grow
    other = 2 * slots if full in (0, slots) else full
    need = need.growing(read(programs(other).decode_layer()), other)
    laid = _Laid(asked.batch, slots, _regions(asked, grid, need), readings["layer"])
    row = laid.regions.row_capacity()
    capacity = {"shift": row * grid.rows, "concat": row, "bound": _bound(asked)}
    return _phase(asked, "decode", laid), capacity


def _row_slots(asked: Question, grid: Mesh) -> int:
    """KV entries on the fullest row: balanced with shift; with concat, it gets all output."""
    if asked.kv == "shift":
        return -(-asked.tokens // grid.rows)
    return -(-asked.input_len // grid.rows) + asked.output_len


def _bound(asked: Question) -> int:
    """Tokens if every byte of the chip beside code held weights without padding, or KV."""
    config, chip = asked.config, asked.chip
    free = chip.cores_total * chip.free_per_core_bytes - asked.weight_bytes
    entry = 2 * config.layers * config.kv_heads * config.head_dim * asked.item_bytes
    return max(0, free // (entry * asked.batch))


def _regions(asked: Question, grid: Mesh, need: Need) -> Regions:
    return Regions(asked.chip, grid, asked.config.layers, asked.config.tied, need)


def _phase(asked: Question, phase: str, laid: _Laid) -> PhasePlan:
    regions, share = laid.regions, laid.regions.share(laid.slots)
    reading = replace(laid.reading, useful_share=_useful(asked, laid.reading))
    kernels = usage(reading)
    verdicts = tuple(
        _memory_verdict(share, regions)
        if v.letter == "M" and v.holds
        else _route_verdict(v, kernels, reading, asked.chip)
        for v in check(reading, asked.chip).verdicts
    )
    product, compared = choices(asked, phase, regions.grid, laid.tokens)
    return PhasePlan(
        phase=phase,
        grid=regions.grid,
        tokens_at_once=laid.tokens,
        row_slots=laid.slots,
        share=share,
        layers_per_region=max(0, regions.layers_in_one(laid.slots)),
        regions=regions,
        reading=reading,
        kernels=kernels,
        compliance=Compliance(verdicts),
        product=product,
        choices=compared,
    )


def _memory_verdict(share: Share, regions: Regions) -> Verdict:
    """M for the model: a core of the fullest region, all regions used."""
    limit = regions.chip.sram_per_core_bytes
    holds = share.total <= limit
    return Verdict(
        "M",
        holds,
        f"With {share.layers} of {regions.layers} layers, the fullest of "
        f"{count_regions(regions.available)} {'takes' if holds else 'would take'} "
        f"{show_bytes(share.total)} of {show_bytes(limit)} per core.",
    )


def _route_verdict(
    verdict: Verdict, kernels: tuple[Usage, ...], reading: Reading, chip: Chip
) -> Verdict:
    """R for a layer: kernels run one after the other, so routes may be set anew between them.

    Only a verdict that fails by the sum over kernels, and by nothing within one, is softened.
    """
    free, most = chip.free_routes_per_core, max(kernels, key=lambda k: k.routes_per_core)
    grows = any(w.word.name == "broadcast_from" for p in reading.phases for w in p.words)
    if verdict.letter != "R" or verdict.holds or most.routes_per_core > free or grows:
        return verdict
    return Verdict(
        "R",
        True,
        f"{most.routes_per_core} routes of {show_count(free)} free at a time (in {most.kernel}), if "
        f"routes are set anew between kernels; all kernels together have {reading.routes_per_core}.",
    )


def _useful(asked: Question, reading: Reading) -> float:
    """The share of placed weights that is not padding, times what the walk found of arguments."""
    placed = sum(a.bytes_per_core for a in reading.arguments if a.name.startswith("[0]"))
    true = asked.config.parameters_per_layer * asked.item_bytes
    return reading.useful_share * min(1.0, true / (placed * reading.mesh.cores))


def _grid(grid: Grid) -> Mesh:
    return Mesh.parse(grid) if isinstance(grid, str) else Mesh.of(grid)


def _check_options(chip: Chip, kv: str, gemm: str, gemv: str, dtype: str) -> None:
    check_policy(kv)
    AllReduce(gemv)
    if gemm not in GEMMS:
        raise InputError(f"GEMM algorithm '{gemm}': use one of {', '.join(GEMMS)}.")
    if dtype not in DTYPES:
        raise InputError(f"dtype '{dtype}': use one of {', '.join(DTYPES)}.")
    _ = chip.macs_per_cycle[dtype]  # raises for a data type that the chip does not have
