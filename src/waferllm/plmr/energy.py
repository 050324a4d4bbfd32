"""Energy of a program, in two models that do not agree and are both shown.

    constant power   the system's power times the time: what the published energy ratios follow
                     (speedup x GPUs / 37.5)
    activity         joules for every multiply-add, byte of SRAM and byte-hop of a reading, and a
                     static share of the system's power times the time

No energy per operation is published for these wafers: the joules of `ACTIVITY` are assumptions from
other silicon, shown with every result that uses them.
"""

import math
from dataclasses import dataclass

import numpy as np

from waferllm.chip import Chip
from waferllm.plmr.rules import MOVES
from waferllm.plmr.walk import Op, Reading


@dataclass(frozen=True)
class Assumed:
    """One assumption: its value, unit and where it is from."""

    name: str
    value: float
    unit: str
    source: str


MAC = Assumed("mac", 1.5e-12, "J", "fp16 multiply-add in 28 nm, derived from Horowitz (ISSCC'14)")
SRAM = Assumed("sram", 8 * 0.16e-12, "J/B", "0.16 pJ/bit of a cache access (Horowitz, ISSCC'14)")
HOP = Assumed(
    "hop", 8 * 0.10e-12, "J/B", "0.1 pJ/bit from die to die on a wafer (WaferLLM, table 1)"
)
STATIC = Assumed("static", 0.5, "of system power", "assumed: no figure is published")
ACTIVITY = (MAC, SRAM, HOP, STATIC)


def constant_power_j(seconds: float, chip: Chip) -> float:
    """Joules of the whole system in that time at its rated power."""
    return seconds * chip.system_power_w


def static_j(seconds: float, chip: Chip) -> float:
    """Joules that the system takes in that time whatever it does."""
    return STATIC.value * constant_power_j(seconds, chip)


def dynamic_j(reading: Reading) -> float:
    """Joules of one run of a program on all its cores, beside the static share."""
    macs = moved = 0.0
    for phase in reading.phases:
        for op in phase.ops:
            macs += phase.times * op.flops / 2
            moved += phase.times * op.calls * _sram_bytes(op)
    on_cores = reading.mesh.cores * (macs * MAC.value + moved * SRAM.value)
    return on_cores + reading.byte_hops_total * HOP.value


def _sram_bytes(op: Op) -> float:
    """A multiply-add reads two operands and writes one; a move reads one."""
    operands = 2 if op.primitive in MOVES else 3
    return operands * math.prod(op.shape) * np.dtype(op.dtype).itemsize


def assumptions_json() -> list[dict[str, object]]:
    """The assumptions of the activity model."""
    return [vars(one) for one in ACTIVITY]
