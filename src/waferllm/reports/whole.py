"""One phase of a whole model on regions of a chip: its programs, and the moves between regions.

    embed | layer x layers, over as few regions as hold them, a move between two | head

This is what the engine runs for one request, and what `tune` costs for as many regions and requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
from jax import Array

from waferllm.chip import Chip
from waferllm.fabric import broadcast
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import COLS, ROWS, Blocks, Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.programs import ModelPrograms
from waferllm.plmr.compliance import Verdict
from waferllm.plmr.costing import reading_of
from waferllm.program import Program, Spec
from waferllm.reports.regions import Need, Regions, count_regions
from waferllm.units import show_bytes


@dataclass(frozen=True)
class Placed:
    """The programs of a phase with the regions that hold the model; `slots` KV entries a row.

    A prompt passes in `chunks`, each of which follows the one before through the regions and attends to
    what is there by then: "layer" is the last chunk's, "layer of chunk 2" an early one's (`earlier`).
    """

    programs: Mapping[str, Program]
    regions: Regions
    slots: int
    chunks: int = 1

    @property
    def needed(self) -> int | None:
        """The fewest regions that hold the model, or None where one layer is too much for a region."""
        return self.regions.needed(self.slots)

    @property
    def fits(self) -> bool:
        return self.needed is not None and self.needed <= self.regions.available

    def times(self, cycles: Mapping[str, float]) -> dict[str, float]:
        """How often each program runs, one after the other, until the last chunk has passed.

        On the number of regions that is quickest by the `cycles` of each program: few for one chunk,
        more for many. Where no region holds a layer, moves go between layers.
        """
        least = self.needed or self.regions.layers
        most = max(least, self.regions.available) if self.chunks > 1 else least
        made = [self._on(count, cycles) for count in range(least, most + 1)]
        return min(made, key=lambda times: sum(n * cycles[name] for name, n in times.items()))

    def _on(self, count: int, cycles: Mapping[str, float]) -> dict[str, float]:
        """On so many regions; what the slowest does is what each earlier chunk adds."""
        made = dict.fromkeys(self.programs, 0.0)
        made |= {"embed": 1, "layer": self.regions.layers, "move": count - 1, "head": 1}
        runs = {layer_name(n, self.chunks): times for n, times in earlier(self.chunks).items()}
        mean = sum(times * cycles[name] for name, times in runs.items()) / max(1, self.chunks - 1)
        slowest = self._slowest(count, {**cycles, "layer": mean})
        layers = slowest.pop("layer")
        for name, times in slowest.items():
            made[name] += (self.chunks - 1) * times
        for name, times in runs.items():
            made[name] += layers * times
        return made

    def _slowest(self, count: int, cycles: Mapping[str, float]) -> dict[str, int]:
        """What the region that takes longest does for a chunk; see `tune.options.Costs.busy`."""
        middle, end = self.regions.spread(count, self.slots)
        if count == 1:
            return {"embed": 1, "layer": end, "head": 1}
        table = max("embed", "head", key=lambda name: cycles[name])
        if middle * cycles["layer"] > end * cycles["layer"] + cycles[table]:
            return {"layer": middle, "move": 1}
        return {"layer": end, "move": 1, table: 1}

    def verdict(self) -> Verdict:
        """M for the whole model: what a core of the fullest region takes, or what would make it fit."""
        regions, slots, needed = self.regions, self.slots, self.needed
        limit, grid = regions.chip.sram_per_core_bytes, regions.grid
        if needed is None:
            need = regions.need
            what, held = max(
                ("One layer", need.layer(slots) + need.passing(slots, 0)),
                ("Embedding or output", need.table + need.passing(slots, 1)),
                key=lambda each: each[1],
            )
            return Verdict(
                "M", False,
                f"{what} alone would take {show_bytes(held + regions.chip.reserved_per_core_bytes)} of "
                f"{show_bytes(limit)} per core on {grid}: take a larger grid, a smaller dtype, fewer "
                "tokens, or a prompt in smaller chunks.",
            )  # fmt: skip
        if needed > regions.available:
            return Verdict(
                "M", False,
                f"The model needs {count_regions(needed)} of {grid}, {regions.chip.name} has "
                f"{regions.available}: take a smaller dtype, fewer tokens, a larger chip, or a grid that "
                "waferllm tune finds.",
            )  # fmt: skip
        layers, tables = regions.fullest(needed, slots)
        need = regions.need
        held = layers * need.layer(slots) + tables * need.table + need.passing(slots, tables)
        held += regions.chip.reserved_per_core_bytes
        return Verdict(
            "M", True,
            f"{count_regions(needed)} of {regions.available} hold the model; the fullest takes "
            f"{show_bytes(held)} of {show_bytes(limit)} per core.",
        )  # fmt: skip


def earlier(chunks: int) -> dict[int, float]:
    """{chunk: times} whose layers take as long as those of all chunks but the last.

    From the second chunk on, time grows linearly with what there is to attend to. The first counts as a
    second, which takes a little more.
    """
    if chunks < 3:
        return dict.fromkeys(range(1, chunks), 1.0)
    return {2: (chunks + 1) / 2, chunks: (chunks - 3) / 2}


def layer_name(chunk: int, chunks: int) -> str:
    """What the layer of one of a prompt's chunks is called."""
    return "layer" if chunk == chunks else f"layer of chunk {chunk}"


def placed(
    config: ModelConfig,
    chip: Chip,
    mesh: Mesh,
    tokens: int,
    phase: str,
    size: int | None,
    dtype: str,
    chunk: int | None = None,
) -> Placed:
    """Prefill of `tokens`, `chunk` or all at once, or a token of decode after them.

    Groups of the tree's first phase have `size` cores, or balance.
    """
    prefill = phase == "prefill"
    programs = ModelPrograms(
        config, mesh, slots=1,
        chunk=-(-(chunk or tokens) // mesh.rows) * mesh.rows if prefill else mesh.rows,
        capacity=tokens if prefill else tokens + 1,
        combine=AllReduce(groups=size),
        dtype=jnp.dtype(dtype),
    )  # fmt: skip
    made = {
        "embed": programs.embed(programs.chunk if prefill else 1),
        "layer": programs.prefill_layer() if prefill else programs.decode_layer(),
        "head": programs.head(),
    }
    slots = programs.buffer_slots if prefill else programs.row_slots
    need = Need.of({name: reading_of(one) for name, one in made.items()}, slots)
    regions = Regions(chip, mesh, config.layers, config.tied, need)
    row = programs.chunk // mesh.rows * config.hidden if prefill else -(-config.hidden // mesh.rows)
    move = move_program(max(mesh.rows, mesh.cols), row, dtype)
    chunks = programs.chunks if prefill else 1
    others = {
        layer_name(n, chunks): programs.prefill_layer(chunks=n)
        for n in earlier(chunks)
        if n < chunks
    }
    order = {"embed": made["embed"], **others, "layer": made["layer"]}
    return Placed(order | {"move": move, "head": made["head"]}, regions, slots, chunks)


@lru_cache(maxsize=4096)
def move_program(side: int, elements: int, dtype: str) -> Program:
    """A row's part of x goes over one link into the next region and along its whole row.

    Rows move side by side; one row stands for all. The link carries every entry of the row once.
    """

    def move(x: Array) -> Array:
        return broadcast(x, COLS, 0)

    line = Spec((elements,), Blocks((ROWS,)), jnp.dtype(dtype))
    return Program(move, mesh=(1, side + 1), inputs=(line,), outputs=line, name="move")
