"""PLMR: what any program asks of any chip, read from its jaxpr, and whether it complies."""

from waferllm.plmr.compliance import Compliance, Verdict, check
from waferllm.plmr.costing import Cost, cost
from waferllm.plmr.overlap import Cover, Overlap
from waferllm.plmr.walk import Argument, Gathered, Op, Phase, Reading, Said, WordTally, read
from waferllm.plmr.words import Geometry, Word

__all__ = [
    "Argument",
    "Compliance",
    "Cost",
    "Cover",
    "Gathered",
    "Geometry",
    "Op",
    "Overlap",
    "Phase",
    "Reading",
    "Said",
    "Verdict",
    "Word",
    "WordTally",
    "check",
    "cost",
    "read",
]
