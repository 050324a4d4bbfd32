"""The same core function under `vmap` and under `shard_map`: simulated cores and devices agree.

Words, MeshGEMM, dist-GEMM-T, Cannon, MeshGEMV and the KV append give the same bits. For the others XLA
may merge the products of all simulated cores into one larger product, whose sums it orders differently;
they agree to float32's rounding.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.agree.meshes import UNEQUAL, device_mesh, on_cores, on_devices, same_bits
from tests.agree.programs import dist_gemm_t, kv_append
from tests.agree.words import VALUE, WORDS, say_everywhere, simulated
from waferllm.errors import InputError
from waferllm.fabric import allreduce, broadcast, reduce, rotate
from waferllm.kernels.gemm import allgather_gemm, cannon, mesh_gemm, summa
from waferllm.kernels.gemv import TREE, AllReduce, mesh_gemv, pipeline_gemv, ring_gemv
from waferllm.kernels.norm import masked_softmax, rms_norm
from waferllm.layout import COLS, ROWS, Blocks, Mesh
from waferllm.program import Program, Spec, run

pytestmark = pytest.mark.devices

PRODUCT = [(7, 13), (13, 11)]  # primes: no mesh below divides any of them
VECTOR = [(13,), (13, 11)]


def noise(spec: Spec, seed: int) -> np.ndarray:
    """Numbers whose sums round: any other order of additions shows."""
    return np.random.default_rng(seed).normal(size=spec.shape).astype(spec.dtype)


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
    devices = on_devices(say_everywhere(name, mesh), mesh)(x)
    for cut, got in simulated(name, mesh)(x).items():
        assert same_bits(got, devices[cut]), f"{name} along {cut}"


def test_the_order_of_additions_is_the_same_and_matters() -> None:
    """Else the test above could not fail: another tree over the same numbers gives other bits."""
    x = np.random.default_rng(3).normal(size=(5, 3, *VALUE)).astype(np.float32)
    tree = np.asarray(simulated("allreduce", (5, 3))(x)["y"])
    pipeline = np.asarray(simulated("pipeline allreduce", (5, 3))(x)["y"])
    np.testing.assert_allclose(tree, pipeline, rtol=1e-5, atol=1e-6)
    assert not same_bits(tree, pipeline)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32"])
def test_words_give_the_same_bits_in_other_dtypes(dtype: str) -> None:
    names = ["allreduce", "ring allreduce", "reduce to", "rotate by line", "shift step"]

    def core(x: jax.Array) -> list[jax.Array]:
        return [WORDS[name].say(x, "y", jax.lax.axis_index("x"), None) for name in names]

    x = 9 * np.random.default_rng(3).normal(size=(5, 3, *VALUE))
    x = np.asarray(x, jnp.dtype(dtype))
    for name, a, b in zip(names, on_cores(core)(x), on_devices(core, (5, 3))(x), strict=True):
        assert same_bits(a, b), name


@pytest.mark.parametrize("mesh", UNEQUAL, ids=show)
def test_mesh_gemm_gives_the_same_bits_on_devices(mesh: tuple[int, int]) -> None:
    program = Program(mesh_gemm, mesh=mesh, shapes=PRODUCT)
    simulated, devices = both(program, *(noise(s, i) for i, s in enumerate(program.inputs)))
    assert same_bits(simulated, devices)


@pytest.mark.parametrize("mesh", UNEQUAL, ids=show)
def test_dist_gemm_t_gives_the_same_bits_on_devices(mesh: tuple[int, int]) -> None:
    program = dist_gemm_t(Mesh.of(mesh), 7, 13, 11)
    simulated, devices = both(program, *(noise(s, i) for i, s in enumerate(program.inputs)))
    assert same_bits(simulated, devices)


def test_cannon_gives_the_same_bits_on_devices() -> None:
    program = Program(cannon, mesh=(3, 3), shapes=PRODUCT)
    simulated, devices = both(program, *(noise(s, i) for i, s in enumerate(program.inputs)))
    assert same_bits(simulated, devices)


@pytest.mark.parametrize("mesh", UNEQUAL, ids=show)
def test_mesh_gemv_gives_the_same_bits_on_devices(mesh: tuple[int, int]) -> None:
    program = Program(mesh_gemv, mesh=mesh, shapes=VECTOR)
    simulated, devices = both(program, *(noise(s, i) for i, s in enumerate(program.inputs)))
    assert same_bits(simulated, devices)


@pytest.mark.parametrize("mesh", UNEQUAL, ids=show)
@pytest.mark.parametrize("policy", ["shift", "concat"])
def test_a_kv_append_gives_the_same_bits_on_devices(policy: str, mesh: tuple[int, int]) -> None:
    rows = mesh[0]
    program = kv_append(policy, Mesh.of(mesh), sequences=4, row_slots=4, width=7)
    entries = np.array([0, rows, 2 * rows + rows // 2, 3 * rows - 1], np.int32)
    active = np.array([True, True, True, False])
    cache, entry = noise(program.inputs[0], 0), noise(program.inputs[1], 1)
    simulated, devices = both(program, cache, entry, entries, active)
    assert same_bits(simulated, devices)
    assert not same_bits(simulated, cache)


@pytest.mark.parametrize("kernel", [summa, allgather_gemm, ring_gemv, pipeline_gemv],
                         ids=lambda k: k.__name__)  # fmt: skip
def test_the_compared_algorithms_agree_with_devices_to_rounding(kernel) -> None:
    program = Program(kernel, mesh=(3, 4), shapes=VECTOR if "gemm" not in kernel.__name__
                      and kernel is not summa else PRODUCT)  # fmt: skip
    simulated, devices = both(program, *(noise(s, i) for i, s in enumerate(program.inputs)))
    np.testing.assert_allclose(simulated, devices, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("combine", [TREE, AllReduce("ring")], ids=lambda c: c.algorithm)
def test_norm_and_softmax_agree_with_devices_to_rounding(combine: AllReduce) -> None:
    def core(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        normed = rms_norm(x, weight, COLS, width=13, eps=1e-5, combine=combine)
        keep = x > -0.5
        return (normed, *masked_softmax(x, keep, COLS, combine=combine))

    rows, row = Spec((7, 13), Blocks((ROWS, COLS))), Spec((13,), Blocks((COLS,)))
    program = Program(core, mesh=(3, 4), inputs=(rows, row),
                      outputs=(rows, rows, Spec((7,), Blocks((ROWS,)))))  # fmt: skip
    simulated, devices = both(program, noise(rows, 0), noise(row, 1))
    for a, b in zip(simulated, devices, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


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
    program = Program(mesh_gemm, mesh=(3, 4), shapes=PRODUCT)
    arrays = [noise(s, 0) for s in program.inputs]
    with pytest.raises(InputError, match=r"made for a 3x4 mesh.*\{'y': 5, 'x': 3\}.*y=3, x=4"):
        run(program, *arrays, devices=device_mesh((5, 3)))
