"""Parts of machines: memories, links, hosts, sites, and the four directions beside today's.

A part is a mapping of flat keys (`numbers.FIELDS`) to sourced numbers; `systems` composes them. The
four directions (X. Ma, D. Patterson, IEEE Computer 59(5), 2026) come with their constraints: flash
with pages, latency, buffer, writes and endurance; logic near or in DRAM with gain, shards and compute;
stacking with less energy and less cooling; links with hops, topology and adding switches.
"""

from math import isnan

from waferllm.explore.numbers import (
    FIELDS,
    Part,
    assumed,
    computed,
    recalled,
    secondary,
    seen,
    unknown,
)

_ABSENT = assumed(0, "absent")
_ONE = assumed(1, "absent")

#: Every key with nothing there: what a system does not name is off.
ABSENT: Part = {key: (_ABSENT if spec.zero else _ONE) for key, spec in FIELDS.items()}

HBM_USD_PER_GB = secondary(12.75, "HBM3E $8-10 (asiatechfeed) to $15-18 (stacklynlabs)", 8, 18)
_KV_EFF = computed(0.90, "KV read at 3.00 of 3.35 TB/s, vLLM 2026-04-22 (H100); 0.91 on B200")
_PCF_MEMORY_KG = 0.42 * 1312 / 8 / 80
HBM_KG_PER_GB = computed(
    _PCF_MEMORY_KG,
    "NVIDIA's HGX H100 footprint: 42 % of 1,312 kg / 8 GPUs / 80 GB; ACT has no HBM, its DDR4"
    " (0.065 kg/GB) would be 13 times less",
    0.065, _PCF_MEMORY_KG,
)  # fmt: skip
USABLE = recalled(0.9, "default share of memory that vLLM takes")

MEMORY: Part = {
    "hbm.eff_kv": _KV_EFF,
    "hbm.usable": USABLE,
    "hbm.usd_per_gb": HBM_USD_PER_GB,
    "hbm.kg_per_gb": HBM_KG_PER_GB,
    "sram.pj_per_bit": secondary(0.16, "large on-die SRAM, Horowitz-type cache access"),
}


def hbm(stacks: float, gb: float, gbps: float, pj: float, text: str) -> Part:
    """DRAM stacks of one accelerator; capacity and bandwidth of one stack."""
    return {
        "hbm.stacks": computed(stacks, text),
        "hbm.gb": computed(gb, text),
        "hbm.gbps": computed(gbps, text),
        "hbm.pj_per_bit": secondary(pj, "device energy, section 2.3 of the notes (RN)"),
    }


HBM4: Part = hbm(1, 48, 1638, 3.05, "HBM4-6400: 48 GB, 1,638 GB/s (Ma & Patterson, table 3)")

_NAND = 0.2 * HBM_USD_PER_GB.value
HBF: Part = {
    "hbf.stacks": assumed(1, "one stack"),
    "hbf.gb": secondary(512, "Ma & Patterson, table 3; SanDisk Gen1"),
    "hbf.gbps": secondary(1638, "Ma & Patterson, table 3", 1000, 1638),
    "hbf.latency_us": secondary(
        20, "H3 (SK hynix, CAL 2026): 20 us; others 1-28 us", 3, 28
    ),
    "hbf.page_bytes": secondary(4096, "Ma & Patterson, table 3: minimum read"),
    "hbf.buffer_mb": computed(65.5, "2 x 1,638 GB/s x 20 us: what the bandwidth needs"),
    "hbf.write_gbps": secondary(48, "Kyung (CAL 2026): read bandwidth x tR / tPROG"),
    "hbf.pe_cycles": secondary(100_000, "SLC, Baek (arXiv 2609.25782) and Son (CAL 2026)"),
    "hbf.waf": secondary(1.02, "Baek (arXiv 2609.25782)"),
    "hbf.pj_per_bit": secondary(
        20, "Baek (nominal) and H3 (160 W/TB/s); Ma & Patterson's <80 W gives < 6.1", 6.1, 20
    ),
    "hbf.usd_per_gb": secondary(
        _NAND, "NAND at 1/5 of HBM per GB; HBM-like packaging could double it",
        _NAND / 2, 4 * _NAND,
    ),
    "hbf.kg_per_gb": secondary(0.0063, "ACT: V3 TLC NAND 6.3 g/GB; stacking not in it", 0.0056, 0.063),
}  # fmt: skip

