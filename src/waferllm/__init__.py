"""LLM inference on wafer-scale chips: one program, many readings.

Names load what they need when first used, so that `import waferllm` is cheap and the command line
starts without JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waferllm import kernels as kernels
    from waferllm.chip import BLACKHOLE, DOJO_TILE, WSE2, WSE3, Chip
    from waferllm.engine.llm import LLM
    from waferllm.engine.params import SamplingParams
    from waferllm.plmr import cost
    from waferllm.program import Program, run
    from waferllm.reports.plan import plan

_HOME = {
    "BLACKHOLE": "waferllm.chip",
    "Chip": "waferllm.chip",
    "DOJO_TILE": "waferllm.chip",
    "LLM": "waferllm.engine.llm",
    "Program": "waferllm.program",
    "SamplingParams": "waferllm.engine.params",
    "WSE2": "waferllm.chip",
    "WSE3": "waferllm.chip",
    "cost": "waferllm.plmr",
    "plan": "waferllm.reports.plan",
    "run": "waferllm.program",
}

__all__ = [
    "BLACKHOLE", "DOJO_TILE", "LLM", "WSE2", "WSE3", "Chip", "Program", "SamplingParams", "cost",
    "kernels", "plan", "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name == "kernels":
        return import_module("waferllm.kernels")
    raise AttributeError(f"module 'waferllm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
