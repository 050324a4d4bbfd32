"""Systems: an accelerator, a count, memories, links, host and site, all as flat sourced numbers.

`system("h200x8")`, `system("gb200-nvl72")`, `system("hbf-node")`; `load_system("mine.toml")` reads

    base = "h200x8"
    name = "mine"
    [hbf]
    stacks = 4

A system is a value: `with_numbers({"hbm.stacks": 4})` gives another one.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from waferllm.chip import chip as named_chip
from waferllm.chip.facts import Tag, nearest
from waferllm.errors import InputError
from waferllm.explore.chips import CHIPS
from waferllm.explore.collectives import TOPOLOGIES
from waferllm.explore.numbers import (
    FIELDS,
    Number,
    Part,
    assumed,
    check,
    recalled,
    yours,
)
from waferllm.explore.parts import (
    ABSENT,
    BASE_DIE_PJ_SCALE,
    HBF,
    HBM4,
    LOW_LATENCY,
    PIM,
    PIM_FLOP_PER_BYTE,
    PNM,
    PNM_FLOP_PER_BYTE,
    STACKED_COOLING,
)
from waferllm.explore.wafers import WAFERS


@dataclass(frozen=True)
class System:
    """A machine as numbers by flat key; equal keys in all systems, absent parts at zero.

    `wafer` names the chip of `waferllm.chip` where the machine is made of wafers.
    """

    name: str
    title: str
    numbers: Part
    wafer: str = ""

    def __getitem__(self, key: str) -> float:
        """The value under a flat key. Raises InputError with the nearest key for an unknown one."""
        return self.number(key).value

    def number(self, key: str) -> Number:
        """The sourced number under a flat key."""
        if key not in self.numbers:
            raise InputError(f"Unknown part {key}. {nearest(key, FIELDS)}")
        return self.numbers[key]

    def with_numbers(self, changes: Mapping[str, float | str | Number]) -> "System":
        """This system with some numbers changed; plain values are the user's own.

        A part that is switched on by its count (`hbf.stacks` and the like) brings its catalogue
        numbers. Raises InputError for an unknown key or an impossible value.
        """
        numbers = dict(self.numbers)
        for key, value in changes.items():
            made = value if isinstance(value, Number) else yours(check(key, _parsed(key, value)))
            _bring(numbers, key, made.value)
            numbers[key] = made
        return System(self.name, self.title, _checked(numbers), self.wafer)

    def named(self, name: str, title: str = "") -> "System":
        """The same system under another name."""
        return System(name, title or self.title, self.numbers, self.wafer)

    def values(self) -> dict[str, float]:
        """Plain values by flat key, as the evaluation takes them."""
        return {key: float(number.value) for key, number in self.numbers.items()}

    @property
    def chips(self) -> int:
        """Accelerators of the system."""
        return int(self["chip.count"])

    @property
    def recalled(self) -> tuple[str, ...]:
        """Keys whose numbers are from memory and still to be checked."""
        return tuple(k for k, n in self.numbers.items() if n.source.tag is Tag.RECALLED)

    @property
    def missing(self) -> dict[str, str]:
        """Keys that nobody has published, with what is known of them."""
        return {k: n.source.text for k, n in self.numbers.items() if n.is_missing}

    @property
    def ranged(self) -> tuple[str, ...]:
        """Keys whose value is uncertain."""
        return tuple(k for k, n in self.numbers.items() if n.ends[0] < n.ends[1])


_SWITCHES: Mapping[str, Part] = {
    "hbf.stacks": HBF, "hbm.stacks": HBM4, "pnm.gain": PNM,
}  # fmt: skip


def _bring(numbers: dict[str, Number], key: str, value: float) -> None:
    """Switching on an absent part brings its catalogue numbers along."""
    if key in _SWITCHES and value > 0 and numbers[key].value == 0:
        part = (
            {**PNM, **_compute(numbers, PNM_FLOP_PER_BYTE)} if key == "pnm.gain" else _SWITCHES[key]
        )
        for name, number in part.items():
            if numbers[name].source.text == "absent":
                numbers[name] = number


def _compute(numbers: Part, each: Number) -> Part:
    """Operations of the logic at all of an accelerator's DRAM: so many for each byte of its bus."""
    gbps = (
        numbers["hbm.stacks"].value * numbers["hbm.gbps"].value
        + numbers["ddr.devices"].value * numbers["ddr.gbps"].value
    )
    low, high = (gbps / 1e3 * end for end in each.ends)
    source = replace(
        each.source, text=f"{each.value:.3g} x {gbps:,.0f} GB/s ({each.source.text})"
    )  # fmt: skip
    return {"pnm.tflops": Number(each.value * gbps / 1e3, source, low, high)}


