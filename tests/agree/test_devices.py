"""The same core function under `vmap` and under `shard_map`: simulated cores and devices agree.

Words, MeshGEMM, dist-GEMM-T, Cannon, MeshGEMV and the KV append give the same bits. For the others XLA
may merge the products of all simulated cores into one larger product, whose sums it orders differently;
they agree to float32's rounding.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.agree.meshes import UNEQUAL, device_mesh, on_cores, on_devices, same_bits
from tests.agree.programs import kv_append
from tests.agree.words import VALUE, WORDS, emulated, simulated
from waferllm.errors import InputError
from waferllm.fabric import allreduce, broadcast, reduce, rotate
from waferllm.kernels.gemm import allgather_gemm, cannon, dist_gemm_t, mesh_gemm, summa
from waferllm.kernels.gemv import TREE, mesh_gemv, pipeline_gemv, ring_gemv
from waferllm.kernels.norm import masked_softmax, rms_norm
from waferllm.layout import COLS, ROWS, Blocks, Mesh
from waferllm.program import Program, Spec, run

pytestmark = pytest.mark.devices

M, K, N = 7, 13, 11  # primes: no mesh below divides any of them


def noise(spec: Spec, seed: int) -> np.ndarray:
    """Numbers whose sums round: any other order of additions shows."""
    return np.random.default_rng(seed).normal(size=spec.shape).astype(jnp.dtype(spec.dtype))


def both(program: Program, *arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The program's results on simulated cores and on devices."""
    mesh = (program.mesh.rows, program.mesh.cols)
    return run(program, *arrays), run(program, *arrays, devices=device_mesh(mesh))


def show(mesh: tuple[int, int]) -> str:
    return f"{mesh[0]}x{mesh[1]}"


@pytest.mark.parametrize("mesh", UNEQUAL, ids=show)
@pytest.mark.parametrize("name", WORDS)
def test_a_word_gives_the_same_bits_on_devices(name: str, mesh: tuple[int, int]) -> None:
    x = np.random.default_rng(3).normal(size=(*mesh, *VALUE)).astype(np.float32)
    devices = emulated(mesh)(x)[name]
    for cut, got in simulated(mesh)(x)[name].items():
        assert same_bits(got, devices[cut]), f"{name} along {cut}"


def test_the_order_of_additions_is_the_same_and_matters() -> None:
    """Else the test above could not fail: another tree over the same numbers gives other bits."""
    x = np.random.default_rng(3).normal(size=(5, 3, *VALUE)).astype(np.float32)
    said = simulated((5, 3))(x)
    tree, pipeline = (np.asarray(said[n]["y"]) for n in ("allreduce", "pipeline allreduce"))
    np.testing.assert_allclose(tree, pipeline, rtol=1e-5, atol=1e-6)
    assert not same_bits(tree, pipeline)


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_words_give_the_same_bits_in_other_dtypes(dtype: str) -> None:
    names = ["allreduce", "reduce to", "rotate by line"]

    def core(x: jax.Array) -> list[jax.Array]:
        return [WORDS[name].say(x, "y", jax.lax.axis_index("x"), None) for name in names]

    x = 9 * np.random.default_rng(3).normal(size=(5, 3, *VALUE))
    x = np.asarray(x, jnp.dtype(dtype))
    for name, a, b in zip(names, on_cores(core)(x), on_devices(core, (5, 3))(x), strict=True):
        assert same_bits(a, b), name


SEQUENCES, SLOTS, WIDTH = 4, 4, 7


EXACT = ("mesh_gemm", "dist_gemm_t", "mesh_gemv", "shift", "concat")
OTHERS = ("summa", "allgather_gemm", "ring_gemv", "pipeline_gemv", "norms")
GEMMS = {"mesh_gemm": mesh_gemm, "cannon": cannon, "summa": summa, "allgather_gemm": allgather_gemm}
GEMVS = {"mesh_gemv": mesh_gemv, "ring_gemv": ring_gemv, "pipeline_gemv": pipeline_gemv}


def part(name: str, mesh: tuple[int, int]) -> Program:
    """One kernel on the mesh."""
    if name in GEMMS:
        return Program(GEMMS[name], mesh=mesh, shapes=[(M, K), (K, N)])
    if name in GEMVS:
        return Program(GEMVS[name], mesh=mesh, shapes=[(K,), (K, N)])
    if name == "dist_gemm_t":
        return Program(dist_gemm_t, mesh=mesh, shapes=[(M, K), (N, K)])
    if name == "norms":
        return norms(mesh)
    return kv_append(name, Mesh.of(mesh), SEQUENCES, SLOTS, WIDTH)


