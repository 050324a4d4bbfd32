"""Meshes that are not one wafer: a Dojo training tile and a Tenstorrent Blackhole.

Both route packets by address, so no core runs out of configured routes: R does not bind.
"""

import math

from waferllm.chip.facts import assumed, computed, recalled, seen, unverified
from waferllm.chip.model import Chip
from waferllm.units import GHz, KiB

_DIES = "5x5 dies of 18x20 sites, 354 of 360 working (18x20 recalled from Hot Chips 34): 90x100"
_LARGEST = f"{_DIES} sites, 8,850 working; 90x98 = 8,820 is the largest full-width rectangle"

DOJO_TILE = Chip.of(
    "dojo_tile",
    "Tesla Dojo training tile (25 D1)",
    {
        "process": seen("TSMC N7", "summaries of AI Day 2021 and Hot Chips 34"),
        "grid_cols": recalled(90, _LARGEST),
        "grid_rows": recalled(98, _LARGEST),
        "nameplate_cores": computed(8850, "25 dies x 354 nodes; 354: Talpes et al., IEEE Micro"),
        "sram_per_core_bytes": seen(
            1280 * KiB, "Hot Chips 34 reports: 1.25 MB per node; x 354 = the 440 MB of IEEE Micro"
        ),
        "reserved_per_core_bytes": assumed(64 * KiB, "code and runtime: not published"),
        "sram_read_bytes_per_cycle": recalled(200, "Hot Chips 34: 400 GB/s load, at 2 GHz"),
        "sram_write_bytes_per_cycle": recalled(135, "Hot Chips 34: 270 GB/s store, at 2 GHz"),
        "clock_hz": seen(2 * GHz, "Chips and Cheese on Hot Chips 34, in translation"),
        "hop_cycles": recalled(1, "Hot Chips 34: one cycle per node inside a die"),
        "ramp_cycles": assumed(2, "not published; taken as on WSE-2"),
        "stage_cycles": assumed(
            11, "not published; two ramps and a 7-cycle SRAM load (recalled) as a lower bound"
        ),
        "link_bytes_per_cycle": computed(
            256, "AI Day: 512 GB/s per node and direction, at 2 GHz; x 20 rows = 10 TB/s per die"
        ),
        "ramp_bytes_per_cycle": recalled(64, "Hot Chips 34: one 64-byte packet each way"),
        "routes_per_core": recalled(math.inf, "packets carry their destination"),
        "reserved_routes_per_core": recalled(0, "packets carry their destination"),
        "macs_per_cycle.bfloat16": recalled(
            256, "8x8x4 matrix unit; x 2 x 354 x 2 GHz = the published 362 TFLOP/s per die"
        ),
        "macs_per_cycle.float32": computed(
            16, "AI Day 2021: 22.6 TFLOP/s per die / 354 / 2 GHz / 2"
        ),
        "elements_per_cycle.bfloat16": computed(32, "64-byte SIMD unit / 2 bytes"),
        "elements_per_cycle.float32": computed(16, "64-byte SIMD unit / 4 bytes"),
        "system_power_w": seen(15_000, "J. Hamilton on AI Day: 15 kW, dies alone 10 kW"),
        "area_mm2": computed(16_125, "25 dies x 645 mm2 (AI Day 2021)"),
    },
    notes=(
        "One even mesh is a simplification: between dies a row narrows from 512 GB/s to about 100"
        " GB/s each way (published: 10 TB/s tile bisection over 100 rows) and takes longer than a"
        " hop; neither is modelled.",
        "Which 6 of a die's 360 sites are off is not published; the mesh routes around them.",
        "A D1 is given as 362 TFLOP/s (IEEE Micro) and as 376 elsewhere.",
        "No IEEE float16: the published formats are bfloat16, CFP8 and float32.",
    ),
)

_ISA = "tenstorrent/tt-isa-documentation"
_SPEC = "docs.tenstorrent.com, Blackhole specifications"
_ENGINE = "tenstorrent/tt-metal, matrix_engine.md (both Wormhole and Blackhole)"
_HIFI4 = "2048 at one fidelity phase (8x16 by 16x16); full 16-bit precision needs four phases"

