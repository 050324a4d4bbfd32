"""The programs whose time is asked for: one product or one collective, from the library's kernels."""

from functools import lru_cache, partial

import jax.numpy as jnp
from jax import Array

from waferllm.chip.facts import nearest
from waferllm.errors import InputError
from waferllm.fabric import Tree, broadcast, reduce
from waferllm.kernels.gemv import ALGORITHMS, AllReduce, gemv_core
from waferllm.layout import COLS, Blocks, Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.published import PublishedLayer
from waferllm.program import Kernel, Program, Spec
from waferllm.reports.algorithms import GEMMS, GEMVS

#: The software in which an algorithm was timed where it is published; the others are hand-written.
TIMED_IN = {"summa": "library", "allgather": "library", "pipeline": "library"}


def timed_in(algorithm: str) -> str:
    """The style of code an algorithm is costed with by default."""
    return TIMED_IN.get(algorithm, "kernel")


@lru_cache(maxsize=256)
def gemm_program(algorithm: str, M: int, K: int, N: int, mesh: Mesh, dtype: str) -> Program:
    """C[M, N] = A[M, K] B[K, N], partial products in the operands' type."""
    _known("GEMM", algorithm, tuple(GEMMS))
    _positive(M=M, K=K, N=N)
    kernel, acc = GEMMS[algorithm], jnp.dtype(dtype)
    core = Kernel(partial(kernel.core, acc=acc), kernel.layouts, kernel.shape)
    return Program(core, mesh=mesh, shapes=[(M, K), (K, N)], dtype=acc, name=algorithm)


@lru_cache(maxsize=256)
def gemv_program(
    algorithm: str, K: int, N: int, mesh: Mesh, group_cores: int | None, dtype: str
) -> Program:
    """N results of v[K] W[K, N]; `group_cores` are those of a tree's first phase."""
    _known("GEMV", algorithm, ALGORITHMS)
    _positive(K=K, N=N)
    kernel, acc = GEMVS[algorithm], jnp.dtype(dtype)
    combine = AllReduce(algorithm, groups=group_cores)
    core = Kernel(partial(gemv_core, combine=combine, acc=acc), kernel.layouts, kernel.shape)
    return Program(core, mesh=mesh, shapes=[(K,), (K, N)], dtype=acc, name=algorithm)


@lru_cache(maxsize=64)
def layer_program(
    config: ModelConfig, mesh: Mesh, tokens: int, phase: str, groups: int | None
) -> Program:
    """A layer in the published schedule."""
    layer = PublishedLayer(config, mesh, tokens, groups)
    return layer.decode() if phase == "decode" else layer.prefill()


@lru_cache(maxsize=64)
def reduce_program(cores: int, payload_bytes: int, step: int) -> Program:
    """A reduction along one row to its first core: groups of `step`, then one chain of their roots."""
    tree = Tree((step,), end=True) if step < cores else Tree(end=True)
    line = Spec((cores, payload_bytes // 4), Blocks((COLS, None)), jnp.float32)

    def core(x: Array) -> Array:
        return reduce(x, COLS, tree)

    return Program(core, mesh=(1, cores), inputs=(line,), outputs=line, name="reduce")


@lru_cache(maxsize=64)
def multicast_program(receivers: int, payload_bytes: int) -> Program:
    """One core of a row sends to all the others."""
    cores = receivers + 1
    line = Spec((cores, payload_bytes // 4), Blocks((COLS, None)), jnp.float32)

    def core(x: Array) -> Array:
        return broadcast(x, COLS, 0)

    return Program(core, mesh=(1, cores), inputs=(line,), outputs=line, name="multicast")


def _known(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise InputError(f"Unknown {what} algorithm {name!r}. {nearest(name, names)}")


def _positive(**lengths: int) -> None:
    for name, length in lengths.items():
        if length < 1:
            raise InputError(f"{name} = {length}: a product's sides are at least 1.")
