"""Programs over kernels that have no `Kernel` of their own, for several tests."""

from typing import Any

import jax.numpy as jnp

from waferllm.kernels.gemm import dist_gemm_t_core
from waferllm.kernels.kv_cache import append_concat, append_shift
from waferllm.layout import COLS, ROWS, Blocks, Mesh
from waferllm.program import Program, Spec


def padded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def dist_gemm_t(mesh: Mesh, m: int, k: int, n: int, dtype: Any = jnp.float32) -> Program:
    """(A[m, k], B[n, k]) -> C[m, n padded], C's columns in the order of the row ring."""
    a, c = Blocks((ROWS, COLS)), Blocks((ROWS, COLS))
    b = Blocks((ROWS, COLS), (mesh.steps, 1))  # n is cut into as many blocks as there are steps
    return Program(
        dist_gemm_t_core,
        mesh=mesh,
        inputs=[Spec((m, k), a, dtype), Spec((n, k), b, dtype)],
        outputs=Spec((m, padded(n, mesh.steps)), c, dtype),
        name="dist_gemm_t",
    )


def kv_append(
    policy: str, mesh: Mesh, sequences: int, row_slots: int, width: int, dtype: Any = jnp.float32
) -> Program:
    """(cache[s, rows x slots, d], entry[s, d], entries[s], active[s]) -> cache."""
    cache = Spec((sequences, mesh.rows * row_slots, width), Blocks((None, ROWS, COLS)), dtype)
    flags = [Spec((sequences,), Blocks((None,)), kind) for kind in (jnp.int32, jnp.bool_)]
    return Program(
        append_shift if policy == "shift" else append_concat,
        mesh=mesh,
        inputs=[cache, Spec((sequences, width), Blocks((None, COLS)), dtype), *flags],
        outputs=cache,
    )
