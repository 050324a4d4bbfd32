"""Numbers with sources and ranges, and every number that a system may have, by its flat key."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, nan

from waferllm.chip.facts import CATALOGUE_READ, Quantity, Source, Tag, nearest
from waferllm.errors import InputError

_USER = Source("set by the user", Tag.USER)
MISSING_TEXT = "not published"


@dataclass(frozen=True)
class Number:
    """A value, its source, and the range in which it may lie; NaN where nobody has published it."""

    value: float
    source: Source
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and not self.low <= self.value:
            raise InputError(f"{self.value} lies below its own range from {self.low}.")
        if self.high is not None and not self.value <= self.high:
            raise InputError(f"{self.value} lies above its own range to {self.high}.")

    @property
    def is_missing(self) -> bool:
        return isnan(self.value)

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value; twice the value where no range is known."""
        low = self.value if self.low is None else self.low
        return low, self.value if self.high is None else self.high


Part = Mapping[str, Number]


def _made(
    tag: Tag, value: float, text: str, low: float | None = None, high: float | None = None
) -> Number:
    return Number(value, Source(text, tag, CATALOGUE_READ), low, high)


def seen(value: float, text: str, low: float | None = None, high: float | None = None) -> Number:
    """A number read in the named source."""
    return _made(Tag.SEEN, value, text, low, high)


def secondary(
    value: float, text: str, low: float | None = None, high: float | None = None
) -> Number:
    """A number from a secondary source (SEEN-2 in the notes)."""
    return _made(Tag.UNVERIFIED, value, text, low, high)


def recalled(
    value: float, text: str, low: float | None = None, high: float | None = None
) -> Number:
    """A number from memory, flagged wherever it is shown."""
    return _made(Tag.RECALLED, value, text, low, high)


def computed(
    value: float, text: str, low: float | None = None, high: float | None = None
) -> Number:
    """A number that follows from published ones; `text` gives the arithmetic."""
    return _made(Tag.COMPUTED, value, text, low, high)


def assumed(value: float, text: str, low: float | None = None, high: float | None = None) -> Number:
    """Our choice where nothing is published, with its reason."""
    return _made(Tag.ASSUMED, value, text, low, high)


def unknown(text: str = MISSING_TEXT) -> Number:
    """A number that nobody has published: every metric that needs it is left out."""
    return _made(Tag.UNVERIFIED, nan, text)


def yours(value: float) -> Number:
    """A number that the user has set."""
    return Number(float(value), _USER)


def _q(unit: str, says: str, **rules: bool) -> Quantity:
    return Quantity(unit, says, zero=rules.pop("zero", True), **rules)


