"""The fast simulation of circulating products computes what the literal one does, or stands aside."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from waferllm.fabric import Ring, Step, shift
from waferllm.kernels.gemm import mesh_gemm, mesh_gemm_core
from waferllm.layout import Blocks, Mesh, RingSkewed
from waferllm.program import Program, Spec, run, systolic

MESH = (5, 5)
M, K, N = 7, 13, 11


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewrite every loop that is recognised, however small."""
    monkeypatch.setattr(systolic, "WORTHWHILE_FLOPS", 0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def rewritten(program: Program) -> int:
    """How many loops of the program are recognised."""
    return sum(systolic.recognise(e, program.mesh) is not None for e in program.jaxpr.jaxpr.eqns)


def bound(a: np.ndarray, b: np.ndarray, eps: float = 2.0**-24) -> np.ndarray:
    """|error| of a float32 product summed in any order, padding included (Higham, gamma_K)."""
    k = a.shape[-1] + 5
    return k * eps / (1 - k * eps) * (np.abs(a).astype(float) @ np.abs(b).astype(float))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("side", [3, 4, 5])
def test_mesh_gemm_by_block_is_the_product(side: int) -> None:
    program = Program(mesh_gemm, mesh=(side, side), shapes=[(M, K), (K, N)])
    assert rewritten(program) == 1
    a, b = noise(M, K), noise(K, N)
    exact = a.astype(float) @ b.astype(float)
    assert np.all(np.abs(np.asarray(run(program, a, b)) - exact) <= bound(a, b))


def circulating(c: Callable[..., Array], turns: int = 5, **routes: Ring) -> Callable[..., Array]:
    """A loop like MeshGEMM's, without any alignment: what meets is whatever lies there."""

    def core(a: Array, b: Array) -> Array:
        def step(held: tuple, _: None) -> tuple[tuple, None]:
            a, b, total = held
            moved = (
                shift(a, "x", routes.get("a", Ring(-1))),
                shift(b, "y", routes.get("b", Ring(-1))),
            )
            return (*moved, c(a, b, total)), None

        start = jnp.full((a.shape[0], b.shape[1]), 3.0, jnp.float32)
        return lax.scan(step, (a, b, start), None, length=turns)[0][2]

    return core


def literal(core: Callable[..., Array], layouts: tuple, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """(rewritten result, literal result, loops recognised) for square tiles of 3."""
    side = 3 * MESH[0]
    specs = tuple(Spec((side, side), lay) for lay in layouts)
    whole = Spec((side, side), Blocks(("y", "x")))
    a, b = noise(side, side), noise(side, side + 1)[:, 1:]

    def result() -> tuple[np.ndarray, int]:
        program = Program(core, mesh=MESH, inputs=specs, outputs=whole)
        return np.asarray(run(program, a, b)), rewritten(program)

    monkeypatch.setattr(systolic, "WORTHWHILE_FLOPS", 1 << 60)
    plain, none = result()
    assert none == 0
    monkeypatch.setattr(systolic, "WORTHWHILE_FLOPS", 0)
    fast, found = result()
    return fast, plain, found


BLOCKS, TURNED = Blocks(("y", "x")), Blocks(("x", "y"))


@pytest.mark.parametrize(
    "right", [RingSkewed(), BLOCKS, TURNED], ids=["skewed", "blocks", "turned"]
)
def test_it_multiplies_what_lies_there_however_it_was_placed(
    right, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B read straight from an input: only one that was placed skewed may be placed unskewed instead."""
    core = circulating(lambda a, b, c: c + a @ b)
    fast, plain, found = literal(core, (BLOCKS, right), monkeypatch)
    assert (found, fast.shape) == (1, (15, 15))
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-4)


NEAR_MISSES = {
    "adds to the operand, not the sum": circulating(lambda a, b, c: a + a @ b),
    "adds twice": circulating(lambda a, b, c: c + a @ b + c),
    "subtracts": circulating(lambda a, b, c: c - a @ b),
    "multiplies the other way": circulating(lambda a, b, c: c + b @ a),
    "transposes": circulating(lambda a, b, c: c + a @ b.T),
    "squares A": circulating(lambda a, b, c: c + a @ a),
    "adds a constant": circulating(lambda a, b, c: a @ b + 1.0),
    "turns one step too few": circulating(lambda a, b, c: c + a @ b, turns=4),
    "twice round": circulating(lambda a, b, c: c + a @ b, turns=10),
    "A the other way round": circulating(lambda a, b, c: c + a @ b, a=Ring(1)),
    "B in two places": circulating(lambda a, b, c: c + a @ b, b=Ring(-2)),
    "on the line, not the ring": circulating(lambda a, b, c: c + a @ b, a=Step(-1, wrap=True)),
}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", NEAR_MISSES)
def test_loops_that_only_look_alike_are_simulated_literally(name: str) -> None:
    spec = Spec((15, 15), BLOCKS)
    core = NEAR_MISSES[name]
    assert rewritten(Program(core, mesh=MESH, inputs=(spec, spec), outputs=spec)) == 0


@pytest.mark.usefixtures("eager")
def test_a_loop_that_also_returns_its_partial_sums_is_simulated_literally() -> None:
    def core(a: Array, b: Array) -> Array:
        def step(held: tuple, _: None) -> tuple[tuple, Array]:
            a, b, c = held
            return (shift(a, "x", Ring(-1)), shift(b, "y", Ring(-1)), c + a @ b), c

        return lax.scan(step, (a, b, jnp.zeros((3, 3))), None, length=5)[1][-1]

    spec = Spec((15, 15), BLOCKS)
    program = Program(core, mesh=MESH, inputs=(spec, spec), outputs=spec)
    ones, twos = np.ones((15, 15), np.float32), np.full((15, 15), 2, np.float32)
    assert rewritten(program) == 0
    np.testing.assert_array_equal(run(program, ones, twos), np.full((15, 15), 4 * 3 * 2))


@pytest.mark.usefixtures("eager")
def test_operands_that_are_needed_again_keep_their_place() -> None:
    """B feeds two products, A comes from a computation: both must be read as they were placed."""

    def core(a: Array, b: Array) -> tuple[Array, Array]:
        first = mesh_gemm_core(a * 2, b)
        return first, mesh_gemm_core(first, b)

    square = Spec((15, 15), BLOCKS)
    program = Program(core, mesh=MESH, outputs=(square, square),
                      inputs=(square, Spec((15, 15), RingSkewed())))  # fmt: skip
    a, b = noise(15, 15), noise(15, 15)
    assert rewritten(program) == 2
    first, second = run(program, a, b)
    np.testing.assert_allclose(first, 2 * a @ b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(second, 2 * a @ b @ b, rtol=1e-4, atol=1e-3)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("mesh", [(3, 4), (4, 2)])
def test_a_mesh_that_is_not_square_is_simulated_literally(mesh: tuple[int, int]) -> None:
    assert rewritten(Program(mesh_gemm, mesh=mesh, shapes=[(M, K), (K, N)])) == 0


def test_large_loops_are_rewritten_and_small_ones_are_not() -> None:
    """2 M K N floating-point operations against the limit, counted on the whole product."""
    limit = systolic.WORTHWHILE_FLOPS
    side = next(n for n in range(5, 1000, 5) if 2 * n**3 >= limit)
    for n, loops in ((side, 1), (side - 5, 0)):
        program = Program(mesh_gemm, mesh=MESH, shapes=[(n, n), (n, n)])
        assert rewritten(program) == loops


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_operands_still_accumulate_in_float32(dtype: str) -> None:
    """257 products of ones and small numbers: a half-precision sum would stop growing."""
    program = Program(mesh_gemm, mesh=(3, 3), shapes=[(3, 513), (513, 3)], dtype=jnp.dtype(dtype))
    assert rewritten(program) == 1
    a, b = np.ones((3, 513), jnp.dtype(dtype)), np.ones((513, 3), jnp.dtype(dtype))
    total = np.asarray(run(program, a, b), np.float64)
    assert np.all(np.abs(total - 513) <= 513 * 2.0**-8)


def test_the_rewrite_does_not_change_what_the_program_is() -> None:
    """Readers of the jaxpr still see the loop, its shifts and its steps."""
    program = Program(mesh_gemm, mesh=(4, 4), shapes=[(256, 256), (256, 256)])
    before = str(program.jaxpr)
    assert rewritten(program) == 1
    systolic.rewrite(program.jaxpr, Mesh(4, 4), [1])
    assert str(program.jaxpr) == before
    assert "circulate" not in before
