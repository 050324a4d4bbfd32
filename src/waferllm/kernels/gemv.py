"""Distributed vector-matrix products, each as one core's program.

    v[K] cut over y, replicated along x         w[K, N] in tiles over (y, x)
    every core: partial = v w                   (m = 1, or a small batch)
    allreduce along y                           N cut over x, replicated along y

Swap the axes and the vector goes back: consecutive products alternate, and nothing is ever transposed.
MeshGEMV (WaferLLM, OSDI'25) is this with the K-tree allreduce.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from waferllm.errors import InputError
from waferllm.fabric import (
    Tree,
    allreduce,
    balanced_tree,
    pipeline_allreduce,
    ring_allreduce,
    size,
)
from waferllm.kernels.gemm import multiply
from waferllm.layout import COLS, ROWS, Blocks, Layout, Mesh
from waferllm.program import Kernel

ALGORITHMS = ("meshgemv", "ring", "pipeline")


@dataclass(frozen=True)
class AllReduce:
    """How partial sums meet: `meshgemv` (the K-tree), `ring` or `pipeline`.

    The tree is `groups` cores in the first phase, or balanced for `k` phases; its roots lie in the
    middle of their groups, or at the first core with `end`.
    """

    algorithm: str = "meshgemv"
    k: int = 2
    groups: int | None = None
    end: bool = False

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise InputError(
                f"GEMV algorithm '{self.algorithm}': use one of {', '.join(ALGORITHMS)}."
            )

    def __call__(self, x: Array, axis: str, *, op: str = "sum", span: int | None = None) -> Array:
        if self.algorithm == "ring":
            return ring_allreduce(x, axis, op=op, span=span)
        if self.algorithm == "pipeline":
            return pipeline_allreduce(x, axis, op=op, span=span)
        return allreduce(x, axis, self.tree(size(axis, span)), op=op, span=span)

    def tree(self, cores: int) -> Tree:
        """The tree of `meshgemv` on a line of so many cores."""
        if self.groups and self.groups < cores:
            return Tree((self.groups,), self.end)
        return replace(balanced_tree(cores, self.k), end=self.end)


TREE = AllReduce()


def gemv_core(
    v: Float[Array, "*b k"],
    w: Float[Array, "k n"],
    *,
    along: str = ROWS,
    combine: AllReduce = TREE,
    acc: jnp.dtype = jnp.float32,
) -> Float[Array, "*b n"]:
    """v w on one core: a local product, then an allreduce along the axis over which K is cut.

    Partial sums travel in `acc`; the result is in v's dtype.
    """
    return combine(multiply(v, w, acc), along).astype(v.dtype)


def _ring_core(v: Array, w: Array) -> Array:
    return gemv_core(v, w, combine=AllReduce("ring"))


def _pipeline_core(v: Array, w: Array) -> Array:
    return gemv_core(v, w, combine=AllReduce("pipeline"))


def _layouts(mesh: Mesh) -> tuple[tuple[Layout, ...], Layout]:
    del mesh
    return (Blocks((ROWS,)), Blocks((ROWS, COLS))), Blocks((COLS,))


def _shape(v: tuple[int], w: tuple[int, int]) -> tuple[int]:
    if v[0] != w[0]:
        raise InputError(
            f"v[{v[0]}] times w{list(w)}: v has {v[0]} entries and w {w[0]} rows; they must be equal."
        )
    return (w[1],)


mesh_gemv = Kernel(gemv_core, _layouts, _shape)
ring_gemv = Kernel(_ring_core, _layouts, _shape)
pipeline_gemv = Kernel(_pipeline_core, _layouts, _shape)
