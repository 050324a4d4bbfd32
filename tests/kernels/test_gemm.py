"""Distributed products against NumPy, within float32's own rounding, for dimensions that divide nothing."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from tests.agree.programs import dist_gemm_t
from tests.agree.words import walk
from tests.kernels.numbers import UNIT, noise, product_bound
from waferllm.kernels import gemm
from waferllm.layout import Blocks, Mesh
from waferllm.program import Program, Spec, run

M, K, N = 7, 13, 11
MESHES = [(3, 4), (5, 3), (1, 4), (4, 1),
          *(pytest.param(m, marks=pytest.mark.slow) for m in [(5, 5), (6, 3), (4, 6), (1, 1)])]  # fmt: skip
KERNELS = {"mesh_gemm": gemm.mesh_gemm, "summa": gemm.summa, "allgather": gemm.allgather_gemm,
           "cannon": gemm.cannon}  # fmt: skip
RAW = "dist_gemm_t, as it lies"  # its columns left in the order of the row ring
ANY_MESH = ("mesh_gemm", "summa", "allgather", "dist_gemm_t")


def show(mesh: tuple[int, int]) -> str:
    return f"{mesh[0]}x{mesh[1]}"


@cache
def products(
    mesh: tuple[int, int], names: tuple[str, ...], dtype: str = "float32", k: int = K
) -> dict[str, np.ndarray]:
    """A B (for dist_gemm_t: A B^T) by several algorithms, in one program so that it compiles once."""

    def part(name: str) -> Program:
        kind = jnp.dtype(dtype)
        if name == "dist_gemm_t":
            return Program(gemm.dist_gemm_t, mesh=mesh, shapes=[(M, k), (N, k)], dtype=kind)
        if name == RAW:
            return dist_gemm_t(Mesh.of(mesh), M, k, N, kind)
        return Program(KERNELS[name], mesh=mesh, shapes=[(M, k), (k, N)], dtype=kind)

    parts = {name: part(name) for name in names}
    whole = Program(
        lambda given: {name: part.core(*given[name]) for name, part in parts.items()},
        mesh=mesh,
        inputs=({name: tuple(part.inputs) for name, part in parts.items()},),
        outputs={name: part.outputs for name, part in parts.items()},
        name="products",
    )
    a, b = noise((M, k), dtype), noise((k, N), dtype)
    given = {name: (a, b.T if "dist_gemm_t" in name else b) for name in parts}
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
@pytest.mark.parametrize("name", ANY_MESH)
def test_a_product_of_primes_is_numpys_to_rounding(name: str, mesh: tuple[int, int]) -> None:
    check_product(name, mesh, products(mesh, ANY_MESH)[name])


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3)], ids=show)
def test_dist_gemm_t_leaves_its_columns_in_the_order_of_the_row_ring(mesh: tuple[int, int]) -> None:
    c = products(mesh, (RAW,))[RAW]
    check_product(RAW, mesh, c)
    assert not np.allclose(c[:M, :N], noise((M, K)) @ noise((K, N)))  # it is not the natural order


@pytest.mark.parametrize("name", ["mesh_gemm", "cannon"])
def test_on_a_square_mesh_a_product_of_primes_is_numpys_to_rounding(name: str) -> None:
    check_product(name, (4, 4), products((4, 4), ("mesh_gemm", "cannon"))[name])


def check_product(name: str, mesh: tuple[int, int], c: np.ndarray) -> None:
    a, b = noise((M, K)), noise((K, N))
    if name == RAW:
        c = in_natural_order(c, Mesh.of(mesh), N)
    assert c.shape == (M, N)
    assert c.dtype == np.float32
    exact = a.astype(float) @ b.astype(float)
    assert np.all(np.abs(c - exact) <= product_bound(a, b))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("mesh_gemm", "bfloat16"),
     *(pytest.param(n, t, marks=pytest.mark.slow) for n, t in
       [("mesh_gemm", "float16"), ("dist_gemm_t", "bfloat16"), ("dist_gemm_t", "float16"),
        ("summa", "bfloat16"), ("allgather", "bfloat16")])],
)  # fmt: skip
def test_half_precision_is_rounded_once_at_the_end(name: str, dtype: str) -> None:
    """257 products summed in float32: a sum in half precision breaks this bound by far."""
    k, mesh = 257, (3, 4)
    a, b = noise((M, k), dtype), noise((k, N), dtype)
    c = products(mesh, (name,), dtype, k)[name]
    assert c.dtype == jnp.dtype(dtype)
    exact = a.astype(float) @ b.astype(float)
    summed = product_bound(a.astype(np.float32), b.astype(np.float32))
    assert np.all(np.abs(c.astype(float) - exact) <= UNIT[dtype] * np.abs(exact) + 2 * summed)


def test_the_accumulation_type_is_the_callers() -> None:
    """256 + 1 is 256 in bfloat16, eleven times over; float32 rounds 267 once, to 268."""
    a = np.array([[256] + 11 * [1]], jnp.bfloat16)
    plain = Program(gemm.summa, mesh=(3, 4), shapes=[(1, 12), (12, 1)], dtype=jnp.bfloat16)

    def total(acc: jnp.dtype) -> float:
        program = Program(
            lambda a, b: gemm.summa(a, b, acc=acc),
            mesh=(3, 4), inputs=plain.inputs, outputs=plain.outputs, name="summa",
        )  # fmt: skip
        return float(run(program, a, np.ones((12, 1), jnp.bfloat16))[0, 0])

    assert (total(jnp.float32), total(jnp.bfloat16)) == (268, 256)


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3), (4, 1)], ids=show)
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
