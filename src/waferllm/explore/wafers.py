"""Wafer systems as parts: price, carbon, site and links, which `waferllm.chip` does not hold."""

from collections.abc import Mapping

from waferllm.chip import WSE2, WSE3, Chip
from waferllm.explore.chips import ACT_YIELD, IC_SCALE
from waferllm.explore.numbers import Number, Part, assumed, computed, secondary, seen
from waferllm.explore.parts import SITE, USABLE

_CM2_PER_MM2 = 0.01
_OTHER_KG = secondary(
    4000, "one 8-GPU server without GPUs (berget), for want of a footprint", 1000, 8000
)


def _wafer(chip: Chip, usd: Number, act_kg_per_cm2: float) -> Part:
    """One system with one wafer; its rated power already holds pumps, host links and supplies."""
    power = secondary(chip.system_power_w, chip.sources["system_power_w"].text, 15_000, 23_000)
    kg = act_kg_per_cm2 / ACT_YIELD
    says = f"ACT {act_kg_per_cm2} kg/cm2 / 0.875; up to x {IC_SCALE:.1f}, which an H100's footprint needs"
    return {
        **SITE,
        "chip.count": assumed(1, "as many as named"),
        "chip.tdp_w": power,
        "chip.thermal_w": power,
        "chip.static_share": assumed(0.5, "plmr.energy: no figure is published", 0.3, 1.0),
        "chip.usd": usd,
        "chip.die_cm2": secondary(
            chip.area_mm2 * _CM2_PER_MM2, chip.sources["area_mm2"].text
        ),
        "chip.kg_per_cm2": computed(kg, says, kg, kg * IC_SCALE),
        "chip.other_kg": _OTHER_KG,
        "hbm.usable": USABLE,
        "sram.gb": computed(chip.sram_total_bytes / 1e9, "cores x SRAM of a core (waferllm.chip)"),
        "sram.tbps": computed(
            chip.sram_bandwidth_bytes_per_s / 1e12, "cores x bytes a cycle x clock"
        ),
        "sram.holds": seen(1, "all weights and KV lie in the cores' SRAM"),
        "link.size": assumed(1, "one wafer; between systems there is the network"),
        "net.gbps": secondary(150, "off-wafer 150 GB/s (cerebras.ai); 125-150 for WSE-3", 125, 150),
        "net.latency_us": assumed(5, "as a GPU's network: no figure is published", 2, 10),
        "net.eff": assumed(1.0, "the figure of the page"),
        "tail.failures_per_year": assumed(0, "no figure is published: wafers are taken as never down"),
        "site.chips_per_rack": assumed(2, "15U each, two systems in a rack"),
    }  # fmt: skip


WAFERS: Mapping[str, Part] = {
    "wse2": _wafer(
        WSE2, secondary(2.25e6, "CS-1 at $2-2.5M; WaferLLM: 37 times an A100", 0.43e6, 2.5e6), 1.44
    ),
    "wse3": _wafer(WSE3, secondary(2.5e6, "$2-3M (awesomeagents.ai)", 2e6, 3e6), 1.54),
}