BLACKHOLE = Chip.of(
    "blackhole",
    "Tenstorrent Blackhole p150",
    {
        "process": seen("TSMC N6", "vendor pages (copies): 6 nm"),
        "grid_cols": seen(14, "tenstorrent/tt-metal, BlackholeBringUpProgrammingGuide: 14x10"),
        "grid_rows": seen(10, "tenstorrent/tt-metal, BlackholeBringUpProgrammingGuide: 14x10"),
        "nameplate_cores": seen(140, f"{_SPEC}: 140 Tensix cores on p150a and p150b"),
        "sram_per_core_bytes": seen(
            1536 * KiB, f"{_ISA}, L1.md: 1536 KiB; tt-metal's bring-up guide says 1464"
        ),
        "reserved_per_core_bytes": assumed(
            128 * KiB, "firmware, kernels and mailboxes; the documents do not give one figure"
        ),
        "sram_read_bytes_per_cycle": unverified(
            80, f"{_ISA}, Wormhole L1.md: both unpackers, five 128-bit reads per cycle"
        ),
        "sram_write_bytes_per_cycle": unverified(
            64, f"{_ISA}, Wormhole L1.md: four packers, one 128-bit write each per cycle"
        ),
        "clock_hz": seen(1.35 * GHz, f"{_SPEC}: AI clock up to 1.35 GHz"),
        "hop_cycles": seen(9, f"{_ISA}, BlackholeA0/NoC: router to router 9 cycles"),
        "ramp_cycles": seen(5, f"{_ISA}, BlackholeA0/NoC: NIU to router about 5 cycles"),
        "stage_cycles": computed(
            25, f"{_ISA}: ramps 2 x 5 + L1 load 8 + NoC command 7, a lower bound"
        ),
        "link_bytes_per_cycle": seen(64, f"{_ISA}, BlackholeA0/NoC: one 512-bit flit per cycle"),
        "ramp_bytes_per_cycle": seen(64, f"{_ISA}, BlackholeA0/NoC: one flit per cycle and NoC"),
        "routes_per_core": seen(math.inf, f"{_ISA}, BlackholeA0/NoC: packets carry coordinates"),
        "reserved_routes_per_core": seen(0, f"{_ISA}, BlackholeA0/NoC: nothing to reserve"),
        "macs_per_cycle.float16": computed(512, f"{_ENGINE}: {_HIFI4}"),
        "macs_per_cycle.bfloat16": computed(512, f"{_ENGINE}: {_HIFI4}"),
        "macs_per_cycle.float32": unverified(
            32, f"{_ISA}, Wormhole MatrixUnit.md: vector unit 0.064 TFLOP/s at 1 GHz"
        ),
        "elements_per_cycle.float16": seen(128, f"{_ENGINE}: 8x16 elementwise adds"),
        "elements_per_cycle.bfloat16": seen(128, f"{_ENGINE}: 8x16 elementwise adds"),
        "elements_per_cycle.float32": unverified(
            32, f"{_ISA}, Wormhole MatrixUnit.md: the vector unit's 32 lanes"
        ),
        "system_power_w": seen(300, f"{_SPEC}: total board power 300 W"),
        "area_mm2": unverified(600, "awesomeagents.ai: about 600 mm2 (secondary)"),
    },
    notes=(
        "As launched, with 140 cores; the 2026 firmware leaves 120 (profile harvested).",
        "The Tensix grid is one mesh here; a column of other tiles between columns 7 and 8 adds a"
        " hop that is not modelled.",
        "The network is two one-way tori in opposite directions; we count it as a two-way mesh.",
        "32 GB of GDDR6 beside the mesh are not modelled.",
        "774 TFLOP/s (advertised, 8-bit) is one fidelity phase; full 16-bit precision takes four.",
    ),
)

BLACKHOLE_PROFILES = {
    "harvested": {
        "grid_cols": computed(
            12, "120 cores, two columns off (docs.tenstorrent.com, QuietBox 2 guide)"
        ),
        "nameplate_cores": seen(120, "servernews.ru 2026-02-07: new p150 firmware, 140 to 120"),
    },
    "dispatch": {
        "grid_cols": seen(13, "tt-metal bring-up guide: 13x10 of 14x10 available for compute")
    },
}
