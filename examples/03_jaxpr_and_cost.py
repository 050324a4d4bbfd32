"""What one core executes, and what that costs on a WSE-2 for trees of several depths K."""

from functools import partial

import waferllm as w
from waferllm.kernels.gemv import AllReduce, gemv_core
from waferllm.layout import Blocks
from waferllm.program import Spec

N, WIDTH = 360, 4096  # the paper's decode grid, and a hidden size of Llama-3-8B


def gemv(k: int) -> w.Program:
    """v[4096] W[4096, 4096] on 360 x 360 cores, partial sums added over a tree of K phases."""
    return w.Program(
        partial(gemv_core, combine=AllReduce(k=k)),
        mesh=(N, N),
        inputs=[Spec((WIDTH,), Blocks(("y",))), Spec((WIDTH, WIDTH), Blocks(("y", "x")))],
        outputs=Spec((WIDTH,), Blocks(("x",))),
        name=f"gemv, K={k}",
    )


print(gemv(2).jaxpr)  # one core's program, the same text for any mesh: collectives by name
print()
print(w.cost(gemv(2), w.WSE2))

print(f"\n  K  stages  longest send  routes   (predicted, {N}x{N} cores of WSE-2)")
readings = {}
for k in (1, 2, 3, 4):
    r = readings[k] = w.cost(gemv(k), w.WSE2).reading
    print(f"  {k}  {r.stages:6}  {r.longest_send_hops:7} hops  {r.routes_per_core:6}")

# A deeper tree has fewer stages, about K N^(1/K) / 2, and takes one route more at the root.
for k in (1, 2, 3, 4):
    assert abs(readings[k].stages - k * N ** (1 / k) / 2) <= k + 1
assert [r.stages for r in readings.values()] == sorted({r.stages for r in readings.values()})[::-1]
assert readings[4].routes_per_core > readings[1].routes_per_core
