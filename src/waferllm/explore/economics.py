"""Energy, average power, cost of ownership and carbon of a system that serves a workload.

    energy     operations, bytes of each memory and bytes sent, each at its joules; static share always
    power      average over the year: static power, and dynamic power for the share of time with work
    cost       capital over its life + building over its life + electricity x PUE + staff and repairs
    carbon     embodied over its life + electricity x grid; logic by ACT's kg/cm2, memory by the GB

Sources of the formulas: Barroso et al., The Datacenter as a Computer (structure); ACT (ISCA'22).
"""

from types import ModuleType
from typing import Any

from waferllm.explore.passes import peak_flops
from waferllm.explore.placing import GB, MB, TIERS, over

Array = Any
Numbers = dict[str, Any]

HOURS_PER_YEAR = 8760.0
SECONDS_PER_YEAR = HOURS_PER_YEAR * 3600
_BITS = 8e-12  # pJ/bit to J/byte


def chip_joules(xp: ModuleType, d: Numbers, m: Numbers, made: dict[str, Any]) -> dict[str, Array]:
    """Dynamic joules of one chip for one pass, by part.

    An operation takes what is left of rated power at the nameplate peak of its format.
    """
    _, peak = peak_flops(xp, d, m)
    per_flop = (1 - d["chip.static_share"]) * d["chip.tdp_w"] / peak
    path = d["chip.path_pj_per_bit"]
    moved = made["bytes"]
    dram = moved["hbm"] + moved["ddr"]
    near = xp.where(dram > 0, made["near_bytes"] / xp.maximum(dram, 1.0), 0.0)
    scale = 1 - near * (1 - d["pnm.pj_scale"])
    return {
        "compute": made["flops"] * per_flop,
        "sram": moved["sram"] * d["sram.pj_per_bit"] * _BITS,
        "hbm": moved["hbm"] * (d["hbm.pj_per_bit"] + path) * scale * _BITS,
        "ddr": moved["ddr"] * (d["ddr.pj_per_bit"] + path) * scale * _BITS,
        "hbf": moved["hbf"] * (d["hbf.pj_per_bit"] + path) * _BITS,
        "link": made["link_bytes"] * d["link.pj_per_bit"] * _BITS,
        "network": made["net_bytes"] * d["net.pj_per_bit"] * _BITS,
    }


def dynamic_j(xp: ModuleType, d: Numbers, m: Numbers, made: dict[str, Any]) -> Array:
    """Dynamic joules of one chip for one pass."""
    return sum(chip_joules(xp, d, m, made).values())


def economics(
    xp: ModuleType,
    d: Numbers,
    m: Numbers,
    w: Numbers,
    s: Numbers,
    step: dict[str, Any],
    prompt: dict[str, Any],
    timed: dict[str, Any],
    held: dict[str, Any],
) -> dict[str, dict[str, Array]]:
    """Power, cost and carbon of the system, and figures for each token."""  # fmt: skip
    power = average_power(xp, d, m, w, s, step, prompt, timed)
    average_w = sum(power.values())
    tokens_per_s = timed["requests_per_s"] * w["output"] * d["site.load"]
    tokens_per_year = tokens_per_s * SECONDS_PER_YEAR
    cost = yearly_usd(xp, d, average_w)
    carbon = yearly_kg(d, average_w)
    mtok = tokens_per_year / 1e6
    return {
        "figures": {
            "power_w": average_w,
            "usd_per_mtok": sum(cost.values()) / mtok,
            "gco2e_per_mtok": 1000 * sum(carbon.values()) / mtok,
            "joules_per_token": average_w / tokens_per_s,
            "capital_usd": capital_usd(xp, d),
            "usd_per_chip_hour": sum(cost.values()) / HOURS_PER_YEAR / d["chip.count"],
            "embodied_kg": embodied_kg(d),
            "site_power_w": average_w * d["site.pue"],
            "racks": xp.ceil((d["chip.count"] + d["chip.spares"]) / d["site.chips_per_rack"]),
        },
        "cost": {name: value / mtok for name, value in cost.items()},
        "carbon": {name: 1000 * value / mtok for name, value in carbon.items()},
        "power": power,
        "flash": flash_life(xp, d, m, w, s, timed, held),
    }


def average_power(
    xp: ModuleType,
    d: Numbers,
    m: Numbers,
    w: Numbers,
    s: Numbers,
    step: dict[str, Any],
    prompt: dict[str, Any],
    timed: dict[str, Any],
) -> dict[str, Array]:
    """Watts of the system by part, at the load of the site."""  # fmt: skip
    rate = timed["requests_per_s"] * d["site.load"]
    replica = s["tp"] * s["cp"]
    steps = xp.where(w["steps"] > 0, 0.0, w["output"]) / xp.maximum(s["batch"] / s["pp"], 1.0)
    parts: dict[str, Array] = {}
    once, each = chip_joules(xp, d, m, prompt), chip_joules(xp, d, m, step)
    for name in once:
        # a pass is counted as if one stage of tp x cp chips held all layers
        parts[name] = rate * replica * (once[name] + steps * each[name])
    chips = d["chip.count"] + d["chip.spares"]
    parts["static"] = chips * d["chip.static_share"] * d["chip.tdp_w"]
    parts["host"] = chips * d["host.w"]
    return parts


