"""One phase of a model laid on a chip: what fits, and what it takes. A placement pairs two of them.

    prefill   grid, chunks of the prompt, regions          -> time to pass all layers once
    decode    grid, tree, KV policy, batch, regions, batches in flight -> time per token, tokens/s

Consecutive layers share a region; a batch (or a chunk) passes from region to region, and others
follow it, at most one in each region.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from waferllm.chip import Chip
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.programs import ModelPrograms
from waferllm.plmr import Reading
from waferllm.plmr.energy import dynamic_j
from waferllm.plmr.time import time, time_of
from waferllm.program import Spec
from waferllm.reports.regions import Need, Regions
from waferllm.reports.whole import earlier, move_program
from waferllm.tune.members import (
    decode_programs,
    one_layer,
    prefill_programs,
    read_chunk,
    read_decode,
    read_prefill,
)


@dataclass(frozen=True)
class Work:
    """What is to be placed: requests of `input_len` tokens that each get `output_len` more."""

    config: ModelConfig
    chip: Chip
    input_len: int
    output_len: int
    dtype: str
    chips: int = 1  # in a row, each with the layers of `config`

    @property
    def ends(self) -> int:
        """Tables on the chip that holds most: of a row, the first and the last have one each."""
        return 2 if self.chips == 1 else 1

    @property
    def tokens(self) -> int:
        return self.input_len + self.output_len

    @property
    def item_bytes(self) -> int:
        return jnp.dtype(self.dtype).itemsize

    @property
    def weight_bytes(self) -> int:
        tables = 1 if self.config.tied else 2
        elsewhere = max(0, tables - self.ends) * self.config.vocab * self.config.hidden
        return (self.config.parameters - elsewhere) * self.item_bytes

    @property
    def kv_bytes(self) -> int:
        """KV cache of one prompt, without padding."""
        c = self.config
        return 2 * c.layers * c.kv_heads * c.head_dim * self.input_len * self.item_bytes


@dataclass(frozen=True)
class Prefill:
    """`pass_cycles` until a whole prompt has passed, `busy_cycles` of the slowest region for it."""

    grid: Mesh
    chunks: int
    regions: int
    core_bytes: int
    pass_cycles: float
    busy_cycles: float
    dynamic_j: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Decode:
    """`step_cycles` between two tokens of a request, with `batch * in_flight` requests at once.

    `path_cycles` is what one token takes alone, `busy_cycles` the slowest region's part of it.
    """

    grid: Mesh
    tree: str
    kv: str
    batch: int
    regions: int
    in_flight: int
    core_bytes: int
    path_cycles: float
    busy_cycles: float
    dynamic_j: float
    parts: Mapping[str, float]

    @property
    def step_cycles(self) -> float:
        return max(self.path_cycles, self.in_flight * self.busy_cycles)

    @property
    def requests(self) -> int:
        return self.batch * self.in_flight


@dataclass(frozen=True)
class Costs:
    """Cycles and joules of embedding, one layer, output, and the move to the next region."""

    embed: float
    layer: float
    head: float
    move: float
    dynamic_j: float

    def path(self, layers: int, regions: int) -> float:
        """Cycles through all regions, one after the other."""
        return self.embed + layers * self.layer + self.head + (regions - 1) * self.move

    def busy(self, spread: tuple[int, int], regions: int) -> float:
        """Cycles that the slowest region is taken: a middle one, or an end with its table."""
        middle, end = spread
        if regions == 1:
            return self.path(end, 1)
        return self.move + max(middle * self.layer, end * self.layer + max(self.embed, self.head))

    def parts(self, layers: int, regions: int, times: int = 1) -> dict[str, float]:
        """The same cycles by part, for `times` passes one after the other."""
        return {
            "embed": times * self.embed, "layers": times * layers * self.layer,
            "head": self.head, "moves": times * (regions - 1) * self.move,
        }  # fmt: skip


def costs(
    readings: Mapping[str, Reading], layers: int, chip: Chip, row_elements: int, dtype: str
) -> Costs:
    """Of one pass; `row_elements` of x move from each row of a region to the next."""
    spent = {name: time_of(reading, chip).cycles for name, reading in readings.items()}
    mesh = readings["layer"].mesh
    move = time(move_program(max(mesh.rows, mesh.cols), row_elements, dtype), chip).cycles
    joules = {name: dynamic_j(reading) for name, reading in readings.items()}
    total_j = joules["embed"] + layers * joules["layer"] + joules["head"]
    return Costs(spent["embed"], spent["layer"], spent["head"], move, total_j)


def prefills(work: Work, grid: Mesh, share: int) -> Iterator[Prefill]:
    """Every number of regions that holds the model; chunks have `share` tokens on each row.

    A chunk attends to what is there by then.
    """
    config, chip = work.config, work.chip
    programs = prefill_programs(
        one_layer(config), grid, chunk=share * grid.rows, capacity=work.input_len, dtype=work.dtype
    )
    regions = Regions(chip, grid, config.layers, config.tied, _least(programs), work.ends)
    if not any(_spreads(regions, programs.buffer_slots)):
        return  # no need to trace what does not fit without buffers
    readings = read_prefill(programs)
    regions = replace(regions, need=Need.of(readings, programs.buffer_slots))
    spreads = list(_spreads(regions, programs.buffer_slots))
    if not spreads:
        return
    chunks, others = programs.chunks, programs.chunks - 1
    one = costs(readings, config.layers, chip, share * config.hidden, work.dtype)
    before = _earlier(one, readings["layer"], programs, work) if others else one
    for count, spread, core_bytes in spreads:
        followed = others * before.busy(spread, count)
        yield Prefill(
            grid=grid,
            chunks=chunks,
            regions=count,
            core_bytes=core_bytes,
            pass_cycles=one.path(config.layers, count) + followed,
            busy_cycles=one.busy(spread, count) + followed,
            dynamic_j=one.dynamic_j + others * before.dynamic_j,
            parts=one.parts(config.layers, count) | {"other chunks": followed},
        )


def _least(programs: ModelPrograms) -> Need:
    """What prefill needs of a core before any buffer: exact, and known without tracing."""

    def held(*specs: Spec) -> int:
        tiles = [spec.tile(programs.mesh) for spec in specs]
        return sum(math.prod(tile.shape) * tile.dtype.itemsize for tile in tiles)

    weights, keys, values, x, *_ = programs.prefill_layer().inputs
    slots = programs.buffer_slots
    return Need(
        weights=held(*weights.values()),
        table=held(programs.table),
        entry=-(-held(keys, values) // slots),
        activations=held(x),
        buffers=0,
        buffers_per_slot=0.0,
        end_buffers=0,
        slots=slots,
    )


def _earlier(last: Costs, full: Reading, programs: ModelPrograms, work: Work) -> Costs:
    """The mean of all chunks but the last, whose layer has the reading `full`."""
    chunks, layers = programs.chunks, work.config.layers
    weighted = [
        (times, full if n == chunks else read_chunk(programs, n))
        for n, times in earlier(chunks).items()
    ]

    def mean(of: Callable[[Reading], float]) -> float:
        return sum(times * of(reading) for times, reading in weighted) / (chunks - 1)

    return replace(
        last,
        layer=mean(lambda reading: time_of(reading, work.chip).cycles),
        dynamic_j=last.dynamic_j + layers * (mean(dynamic_j) - dynamic_j(full)),
    )


def decodes(
    work: Work, grid: Mesh, trees: Mapping[str, AllReduce], kv: str, batch: int
) -> Iterator[Decode]:
    """Every tree, number of regions and of batches in flight that fits, for one grid and batch.

    Memory is for the last token, time and energy for the mean of all.
    """
    config, chip = work.config, work.chip
    room = decode_programs(
        config, grid, tokens=_kept(work, grid, kv), batch=batch, kv=kv, combine=AllReduce(),
        dtype=work.dtype,
    )  # fmt: skip
    need = Need.of(read_decode(room), room.row_slots)  # trees need no memory of their own
    regions = Regions(chip, grid, config.layers, config.tied, need, work.ends)
    laid = list(_in_flight(work, regions, room.row_slots))
    if not laid:
        return
    entries = _mean_slots(work, grid, kv) * (grid.rows if kv == "shift" else 1)
    row = batch * -(-config.hidden // grid.rows)
    for tree, combine in trees.items():
        mean = read_decode(replace(room, capacity=entries, combine=combine))
        one = costs(mean, config.layers, chip, row, work.dtype)
        for flying, count, spread, core_bytes in laid:
            yield Decode(
                grid=grid, tree=tree, kv=kv, batch=batch, regions=count, in_flight=flying,
                core_bytes=core_bytes,
                path_cycles=one.path(config.layers, count),
                busy_cycles=one.busy(spread, count),
                dynamic_j=one.dynamic_j,
                parts=one.parts(config.layers, count),
            )  # fmt: skip


def _in_flight(
    work: Work, regions: Regions, slots: int
) -> Iterator[tuple[int, int, tuple[int, int], int]]:
    """(batches in flight, regions, spread of layers, bytes of the fullest core): all that fit.

    Batches are 1, 2, 3, 4, 6, 8, 12, ... and as many as there are regions.
    """
    most = work.chips * regions.available
    doubled = {start << n for start in (2, 3) for n in range(most.bit_length())}
    for flying in sorted(n for n in {1, *doubled, most} if n <= most):
        least = -(-flying // work.chips)
        for count, spread, core_bytes in _spreads(regions, flying * slots, least):
            yield flying, count, spread, core_bytes


def _mean_slots(work: Work, grid: Mesh, kv: str) -> int:
    """Entries on the fullest row, the mean over all decoded tokens, rounded up.

    The first token comes from prefill: token t > 1 attends to the prompt and t - 1 entries.
    """
    new = np.arange(1, max(2, work.output_len))
    if kv == "shift":
        held = -(-(work.input_len + new) // grid.rows)
    else:
        held = -(-work.input_len // grid.rows) + new
    return math.ceil(held.mean())


def _kept(work: Work, grid: Mesh, kv: str) -> int:
    """Entries that a sequence's cache has room for: with concat, the last row takes all output."""
    if kv == "shift":
        return work.tokens
    return -(-work.input_len // grid.rows) + work.output_len


def _spreads(
    regions: Regions, slots: int, least: int = 1
) -> Iterator[tuple[int, tuple[int, int], int]]:
    """(regions, spread of layers, bytes of the fullest core) for every count that fits, from `least` on.

    A spread that more regions only move further is left out.
    """
    needed = regions.needed(slots)
    if needed is None:
        return
    before = None
    for count in range(max(least, needed), regions.available + 1):
        spread = regions.spread(count, slots)
        if spread == before:
            continue
        layers, tables = regions.fullest(count, slots)
        need = regions.need
        held = layers * need.layer(slots) + tables * need.table + need.passing(slots, tables)
        if held <= regions.chip.free_per_core_bytes:
            before = spread
            yield count, spread, held + regions.chip.reserved_per_core_bytes
