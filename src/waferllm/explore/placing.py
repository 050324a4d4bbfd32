"""Which bytes live in which memory of one chip, and how fast each memory gives them.

    live KV        SRAM (where it holds data), HBM, DDR; never flash, which it would wear out
    frozen KV      with flash as weights, else as live KV
    waiting KV     of sessions between two turns: DDR first, else HBM; never flash
    weights        what is left of SRAM; HBM (else DDR) and flash side by side, so that both end
                   together, or no more in flash than heat allows; DDR behind HBM last
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


def flash_shares(xp: ModuleType, d: Numbers) -> tuple[Array, Array]:
    """The shares of weights in flash at which it ends with DRAM, and at which heat does.

    Side by side both memories end together at share B_f / (B_f + B_m). Where the power of the reads is
    more than the cooling carries off beside idle power (P), heat and DRAM end together instead:
    x e_f + (1 - x) e_m = (1 - x) P / B_m, so x = A / (A + e_f) with A = P / B_m - e_m, if positive.
    """
    speed = bandwidth_bytes_per_s(xp, d)
    main = main_memory(xp, d)
    dram = main["hbm"] * speed["hbm"] + main["ddr"] * speed["ddr"]
    even = over(xp, speed["hbf"], speed["hbf"] + dram)
    path = d["chip.path_pj_per_bit"]
    each = main["hbm"] * d["hbm.pj_per_bit"] + main["ddr"] * d["ddr.pj_per_bit"]
    dram_j, flash_j = (8e-12 * (pj + path) for pj in (each, d["hbf.pj_per_bit"]))
    watts = d["chip.thermal_w"] - d["chip.static_share"] * d["chip.tdp_w"]
    spare_j = xp.maximum(over(xp, watts, dram) - dram_j, 0.0)
    heated = xp.where(xp.isnan(watts) | (dram <= 0), 1.0, over(xp, spare_j, spare_j + flash_j))
    return even, xp.where(speed["hbf"] > 0, heated, 0.0)


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
    cool: Array = 0.0,
) -> dict[str, dict[str, Array]]:
    """Bytes of one chip by kind and memory, and the `homeless` that must have a place and have none.

    With `cool` no more weights lie in flash than heat allows in a pass over them.
    """
    room = capacity_bytes(d)
    has_flash = room["hbf"] > 0
    cold = xp.where(has_flash, frozen, 0.0)
    warm, live_left = _pour(xp, live + frozen - cold, room, ("sram", "hbm", "ddr"))
    aside, waiting_left = _pour(xp, waiting, room, ("ddr", "hbm"))
    inside, rest = _pour(xp, weights, room, ("sram",))
    both = rest + cold
    shared, left = _side_by_side(xp, d, both, room, cool)
    stored, away = _pour(xp, store, room, ("hbf", "ddr"))
    kv_left = live_left + waiting_left + left * over(xp, cold, both)
    left = left * over(xp, rest, both)
    # rounding of float32 leaves crumbs of what fits exactly
    left = xp.where(left > 1e-6 * weights, left, 0.0)
    kv_left = xp.where(kv_left > 1e-6 * (live + frozen + waiting), kv_left, 0.0)

    def part(amount: Array, others: dict[str, Array]) -> dict[str, Array]:
        """What lies elsewhere, and this kind's part of what weights and frozen KV share."""
        mine = over(xp, amount, both)
        return {tier: others.get(tier, 0.0) + mine * shared[tier] for tier in TIERS}

    return {
        "weights": part(rest, inside),
        "kv": part(cold, warm),
        "waiting": aside,
        "store": {**stored, "away": away},
        "homeless": {"weights": left, "kv": kv_left},
    }


def _side_by_side(
    xp: ModuleType, d: Numbers, amount: Array, room: dict[str, Array], cool: Array
) -> tuple[dict[str, Array], Array]:
    """Bytes divided between flash and main DRAM, the rest in DDR, and what is left. Changes `room`."""
    stacked = d["hbm.stacks"] > 0
    beside = xp.where(stacked, room["hbm"], room["ddr"])
    even, heated = flash_shares(xp, d)
    quick = amount * (1 - xp.where(cool > 0, xp.minimum(even, heated), even))
    dram = xp.minimum(xp.minimum(amount, beside), xp.maximum(quick, amount - room["hbf"]))
    hbf = xp.minimum(amount - dram, room["hbf"])
    first = xp.where(stacked, 0.0, dram)
    room["hbf"], room["ddr"] = room["hbf"] - hbf, room["ddr"] - first
    last, left = _pour(xp, amount - dram - hbf, room, ("ddr",))
    hbm = xp.where(stacked, dram, 0.0)
    return {"sram": 0.0, "hbm": hbm, "ddr": first + last["ddr"], "hbf": hbf}, left
