"""The network by kernel, and the compared algorithms: each alone on one product of a model."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import jax.numpy as jnp

from waferllm.errors import InputError
from waferllm.kernels import gemm, gemv
from waferllm.layout import Mesh
from waferllm.plmr import Reading, Said, check, read
from waferllm.program import Kernel, Program
from waferllm.reports.placed import Choice, Question, Usage
from waferllm.units import show_count

GEMMS: Mapping[str, Kernel] = {
    "meshgemm": gemm.mesh_gemm,
    "cannon": gemm.cannon,
    "summa": gemm.summa,
    "allgather": gemm.allgather_gemm,
}
GEMVS: Mapping[str, Kernel] = {
    "meshgemv": gemv.mesh_gemv,
    "pipeline": gemv.pipeline_gemv,
    "ring": gemv.ring_gemv,
}


def usage(reading: Reading) -> tuple[Usage, ...]:
    """The words of a reading, grouped by the kernel that says them."""
    said: dict[str, list[tuple[int, Said]]] = {}
    for phase in reading.phases:
        for one in phase.words:
            said.setdefault(one.caller, []).append((phase.times * one.calls, one))
    return tuple(_usage_of(name, spoken) for name, spoken in said.items())


def _usage_of(name: str, spoken: Sequence[tuple[int, Said]]) -> Usage:
    channels = {channel for _, one in spoken for channel in one.word.channels}
    return Usage(
        kernel=name.removesuffix("_core"),
        routes_per_core=sum(c.geometry.routes_per_core for c in channels),
        longest_send_hops=max(one.word.geometry.longest_send_hops for _, one in spoken),
        stages=sum(calls * one.word.geometry.stages for calls, one in spoken),
        exposed_stages=sum(
            calls * one.word.geometry.stages for calls, one in spoken if one.exposed
        ),
        reductions=sum(calls for calls, one in spoken if one.word.name.startswith("reduce")),
    )


def choices(asked: Question, phase: str, grid: Mesh, tokens: int) -> tuple[str, tuple[Choice, ...]]:
    """Every algorithm alone on a layer's largest product, hidden by gate and up; and its name."""
    k, n = asked.config.hidden, 2 * asked.config.ffn
    prefill = phase == "prefill"
    kernels, chosen = (GEMMS, asked.gemm) if prefill else (GEMVS, asked.gemv)
    x = (tokens, k) if prefill else (k,)
    product = f"x[{', '.join(map(show_count, x))}] W[{show_count(k)}, {show_count(n)}]"
    found = tuple(
        _choice(
            name, name == chosen, partial(_alone, kernel, grid, (x, (k, n)), asked.dtype), asked
        )
        for name, kernel in kernels.items()
    )
    return product, found


def _choice(name: str, chosen: bool, reading: Callable[[], Reading], asked: Question) -> Choice:
    try:
        found = reading()
    except InputError as error:
        return Choice(name, chosen, 0, 0, 0, 0, None, str(error))
    return Choice(
        name,
        chosen,
        found.memory_bytes_per_core,
        found.routes_per_core,
        found.longest_send_hops,
        found.exposed_stages,
        check(found, asked.chip),
    )


@lru_cache(maxsize=64)
def _alone(kernel: Kernel, grid: Mesh, shapes: tuple[tuple[int, ...], ...], dtype: str) -> Reading:
    return read(Program(kernel, mesh=grid, shapes=shapes, dtype=jnp.dtype(dtype)))
