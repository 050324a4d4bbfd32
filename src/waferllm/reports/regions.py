"""One phase of a model on regions of a chip: what a core must hold, how many regions, how many
tokens.

A wafer is cut into regions of one grid each; consecutive layers share a region and requests pass
from region to region. The embedding table lies in the first region, the output table in the last. A
core of a region holds

    code reserve   the chip's
    weights        of its layers as placed, padding included, and of a table
    KV             of its layers, a row's share
    activations    x
    buffers        high-water mark of everything else

Weights, KV and activations are arguments of the layer's program, buffers the most temporaries of
any of its programs at once (`plmr.Reading`). Nothing is allocated or loaded: every figure is
predicted.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace

from waferllm.chip import Chip
from waferllm.layout import Mesh
from waferllm.plmr import Reading


def regions_on(chip: Chip, grid: Mesh) -> int:
    """How many regions of this grid the chip holds side by side, all upright or all turned."""
    upright = (chip.grid_rows // grid.rows) * (chip.grid_cols // grid.cols)
    turned = (chip.grid_rows // grid.cols) * (chip.grid_cols // grid.rows)
    return max(upright, turned)


def count_regions(count: int) -> str:
    return f"{count} region" + "s" * (count != 1)


@dataclass(frozen=True)
class Need:
    """Bytes of one core: of a layer, of a table, of one KV entry in a row, and of what passes
    through.

    `buffers` are a layer's at `slots` KV entries per row, and `buffers_per_slot` what each entry
    adds to them; `end_buffers` are those of the embedding and the output.
    """

    weights: int
    table: int
    entry: int
    activations: int
    buffers: int
    buffers_per_slot: float
    end_buffers: int
    slots: int

    @classmethod
    def of(cls, readings: Mapping[str, Reading], slots: int) -> "Need":
        """From the readings of "embed", "layer" and "head", the layer's with so many slots."""
        given = {a.name: a.bytes_per_core for a in readings["layer"].arguments}
        temporaries = {name: r.temporaries_bytes_per_core for name, r in readings.items()}
        tables = {a.name: a.bytes_per_core for a in readings["head"].arguments}
        return cls(
            weights=sum(size for name, size in given.items() if name.startswith("[0]")),
            table=tables["[1]"],
            entry=-(-(given["[1]"] + given["[2]"]) // slots),
            activations=given["[3]"],
            buffers=temporaries["layer"],
            buffers_per_slot=0.0,
            end_buffers=max(temporaries["embed"], temporaries["head"]),
            slots=slots,
        )

    def growing(self, layer: Reading, slots: int) -> "Need":
        """With what a layer's reading at other slots shows: exact at both, no less in between.

        The most bytes at once are the largest of sums that are linear in the slots: convex.
        """
        more = layer.temporaries_bytes_per_core - self.buffers
        return replace(self, buffers_per_slot=more / (slots - self.slots))

    def scaled(self, factor: float) -> "Need":
        """On a grid with 1/factor of the cores, roughly."""
        return Need(
            weights=math.ceil(self.weights * factor),
            table=math.ceil(self.table * factor),
            entry=math.ceil(self.entry * factor),
            activations=math.ceil(self.activations * factor),
            buffers=math.ceil(self.buffers * factor),
            buffers_per_slot=self.buffers_per_slot * factor,
            end_buffers=math.ceil(self.end_buffers * factor),
            slots=self.slots,
        )

    def layer(self, slots: int) -> int:
        """Bytes that each layer adds to a core."""
        return self.weights + self.entry * slots

    def passing(self, slots: int, tables: int) -> int:
        """Bytes that a core needs whatever its layers are; only a region with a table uses it."""
        layer = math.ceil(self.buffers + self.buffers_per_slot * (slots - self.slots))
        return self.activations + max(0, layer, self.end_buffers if tables else 0)


@dataclass(frozen=True)
class Share:
    """What a core of the fullest region holds, in bytes; `layers` layers and `tables` tables."""

    layers: int
    tables: int
    code: int
    weights: int
    kv: int
    activations: int
    buffers: int

    @property
    def total(self) -> int:
        return self.code + self.weights + self.kv + self.activations + self.buffers


@dataclass(frozen=True)
class Regions:
    """A model's layers over the regions of a chip.

    `ends` regions hold a table: both the first and the last, or one of them where the model goes on on
    another chip.
    """

    chip: Chip
    grid: Mesh
    layers: int
    tied: bool
    need: Need
    ends: int = 2

    @property
    def available(self) -> int:
        return regions_on(self.chip, self.grid)

    def layers_in_one(self, slots: int, tables: int = 0) -> int:
        """How many layers a region can hold beside so many tables."""
        free = self.chip.free_per_core_bytes - self.need.passing(slots, tables)
        free -= tables * self.need.table
        return max(0, free // self.need.layer(slots)) if free >= 0 else -1

    def needed(self, slots: int) -> int | None:
        """The fewest regions that hold the model with that many KV entries per row, or None."""
        if self.layers_in_one(slots, self._tables_of_one) >= self.layers:
            return 1
        end, middle = self.layers_in_one(slots, 1), self.layers_in_one(slots)
        if end < 0 or middle < 1:
            return None
        return self.ends + math.ceil(max(0, self.layers - self.ends * end) / middle)

    def row_capacity(self) -> int:
        """The most KV entries per row with which the model still fits the chip; 0 if none."""
        low, high = 0, 1 << 24
        while low < high:
            slots = (low + high + 1) // 2
            needed = self.needed(slots)
            low, high = (slots, high) if needed and needed <= self.available else (low, slots - 1)
        return low

    def share(self, slots: int) -> Share:
        """A core of the fullest region when the layers are spread over all regions there are."""
        layers, tables = self.fullest(max(1, self.available), slots)
        need = self.need
        return Share(
            layers=layers,
            tables=tables,
            code=self.chip.reserved_per_core_bytes,
            weights=layers * need.weights + tables * need.table,
            kv=layers * need.entry * slots,
            activations=need.activations,
            buffers=need.passing(slots, tables) - need.activations,
        )

    def on(self, grid: Mesh) -> "Regions":
        """The same model on another grid, roughly: bytes per core scale with 1 / cores."""
        need = self.need.scaled(self.grid.cores / grid.cores)
        return replace(self, grid=grid, need=need)

    @property
    def _tables_of_one(self) -> int:
        return 1 if self.tied else self.ends

    def fullest(self, regions: int, slots: int) -> tuple[int, int]:
        """(layers, tables) of the region that holds most bytes under the most even spread."""
        middle, end = self.spread(regions, slots)
        if regions == 1:
            return self.layers, self._tables_of_one
        return max(self._held(slots, middle, 0), self._held(slots, end, 1))[1:]

    def _held(self, slots: int, layers: int, tables: int) -> tuple[int, int, int]:
        need = self.need
        held = layers * need.layer(slots) + tables * need.table + need.passing(slots, tables)
        return held, layers, tables

    def spread(self, regions: int, slots: int) -> tuple[int, int]:
        """Layers of a middle region and of the larger end under the most even spread of bytes."""
        if regions == 1:
            return 0, self.layers
        if regions <= self.ends:
            return 0, -(-self.layers // self.ends)
        middles = regions - self.ends

        def middle(end: int) -> int:
            return max(0, -(-(self.layers - self.ends * end) // middles))

        def ends_hold_more(end: int) -> bool:
            return self._held(slots, end, 1) >= self._held(slots, middle(end), 0)

        def most(spread: tuple[int, int]) -> tuple[int, int, int]:
            return max(self._held(slots, spread[0], 0), self._held(slots, spread[1], 1))

        # the more layers an end has, the fewer a middle: the best is where they meet, or one before
        meet = bisect_left(range(-(-self.layers // self.ends)), True, key=ends_hold_more)
        middle_layers = min((middle(e) for e in (meet, max(0, meet - 1))), key=lambda m: most(
            (m, self._end(m, middles))))  # fmt: skip
        return middle_layers, self._end(middle_layers, middles)

    def _end(self, middle: int, middles: int) -> int:
        """Layers of the larger end beside so many middle regions of so many layers."""
        return max(0, -(-(self.layers - middles * middle) // self.ends))
