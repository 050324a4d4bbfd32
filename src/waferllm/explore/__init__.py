"""The hardware explorer: which machine should serve which model, by performance per dollar, watt and CO2e.

    from waferllm import explore

    explore.search("h200x8", "chat", model="llama3-70b")                    -> Result, the best sharding
    explore.evaluate("h100x8", "chat", explore.Sharding(tp=8, batch=32), model="llama3-70b")
    explore.compare(["h200x8", "hbf-node", "phone"], "chat", model="llama3-70b")  -> Results and Unfits

    explore.sensitivity("h100x8", "chat", explore.Sharding(tp=8), model="llama3-70b")

    explore.system("gb200-nvl72").with_numbers({"hbf.stacks": 4})           -> another System
    explore.load_system("mine.toml")
    explore.WORKLOADS["chat"].with_(prompt_tokens=4096)
    explore.find_shape("deepseek-v3")

A `Result` holds `figures` (value with range, or why it is missing), where the time of a token and of a
prompt goes, cost, carbon and power by part, what bounds each phase, and the change that helps most;
`Result.row()` is what tables, plots and pages of `reports` show. Every figure is predicted. Nothing here
imports JAX but `explore.batch`, exact sensitivities and wafers.
"""

from waferllm.explore.evaluating import evaluate
from waferllm.explore.numbers import FIELDS, Number
from waferllm.explore.result import BelowFloorError, Result, Unfit
from waferllm.explore.searching import OBJECTIVES, Budget, compare, search
from waferllm.explore.sensitivities import Sensitivity, sensitivity
from waferllm.explore.shapes import MODELS, Shape, find_shape
from waferllm.explore.sharding import Sharding
from waferllm.explore.systems import SYSTEMS, System, compose, load_system, system
from waferllm.explore.workloads import WORKLOADS, Workload, find_workload

__all__ = [
    "FIELDS",
    "MODELS",
    "OBJECTIVES",
    "SYSTEMS",
    "WORKLOADS",
    "BelowFloorError",
    "Budget",
    "Number",
    "Result",
    "Sensitivity",
    "Shape",
    "Sharding",
    "System",
    "Unfit",
    "Workload",
    "compare",
    "compose",
    "evaluate",
    "find_shape",
    "find_workload",
    "load_system",
    "search",
    "sensitivity",
    "system",
]