_DDR_KG = seen(0.065, "ACT: DDR4 10 nm 65 g/GB")
_LP_KG = seen(0.048, "ACT: LPDDR4 48 g/GB")


def ddr(kind: str, devices: float) -> Part:
    """DDR5 modules, LPDDR5 packages, LPDDR5X packages or CXL-attached DDR5."""
    gb, gbps, pj, kg, usd = {
        "ddr5": (64, 51, 29.4, _DDR_KG, secondary(1.75, "1.5-2 before the surge of 2025/26", 1.5, 5)),
        "lpddr5": (16, 51, 7.35, _LP_KG, unknown("no price of LPDDR was found")),
        "lpddr5x": (16, 68, 6.2, _LP_KG, unknown("no price of LPDDR was found")),
        "cxl": (256, 64, 35.9, _DDR_KG, secondary(1.75, "DDR5 before the surge of 2025/26", 1.5, 5)),
    }[kind]  # fmt: skip
    text = f"{kind}: section 1.4 and 2.3 of the notes (Ma & Patterson, table 3; sampooni)"
    return {
        "ddr.devices": assumed(devices, "as many as named"),
        "ddr.gb": secondary(gb, text),
        "ddr.gbps": secondary(gbps, text),
        "ddr.pj_per_bit": computed(pj, f"{text}: W / (8 GB/s), and a PCIe link of 6.5 for CXL"),
        "ddr.eff": secondary(0.8, "memory 0.8 x peak (AIC yaml)"),
        "ddr.usd_per_gb": usd,
        "ddr.kg_per_gb": kg,
    }


#: Operations of logic in memory for each byte of its bus, four times of which it sees inside.
PIM_FLOP_PER_BYTE = computed(1200 / 256, "HBM-PIM: 1.2 TFLOPS a stack of 256 GB/s (HBM2)", 2, 19)
PIM: Part = {
    "pnm.gain": secondary(4, "HBM-PIM: 4x internal bandwidth"),
    "pnm.pj_scale": computed(1 / 7.5, "bandwidth per watt 5-10x (Ma & Patterson, table 4)", 0.1, 0.2),
    "pnm.shard_gb": secondary(0.048, "32-64 MB banks (Ma & Patterson, table 4)", 0.032, 0.064),
}  # fmt: skip
#: Operations of logic near memory for each byte of its bus: enough for eight grouped queries.
PNM_FLOP_PER_BYTE = assumed(16, "no figure is published; 8 queries a key at twice the bus", 8, 32)
PNM: Part = {
    "pnm.gain": assumed(2, "no figure is published; half of HBM-PIM's 4x", 1.5, 3),
    "pnm.pj_scale": computed(1 / 3.5, "bandwidth per watt 2-5x (Ma & Patterson, table 4)", 0.2, 0.5),
    "pnm.shard_gb": secondary(24, "16-32 GB (Ma & Patterson, table 4)", 16, 32),
}  # fmt: skip

