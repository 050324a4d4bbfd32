"""Accelerators as parts: peaks, memory, links, power, price and carbon, each with its source.

Peaks are dense; links per chip in one direction. What only a relative has measured is carried over
and tagged unverified. Prices are of accelerators alone, memory taken out at `parts.HBM_USD_PER_GB`, so
that a design with other stacks costs something else.
"""

from collections.abc import Callable, Mapping
from math import isnan

from waferllm.explore.collectives import TOPOLOGIES
from waferllm.explore.fitted import COLLECTIVES, PRODUCTS
from waferllm.explore.numbers import (
    Number,
    Part,
    assumed,
    computed,
    recalled,
    secondary,
    seen,
    unknown,
)
from waferllm.explore.parts import (
    HBM_USD_PER_GB,
    MEMORY,
    PHONE_SITE,
    SITE,
    ddr,
    hbm,
    host,
    net,
)

STATIC = assumed(0.3, "idle share of rated power: no figure is published", 0.15, 0.45)
_ACT = {"N7": 1.44, "4N": 1.54, "4NP": 1.54, "N5": 1.54, "N3": 1.75, "14 nm": 0.97}
ACT_YIELD = 0.875
#: ICs of an H100 in NVIDIA's footprint (25 % of 164 kg) over ACT's 8.14 cm2 x 1.54 / 0.875.
IC_SCALE = 0.25 * 164 / (8.14 * 1.54 / ACT_YIELD)
HOP_US = secondary(1.0, "NVLink 1-2 us, TPU ICI ~1 us a hop", 0.5, 2.0)


def _die(cm2: float | None, node: str, text: str) -> Part:
    other = computed(0.33 * 164, "H100 footprint: what is neither memory nor ICs, 33 % of 164 kg")
    if cm2 is None or node not in _ACT:
        gone = unknown("die area or process not published")
        return {"chip.die_cm2": gone, "chip.kg_per_cm2": gone, "chip.other_kg": other}
    scaled = _ACT[node] / ACT_YIELD * IC_SCALE
    says = f"ACT {_ACT[node]} kg/cm2 / 0.875, x {IC_SCALE:.1f} to meet the H100's footprint"
    return {
        "chip.die_cm2": secondary(cm2, text),
        "chip.kg_per_cm2": computed(scaled, says, scaled / IC_SCALE, scaled),
        "chip.other_kg": other,
    }


def _path(tdp_w: float, tbps: float, pj: float) -> Number:
    """Between 6.0 (system average) and 21 pJ/bit (measured, complete path), within the rated power."""
    if not tbps:
        return assumed(0, "no DRAM")
    most = 17.5 if isnan(tdp_w) else max(0.7 * tdp_w / (8 * tbps) - pj, 2.5)
    text = "geometric mean of 6.0 (HBM2E system) and 21 pJ/bit (GPU, DRAM to L2), less the device"
    value = max(min((6.0 * 21.0) ** 0.5 - pj, most), 2.5)
    return computed(value, text, 2.5, max(min(17.5, most), value))


def _efficiency(like: str, carried: str) -> Part:
    """Efficiencies of the device whose kernels were measured; `carried` says for whom they stand in."""
    text = f"fitted to {like} kernels (waferllm systems --calibration)"
    make: Callable[[float, str], Number] = computed
    if carried:
        text, make = f"carried over from {like}: {carried} has no measured kernels here", secondary
    wide = PRODUCTS[like, "bf16"]
    narrow = PRODUCTS.get((like, "fp8"), wide)
    least = PRODUCTS.get((like, "fp4"), narrow)
    return {
        "chip.gemm_eff_16": make(wide.gemm_eff, text),
        "chip.gemm_eff_8": make(narrow.gemm_eff, text),
        "chip.gemm_eff_4": make(least.gemm_eff, text),
        "hbm.eff_16": make(wide.memory_eff, text),
        "hbm.eff_8": make(narrow.memory_eff, text),
        "hbm.eff_4": make(least.memory_eff, text),
        "chip.kernel_us": make(wide.kernel_us, text),
        "chip.gemm_8_us": make(max(narrow.kernel_us - wide.kernel_us, 0.0), text),
        "chip.gemm_4_us": make(max(least.kernel_us - wide.kernel_us, 0.0), text),
        "chip.step_us": assumed(0, "hidden behind the device", 0, 500),
    }