def _memory(d: Numbers, key: str) -> Array:
    """The sum over a chip's memories of GB x a number per GB; a part that is absent needs none."""
    total = 0.0
    for tier, count in (("hbm", "stacks"), ("ddr", "devices"), ("hbf", "stacks")):
        gb = d[f"{tier}.{count}"] * d[f"{tier}.gb"]
        total = total + gb * d[f"{tier}.{key}"]
    return total


def capital_usd(xp: ModuleType, d: Numbers) -> Array:
    """Price of all accelerators with memory, hosts and network; NaN where one price is unknown."""
    each = d["chip.usd"] + _memory(d, "usd_per_gb") + d["host.usd"]
    return xp.asarray((d["chip.count"] + d["chip.spares"]) * each)


def yearly_usd(xp: ModuleType, d: Numbers, average_w: Array) -> dict[str, Array]:
    """Dollars a year by part; capital is paid evenly, without interest."""
    capital = capital_usd(xp, d)
    chips = d["chip.count"] + d["chip.spares"]
    rated = chips * (d["chip.tdp_w"] + d["host.w"])
    kwh = average_w / 1000 * HOURS_PER_YEAR * d["site.pue"]
    return {
        "capital": capital / d["site.life_years"],
        "building": rated * d["site.building_usd_per_w"] / d["site.building_years"],
        "electricity": kwh * d["site.usd_per_kwh"],
        "staff and repairs": capital * d["site.opex_share"],
    }


def embodied_kg(d: Numbers) -> Array:
    """Embodied carbon of all chips, memories and hosts."""
    logic = d["chip.die_cm2"] * d["chip.kg_per_cm2"]
    each = logic + d["chip.other_kg"] + _memory(d, "kg_per_gb") + d["host.kg"]
    return (d["chip.count"] + d["chip.spares"]) * each


def yearly_kg(d: Numbers, average_w: Array) -> dict[str, Array]:
    """Kilograms of CO2e a year, embodied and operational."""
    kwh = average_w / 1000 * HOURS_PER_YEAR * d["site.pue"]
    return {
        "embodied": embodied_kg(d) / d["site.life_years"],
        "operational": kwh * d["site.g_per_kwh"] / 1000,
    }


def flash_life(
    xp: ModuleType,
    d: Numbers,
    m: Numbers,
    w: Numbers,
    s: Numbers,
    timed: dict[str, Any],
    held: dict[str, Any],
) -> dict[str, Array]:
    """Years until flash wears out: capacity x endurance / (bytes written x amplification).

    `years` writes what flash holds: every replica's copy of the weights at each update, frozen KV and
    the context store once a turnover; `years_if_live_kv` also the KV of every token, which is why it
    may not live there. `load_s` is one update of the weights at write bandwidth, `buffer_mb_needed`
    2 x bandwidth x latency. Source of the formula: Baek (arXiv 2609.25782).
    """  # fmt: skip
    chips = d["chip.count"]
    capacity = chips * d["hbf.stacks"] * d["hbf.gb"] * GB
    used = s["tp"] * s["pp"] * s["cp"] * s["dp"] + s["prefill_chips"]
    weights = used * held["weights"]["hbf"]
    turned = used * held["kv"]["hbf"] + chips * held["store"]["hbf"]
    turnovers = 365 / xp.maximum(w["store_days"], 1e-9)
    slow = (weights * w["updates_per_year"] + turned * turnovers) / SECONDS_PER_YEAR
    kv_token = m["layers"] * m["kv_layer_bytes"]
    live = timed["requests_per_s"] * (w["prompt"] + w["output"]) * kv_token * d["site.load"]
    budget = capacity * d["hbf.pe_cycles"] / d["hbf.waf"] / SECONDS_PER_YEAR
    write = chips * d["hbf.stacks"] * d["hbf.write_gbps"] * GB
    return {
        "years": budget / xp.maximum(slow, 1e-9),
        "years_if_live_kv": budget / xp.maximum(slow + live, 1e-9),
        "load_s": over(xp, held["weights"]["hbf"], d["hbf.stacks"] * d["hbf.write_gbps"] * GB),
        "live_kv_of_write_bandwidth": xp.where(write > 0, live / xp.maximum(write, 1.0), 0.0),
        "buffer_mb_needed": 2 * d["hbf.gbps"] * GB * d["hbf.latency_us"] * 1e-6 / MB,
    }


__all__ = ["TIERS", "capital_usd", "chip_joules", "dynamic_j", "economics", "embodied_kg"]