@cache
def kernels(
    names: tuple[str, ...], mesh: tuple[int, int]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """These kernels on simulated cores and on devices, in one program so that they compile once."""
    parts = {name: part(name, mesh) for name in names}
    whole = Program(
        lambda given: {name: parts[name].core(*given[name]) for name in names},
        mesh=mesh,
        inputs=({name: tuple(parts[name].inputs) for name in names},),
        outputs={name: parts[name].outputs for name in names},
        name="kernels",
    )
    given = {n: tuple(noise(s, i) for i, s in enumerate(p.inputs)) for n, p in parts.items()}
    entries = np.array([0, mesh[0], 2 * mesh[0] + mesh[0] // 2, 3 * mesh[0] - 1], np.int32)
    active = np.array([True, True, True, False])
    for policy in {"shift", "concat"} & set(names):
        given[policy] = (*given[policy][:2], entries, active)
    simulated, devices = both(whole, given)
    return {name: (simulated[name], devices[name]) for name in names}


def norms(mesh: tuple[int, int]) -> Program:
    def core(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        normed = rms_norm(x, weight, COLS, width=K, eps=1e-5, combine=TREE)
        return (normed, *masked_softmax(x, x > -0.5, COLS, combine=TREE))

    rows, row = Spec((M, K), Blocks((ROWS, COLS))), Spec((K,), Blocks((COLS,)))
    return Program(core, mesh=mesh, inputs=(rows, row),
                   outputs=(rows, rows, Spec((M,), Blocks((ROWS,)))))  # fmt: skip


@pytest.mark.parametrize("mesh", UNEQUAL, ids=show)
@pytest.mark.parametrize("name", EXACT)
def test_a_kernel_gives_the_same_bits_on_devices(name: str, mesh: tuple[int, int]) -> None:
    simulated, devices = kernels(EXACT, mesh)[name]
    assert np.any(simulated)
    assert same_bits(simulated, devices)


@pytest.mark.parametrize("name", ["mesh_gemm", "cannon"])
def test_on_a_square_mesh_cannon_too_gives_the_same_bits(name: str) -> None:
    simulated, devices = kernels(("mesh_gemm", "cannon"), (3, 3))[name]
    assert np.any(simulated)
    assert same_bits(simulated, devices)


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_agree_with_devices_to_rounding(name: str) -> None:
    simulated, devices = (jax.tree.leaves(side) for side in kernels(OTHERS, (3, 4))[name])
    for a, b in zip(simulated, devices, strict=True):
        assert np.any(a)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_results_on_devices_are_laid_over_the_devices() -> None:
    """Not gathered on one: every device holds one tile of C."""
    program = Program(mesh_gemm, mesh=(3, 4), shapes=[(6, 12), (12, 8)])
    result = run(program, *(noise(s, 0) for s in program.inputs), devices=device_mesh((3, 4)))
    tiles = {shard.device: shard.data.shape for shard in result.addressable_shards}
    assert len(tiles) == 12
    assert set(tiles.values()) == {(2, 2)}


def test_an_inner_batch_gives_the_same_bits_on_devices() -> None:
    def core(x: jax.Array) -> jax.Array:
        return jax.vmap(lambda v: allreduce(v, "x") + rotate(v, "y", 1) + broadcast(v, "x", 2))(x)

    x = np.random.default_rng(0).normal(size=(3, 4, 2, 5)).astype(np.float32)
    assert same_bits(on_cores(core)(x), on_devices(core, (3, 4))(x))


@pytest.mark.parametrize(
    "word",
    [
        lambda v, c: rotate(v, "x", c),
        lambda v, c: reduce(v, "x", root=c % 4),
        lambda v, c: broadcast(v, "x", c % 4),
    ],
    ids=["rotate", "reduce to", "broadcast from"],
)
def test_an_inner_batch_of_counts_gives_the_same_bits_on_devices(word) -> None:
    counts = jnp.array([1, -1])

    def core(x: jax.Array) -> jax.Array:
        return jax.vmap(word)(x, counts)

    x = np.random.default_rng(0).normal(size=(3, 4, 2, 5)).astype(np.float32)
    assert same_bits(on_cores(core)(x), on_devices(core, (3, 4))(x))


def test_devices_that_form_another_mesh_are_refused() -> None:
    program = Program(mesh_gemm, mesh=(3, 4), shapes=[(M, K), (K, N)])
    arrays = [noise(s, 0) for s in program.inputs]
    with pytest.raises(InputError, match=r"made for a 3x4 mesh.*\{'y': 5, 'x': 3\}.*y=3, x=4"):
        run(program, *arrays, devices=device_mesh((5, 3)))