def _links(like: str, carried: str) -> Part:
    text = f"fitted to {like} collectives (waferllm systems --calibration)"
    make: Callable[[float, str], Number] = computed
    if carried:
        text, make = f"carried over from {like}: {carried} has no measured collectives", secondary
    fit = COLLECTIVES[like]
    less = "less one hop"
    return {
        "link.latency_us": HOP_US,
        "link.software_us": make(max(fit.small_us - HOP_US.value, 0.0), f"{text}, {less}"),
        "link.peer_us": make(fit.peer_us, text),
        "link.bulk_us": make(max(fit.bulk_us - 2 * HOP_US.value, 0.0), f"{text}, less two hops"),
        "link.exchange_us": make(max(fit.exchange_us - HOP_US.value, 0.0), f"{text}, {less}"),
        "link.eff_small": make(fit.eff_small, text),
        "link.eff_bulk": make(fit.eff_bulk, text),
        "link.eff_exchange": make(fit.eff_exchange, text),
        "tail.timeout_us": assumed(1e6, "nobody gives up"),
    }


def chip(
    *,
    tflops: tuple[float, float, float],
    memory: tuple[int, float, float],
    pj: float,
    tdp_w: Number,
    usd: Number,
    die: tuple[float | None, str],
    link: tuple[int, float, str],
    net_gbps: float,
    like: str,
    is_like: bool = False,
    sram: tuple[float, float, bool] = (0, 0, False),
    all_in_kw: float | None = None,
    static: Number = STATIC,
    text: str,
    title: str,
) -> Part:
    """An accelerator: TFLOP/s in 16, 8 and 4 bits; stacks, GB and TB/s of all memory; link by domain.

    `like` names the measured device of its efficiencies, its own if `is_like`; memory in the price.
    """  # fmt: skip
    stacks, gb, tbps = memory
    size, gbps, topology = link
    carried = "" if is_like else title
    energy = {"link.pj_per_bit": secondary(5, "NVLink 2-5 estimated (doc 56872842545)", 2, 6.5)}
    bare, memory_usd = (
        usd.value - gb * HBM_USD_PER_GB.value,
        f"memory out at {HBM_USD_PER_GB.value}",
    )
    price = usd if not stacks else (
        computed(max(bare, 0.0), f"{usd.source.text}; {memory_usd} $/GB",
                 max(usd.ends[0] - usd.value + bare, 0.0), max(usd.ends[1] - usd.value + bare, 0.0))
        if not isnan(usd.value) else usd
    )  # fmt: skip
    return {
        **MEMORY,
        **SITE,
        "chip.count": assumed(1, "as many as named"),
        "chip.tflops_16": seen(tflops[0], text),
        "chip.tflops_8": seen(tflops[1], text),
        "chip.tflops_4": seen(tflops[2], text),
        "chip.tdp_w": tdp_w,
        "chip.thermal_w": tdp_w,
        "chip.static_share": static,
        "chip.path_pj_per_bit": _path(tdp_w.value, tbps, pj),
        "chip.usd": price,
        **_die(die[0], die[1], f"{die[1]}: {text}"),
        **(hbm(stacks, gb / stacks, tbps * 1e3 / stacks, pj, text) if stacks else {}),
        "sram.gb": seen(sram[0], text),
        "sram.tbps": seen(sram[1], text),
        "sram.holds": assumed(float(sram[2]), "whether weights are laid out in it"),
        "link.size": seen(size, text),
        "link.gbps": seen(gbps, text),
        "link.topology": seen(TOPOLOGIES.index(topology), f"{topology}: {text}"),
        "link.reduces": assumed(0, "the fitted collectives hold what switches add"),
        **_efficiency(like, carried),
        **_links(like, carried),
        **energy,
        **host(all_in_kw, tdp_w.value, text),
        **net(net_gbps, text),
    }


def _w(value: float, text: str) -> Number:
    return seen(value, text)


_AIC, _IXA, _SB = (
    "AIC system files, InferenceX",
    "InferenceX constants",
    "JAX scaling book, GCP pages",
)
_NO_PRICE = unknown("no purchase price was found")
_NO_POWER = unknown("rated power is not published")

