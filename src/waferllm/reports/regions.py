"""One phase of a model on regions of a chip: what a core must hold, and how many tokens fit.

A wafer is cut into regions of one grid each; consecutive layers share a region and requests pass from
region to region. The embedding table lies with the first layers, the output table with the last. Per
core of the fullest region:

    code reserve | weights of its layers, and a table | KV of its layers | activations | buffers
    chip         | as placed, padding included        | every row's share| x            | high-water mark

Weights, KV and activations are the arguments of the layer's program, buffers the most temporaries of any
of its programs at once (`plmr.Reading`). Nothing is allocated or loaded; everything here is predicted.
"""

from dataclasses import dataclass
from functools import cached_property

from waferllm.chip import Chip
from waferllm.layout import Mesh
from waferllm.plmr import Reading

REGIONS_OF_TABLES = 2  # one holds the embedding, one the output table; they may be the same region


def regions_on(chip: Chip, grid: Mesh) -> int:
    """How many regions of this grid the chip holds side by side, all upright or all turned."""
    upright = (chip.grid_rows // grid.rows) * (chip.grid_cols // grid.cols)
    turned = (chip.grid_rows // grid.cols) * (chip.grid_cols // grid.rows)
    return max(upright, turned)


@dataclass(frozen=True)
class Share:
    """Bytes of one core."""

    code: int
    weights: int
    kv: int
    activations: int
    buffers: int

    @property
    def total(self) -> int:
        return self.code + self.weights + self.kv + self.activations + self.buffers


@dataclass(frozen=True)
class Layer:
    """One layer of a phase on a core, for `row_slots` KV entries on a row of cores, and its buffers."""

    weights: int
    table: int
    entry: int
    activations: int
    buffers: int
    buffers_per_slot: float
    row_slots: int

    @classmethod
    def of(cls, readings: dict[str, Reading], row_slots: int, more: Reading | None = None) -> "Layer":
        """From the readings of the embedding, a layer and the output; `more` has twice the slots."""
        layer = readings["layer"]
        held = [a.bytes_per_core for a in layer.arguments]
        weights = sum(a.bytes_per_core for a in layer.arguments if a.name.startswith("[0]"))
        keys, values, x = held[-_AFTER_WEIGHTS[len(held) - _weights(layer)] :][:3]
        temporaries = layer.temporaries_bytes_per_core
        growth = more.temporaries_bytes_per_core - temporaries if more else 0
        return cls(
            weights=weights,
            table=max(_argument(readings["embed"], "[0]"), _argument(readings["head"], "[1]")),
            entry=(keys + values) // row_slots,
            activations=x,
            buffers=max(
                temporaries,
                *(r.temporaries_bytes_per_core for n, r in readings.items() if n != "layer"),
            ),
            buffers_per_slot=max(0.0, growth / row_slots),
            row_slots=row_slots,
        )
