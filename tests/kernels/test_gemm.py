"""Distributed products against NumPy, within float32's own rounding, for dimensions that divide nothing."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from tests.agree.programs import dist_gemm_t
from tests.agree.words import walk
from tests.kernels.numbers import noise, product_bound
from waferllm.kernels import gemm
from waferllm.layout import Blocks, Mesh
from waferllm.program import Program, Spec, run

M, K, N = 7, 13, 11
MESHES = [(3, 4), (5, 3), (1, 4), (4, 1), (4, 4), (6, 3), (1, 1)]
KERNELS = {"mesh_gemm": gemm.mesh_gemm, "summa": gemm.summa, "allgather": gemm.allgather_gemm}


def show(mesh: tuple[int, int]) -> str:
    return f"{mesh[0]}x{mesh[1]}"


@cache
def products(mesh: tuple[int, int], dtype: str, k: int = K) -> dict[str, np.ndarray]:
    """A B (for dist_gemm_t: A B^T) by every algorithm that the mesh allows, in one program."""
    kernels = KERNELS | ({"cannon": gemm.cannon} if mesh[0] == mesh[1] else {})
    parts = {
        name: Program(kernel, mesh=mesh, shapes=[(M, k), (k, N)], dtype=jnp.dtype(dtype))
        for name, kernel in kernels.items()
    }
    parts["dist_gemm_t"] = dist_gemm_t(Mesh.of(mesh), M, k, N, jnp.dtype(dtype))
    whole = Program(
        lambda given: {name: part.core(*given[name]) for name, part in parts.items()},
        mesh=mesh,
        inputs=({name: tuple(part.inputs) for name, part in parts.items()},),
        outputs={name: part.outputs for name, part in parts.items()},
        name="products",
    )
    a, b = noise((M, k), dtype), noise((k, N), dtype)
    given = {name: (a, b.T if name == "dist_gemm_t" else b) for name in parts}
    return {name: np.asarray(c) for name, c in run(whole, given).items()}


def in_natural_order(c: np.ndarray, mesh: Mesh, n: int) -> np.ndarray:
    """dist-GEMM-T's result with its columns put back one block at a time.

    The blocks of C's columns, numbered along the row ring of B, are dealt along the column ring.
    """
    steps = mesh.steps
    width = c.shape[1] // steps
    per_row, per_col = steps // mesh.rows, steps // mesh.cols
    out = np.zeros_like(c)
    for block in range(steps):
        holder = walk(mesh.cols)[block // per_col]  # the column of cores that has this block
        at = holder * per_col + block % per_col
        row = walk(mesh.rows)[block // per_row]  # the row of cores that had these rows of B
        to = row * per_row + block % per_row
        out[:, to * width : (to + 1) * width] = c[:, at * width : (at + 1) * width]
    return out[:, :n]


@pytest.mark.parametrize("mesh", MESHES, ids=show)
@pytest.mark.parametrize("name", [*KERNELS, "cannon", "dist_gemm_t"])
def test_a_product_of_primes_is_numpys_to_rounding(name: str, mesh: tuple[int, int]) -> None:
    if name == "cannon" and mesh[0] != mesh[1]:
        return
    a, b = noise((M, K)), noise((K, N))
    c = products(mesh, "float32")[name]
    if name == "dist_gemm_t":
        c = in_natural_order(c, Mesh.of(mesh), N)
    assert c.shape == (M, N)
    assert c.dtype == np.float32
    exact = a.astype(float) @ b.astype(float)
    assert np.all(np.abs(c - exact) <= product_bound(a, b))


@pytest.mark.parametrize("name", [*KERNELS, "dist_gemm_t"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once_at_the_end(name: str, dtype: str) -> None:
    """257 products summed in float32: a sum in half precision breaks this bound by far."""
    k = 257
    a, b = noise((M, k), dtype), noise((k, N), dtype)
    c = products((3, 4), dtype, k)[name]
    if name == "dist_gemm_t":
        c = in_natural_order(c, Mesh(3, 4), N)
    assert c.dtype == jnp.dtype(dtype)
    exact = a.astype(float) @ b.astype(float)
    bound = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    accumulated = product_bound(a.astype(np.float32), b.astype(np.float32))
    assert np.all(np.abs(c.astype(float) - exact) <= bound * np.abs(exact) + 2 * accumulated)


def test_the_accumulation_type_is_the_callers() -> None:
    """In bfloat16, 1 + 1 + ... stops at 256; in float32 it goes on."""
    ones = (np.ones((3, 600), jnp.bfloat16), np.ones((600, 4), jnp.bfloat16))

    def total(acc: jnp.dtype) -> float:
        plain = Program(gemm.summa, mesh=(3, 4), shapes=[(3, 600), (600, 4)], dtype=jnp.bfloat16)
        program = Program(
            lambda a, b: gemm.summa(a, b, acc=acc),
            mesh=(3, 4), inputs=plain.inputs, outputs=plain.outputs, name="summa",
        )  # fmt: skip
        return float(run(program, *ones)[0, 0])

    assert total(jnp.float32) == 600
    assert total(jnp.bfloat16) < 600


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3), (1, 4), (4, 4)], ids=show)
def test_left_alone_a_ring_skewed_operand_is_the_natural_one_aligned(mesh: tuple[int, int]) -> None:
    """`skewed=False` takes B in blocks along the row ring, as dist-GEMM-T leaves them, and aligns it."""
    grid = Mesh.of(mesh)
    steps, per_row, per_col = grid.steps, grid.steps // grid.rows, grid.steps // grid.cols
    k = 2 * steps
    a, b = noise((M, k)), noise((k, N))
    exact = a.astype(float) @ b.astype(float)
    # Number K's blocks along the rings: block i of A in ring order meets block i of B in ring order.
    a_at = [walk(grid.cols)[i // per_col] * per_col + i % per_col for i in range(steps)]
    b_at = [walk(grid.rows)[i // per_row] * per_row + i % per_row for i in range(steps)]
    a_placed, b_placed = np.empty_like(a), np.empty_like(b)
    for i in range(steps):
        a_placed[:, 2 * a_at[i] : 2 * a_at[i] + 2] = a[:, 2 * i : 2 * i + 2]
        b_placed[2 * b_at[i] : 2 * b_at[i] + 2] = b[2 * i : 2 * i + 2]
    blocks = Blocks(("y", "x"))
    program = Program(
        lambda a, b: gemm.mesh_gemm(a, b, skewed=False),
        mesh=mesh,
        inputs=(Spec((M, k), blocks), Spec((k, N), blocks)),
        outputs=Spec((M, N), blocks),
        name="aligned",
    )
    c = np.asarray(run(program, a_placed, b_placed))
    assert np.all(np.abs(c - exact) <= product_bound(a, b))


def test_a_span_makes_several_meshes_side_by_side() -> None:
    """3 rows x 5 columns as two 3x2 meshes, each with its own product, and a column left over."""
    width, k, n = 2, 12, 4
    a, b = noise((2, M, k)), noise((2, k, n))
    grid = Mesh(3, width)
    a_placed = np.zeros((9, 5 * k // width), np.float32)
    b_placed = np.zeros((k, 5 * n // width), np.float32)
    steps, per_row, per_col = grid.steps, grid.steps // 3, grid.steps // width
    for run_of_two in range(2):
        for i in range(steps):
            block = k // steps
            col = walk(width)[i // per_col] * per_col + i % per_col
            row = walk(3)[i // per_row] * per_row + i % per_row
            at = run_of_two * k + col * block
            cut = slice(i * block, (i + 1) * block)
            a_placed[:M, at : at + block] = a[run_of_two][:, cut]
            b_placed[row * block : (row + 1) * block, run_of_two * n : (run_of_two + 1) * n] = b[
                run_of_two
            ][cut]
    blocks = Blocks(("y", "x"))
    program = Program(
        lambda a, b: gemm.mesh_gemm(a, b, span=width, skewed=False),
        mesh=(3, 5),
        inputs=(Spec(a_placed.shape, blocks), Spec(b_placed.shape, blocks)),
        outputs=Spec((9, 5 * n // width), blocks),
        name="two",
    )
    c = np.asarray(run(program, a_placed, b_placed))[:M]
    for i in range(2):
        exact = a[i].astype(float) @ b[i].astype(float)
        assert np.all(np.abs(c[:, i * n : (i + 1) * n] - exact) <= product_bound(a[i], b[i]))
