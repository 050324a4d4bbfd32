"""Distributed vector-matrix products against NumPy, along either axis, by every way to meet."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels.numbers import noise, product_bound
from waferllm.errors import InputError
from waferllm.kernels.gemv import (
    ALGORITHMS,
    AllReduce,
    gemv_core,
    mesh_gemv,
    pipeline_gemv,
    ring_gemv,
)
from waferllm.layout import Blocks
from waferllm.program import Program, Spec, run

K, N, BATCH = 13, 11, 2
WAYS = [AllReduce(), AllReduce("ring"), AllReduce(k=3), AllReduce(groups=2), AllReduce(end=True)]


def show(mesh: tuple[int, int]) -> str:
    return f"{mesh[0]}x{mesh[1]}"


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3), (1, 4), (4, 1)], ids=show)
def test_there_and_back_without_a_transpose(mesh: tuple[int, int]) -> None:
    """v over y gives N over x; the other orientation of the weight takes it back over y."""

    def core(v, there, back):
        results = []
        for way in WAYS:
            middle = gemv_core(v, there, along="y", combine=way)
            results.append((middle, gemv_core(middle, back, along="x", combine=way)))
        return results

    over_y, over_x = Blocks((None, "y")), Blocks((None, "x"))
    program = Program(
        core,
        mesh=mesh,
        inputs=(
            Spec((BATCH, K), over_y),
            Spec((K, N), Blocks(("y", "x"))),
            Spec((N, K), Blocks(("x", "y"))),
        ),
        outputs=[(Spec((BATCH, N), over_x), Spec((BATCH, K), over_y))] * len(WAYS),
    )
    v, there, back = (noise(s.shape) for s in program.inputs)
    for middle, end in run(program, v, there, back):
        middle, end = np.asarray(middle), np.asarray(end)
        exact = v.astype(float) @ there.astype(float)
        assert np.all(np.abs(middle - exact) <= product_bound(v, there))
        again = middle.astype(float) @ back.astype(float)
        assert np.all(np.abs(end - again) <= product_bound(middle, back))


@pytest.mark.parametrize("kernel", [mesh_gemv, ring_gemv, pipeline_gemv], ids=lambda k: k.__name__)
def test_a_gemv_kernel_is_numpys_product(kernel) -> None:
    program = Program(kernel, mesh=(5, 3), shapes=[(K,), (K, N)])
    v, w = noise((K,)), noise((K, N))
    got = np.asarray(run(program, v, w))
    assert np.all(np.abs(got - v.astype(float) @ w.astype(float)) <= product_bound(v, w))


def test_partial_sums_travel_in_the_accumulation_type() -> None:
    """The pipeline starts at the far end: 256 + 1 + 1 + 1 + 1 stays 256 in bfloat16."""
    v = np.array([1, 1, 1, 1, 256], jnp.bfloat16)
    plain = Program(mesh_gemv, mesh=(5, 3), shapes=[(5,), (5, 3)], dtype=jnp.bfloat16)

    def total(acc: jnp.dtype) -> float:
        program = Program(
            lambda v, w: gemv_core(v, w, acc=acc, combine=AllReduce("pipeline")),
            mesh=(5, 3), inputs=plain.inputs, outputs=plain.outputs, name="gemv",
        )  # fmt: skip
        return float(run(program, v, np.ones((5, 3), jnp.bfloat16))[0])

    assert (total(jnp.float32), total(jnp.bfloat16)) == (260, 256)


def test_groups_larger_than_the_line_mean_a_balanced_tree() -> None:
    """The same combiner serves a wafer and a small simulated mesh."""
    wide, plain = (
        Program(
            lambda v, w, way=way: gemv_core(v, w, combine=way), mesh=(5, 3), name="gemv",
            inputs=mesh.inputs, outputs=mesh.outputs,
        )
        for mesh in [Program(mesh_gemv, mesh=(5, 3), shapes=[(K,), (K, N)])]
        for way in (AllReduce(groups=50), AllReduce())
    )  # fmt: skip
    assert str(wide.jaxpr) == str(plain.jaxpr)


def test_an_unknown_algorithm_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'tree': use one of meshgemv, ring, pipeline"):
        AllReduce("tree")
    assert [AllReduce(name).algorithm for name in ALGORITHMS] == list(ALGORITHMS)
