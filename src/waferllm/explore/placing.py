"""Which bytes live in which memory of one chip, and how fast each memory gives them.

    live KV        SRAM (where it holds data), HBM, DDR; never flash, which it would wear out
    frozen KV      flash first, else as live KV
    waiting KV     of sessions between two turns: DDR first, else HBM; never flash
    weights        what is left of SRAM; HBM and flash side by side, so that both end together; DDR last
    store          what retrieval searches: what is left of flash, then of DDR; the rest over the network

All functions take the array module `xp` and arrays of designs.
"""

from types import ModuleType
from typing import Any

Array = Any
Numbers = dict[str, Any]

TIERS = ("sram", "hbm", "ddr", "hbf")
GB, MB, US = 1e9, 1e6, 1e-6


def over(xp: ModuleType, amount: Array, rate: Array) -> Array:
    """amount / rate; zero for no amount whatever the rate, infinite for a rate of zero.

    The inner choice keeps the derivative finite where the outer one does not look.
    """
    some = xp.where(rate > 0, rate, 1.0)
    return xp.where(amount > 0, xp.where(rate > 0, amount / some, xp.inf), 0.0)


def capacity_bytes(d: Numbers) -> dict[str, Array]:
    """What each memory of one chip may hold."""
    usable = d["hbm.usable"] * GB
    return {
        "sram": d["sram.gb"] * d["sram.holds"] * usable,
        "hbm": d["hbm.stacks"] * d["hbm.gb"] * usable,
        "ddr": d["ddr.devices"] * d["ddr.gb"] * usable,
        "hbf": d["hbf.stacks"] * d["hbf.gb"] * GB,
    }


def bandwidth_bytes_per_s(xp: ModuleType, d: Numbers) -> dict[str, Array]:
    """Peak of each memory of one chip; flash gives no more than its read-ahead buffer sustains.

    A double buffer turns over once in two latencies (Little's law): buffer / (2 latency).
    """
    ahead = over(xp, d["hbf.buffer_mb"] * MB, 2 * d["hbf.latency_us"] * US)
    return {
        "sram": d["sram.tbps"] * 1e12 * d["sram.holds"],
        "hbm": d["hbm.stacks"] * d["hbm.gbps"] * GB,
        "ddr": d["ddr.devices"] * d["ddr.gbps"] * GB,
        "hbf": d["hbf.stacks"] * xp.minimum(d["hbf.gbps"] * GB, ahead),
    }


def main_memory(xp: ModuleType, d: Numbers) -> dict[str, Array]:
    """1 for the memory that activations pass through: DRAM stacks, else other DRAM, else SRAM."""
    hbm = xp.where(d["hbm.stacks"] > 0, 1.0, 0.0)
    ddr = (1 - hbm) * xp.where(d["ddr.devices"] > 0, 1.0, 0.0)
    return {"sram": (1 - hbm) * (1 - ddr), "hbm": hbm, "ddr": ddr, "hbf": 0.0 * hbm}


def _pour(
    xp: ModuleType, amount: Array, room: dict[str, Array], order: tuple[str, ...]
) -> tuple[dict[str, Array], Array]:
    """Fill memories in order; returns what went where and what found no place. Changes `room`."""
    held = {}
    for tier in order:
        held[tier] = xp.minimum(amount, room[tier])
        room[tier] = room[tier] - held[tier]
        amount = amount - held[tier]
    return held, amount


def place(
    xp: ModuleType,
    d: Numbers,
    *,
    weights: Array,
    live: Array,
    frozen: Array,
    waiting: Array,
    store: Array,
) -> dict[str, dict[str, Array]]:
    """Bytes of one chip by kind and memory, and the `homeless` that must have a place and have none."""
    room = capacity_bytes(d)
    cold, frozen = _pour(xp, frozen, room, ("hbf",))
    warm, live_left = _pour(xp, live + frozen, room, ("sram", "hbm", "ddr"))
    aside, waiting_left = _pour(xp, waiting, room, ("ddr", "hbm"))
    inside, rest = _pour(xp, weights, room, ("sram",))
    speed = bandwidth_bytes_per_s(xp, d)
    even = rest * over(xp, speed["hbm"], speed["hbm"] + speed["hbf"])
    hbm = xp.minimum(xp.minimum(rest, room["hbm"]), xp.maximum(even, rest - room["hbf"]))
    hbf = xp.minimum(rest - hbm, room["hbf"])
    outside, left = _pour(xp, rest - hbm - hbf, room, ("ddr",))
    room["hbf"] = room["hbf"] - hbf
    stored, away = _pour(xp, store, room, ("hbf", "ddr"))
    # rounding of float32 leaves crumbs of what fits exactly
    left = xp.where(left > 1e-6 * weights, left, 0.0)
    kv_left = live_left + waiting_left
    kv_left = xp.where(kv_left > 1e-6 * (live + frozen + waiting), kv_left, 0.0)
    return {
        "weights": {"sram": inside["sram"], "hbm": hbm, "ddr": outside["ddr"], "hbf": hbf},
        "kv": {**warm, "hbf": cold["hbf"]},
        "waiting": aside,
        "store": {**stored, "away": away},
        "homeless": {"weights": left, "kv": kv_left},
    }
