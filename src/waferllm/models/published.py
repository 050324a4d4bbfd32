"""One decoder layer as the authors of WaferLLM timed it: the `published` schedule.

Their kernels time a simplified layer and multiply by the number of layers. It differs from the layer
that runs here (`models.programs`, the `real` schedule) in this:

* every dimension is rounded up to a multiple of P on a P x P mesh;
* attention is one head of width `dim`, and K and V are projections dim x dim, also for GQA models;
* no new entry is kept in the KV cache; no embedding, output, sampling, or move between regions;
* everything is float16, partial sums, too;
* decode reduces ten times, QKV and up + gate fused; its sigmoid covers dim entries of F, as timed;
* prefill aligns an operand once where several products share it.

The words and products are the kernels' own, so that one reading costs both schedules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from waferllm.errors import InputError
from waferllm.fabric import Tree, allreduce, ring_index, rotate
from waferllm.kernels.gemm import dist_gemm_t_core, mesh_gemm_core, multiply
from waferllm.kernels.norm import rms_norm
from waferllm.kernels.rope import rotate_pairs
from waferllm.layout import COLS, ROWS, Blocks, Mesh, RingSkewed
from waferllm.models.config import ModelConfig
from waferllm.program import Program, Spec

#: Number of groups of the first reduction phase by side of the mesh: the authors' configurations.
GROUPS = {
    240: 15, 256: 16, 300: 15, 360: 18, 420: 20, 480: 20, 512: 32, 540: 20, 600: 24, 660: 22, 720: 24,
}  # fmt: skip
HALF = jnp.float16
EPS = 1e-6
#: An allreduce: (partial, axis, op=, span=) -> the total on every core of the line.
Combine = Callable[..., Array]


def group_cores(side: int, groups: int | None = None) -> int:
    """Cores in each of `groups` groups; without it as the authors chose, or about sqrt(side)."""
    count = groups or GROUPS.get(side) or max(1, round(side**0.5))
    if not 1 <= count <= side:
        raise InputError(f"{count} groups on a line of {side} cores: use 1 to {side}.")
    return side // count


def line_tree(side: int, groups: int | None = None) -> Tree:
    """The two-phase tree of that many groups, or one chain where a group would be the whole line."""
    size = group_cores(side, groups)
    return Tree((size,)) if 1 < size < side else Tree()


@dataclass(frozen=True)
class PublishedLayer:
    """The published schedule of a model's layer on a square mesh, for `tokens` of context."""

    config: ModelConfig
    mesh: Mesh
    tokens: int
    groups: int | None = None

    def __post_init__(self) -> None:
        if self.mesh.rows != self.mesh.cols:
            raise InputError(
                f"the published schedule was timed on square meshes only, got {self.mesh}. "
                "Use --schedule real, or a square grid."
            )
        if self.tokens < 1:
            raise InputError(f"a context of {self.tokens} tokens: use at least 1.")

    def _padded(self, length: int) -> int:
        return -(-length // self.mesh.cols) * self.mesh.cols

    @property
    def hidden(self) -> int:
        return self._padded(self.config.hidden)

    @property
    def ffn(self) -> int:
        return self._padded(self.config.ffn)

    @property
    def context(self) -> int:
        return self._padded(self.tokens)

    def decode(self, combine: Combine | None = None) -> Program:
        """One token through one layer; `combine` in place of the two-phase tree's allreduce."""
        tall, wide = Blocks((ROWS, COLS)), Blocks((COLS, ROWS))
        e, f, s = self.hidden, self.ffn, self.context
        shapes = {
            "norm": Spec((e,), Blocks((ROWS,)), HALF),
            "angles": Spec((e,), Blocks((COLS,)), HALF),
            "q": Spec((e, e), tall, HALF), "k": Spec((e, e), tall, HALF),
            "v": Spec((e, e), tall, HALF), "keys": Spec((e, s), wide, HALF),
            "values": Spec((s, e), tall, HALF), "o": Spec((e, e), wide, HALF),
            "up": Spec((e, f), tall, HALF), "gate": Spec((e, f), tall, HALF),
            "down": Spec((f, e), wide, HALF),
        }  # fmt: skip
        x = Spec((e,), Blocks((ROWS,)), HALF)
        tree = line_tree(self.mesh.rows, self.groups)
        core = partial(decode_layer, width=e, combine=combine or partial(allreduce, tree=tree))
        return Program(core, mesh=self.mesh, inputs=(x, shapes), outputs=x, name="published_decode")

    def prefill(self) -> Program:
        """A whole prompt through one layer."""
        cut, skewed = Blocks((ROWS, COLS)), RingSkewed()
        e, f, s = self.hidden, self.ffn, self.context
        shapes = {
            "norm": Spec((e,), Blocks((COLS,)), HALF),
            "angles": Spec((e,), Blocks((COLS,)), HALF),
            **{name: Spec((e, e), skewed, HALF) for name in "qkvo"},
            "up": Spec((e, f), skewed, HALF), "gate": Spec((e, f), skewed, HALF),
            "down": Spec((f, e), skewed, HALF),
        }  # fmt: skip
        x = Spec((s, e), cut, HALF)
        core = partial(prefill_layer, width=e)
        return Program(
            core, mesh=self.mesh, inputs=(x, shapes), outputs=x, name="published_prefill"
        )


def decode_layer(x: Array, w: dict[str, Array], *, width: int, combine: Combine) -> Array:
    """One token: x [E/P] over y, the same on every column."""

    def total(partial_sum: Array, axis: str, op: str = "sum") -> Array:
        return combine(partial_sum, axis, op=op)

    def norm(v: Array) -> Array:
        return rms_norm(v, w["norm"], ROWS, width=width, eps=EPS, combine=combine)  # type: ignore[arg-type]

    h = norm(x)
    qkv = total(jnp.concatenate([multiply(h, w[name], HALF) for name in "qkv"]), ROWS)
    q, k, _ = jnp.split(qkv, 3)
    q, _ = rotated(q, w["angles"]), rotated(k, w["angles"])
    scores = total(multiply(q, w["keys"], HALF), COLS) * HALF(width**-0.5)
    p = jnp.exp(scores - total(jnp.max(scores), ROWS, "max"))
    p = p * (1 / total(jnp.sum(p), ROWS))
    out = total(multiply(p, w["values"], HALF), ROWS)
    x = x + total(multiply(out, w["o"], HALF), COLS)
    h = norm(x)
    both = total(jnp.concatenate([multiply(h, w[n], HALF) for n in ("up", "gate")]), ROWS)
    up, gate = jnp.split(both, 2)
    open_ = min(x.size, gate.size)
    gate = gate.at[:open_].set(jax.nn.silu(gate[:open_]))
    return x + total(multiply(up * gate, w["down"], HALF), COLS)


def prefill_layer(x: Array, w: dict[str, Array], *, width: int) -> Array:
    """A prompt: x [S/P, E/P], tokens over y and hidden over x. Reductions are one chain to the middle."""

    def combine(
        partial_sum: Array, axis: str, *, op: str = "sum", span: int | None = None
    ) -> Array:
        return allreduce(partial_sum, axis, Tree(), op=op, span=span)

    def norm(v: Array) -> Array:
        return rms_norm(v, w["norm"], COLS, width=width, eps=EPS, combine=combine)  # type: ignore[arg-type]

    def aligned(v: Array) -> Array:
        return rotate(v, COLS, -ring_index(ROWS))

    def product(v: Array, b: Array) -> Array:
        return mesh_gemm_core(v, b, acc=HALF, aligned=True)

    h = aligned(norm(x))
    q, k, v = (product(h, w[name]) for name in "qkv")
    q, k = rotated(q, w["angles"]), rotated(k, w["angles"])
    scores = dist_gemm_t_core(q, k, acc=HALF) * HALF(width**-0.5)
    p = jnp.exp(scores - combine(jnp.max(scores, axis=-1), COLS, op="max")[:, None])
    p = p * (1 / combine(jnp.sum(p, axis=-1), COLS))[:, None]
    x = x + product(aligned(product(aligned(p), v)), w["o"])
    h = aligned(norm(x))
    hidden = product(h, w["up"]) * jax.nn.silu(product(h, w["gate"]))
    return x + product(aligned(hidden), w["down"])


def rotated(x: Array, angles: Array) -> Array:
    """Rotary embedding of whole pairs; an odd entry left over on a core stays, as timed."""
    even = x.shape[-1] // 2 * 2
    pair = angles[: even // 2]
    turned = rotate_pairs(x[..., :even], pair, pair)
    return lax.dynamic_update_slice_in_dim(x, turned, 0, x.ndim - 1)
