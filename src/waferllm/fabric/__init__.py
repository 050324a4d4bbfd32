"""The words a core can say to its neighbours, and the routing patterns behind them."""

from waferllm.fabric.routes import Ring, Route, Step, Tree, balanced_tree
from waferllm.fabric.words import (
    allgather,
    allreduce,
    broadcast,
    index,
    pipeline_allreduce,
    reduce,
    ring_allreduce,
    ring_core,
    ring_index,
    rotate,
    shift,
    size,
)

__all__ = [
    "Ring", "Route", "Step", "Tree", "allgather", "allreduce", "balanced_tree", "broadcast", "index",
    "pipeline_allreduce", "reduce", "ring_allreduce", "ring_core", "ring_index", "rotate", "shift", "size",
]  # fmt: skip