def _parsed(key: str, value: float | str) -> object:
    if key == "link.topology" and isinstance(value, str) and not _is_number(value):
        if value not in TOPOLOGIES:
            raise InputError(f"Unknown topology {value!r}. {nearest(value, TOPOLOGIES)}")
        return TOPOLOGIES.index(value)
    if isinstance(value, str):
        if not _is_number(value):
            raise InputError(f"{key} = {value!r} is not a number.")
        return float(value)
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked(numbers: dict[str, Number]) -> Part:
    """Impossible parts are refused: a machine without memory, or flash that nothing can write."""
    value = {key: number.value for key, number in numbers.items()}
    if not value["hbm.stacks"] and not value["ddr.devices"] and not value["sram.holds"]:
        raise InputError(
            "A system needs memory for its live KV cache: hbm.stacks and ddr.devices are both 0 "
            "and no SRAM holds data. Flash cannot take it (writes wear it out)."
        )
    _check_flash_and_logic(value)
    if value["link.topology"] >= len(TOPOLOGIES):
        raise InputError(
            f"link.topology = {value['link.topology']:g}: expected one of {', '.join(TOPOLOGIES)}."
        )
    return numbers


def _check_flash_and_logic(value: Mapping[str, float]) -> None:
    if value["hbf.stacks"] and not (
        value["hbf.gbps"] and value["hbf.buffer_mb"] and value["hbf.gb"]
    ):
        raise InputError(
            "Flash gives nothing without hbf.gb, hbf.gbps and a read-ahead buffer (hbf.buffer_mb)."
        )
    if 0 < value["pnm.gain"] < 1:
        raise InputError(
            f"pnm.gain = {value['pnm.gain']:g}: logic at the memory sees at least the bandwidth of the "
            "bus; expected 0 (none) or 1 and more."
        )
    if value["pnm.gain"] and not (value["hbm.stacks"] or value["ddr.devices"]):
        raise InputError(
            "pnm.gain is set, but there is no DRAM (hbm.stacks, ddr.devices) to be near."
        )
    if value["pnm.gain"] and not value["pnm.tflops"]:
        raise InputError(
            "pnm.gain is set, but pnm.tflops is 0: logic at the memory has no compute."
        )


def compose(name: str, title: str, *parts: Part) -> System:
    """A system of parts; a later part replaces numbers of an earlier one."""
    numbers: dict[str, Number] = dict(ABSENT)
    for part in parts:
        for key, number in part.items():
            if key not in FIELDS:
                raise InputError(f"Unknown part {key}. {nearest(key, FIELDS)}")
            numbers[key] = number
    return System(name, title, _checked(numbers))


def _times(part: Part, key: str, scale: Number) -> Part:
    """One number of a part times a sourced scale, which brings its range and its tag."""
    was = part[key]
    if was.is_missing:
        return {key: was}
    text = f"{was.value:.3g} x {scale.value:.3g} ({scale.source.text})"
    low, high = (was.value * end for end in scale.ends)
    source = replace(scale.source, text=text)
    return {key: Number(was.value * scale.value, source, low, high)}


def _count(chips: int) -> Part:
    return {"chip.count": assumed(chips, "as named")}


_B200 = CHIPS["b200"]
_FOUR_HBM4 = {**HBM4, "hbm.stacks": assumed(8, "as many sites as a B200 has stacks")}
_MIXED = {
    **HBM4, "hbm.stacks": assumed(4, "half of a B200's eight sites"),
    **HBF, "hbf.stacks": assumed(4, "the other half"),
}  # fmt: skip
#: Logic on the DRAM's die takes room from its cells, and the part is no commodity.
_PIM_DENSITY = recalled(0.75, "HBM-PIM of 2021: 6 GB where the plain stack has 8", 0.5, 0.9)
_PIM_PRICE = assumed(1.5, "no commodity pricing (Ma & Patterson, table 4)", 1.0, 3.0)
_SHORTER = assumed(
    0.5, "as wide again at the power of the base die; no figure is published", 0.25, 1
)
_WIDER = assumed(2, "a custom interface is wider and denser; no figure is published", 1.5, 4)


def _pnm(*parts: Part) -> Part:
    """Logic near the DRAM of these parts, which stays as it is."""
    merged = {**ABSENT, **{key: number for part in parts for key, number in part.items()}}
    return {**merged, **PNM, **_compute(merged, PNM_FLOP_PER_BYTE)}


def _pim(memory: str, *parts: Part) -> Part:
    """Logic in the DRAM of `memory`: parts, PIM, less capacity and another price."""
    merged = {**ABSENT, **{key: number for part in parts for key, number in part.items()}}
    return {
        **merged,
        **PIM,
        **_compute(merged, PIM_FLOP_PER_BYTE),
        **_times(merged, f"{memory}.gb", _PIM_DENSITY),
        **_times(merged, f"{memory}.usd_per_gb", _PIM_PRICE),
    }


_STACKED: Part = {
    **_times(_B200, "chip.path_pj_per_bit", BASE_DIE_PJ_SCALE),
    **_times({**_B200, **_FOUR_HBM4}, "hbm.pj_per_bit", BASE_DIE_PJ_SCALE),
    **_times(_B200, "chip.thermal_w", STACKED_COOLING),
}
_PHONE = CHIPS["snapdragon-8-elite"]