#: Every number of a system: key, unit, meaning. Zero turns a part off unless zero is impossible.
FIELDS: dict[str, Quantity] = {
    "chip.count": _q("chips", "accelerators in the system", whole=True, zero=False),
    "chip.spares": _q("chips", "idle stand-by accelerators, paid for and powered at idle"),
    "chip.tflops_16": _q("TFLOP/s", "dense peak, 16-bit", zero=False),
    "chip.tflops_8": _q("TFLOP/s", "dense peak, 8-bit; 0 computes in 16 bits"),
    "chip.tflops_4": _q("TFLOP/s", "dense peak, 4-bit; 0 computes in 8 bits"),
    "chip.gemm_eff_16": _q("", "reachable share of the 16-bit peak", zero=False),
    "chip.gemm_eff_8": _q("", "reachable share of the 8-bit peak", zero=False),
    "chip.gemm_eff_4": _q("", "reachable share of the 4-bit peak", zero=False),
    "chip.kernel_us": _q("us", "fixed time of any kernel"),
    "chip.gemm_8_us": _q("us", "further fixed time of an 8-bit product (quantises its input)"),
    "chip.gemm_4_us": _q("us", "further fixed time of a 4-bit product"),
    "chip.step_us": _q("us", "host's time for each step that the device waits for"),
    "chip.tdp_w": _q("W", "rated power of one accelerator with its memory", zero=False),
    "chip.thermal_w": _q("W", "power that its cooling can carry off", zero=False),
    "chip.static_share": _q("", "share of rated power taken at idle"),
    "chip.path_pj_per_bit": _q("pJ/bit", "from the memory's interface to the cores"),
    "chip.usd": _q("USD", "price of one accelerator without its memory"),
    "chip.die_cm2": _q("cm2", "logic silicon"),
    "chip.kg_per_cm2": _q("kgCO2e/cm2", "embodied carbon of good logic silicon"),
    "chip.other_kg": _q("kgCO2e", "board, cooling and packaging"),
    "sram.gb": _q("GB", "on-chip memory"),
    "sram.tbps": _q("TB/s", "its bandwidth"),
    "sram.pj_per_bit": _q("pJ/bit", "its energy"),
    "sram.holds": _q("", "1 if weights and KV may live in it, 0 if it is a cache"),
    "hbm.stacks": _q("stacks", "DRAM stacks of one accelerator"),
    "hbm.gb": _q("GB", "capacity of one stack"),
    "hbm.gbps": _q("GB/s", "bandwidth of one stack"),
    "hbm.pj_per_bit": _q("pJ/bit", "energy in the device"),
    "hbm.eff_16": _q("", "reachable share of bandwidth for 16-bit weights", zero=False),
    "hbm.eff_8": _q("", "the same for 8-bit weights", zero=False),
    "hbm.eff_4": _q("", "the same for 4-bit weights", zero=False),
    "hbm.eff_kv": _q("", "the same for the KV cache", zero=False),
    "hbm.usable": _q("", "share of capacity that an engine uses", zero=False),
    "hbm.usd_per_gb": _q("USD/GB", "price"),
    "hbm.kg_per_gb": _q("kgCO2e/GB", "embodied carbon"),
    "ddr.devices": _q("devices", "DDR, LPDDR, GDDR or CXL devices of one accelerator"),
    "ddr.gb": _q("GB", "capacity of one device"),
    "ddr.gbps": _q("GB/s", "bandwidth of one device"),
    "ddr.pj_per_bit": _q("pJ/bit", "energy in device and link"),
    "ddr.eff": _q("", "reachable share of bandwidth", zero=False),
    "ddr.usd_per_gb": _q("USD/GB", "price"),
    "ddr.kg_per_gb": _q("kgCO2e/GB", "embodied carbon"),
    "hbf.stacks": _q("stacks", "high-bandwidth flash stacks of one accelerator"),
    "hbf.gb": _q("GB", "capacity of one stack"),
    "hbf.gbps": _q("GB/s", "read bandwidth of one stack"),
    "hbf.latency_us": _q("us", "from command to page"),
    "hbf.page_bytes": _q("B", "smallest read", zero=False),
    "hbf.buffer_mb": _q("MB", "read-ahead buffer of one stack"),
    "hbf.write_gbps": _q("GB/s", "write bandwidth of one stack"),
    "hbf.pe_cycles": _q("cycles", "program/erase endurance", zero=False),
    "hbf.waf": _q("", "write amplification", zero=False),
    "hbf.pj_per_bit": _q("pJ/bit", "energy of a read"),
    "hbf.usd_per_gb": _q("USD/GB", "price"),
    "hbf.kg_per_gb": _q("kgCO2e/GB", "embodied carbon"),
    "pnm.gain": _q("", "bandwidth near or in memory over the bus; 0 for none"),
    "pnm.pj_scale": _q("", "energy per bit near memory over the normal path"),
    "pnm.tflops": _q("TFLOP/s", "compute of one accelerator's memory"),
    "pnm.shard_gb": _q("GB", "memory that one near-memory unit can reach", zero=False),
    "link.size": _q("chips", "accelerators of one scale-up domain", whole=True, zero=False),
    "link.gbps": _q("GB/s", "scale-up, one accelerator, one direction", zero=False),
    "link.latency_us": _q("us", "one hop, through one switch where there is one"),
    "link.topology": _q("", "index in TOPOLOGIES", whole=True),
    "link.reduces": _q("", "1 if switches add, 0 if not"),
    "link.software_us": _q("us", "fixed time of a small collective beside its hops"),
    "link.peer_us": _q("us", "further time of a small collective for each other chip"),
    "link.bulk_us": _q("us", "fixed time of a bandwidth-bound collective"),
    "link.exchange_us": _q("us", "fixed time of an all-to-all"),
    "link.eff_small": _q("", "reachable share of bandwidth, all chips to all at once", zero=False),
    "link.eff_bulk": _q("", "reachable share of bandwidth, large all-reduce", zero=False),
    "link.eff_exchange": _q("", "reachable share of bandwidth, all-to-all", zero=False),
    "link.pj_per_bit": _q("pJ/bit", "energy"),
    "net.gbps": _q("GB/s", "scale-out, one accelerator, one direction", zero=False),
    "net.latency_us": _q("us", "one message between domains, software included"),
    "net.eff": _q("", "reachable share of bandwidth", zero=False),
    "net.pj_per_bit": _q("pJ/bit", "energy"),
    "tail.probability": _q("", "chance that one chip is late in one collective"),
    "tail.delay_us": _q("us", "how late"),
    "tail.timeout_us": _q("us", "after which the others go on without it"),
    "tail.failures_per_year": _q("", "failures of one accelerator that stop its replica"),
    "tail.repair_hours": _q("h", "a replica stands still without a spare"),
    "tail.swap_minutes": _q("min", "a spare takes to replace an accelerator"),
    "host.w": _q("W", "host, NIC, fans and switches for each accelerator"),
    "host.usd": _q("USD", "host, network and storage for each accelerator"),
    "host.kg": _q("kgCO2e", "embodied carbon of host and network for each accelerator"),
    "site.chips_per_rack": _q("chips", "accelerators in one rack", zero=False),
    "site.pue": _q("", "power of the site over power of its machines", zero=False),
    "site.usd_per_kwh": _q("USD/kWh", "electricity"),
    "site.g_per_kwh": _q("gCO2e/kWh", "electricity's carbon"),
    "site.life_years": _q("years", "before the machine is replaced", zero=False),
    "site.building_usd_per_w": _q("USD/W", "building, for each watt of machines at rated power"),
    "site.building_years": _q("years", "life of the building", zero=False),
    "site.opex_share": _q("", "staff and repairs a year, of capital"),
    "site.load": _q("", "share of the time in which there is work", zero=False),
}  # fmt: skip

SHARES = tuple(
    key for key in FIELDS
    if "eff" in key or key.endswith(("static_share", "sram.holds", "reduces", "load", "usable",
                                     "tail.probability"))
)  # fmt: skip


#: Yes or no.
SWITCHES = ("sram.holds", "link.reduces")


def check(key: str, value: object) -> float:
    """The value as a float. Raises InputError for an unknown key or a value that cannot be."""
    if key not in FIELDS:
        raise InputError(f"Unknown part {key}. {nearest(key, FIELDS)}")
    spec = FIELDS[key]
    number = int(value) if spec.whole and isinstance(value, float) and value.is_integer() else value
    spec.check(key, number)
    if key in SWITCHES and float(number) not in (0, 1):  # pyright: ignore[reportArgumentType]
        raise InputError(f"{key} = {value} cannot be; expected 0 (no) or 1 (yes).")
    if key in SHARES and float(number) > 1:  # pyright: ignore[reportArgumentType]
        raise InputError(f"{key} = {value} cannot be; expected a share between 0 and 1.")
    return float(number)  # pyright: ignore[reportArgumentType]