CHIPS: Mapping[str, Part] = {
    "a100": chip(
        title="A100 SXM 80", text=_AIC, tflops=(312, 0, 0), memory=(5, 80, 2.039), pj=3.9,
        tdp_w=_w(400, _AIC), usd=secondary(11_500, "8-15K used (mercatus-ai, aimultiple)", 8e3, 15e3),
        die=(8.26, "N7"), link=(8, 300, "switch"), net_gbps=25,
        sram=(0.04, 0, False), like="A100", is_like=True,
    ),
    "h100": chip(
        title="H100 SXM", text=_AIC, tflops=(989, 1979, 0), memory=(5, 80, 3.35), pj=3.5,
        tdp_w=_w(700, _AIC), usd=secondary(30_000, "25-40K (aiinframap, cliffcenter)", 25e3, 40e3),
        die=(8.14, "4N"), link=(8, 450, "switch"), net_gbps=50,
        sram=(0.05, 0, False), like="H100", is_like=True,
        all_in_kw=1.37,
    ),
    "h200": chip(
        title="H200 SXM", text=_AIC, tflops=(989, 1979, 0), memory=(6, 141, 4.8), pj=3.5,
        tdp_w=_w(700, _AIC), usd=secondary(35_000, "~35K (aiinframap, cliffcenter)", 30e3, 42e3),
        die=(8.14, "4N"), link=(8, 450, "switch"), net_gbps=50,
        sram=(0.05, 0, False), like="H200", is_like=True,
        all_in_kw=1.37,
    ),
    "b200": chip(
        title="B200 SXM", text=_AIC, tflops=(2250, 4500, 9000), memory=(8, 180, 8.0), pj=3.5,
        tdp_w=_w(1000, _AIC), usd=secondary(40_000, "~40K; fp4.dev 60-70K, pkb 30-40K", 30e3, 70e3),
        die=(16.0, "4NP"), link=(8, 900, "switch"), net_gbps=50,
        sram=(0.1265, 0, False), like="B200", is_like=True,
        all_in_kw=1.71,
    ),
    "b300": chip(
        title="B300 SXM", text=_AIC, tflops=(2250, 4500, 13500), memory=(8, 268, 8.0), pj=3.5,
        tdp_w=_w(1100, _AIC), usd=_NO_PRICE, die=(16.0, "4NP"), link=(8, 900, "switch"),
        net_gbps=100, like="B200", all_in_kw=1.90,
    ),
    "gb200": chip(
        title="GB200 (per GPU)", text=_AIC, tflops=(2500, 5000, 10000), memory=(8, 186, 8.0), pj=3.5,
        tdp_w=_w(1200, _AIC), usd=secondary(3e6 / 72, "NVL72 at $2-4M / 72", 2e6 / 72, 4e6 / 72),
        die=(16.0, "4NP"), link=(72, 900, "switch"), net_gbps=100,
        sram=(0.126, 0, False), like="GB200", is_like=True,
        all_in_kw=2.10,
    ),
    "gb300": chip(
        title="GB300 (per GPU)", text=_AIC, tflops=(2500, 5000, 15000), memory=(8, 288, 8.0), pj=3.5,
        tdp_w=_w(1400, _AIC), usd=secondary(48_600, "doc 54102076408", 40e3, 60e3),
        die=(16.0, "4NP"), link=(72, 900, "switch"), net_gbps=100, like="GB200", all_in_kw=2.12,
    ),
    "mi300x": chip(
        title="MI300X", text=_IXA, tflops=(1307, 2615, 0), memory=(8, 192, 5.3), pj=3.5,
        tdp_w=_w(750, _IXA), usd=secondary(15_000, "~15K (cliffcenter)", 12e3, 20e3),
        die=(None, "N5+N6"), link=(8, 448, "full"), net_gbps=50, like="H100", all_in_kw=1.79,
    ),
    "mi325x": chip(
        title="MI325X", text=_IXA, tflops=(1307, 2615, 0), memory=(8, 256, 6.0), pj=3.5,
        tdp_w=recalled(1000, "rated power"), usd=_NO_PRICE, die=(None, "N5+N6"),
        link=(8, 448, "full"), net_gbps=50, like="H100", all_in_kw=2.18,
    ),
    "mi355x": chip(
        title="MI355X", text=_IXA, tflops=(2516, 5033, 10066), memory=(8, 288, 8.0), pj=3.5,
        tdp_w=_w(1400, _IXA), usd=_NO_PRICE, die=(None, "N3P+N6"), link=(8, 537, "full"),
        net_gbps=50,
        sram=(0.256, 0, False), like="B200", all_in_kw=2.09,
    ),
    "tpu-v4": chip(
        title="TPU v4p", text=_SB, tflops=(275, 0, 0), memory=(4, 32, 1.2), pj=3.9,
        tdp_w=recalled(192, "largest of measured power"), usd=_NO_PRICE, die=(None, "7 nm"),
        link=(4096, 270, "torus3"), net_gbps=12.5, like="A100",
    ),
    "tpu-v5e": chip(
        title="TPU v5e", text=_SB, tflops=(197, 394, 0), memory=(1, 16, 0.81), pj=3.5,
        tdp_w=_NO_POWER, usd=_NO_PRICE, die=(None, "not published"), link=(256, 180, "torus2"),
        net_gbps=12.5, like="A100",
    ),
    "tpu-v5p": chip(
        title="TPU v5p", text=_SB, tflops=(459, 918, 0), memory=(6, 95, 2.765), pj=3.5,
        tdp_w=_NO_POWER, usd=_NO_PRICE, die=(None, "not published"), link=(8960, 540, "torus3"),
        net_gbps=25, like="H100",
    ),
    "tpu-v6e": chip(
        title="TPU v6e", text=_SB, tflops=(918, 1836, 0), memory=(2, 32, 1.638), pj=3.5,
        tdp_w=_NO_POWER, usd=_NO_PRICE, die=(None, "not published"), link=(256, 360, "torus2"),
        net_gbps=25,
        sram=(0.134, 0, False), like="H100",
    ),
    "tpu-v7": chip(
        title="TPU7x Ironwood", text=_SB, tflops=(2307, 4614, 0), memory=(8, 206, 7.38), pj=3.5,
        tdp_w=recalled(1000, "a guess of the press"), usd=_NO_PRICE, die=(None, "not published"),
        link=(9216, 600, "torus3"), net_gbps=50, like="B200",
    ),
    "trainium2": chip(
        title="Trainium2", text="AWS Neuron documentation", tflops=(667, 1299, 0),
        memory=(4, 103, 2.9), pj=3.5, tdp_w=secondary(500, "secondary pages"), usd=_NO_PRICE,
        die=(None, "not published"), link=(64, 640, "torus2"), net_gbps=25, like="H100",
    ),
    "trainium3": chip(
        title="Trainium3", text="AWS Neuron documentation", tflops=(671, 2517, 0),
        memory=(4, 154.6, 4.9), pj=3.5, tdp_w=_NO_POWER, usd=_NO_PRICE,
        die=(None, "not published"), link=(144, 1280, "full"), net_gbps=50, like="B200",
    ),
    "groq": chip(
        title="Groq LPU v1", text="Linley, NextPlatform, Groq ISCA'22", tflops=(188, 750, 0),
        memory=(0, 0, 0), pj=0, sram=(0.23, 80, True), tdp_w=secondary(300, "card"),
        usd=secondary(20_000, "Mouser, one card", 10e3, 20e3), die=(7.25, "14 nm"),
        link=(10440, 250, "dragonfly"), net_gbps=12.5, like="H100",
    ),
    "sn40l": {**chip(
        title="SambaNova SN40L", text="SambaNova paper", tflops=(638, 0, 0), memory=(4, 64, 1.6),
        pj=3.5, tdp_w=computed(625, "10 kW a rack / 16"), usd=_NO_PRICE, die=(None, "5 nm"),
        link=(16, 50, "full"), net_gbps=12.5, like="H100",
    ), **ddr("ddr5", 24),
        "ddr.gbps": computed(4.2, "1.6 TB/s / 16 sockets / 24 modules")},
    "p150": chip(
        title="Blackhole p150", text="vendor page copies; 16-bit half of 8-bit", tflops=(387, 774, 0),
        memory=(8, 32, 0.51), pj=7.5, tdp_w=secondary(300, "vendor"),
        usd=secondary(1400, "vendor's list price"), die=(None, "6 nm"), link=(32, 400, "torus2"),
        net_gbps=12.5, like="A100",
    ),
    "m4-max": {**chip(
        title="Apple M4 Max", text="secondary spec pages", tflops=(17.2, 0, 0),
        memory=(0, 0, 0.546), pj=6.2, tdp_w=secondary(95, "90-100 W", 90, 100), usd=_NO_PRICE,
        die=(None, "N3E"), link=(1, 1, "full"), net_gbps=1.25, like="A100",
    ), **ddr("lpddr5x", 8), **PHONE_SITE},
    "snapdragon-8-elite": {**chip(
        title="Snapdragon 8 Elite", text="runlocalai; 16-bit half of its 45 TOPS",
        tflops=(22, 45, 0), memory=(0, 0, 0.087), pj=6.2, tdp_w=recalled(7.5, "5-10 W sustained", 5, 10),
        usd=_NO_PRICE, die=(None, "N3E"),
        link=(1, 1, "full"), net_gbps=0.1, like="A100",
    ), **ddr("lpddr5x", 1), "ddr.gbps": secondary(87, "85-90 GB/s (runlocalai)", 85, 90),
        **PHONE_SITE},
}  # fmt: skip