_NAMED: Mapping[str, System] = {
    made.name: made
    for made in (
        compose("gb200-nvl72", "GB200 NVL72", CHIPS["gb200"], _count(72)),
        compose("gb300-nvl72", "GB300 NVL72", CHIPS["gb300"], _count(72)),
        compose("hbm4-node", "8 B200 dies with 8 HBM4 each", _B200, _FOUR_HBM4, _count(8)),
        compose("hbf-node", "8 B200 dies with 4 HBM4 and 4 HBF each", _B200, _MIXED, _count(8)),
        compose("pnm-node", "8 B200 dies, 8 HBM4 with logic on the base die", _pnm(_B200, _FOUR_HBM4),
                _count(8)),
        compose("pim-node", "8 B200 dies, 8 HBM4 with logic in the DRAM",
                _pim("hbm", _B200, _FOUR_HBM4), _count(8)),
        compose("stacked-node", "8 B200 dies under 8 HBM4 each (3D)", _B200, _FOUR_HBM4, _STACKED,
                _count(8)),
        compose("stacked-wide-node", "8 B200 dies under 8 HBM4 each, custom wide interface", _B200,
                _FOUR_HBM4, _STACKED, _times(_FOUR_HBM4, "hbm.gbps", _WIDER),
                _times({**_B200, **_STACKED}, "chip.path_pj_per_bit", _SHORTER), _count(8)),
        compose("lowlat-node", "8 B200 dies with 8 HBM4, low-latency links", _B200, _FOUR_HBM4,
                LOW_LATENCY, _count(8)),
        compose("phone", "Snapdragon 8 Elite phone", _PHONE),
        compose("phone-pnm", "phone, logic near LPDDR5X", _pnm(_PHONE),
                {"pnm.shard_gb": assumed(16, "one package")}),
        compose("phone-pim", "phone, logic in LPDDR5X", _pim("ddr", _PHONE)),
        compose("phone-hbf", "phone with one HBF stack", _PHONE, HBF),
    )
}  # fmt: skip
SYSTEMS = (*CHIPS, *_NAMED, *WAFERS)
_TIMES = re.compile(r"^(?P<name>.+?)x(?P<count>\d+)$")


def system(name: str) -> System:
    """A system by name: of `SYSTEMS`, or an accelerator times a count, such as `h100x4`.

    Raises InputError with the nearest name for an unknown one.
    """
    wanted = name.lower().replace("_", "-")
    if wanted in _NAMED:
        return _NAMED[wanted]
    chip, count = wanted, 1
    if wanted not in CHIPS and (found := _TIMES.match(wanted)):
        chip, count = found["name"], int(found["count"])
        if chip not in CHIPS and f"{chip}x" in CHIPS:  # mi300x8: eight MI300X
            chip = f"{chip}x"
    if chip.partition("@")[0] in WAFERS:
        return _wafers(chip, count)
    if chip not in CHIPS:
        raise InputError(
            f"Unknown system {name!r}. {nearest(chip, SYSTEMS)} A count follows an x: h100x4; "
            "wafers are wse2x1, wse3x4; a file of your own ends in .toml."
        )
    if count < 1:
        raise InputError(f"{name}: a system has at least 1 accelerator.")
    return compose(wanted, f"{count} x {chip}", CHIPS[chip], _count(count))


def _wafers(name: str, count: int) -> System:
    made = compose(f"{name}x{count}", f"{count} x {name}", WAFERS[name.partition("@")[0]],
                   _count(count))  # fmt: skip
    named_chip(name)  # raises for an unknown profile
    return System(made.name, made.title, made.numbers, name)


def load_system(path: str | Path) -> System:
    """The system that a TOML file describes: `base`, `name`, and tables of the parts that differ.

    Raises InputError, naming the file, for bad TOML, an unknown key (with the nearest) or a bad value.
    """
    try:
        with Path(path).open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise InputError(f"Cannot read system file {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"System file {path} is not valid TOML: {error}.") from error
    try:
        return _from_table(table, Path(path).stem)
    except InputError as error:
        raise InputError(f"System file {path}: {error}") from error


def _from_table(table: Mapping[str, Any], stem: str) -> System:
    parts = sorted({key.partition(".")[0] for key in FIELDS})
    known = ["base", "name", "title", *parts]
    changes: dict[str, float | str] = {}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"unknown key {key}. {nearest(key, known)}")
        if key not in parts:
            continue
        if not isinstance(value, dict):
            raise InputError(f"{key} = {value!r} is not a table; write [{key}] and keys in it.")
        changes |= {f"{key}.{name}": one for name, one in value.items()}
    if not isinstance(table.get("base"), str):
        raise InputError('lacks base, the system it starts from, such as base = "h200x8".')
    made = system(table["base"]).with_numbers(changes)
    return made.named(str(table.get("name", stem)), str(table.get("title", "")))
