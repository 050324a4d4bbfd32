"""The compared systems compute NumPy's values, and say what their assumptions make the mesh carry."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels.numbers import noise
from waferllm.kernels import compared
from waferllm.layout import COLS, ROWS, Blocks
from waferllm.models.compared import decode_program, prefill_program
from waferllm.models.config import ModelConfig
from waferllm.models.registry import find_config
from waferllm.plmr import read
from waferllm.program import Program, Spec, run

MESHES = [(3, 4), (5, 3)]
M, K, N = 7, 13, 11


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("kernel", [compared.t10_gemm, compared.ladder_gemm])
def test_a_product_of_primes_is_numpys(kernel, mesh):
    a, b = noise((M, K), "float32"), noise((K, N), "float32")
    c = run(Program(kernel, mesh=mesh, shapes=[a.shape, b.shape]), a, b)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fetch", [compared.relay, compared.load])
def test_a_product_with_a_transpose_is_numpys(fetch):
    a, b = noise((M, K), "float32"), noise((N, K), "float32")
    cut = Blocks((ROWS, COLS))
    program = Program(
        lambda x, y: compared.fetching_gemm_t(x, y, fetch),
        mesh=(3, 3),
        inputs=(Spec(a.shape, cut), Spec(b.shape, cut)),
        outputs=Spec((M, N), cut),
        name="product",
    )
    np.testing.assert_allclose(run(program, a, b), a @ b.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize(("axis", "numpy_axis"), [(ROWS, 0), (COLS, 1)])
def test_a_sum_through_shared_memory_is_numpys_on_every_core(mesh, axis, numpy_axis):
    x = noise(mesh, "float32")
    cut = Spec(x.shape, Blocks((ROWS, COLS)))
    for op, expected in (("sum", np.sum), ("max", np.max)):
        program = Program(
            lambda v, op=op: compared.shared_allreduce(v, axis, op=op),
            mesh=mesh, inputs=(cut,), outputs=cut, name="sum",
        )  # fmt: skip
        whole = np.broadcast_to(expected(x, axis=numpy_axis, keepdims=True), mesh)
        np.testing.assert_allclose(run(program, x), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mesh", MESHES)
def test_a_relay_passes_through_every_core_of_the_line_and_a_load_four_times_over(mesh):
    """A line of N takes N - 1 stages; a request and a reply over both axes take both lines twice."""
    rows, cols = (n - 1 for n in mesh)
    one = Spec(mesh, Blocks((ROWS, COLS)), jnp.float16)

    def stages(fetch):
        core = lambda x: fetch(x, COLS, jnp.zeros((), jnp.int32))  # noqa: E731
        return read(Program(core, mesh=mesh, inputs=(one,), outputs=one, name="fetch")).stages

    assert stages(compared.relay) == cols
    assert stages(compared.load) == 2 * (rows + cols)


def tiny() -> ModelConfig:
    import dataclasses

    return dataclasses.replace(find_config("llama3-8b"), hidden=12, ffn=24)


def layer_in_numpy(x, w, width, keys=None, values=None):
    """The published layer in float32: one head as wide as `width`, no mask; rotary angles are zero."""

    def norm(v):
        return v / np.sqrt(np.mean(v * v, axis=-1, keepdims=True) + 1e-6) * w["norm"]

    h = norm(x)
    q, k, v = (h @ w[name] for name in "qkv")
    k, v = (k, v) if keys is None else (keys, values)
    scores = np.exp(q @ k.T * width**-0.5)
    x = x + scores / scores.sum(axis=-1, keepdims=True) @ v @ w["o"]
    h = norm(x)
    gate = h @ w["gate"]
    return x + ((h @ w["up"]) * gate / (1 + np.exp(-gate))) @ w["down"]


def given(program):
    """Small values for the program's arrays; zero angles, which turn nothing with cos = 1 (below)."""
    x, weights = program.inputs
    return noise(x.shape, "float16"), {
        name: (noise(spec.shape, "float32") * 0.3).astype(np.float16) if name != "norm"
        else np.ones(spec.shape, np.float16) for name, spec in weights.items()
    }  # fmt: skip


def unrotated(monkeypatch):
    from waferllm.models import compared as layers
    from waferllm.models import published

    for module in (layers, published):
        monkeypatch.setattr(module, "rotated", lambda x, angles: x)


@pytest.mark.parametrize("system", ["t10", "ladder", "megatron"])
def test_a_prefill_layer_is_numpys(system, monkeypatch):
    unrotated(monkeypatch)
    program = prefill_program(system, tiny(), compared.Mesh(3, 3), 9)
    x, w = given(program)
    wide = {name: value.astype(np.float32) for name, value in w.items()}
    expected = layer_in_numpy(x.astype(np.float32), wide, 12)
    np.testing.assert_allclose(np.asarray(run(program, x, w), np.float32), expected, atol=0.06)


@pytest.mark.parametrize("system", ["waferllm", "pipeline", "ring", "t10", "ladder", "megatron"])
def test_a_decode_layer_is_numpys(system, monkeypatch):
    """The timed sigmoid covers the first entries of F only, so that F is hidden here."""
    import dataclasses

    unrotated(monkeypatch)
    config = dataclasses.replace(tiny(), ffn=12)
    program = decode_program(system, config, compared.Mesh(3, 3), 9)
    x, w = given(program)
    wide = {name: value.astype(np.float32) for name, value in w.items()}
    keys = wide["keys"] if system == "megatron" else wide["keys"].T
    expected = layer_in_numpy(x.reshape(1, -1).astype(np.float32), wide, 12, keys, wide["values"])
    got = np.asarray(run(program, x, w), np.float32).reshape(1, -1)
    np.testing.assert_allclose(got, expected, atol=0.06)
