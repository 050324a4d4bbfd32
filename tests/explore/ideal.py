"""A machine without overheads, on which closed forms hold, and one way to ask it."""

from typing import Any

import numpy as np

from waferllm import explore
from waferllm.explore.evaluating import inputs, numpy_evaluate
from waferllm.explore.numbers import SHARES

#: All shares of peaks at one, all fixed times at zero.
IDEAL: dict[str, float] = {
    **dict.fromkeys((k for k in SHARES if "eff" in k), 1.0),
    **dict.fromkeys(
        ("chip.kernel_us", "chip.gemm_8_us", "chip.gemm_4_us", "chip.step_us", "link.latency_us",
         "link.software_us", "link.peer_us", "link.bulk_us", "link.exchange_us", "net.latency_us",
         "tail.failures_per_year"), 0.0),
    "hbm.usable": 1.0, "site.load": 1.0, "chip.thermal_w": 1e9,
}  # fmt: skip


def ideal(name: str, **changes: float) -> explore.System:
    """A system by name without overheads; `hbm__gb=80` sets `hbm.gb`."""
    return explore.system(name).with_numbers(
        IDEAL | {key.replace("__", "."): value for key, value in changes.items()}
    )


def ask(
    system: explore.System, workload: explore.Workload, model: str, **cut: int
) -> dict[str, dict[str, Any]]:
    """All groups of one design as floats, whether or not it fits."""
    d, m, w = inputs(system, explore.find_shape(model), workload)
    made = numpy_evaluate(d, m, w, explore.Sharding(**cut).values())
    return {group: {k: float(v) for k, v in values.items()} for group, values in made.items()}


def point(prompt: float = 1024, output: float = 512, **more: Any) -> explore.Workload:
    """A workload of these lengths."""
    return explore.Workload(
        name="point", says="", prompt_tokens=prompt, output_tokens=output, **more
    )


def columns(values: list[float]) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=float)
