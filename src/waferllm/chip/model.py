"""`Chip`: what the rest of the package knows about a machine. A chip is a value, never a subclass.

A core, as the fields name it (one of `grid_cols` x `grid_rows`):

                  link: link_bytes_per_cycle each way, hop_cycles per core passed
                   |
        link -- [router] -- link          routes_per_core configured routes, some taken by the
                 / |                      runtime (reserved_routes_per_core)
            ramp  link                    ramp: ramp_bytes_per_cycle, ramp_cycles each way
             |
          [core]  clock_hz; macs_per_cycle; elements_per_cycle
             |    sram_read_bytes_per_cycle, sram_write_bytes_per_cycle
          [SRAM]  sram_per_core_bytes, of which reserved_per_core_bytes are code and runtime

In PLMR's words: alpha = `hop_cycles`, beta = `stage_cycles`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from waferllm.chip.facts import Fact, Quantity, Source, Tag, nearest, quantity
from waferllm.errors import InputError

__all__ = ["DTYPES", "FIELDS", "Chip", "Dtype", "Fact", "Rates", "Source", "Tag", "quantity_of"]

Dtype = Literal["float16", "bfloat16", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


@dataclass(frozen=True)
class Rates:
    """Something per cycle and core, by data type; None where the core does not have the type."""

    float16: float | None = None
    bfloat16: float | None = None
    float32: float | None = None

    def __getitem__(self, dtype: str) -> float:
        """The rate for a data type. Raises `InputError` for one that the chip does not have."""
        known = self.known
        if dtype not in known:
            raise InputError(f"{dtype!r} has no rate on this chip; it has {', '.join(known)}.")
        return known[dtype]

    @property
    def known(self) -> dict[str, float]:
        """The data types that the core has, each with its rate."""
        rates = {dtype: getattr(self, dtype) for dtype in DTYPES}
        return {dtype: rate for dtype, rate in rates.items() if rate is not None}


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A mesh of equal cores; every number has a `Source` under its field's name in `sources`.

    A rate's key is `macs_per_cycle.float16` and the like. Change numbers with `with_facts`, which
    moves the sources along; `dataclasses.replace` would leave the old source on the new number.
    Raises `InputError` for a value that cannot be or that nothing vouches for.
    """

    name: str
    title: str
    process: str

    grid_cols: int = field(
        metadata=quantity("cores", "width X of the usable rectangle", whole=True)
    )
    grid_rows: int = field(
        metadata=quantity("cores", "height Y of the usable rectangle", whole=True)
    )
    nameplate_cores: int = field(
        metadata=quantity("cores", "cores that the vendor advertises", whole=True)
    )

    sram_per_core_bytes: int = field(metadata=quantity("B", "local memory of one core", whole=True))
    reserved_per_core_bytes: int = field(
        metadata=quantity("B", "of that, runtime and code", whole=True, zero=True)
    )
    sram_read_bytes_per_cycle: float = field(
        metadata=quantity("B/cycle", "a core reads from its SRAM")
    )
    sram_write_bytes_per_cycle: float = field(
        metadata=quantity("B/cycle", "a core writes to its SRAM")
    )

    clock_hz: float = field(metadata=quantity("Hz", "clock of cores and fabric"))
    hop_cycles: float = field(metadata=quantity("cycles", "alpha: router to next router"))
    ramp_cycles: float = field(
        metadata=quantity("cycles", "core to its router, or back", zero=True)
    )
    stage_cycles: float = field(
        metadata=quantity("cycles", "beta: a core's software receives and re-sends")
    )
    link_bytes_per_cycle: float = field(metadata=quantity("B/cycle", "one link, one direction"))
    ramp_bytes_per_cycle: float = field(
        metadata=quantity("B/cycle", "core to router, one direction")
    )
    routes_per_core: float = field(
        metadata=quantity("routes", "routes one core's router can hold", whole=True, endless=True)
    )
    reserved_routes_per_core: int = field(
        metadata=quantity("routes", "of those, taken by the runtime", whole=True, zero=True)
    )

    macs_per_cycle: Rates = field(
        metadata=quantity("MAC/cycle", "multiply-adds of one core at best")
    )
    elements_per_cycle: Rates = field(
        metadata=quantity("el/cycle", "elementwise adds or moves of one core")
    )

    system_power_w: float = field(metadata=quantity("W", "power of the whole system"))
    area_mm2: float = field(metadata=quantity("mm2", "silicon area"))

    notes: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        for key, fact in _values(self).items():
            if key != "process":
                quantity_of(key).check(key, fact)
            if key not in self.sources:
                raise InputError(f"{key} = {fact} of chip {self.name} has no source.")
        if self.cores_total > self.nameplate_cores:
            raise InputError(
                f"{self.grid_cols} x {self.grid_rows} cores are more than nameplate_cores ="
                f" {self.nameplate_cores}."
            )
        if self.reserved_per_core_bytes >= self.sram_per_core_bytes:
            raise InputError(
                f"reserved_per_core_bytes = {self.reserved_per_core_bytes} leaves nothing of "
                f"sram_per_core_bytes = {self.sram_per_core_bytes}."
            )
        if self.reserved_routes_per_core >= self.routes_per_core:
            raise InputError(
                f"reserved_routes_per_core = {self.reserved_routes_per_core} leaves nothing of "
                f"routes_per_core = {self.routes_per_core}."
            )

    @classmethod
    def of(
        cls, name: str, title: str, facts: Mapping[str, Fact], notes: tuple[str, ...] = ()
    ) -> "Chip":
        """A chip from flat facts: keys are field names, and `macs_per_cycle.float16` for rates.

        Raises `InputError` naming an unknown key (with the nearest) or all missing keys.
        """
        values: dict[str, Any] = {}
        rates: dict[str, dict[str, Any]] = {key: {} for key in RATE_FIELDS}
        for key, fact in facts.items():
            table, _, dtype = key.partition(".")
            if key not in FIELDS:
                raise InputError(f"Unknown key {key}. {nearest(key, FIELDS)}")
            if dtype:
                rates[table][dtype] = fact.value
            else:
                values[key] = fact.value
        missing = [key for key in FIELDS if "." not in key and key not in facts]
        missing += [f"{key}.<dtype>" for key, given in rates.items() if not given]
        if missing:
            raise InputError(f"Chip {name} lacks {', '.join(missing)}.")
        values |= {key: Rates(**given) for key, given in rates.items()}
        sources = {key: fact.source for key, fact in facts.items()}
        return cls(name=name, title=title, notes=notes, sources=sources, **values)

    @property
    def facts(self) -> dict[str, Fact]:
        """Every sourced value under its flat key, in the order of the fields."""
        return {key: Fact(value, self.sources[key]) for key, value in _values(self).items()}

    def with_facts(self, facts: Mapping[str, Fact], *, name: str, title: str = "") -> "Chip":
        """This chip with some facts replaced, source and all, under a name of its own."""
        return Chip.of(name, title or self.title, {**self.facts, **facts}, self.notes)

    @property
    def cores_total(self) -> int:
        """Cores of the usable rectangle; `nameplate_cores` is what the vendor advertises."""
        return self.grid_cols * self.grid_rows

    @property
    def free_per_core_bytes(self) -> int:
        """SRAM that one core has left for weights, KV cache, activations and buffers."""
        return self.sram_per_core_bytes - self.reserved_per_core_bytes

    @property
    def free_routes_per_core(self) -> float:
        """Routes that a program may configure at one core; `math.inf` on a packet network."""
        return self.routes_per_core - self.reserved_routes_per_core

    @property
    def sram_total_bytes(self) -> int:
        """SRAM of the usable rectangle."""
        return self.cores_total * self.sram_per_core_bytes

    @property
    def sram_bandwidth_bytes_per_s(self) -> float:
        """Reads and writes of all usable cores together."""
        per_cycle = self.sram_read_bytes_per_cycle + self.sram_write_bytes_per_cycle
        return self.cores_total * per_cycle * self.clock_hz

    @property
    def fabric_bandwidth_bytes_per_s(self) -> float:
        """What all usable cores can send over their four links; edges count as if they had four."""
        return self.cores_total * 4 * self.link_bytes_per_cycle * self.clock_hz

    def peak_flops(self, dtype: str) -> float:
        """Dense operations per second of the usable rectangle, a multiply-add counting as two."""
        return 2 * self.cores_total * self.macs_per_cycle[dtype] * self.clock_hz

    def nameplate_flops(self, dtype: str) -> float:
        """The same over `nameplate_cores`: the figure to hold against an advertised one."""
        return 2 * self.nameplate_cores * self.macs_per_cycle[dtype] * self.clock_hz


_TEXT = ("process",)
_SPECS: dict[str, Quantity] = {
    spec.name: spec.metadata["quantity"] for spec in fields(Chip) if "quantity" in spec.metadata
}
RATE_FIELDS = ("macs_per_cycle", "elements_per_cycle")
#: Every key that may carry a fact, in the order in which people are shown them.
FIELDS: tuple[str, ...] = (
    *_TEXT,
    *(
        key
        for name in _SPECS
        for key in ([f"{name}.{d}" for d in DTYPES] if name in RATE_FIELDS else [name])
    ),
)


def quantity_of(key: str) -> Quantity:
    """What the field under a flat key holds; text fields have no unit."""
    return Quantity("", "manufacturing process") if key in _TEXT else _SPECS[key.partition(".")[0]]


def _values(chip: Chip) -> dict[str, float | str]:
    """Every value that needs a source, by flat key."""
    values: dict[str, float | str] = {}
    for key in FIELDS:
        table, _, dtype = key.partition(".")
        held = getattr(chip, table)
        if not dtype:
            values[key] = held
        elif dtype in held.known:
            values[key] = held[dtype]
    return values
