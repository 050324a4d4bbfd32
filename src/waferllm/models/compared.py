"""The published layer as the compared systems would run it, for the same reader to cost.

T10 and Ladder run the layer of `models.published`, dimension for dimension, but fetch their tiles as
they think a machine works (`kernels.compared`). Their attention multiplies P V with V as it lies.

    system     products                            sums
    t10        compute-shift, relayed              a chain through every core, then back
    ladder     loads from shared memory            stored and loaded
    megatron   columns, then rows, of a line       two of E words a layer, and the scores
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from jax import Array

from waferllm.chip.facts import nearest
from waferllm.errors import InputError
from waferllm.fabric import pipeline_allreduce, ring_allreduce
from waferllm.kernels.compared import (
    Fetch,
    fetching_gemm_t,
    ladder_gemm_core,
    load,
    relay,
    shared_allreduce,
    t10_gemm_core,
)
from waferllm.kernels.gemm import multiply
from waferllm.kernels.norm import rms_norm
from waferllm.layout import COLS, ROWS, Blocks, Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.published import EPS, HALF, Combine, PublishedLayer, rotated
from waferllm.program import Program, Spec

_FETCHES: dict[str, Fetch] = {"t10": relay, "ladder": load}
_GEMMS = {"t10": t10_gemm_core, "ladder": ladder_gemm_core}
_SUMS: dict[str, Combine | None] = {
    "waferllm": None,
    "pipeline": pipeline_allreduce,
    "ring": ring_allreduce,
    "t10": pipeline_allreduce,
    "ladder": shared_allreduce,
}
DECODERS = (*_SUMS, "megatron")
PREFILLERS = ("waferllm", "t10", "ladder", "megatron")


@lru_cache(maxsize=64)
def decode_program(
    system: str, config: ModelConfig, mesh: Mesh, tokens: int, groups: int | None = None
) -> Program:
    """One token through one layer as `system` runs it; megatron on one row of the mesh."""
    if system not in DECODERS:
        raise InputError(f"Unknown system {system!r} for decode. {nearest(system, DECODERS)}")
    if system == "megatron":
        return megatron_program(config, mesh.cols, tokens, 1)
    return PublishedLayer(config, mesh, tokens, groups).decode(_SUMS[system])


@lru_cache(maxsize=64)
def prefill_program(system: str, config: ModelConfig, mesh: Mesh, tokens: int) -> Program:
    """A whole prompt through one layer as `system` runs it; megatron on one row of the mesh."""
    if system not in PREFILLERS:
        raise InputError(f"Unknown system {system!r} for prefill. {nearest(system, PREFILLERS)}")
    if system == "megatron":
        return megatron_program(config, mesh.cols, tokens, tokens)
    layer = PublishedLayer(config, mesh, tokens)
    if system == "waferllm":
        return layer.prefill()
    cut = Blocks((ROWS, COLS))
    e, f, s = layer.hidden, layer.ffn, layer.context
    weights = {
        "norm": Spec((e,), Blocks((COLS,)), HALF),
        "angles": Spec((e,), Blocks((COLS,)), HALF),
        **{name: Spec((e, e), cut, HALF) for name in "qkvo"},
        "up": Spec((e, f), cut, HALF), "gate": Spec((e, f), cut, HALF),
        "down": Spec((f, e), cut, HALF),
    }  # fmt: skip
    x = Spec((s, e), cut, HALF)
    core = partial(_fetched_prefill, system=system, width=e)
    return Program(core, mesh=mesh, inputs=(x, weights), outputs=x, name=f"{system}_prefill")


def _fetched_prefill(x: Array, w: dict[str, Array], *, system: str, width: int) -> Array:
    """A prompt: x [S/P, E/P], tokens over y and hidden over x, every operand in plain blocks."""
    combine = _SUMS[system]
    assert combine is not None

    def norm(v: Array) -> Array:
        return rms_norm(v, w["norm"], COLS, width=width, eps=EPS, combine=combine)  # type: ignore[arg-type]

    product = partial(_GEMMS[system], acc=HALF)
    h = norm(x)
    q, k, v = (product(h, w[name]) for name in "qkv")
    q, k = rotated(q, w["angles"]), rotated(k, w["angles"])
    scores = fetching_gemm_t(q, k, _FETCHES[system], acc=HALF) * HALF(width**-0.5)
    p = jnp.exp(scores - combine(jnp.max(scores, axis=-1), COLS, op="max")[:, None])
    p = p * (1 / combine(jnp.sum(p, axis=-1), COLS))[:, None]
    x = x + product(product(p, v), w["o"])
    h = norm(x)
    return x + product(product(h, w["up"]) * jax.nn.silu(product(h, w["gate"])), w["down"])


def megatron_program(config: ModelConfig, cores: int, context: int, tokens: int) -> Program:
    """Tensor parallelism over one line: `tokens` new ones against `context`, activations replicated.

    QKV, gate and up are cut by columns, O and down by rows, so that a layer sums twice; attention, of
    one head as in the published layer, sums its scores, too.
    """
    e, f = (-(-n // cores) * cores for n in (config.hidden, config.ffn))
    whole, cols, rows = Blocks((None, None)), Blocks((None, COLS)), Blocks((COLS, None))
    weights = {
        "norm": Spec((e,), Blocks((None,)), HALF),
        "angles": Spec((e,), Blocks((COLS,)), HALF),
        **{name: Spec((e, e), cols, HALF) for name in "qkv"},
        "keys": Spec((context, e), cols, HALF), "values": Spec((context, e), cols, HALF),
        "o": Spec((e, e), rows, HALF), "up": Spec((e, f), cols, HALF),
        "gate": Spec((e, f), cols, HALF), "down": Spec((f, e), rows, HALF),
    }  # fmt: skip
    if tokens > 1:
        del weights["keys"], weights["values"]
    x = Spec((tokens, e), whole, HALF)
    core = partial(_megatron_layer, width=e)
    return Program(core, mesh=(1, cores), inputs=(x, weights), outputs=x, name="megatron")


def _megatron_layer(x: Array, w: dict[str, Array], *, width: int) -> Array:
    """x [T, E] on every core. The sums go round the interleaved ring, as Megatron's do."""

    def norm(v: Array) -> Array:
        return rms_norm(v, w["norm"], None, width=width, eps=EPS, combine=ring_allreduce)  # type: ignore[arg-type]

    h = norm(x)
    q, k, v = (multiply(h, w[name], HALF) for name in "qkv")
    q, k = rotated(q, w["angles"]), rotated(k, w["angles"])
    keys, values = w.get("keys", k), w.get("values", v)
    scores = ring_allreduce(multiply(q, keys.T, HALF), COLS) * HALF(width**-0.5)
    p = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    p = p / jnp.sum(p, axis=-1, keepdims=True)
    x = x + ring_allreduce(multiply(multiply(p, values, HALF), w["o"], HALF), COLS)
    h = norm(x)
    hidden = multiply(h, w["up"], HALF) * jax.nn.silu(multiply(h, w["gate"], HALF))
    return x + ring_allreduce(multiply(hidden, w["down"], HALF), COLS)