SITE: Part = {
    "site.chips_per_rack": assumed(32, "four 8-GPU servers"),
    "site.pue": secondary(1.2, "aiinframap; Google's fleet 1.09, industry 1.56-1.58", 1.09, 1.58),
    "site.usd_per_kwh": secondary(0.08, "industrial US, 0.07-0.10", 0.07, 0.10),
    "site.g_per_kwh": seen(369, "ACT, US 2023; Brazil 98, EU 300, Taiwan 642", 98, 642),
    "site.life_years": secondary(4, "GB300 example over 4 years (doc 54102076408)", 3, 6),
    "site.building_usd_per_w": recalled(11, "The Datacenter as a Computer: 10-12 $/W", 10, 12),
    "site.building_years": recalled(17.5, "The Datacenter as a Computer: 15-20 years", 15, 20),
    "site.opex_share": computed(0.01, "staff $0.5K of $48.6K a year (doc 54102076408)", 0.005, 0.03),
    "site.load": secondary(0.85, "85 % load in the GB300 example", 0.5, 1.0),
    "tail.failures_per_year": recalled(
        0.17, "Llama 3 report: 419 unexpected stops of 16,384 H100 in 54 days", 0.05, 0.3
    ),
    "tail.repair_hours": assumed(24, "a day until a part is replaced", 4, 72),
    "tail.swap_minutes": assumed(10, "to load weights and join the group", 2, 30),
}  # fmt: skip
PHONE_SITE: Part = {
    **SITE,
    "site.pue": assumed(1.0, "no building"),
    "site.usd_per_kwh": assumed(0.17, "a household's electricity", 0.1, 0.4),
    "site.building_usd_per_w": assumed(0, "no building"),
    "tail.failures_per_year": assumed(0, "a phone that fails is another phone"),
    "site.load": assumed(0.02, "half an hour a day", 0.005, 0.1),
    "site.chips_per_rack": assumed(1, "one device"),
}
HOST_USD = computed(20_000, "all-in ~50K a chip less 30K for an H100 (GTCO)", 10_000, 30_000)
HOST_KG = secondary(500, "4,000 kg per 8-GPU server besides GPUs (berget)", 154, 500)


def host(all_in_kw: float | None, tdp_w: float, text: str) -> Part:
    """What stands around an accelerator, from its all-in provisioned power less a PUE of 1.2."""
    usd = {"host.usd": HOST_USD, "host.kg": HOST_KG}
    if isnan(tdp_w):
        return {**usd, "host.w": unknown("the accelerator's rated power is not published")}
    if all_in_kw is None:
        half = 0.5 * tdp_w
        text = "half the rated power; all-in over rated is 1.5-2.5 for those known"
        return {**usd, "host.w": assumed(half, text, 0.25 * tdp_w, 1.0 * tdp_w)}
    watts = all_in_kw * 1000 / 1.2 - tdp_w
    text = f"InferenceX, later model: {all_in_kw} kW all-in / PUE 1.2 - {tdp_w:.0f} W"
    return {**usd, "host.w": computed(watts, text, 0.5 * watts, 2 * watts)}


_HIGHER = secondary(5, "ConnectX and InfiniBand, 1-5 us one way with software", 2, 10)


def net(gbps: float, text: str) -> Part:
    """Scale-out network of one accelerator, one direction."""
    return {
        "net.gbps": seen(gbps, text),
        "net.latency_us": _HIGHER,
        "net.eff": computed(0.85, "DeepEP over CX7: about 43 of 50 GB/s each way", 0.7, 0.95),
        "net.pj_per_bit": secondary(70, "InfiniBand end to end (doc 56872842545)", 40, 100),
    }


#: How a low-latency network differs: hop, software, reduction in switches, packets straight to SRAM.
LOW_LATENCY: Part = {
    "link.latency_us": assumed(0.2, "packets land in on-chip SRAM; a switch takes 0.15 us"),
    "link.software_us": assumed(0.3, "the chip itself sends and waits; no kernel launch"),
    "link.peer_us": assumed(0.0, "switches copy"),
    "link.bulk_us": assumed(1.0, "no protocol of a library"),
    "link.exchange_us": assumed(1.0, "no protocol of a library"),
    "link.reduces": assumed(1, "switches add"),
}
#: 3D stacking, version 1: compute on the HBM base die. Same bandwidth, a shorter path, less cooling.
BASE_DIE_PJ_SCALE = secondary(1 / 2.5, "power 2-3x lower (Ma & Patterson)", 1 / 3, 1 / 2)
STACKED_COOLING = assumed(
    0.6, "less surface: share of rated power that can be carried off", 0.4, 0.8
)
