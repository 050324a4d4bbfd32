"""The Cerebras wafers. Where sources differ, the chip has one value and a profile the other."""

from waferllm.chip.facts import assumed, computed, seen, unverified
from waferllm.chip.model import Chip
from waferllm.units import GHz, KiB, MHz

_APPENDIX = "CSL Appendix, SIMD table"
_NO_BF16 = "assumed equal to float16: CSL has a 16-bit brain float, its SIMD table does not list it"
_RESERVED = (
    "3.6 KB of system per PE as measured on CS-3 plus about 2.4 KB for code; code is"
    " the program's, and one measured decode PE holds 22.6 KB of it (profile measured_code)"
)
_COMMON = {
    "sram_per_core_bytes": seen(48 * KiB, "white paper and CSL Appendix: 48 KB, 8 banks of 6 KB"),
    "reserved_per_core_bytes": assumed(6000, _RESERVED),
    "sram_read_bytes_per_cycle": seen(
        16, "HPDC'24 notes: one 128-bit read; the CSL Appendix says two 32-bit reads"
    ),
    "clock_hz": seen(
        1.1 * GHz,
        "WaferLLM launch scripts (freq_ghz = 1.1), the clock of its published times; lower clocks"
        " are seen elsewhere (see the profiles)",
    ),
    "hop_cycles": seen(1, "CSL documentation, simulator and HPDC'24 model: 1 per hop"),
    "link_bytes_per_cycle": seen(4, "white paper: one 32-bit wavelet per cycle and direction"),
    "ramp_bytes_per_cycle": seen(4, "white paper: the ramp is a port like the others"),
    "routes_per_core": seen(24, "CSL documentation: 24 routable colors, 0-23"),
    "reserved_routes_per_core": seen(3, "CSL documentation: memcpy takes colors 21, 22 and 23"),
    "macs_per_cycle.float32": seen(
        1, "fmacs is not in the SIMD table; 1/cycle in the CS-3 GMG roofline report"
    ),
}

WSE2 = Chip.of(
    "wse2",
    "Cerebras WSE-2 (CS-2)",
    {
        **_COMMON,
        "process": seen("TSMC N7", "cerebras.ai product pages"),
        "grid_cols": seen(
            750, "program rectangle 750x994 of 757x996; TLR-MVM's 35,784,000 PEs / 48 agree"
        ),
        "grid_rows": seen(
            994, "program rectangle 750x994 of 757x996; TLR-MVM's 35,784,000 PEs / 48 agree"
        ),
        "nameplate_cores": seen(850_000, "cerebras.ai product pages: 850k cores"),
        "sram_write_bytes_per_cycle": seen(
            8, "HPDC'24 notes: one 64-bit write; the CSL Appendix says one 32-bit write"
        ),
        "ramp_cycles": seen(2, "HPDC'24 on a CS-2: T_R = 2; older literature says 7"),
        "stage_cycles": computed(
            5,
            "2 T_R + 1 = 2 x 2 + 1, the cost per unit of depth in the HPDC'24 model (under 4 %"
            " error on a CS-2) for streamed reductions; a task per word costs about 30",
        ),
        "macs_per_cycle.float16": seen(4, f"{_APPENDIX}: fmach 4"),
        "macs_per_cycle.bfloat16": unverified(4, _NO_BF16),
        "elements_per_cycle.float16": seen(4, f"{_APPENDIX}: faddh, fmovh 4"),
        "elements_per_cycle.bfloat16": unverified(4, _NO_BF16),
        "elements_per_cycle.float32": seen(2, f"{_APPENDIX}: fadds, fmovs 2; fmuls only 1"),
        "system_power_w": computed(
            15_000, "WaferLLM's 37.5 A100s x 400 W; secondary pages say 15-23 kW"
        ),
        "area_mm2": seen(46_225, "cerebras.ai product pages"),
    },
    notes=("The usable rectangle is what memcpy programs may use; 850,000 is the nameplate.",),
)

WSE3 = Chip.of(
    "wse3",
    "Cerebras WSE-3 (CS-3)",
    {
        **_COMMON,
        "process": seen("TSMC N5", "cerebras.ai product pages"),
        "grid_cols": seen(755, "memcpy programs up to 755x1170 of a 762x1172 fabric"),
        "grid_rows": seen(1170, "memcpy programs up to 755x1170 of a 762x1172 fabric"),
        "nameplate_cores": seen(
            900_000, "cerebras.ai product pages: 900k cores; the fabric has 893,064"
        ),
        "sram_read_bytes_per_cycle": seen(
            16, "CS-3 GMG roofline report; an 8-wide FMA would need 32: open"
        ),
        "sram_write_bytes_per_cycle": seen(16, "CS-3 GMG roofline report"),
        "ramp_cycles": unverified(2, "carried over from WSE-2 (HPDC'24); not measured on CS-3"),
        "stage_cycles": seen(
            13,
            "synchronous @mov32 out of a task, 13.0 per word on CS-3 and in the simulator;"
            " a data task that receives, checks and forwards costs 29 to 75",
        ),
        "macs_per_cycle.float16": seen(8, f"{_APPENDIX}: fmach 8"),
        "macs_per_cycle.bfloat16": unverified(8, _NO_BF16),
        "elements_per_cycle.float16": seen(8, f"{_APPENDIX}: faddh, fmovh 8"),
        "elements_per_cycle.bfloat16": unverified(8, _NO_BF16),
        "elements_per_cycle.float32": seen(4, f"{_APPENDIX}: fadds, fmovs 4; fmuls only 1"),
        "system_power_w": unverified(23_000, "secondary pages: about 23 kW"),
        "area_mm2": unverified(46_225, "as WSE-2; not confirmed for WSE-3"),
    },
    notes=(
        "Hop latency is in dispute: 1 in the documentation and the simulator, 2 on one real CS-3"
        " (profile silicon).",
        "The advertised 125 PFLOP/s is a sparse figure; ours is dense.",
    ),
)

_MEASURED_CODE = {
    "reserved_per_core_bytes": seen(
        26_200, "Qwen3-1.7B decode PE on CS-3: 22.6 KB code + 3.6 KB system"
    )
}

WSE2_PROFILES = {
    "clock850": {
        "clock_hz": seen(850 * MHz, "Cerebras/sdk-examples: 'a PE runs with clock speed 850MHz'")
    },
    "measured_code": _MEASURED_CODE,
}
WSE3_PROFILES = {
    "silicon": {
        "hop_cycles": seen(
            2, "CS-3, round trip on one PE's counter: exactly 2.0 (WaferEngine notes)"
        ),
        "link_bytes_per_cycle": computed(
            4 * 8 / 9, "CS-3 stream: 0.889 wavelet/cycle, i.e. 9/8 cycle per word"
        ),
    },
    "clock875": {"clock_hz": seen(875 * MHz, "CStencil run.py and the GMG roofline report")},
    "clock750": {"clock_hz": seen(750 * MHz, "fabric.json of the EPCC appliance")},
    "measured_code": _MEASURED_CODE,
}
