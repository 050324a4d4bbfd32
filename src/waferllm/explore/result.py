"""What an evaluation says: figures with ranges, where the time goes, and what bounds each phase."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waferllm.explore.sharding import Sharding
from waferllm.reports.explore_rows import Figure, Row

#: Words for the causes that time is split by.
BOUNDS = {
    "compute": "compute",
    "sram": "SRAM bandwidth",
    "hbm": "HBM bandwidth",
    "ddr": "DDR bandwidth",
    "hbf": "HBF bandwidth",
    "link": "scale-up link",
    "network": "scale-out network",
    "latency": "latency (kernels and hops)",
    "power": "power",
    "fabric": "fabric (words on the wafer's links)",
    "stages": "latency (hops and re-sends on the wafer)",
    "software": "latency (software of each step on the wafer)",
}


class BelowFloorError(AssertionError):
    """A predicted time is less than physics allows: the model is wrong, not the input."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A system that serves a workload; every figure is predicted.

    `figures` are by metric: s, tokens/s, W, USD, g and J, those of `reports.explore_rows.METRICS` among
    them. `decode_s` is one token's time by cause (empty for denoising), `prefill_s` one pass of prompts';
    `cost_usd_per_mtok`, `carbon_g_per_mtok` and `power_w` split their figures by part. `flash` is empty
    without flash.
    """

    system: str
    model: str
    workload: str
    sharding: Sharding | None
    cut: str
    chips: int
    batch: int
    figures: Mapping[str, Figure]
    decode_s: Mapping[str, float]
    prefill_s: Mapping[str, float]
    cost_usd_per_mtok: Mapping[str, float] = field(default_factory=dict)
    carbon_g_per_mtok: Mapping[str, float] = field(default_factory=dict)
    power_w: Mapping[str, float] = field(default_factory=dict)
    held_bytes: Mapping[str, float] = field(default_factory=dict)
    work: Mapping[str, float] = field(default_factory=dict)
    flash: Mapping[str, float] = field(default_factory=dict)
    recalled: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    helps_most: str = ""
    capacity_bound: bool = False

    @property
    def prefill_bound(self) -> str:
        """What takes most of a prompt's time."""
        return _bound(self.prefill_s)

    @property
    def decode_bound(self) -> str:
        """What takes most of a token's time, and whether memory capacity holds the batch down."""
        if not any(self.decode_s.values()):
            return "none (denoising is prefill)"
        return _bound(self.decode_s) + (", batch by capacity" if self.capacity_bound else "")

    def value(self, key: str) -> float | None:
        """A figure's value, or None where an input is not published."""
        return self.figures[key].value

    def row(self, design: Mapping[str, float] | None = None) -> Row:
        """The result as a row of an exploration; `design` holds swept quantities."""
        return Row(
            name=self.system,
            figures=dict(self.figures),
            sharding=self.cut,
            devices=self.chips,
            batch=self.batch,
            prefill_bound=self.prefill_bound,
            decode_bound=self.decode_bound,
            helps_most=self.helps_most,
            recalled=self.recalled,
            warnings=self.warnings,
            cost_usd_per_mtok=dict(self.cost_usd_per_mtok),
            design=dict(design or {}),
        )


@dataclass(frozen=True)
class Unfit:
    """A system that cannot serve a workload, and why, in one sentence."""

    system: str
    why_not: str

    def row(self, design: Mapping[str, float] | None = None) -> Row:
        """The refusal as a row of an exploration."""
        return Row(name=self.system, why_not=self.why_not, design=dict(design or {}))


def _bound(seconds: Mapping[str, float]) -> str:
    name = max(seconds, key=lambda cause: seconds[cause])
    return BOUNDS.get(name, name)
