"""A prediction: programs with their times on a chip, held against what the question itself takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from waferllm.chip import Chip
from waferllm.layout import Mesh
from waferllm.plmr import Compliance
from waferllm.plmr.constants import constants_json
from waferllm.plmr.energy import MAC, assumptions_json, constant_power_j, static_j
from waferllm.plmr.time import CAUSES, BelowFloorError, Time


@dataclass(frozen=True)
class Part:
    """A program that runs `times` times, one after the other; one that stands for others like it, not
    always a whole number of times."""

    name: str
    times: float
    time: Time
    compliance: Compliance
    dynamic_j: float

    @property
    def cycles(self) -> float:
        return self.times * self.time.cycles


@dataclass(frozen=True)
class Prediction:
    """Time of what was asked on a chip; every figure is predicted.

    `tokens` is how many tokens come out of these cycles, and 0 for a product. `macs` is what the question
    itself takes, on no more than `cores` at a time: it is known without the programs, whose time and
    energy are held against it. `BelowFloorError` is raised for less.
    """

    question: Mapping[str, Any]
    chip: Chip
    grid: Mesh
    parts: tuple[Part, ...]
    macs: int
    cores: int
    tokens: int = 0
    layers: int = 0

    def __post_init__(self) -> None:
        least = self.macs / (self.cores * self.chip.macs_per_cycle[self.question["dtype"]])
        dynamic, least_j = self.dynamic_j, self.macs * MAC.value
        if self.cycles < least * (1 - 1e-9) or dynamic < least_j * (1 - 1e-9):
            raise BelowFloorError(
                f"{self.cycles:.0f} cycles and {dynamic:.3g} J predicted for {self.macs} multiply-adds on "
                f"{self.cores} cores of {self.chip.name}, which take {least:.0f} and {least_j:.3g} J."
            )

    @property
    def cycles(self) -> float:
        return sum(part.cycles for part in self.parts)

    @property
    def seconds(self) -> float:
        return self.cycles / self.chip.clock_hz

    @property
    def tokens_per_s(self) -> float | None:
        return self.tokens / self.seconds if self.tokens else None

    @property
    def cycles_per_layer(self) -> float | None:
        """Of the layer alone, without embedding and output."""
        layer = next((part for part in self.parts if part.name == "layer"), None)
        return layer.time.cycles if layer else None

    @property
    def compliance(self) -> Compliance:
        """Of the layer, or of the product."""
        layers = [part for part in self.parts if part.name == "layer"]
        return (layers or self.parts)[0].compliance

    @property
    def dynamic_j(self) -> float:
        return sum(part.times * part.dynamic_j for part in self.parts)

    def energy(self) -> dict[str, float]:
        """Joules of the whole system in this time, by both models of `plmr.energy`."""
        return {
            "constant_power": constant_power_j(self.seconds, self.chip),
            "activity": self.dynamic_j + static_j(self.seconds, self.chip),
        }

    def breakdown(self) -> dict[str, Any]:
        """Cycles by cause, by part and by kernel; each splits all of them."""
        kernels: dict[str, float] = {}
        for part in self.parts:
            for name, cycles in part.time.by_caller.items():
                name = name.removesuffix("_core")
                kernels[name] = kernels.get(name, 0.0) + part.times * cycles
        total = {cause: sum(p.times * p.time.causes[cause] for p in self.parts) for cause in CAUSES}
        return {
            **total,
            "exposed_communication": sum(p.times * p.time.exposed_cycles for p in self.parts),
            "hidden_communication": sum(p.times * p.time.hidden_cycles for p in self.parts),
            "by_part": {part.name: part.cycles for part in self.parts},
            "by_kernel": dict(sorted(kernels.items(), key=lambda item: -item[1])),
        }

    def to_json(self) -> dict[str, Any]:
        """One object; cycles everywhere, seconds where the key says so."""
        made: dict[str, Any] = {
            "predicted": True,
            **self.question,
            "grid": [self.grid.rows, self.grid.cols],
            "cycles": self.cycles,
            "seconds": self.seconds,
        }
        if self.tokens:
            made |= {
                "cycles_per_layer": self.cycles_per_layer,
                "layers": self.layers,
                "tokens_per_s": self.tokens_per_s,
            }
        floors = {part.name: dict(part.time.floors) for part in self.parts}
        return made | {
            "breakdown": self.breakdown(),
            "floors": floors,
            "energy_j": self.energy(),
            "energy_assumptions": assumptions_json(),
            "plmr": {
                "complies": self.compliance.holds,
                **{
                    v.letter: {"holds": v.holds, "reason": v.reason}
                    for v in self.compliance.verdicts
                },
            },
            "chip": chip_json(self.chip),
            "constants": constants_json(),
        }


def chip_json(chip: Chip) -> dict[str, Any]:
    """The facts that a prediction depends on."""
    keys = (
        "clock_hz", "hop_cycles", "ramp_cycles", "link_bytes_per_cycle", "ramp_bytes_per_cycle",
        "sram_read_bytes_per_cycle", "sram_write_bytes_per_cycle",
    )  # fmt: skip
    return {
        "name": chip.name,
        "grid": [chip.grid_rows, chip.grid_cols],
        **{key: getattr(chip, key) for key in keys},
        "macs_per_cycle": chip.macs_per_cycle.known,
        "elements_per_cycle": chip.elements_per_cycle.known,
    }
