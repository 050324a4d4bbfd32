"""The programs of a model on a mesh: embedding, one decoder layer, output; for decode and for prefill.

A `Plan` fixes everything that shapes them, and nothing that a weight says: the same programs are run on
a small simulated mesh, costed for a whole wafer, and lowered.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax.numpy as jnp
from jax import Array

from waferllm.errors import InputError
from waferllm.kernels import gemm as gemms
from waferllm.kernels.gemv import AllReduce
from waferllm.kernels.kv_cache import check_policy
from waferllm.layout import COLS, ROWS, Blocks, Layout, Mesh, RingSkewed
from waferllm.models import decoder
from waferllm.models.config import ModelConfig
from waferllm.models.placement import Placement
from waferllm.models.rope import rope_frequencies
from waferllm.program import Program, Spec

GEMMS: dict[str, tuple[Callable[..., Array], Layout]] = {
    "meshgemm": (gemms.mesh_gemm_core, RingSkewed()),
    "cannon": (gemms.cannon_core, Blocks((ROWS, COLS))),
    "summa": (gemms.summa_core, Blocks((ROWS, COLS))),
    "allgather": (gemms.allgather_gemm_core, Blocks((ROWS, COLS))),
}


@dataclass(frozen=True)
class ModelPrograms:
    """A model's programs on one mesh.

    `slots` sequences decode together; a prompt is prefilled in chunks of `chunk` tokens (a multiple of
    the mesh's rows); a sequence may grow to `capacity` tokens. `dtype` stores weights, activations and
    KV; products and reductions accumulate in `acc`.
    """

    config: ModelConfig
    mesh: Mesh
    slots: int = 1
    chunk: int = 64
    capacity: int = 512
    kv: str = "shift"
    gemm: str = "meshgemm"
    combine: AllReduce = AllReduce()
    dtype: Any = jnp.float32
    acc: Any = jnp.float32

    def __post_init__(self) -> None:
        check_policy(self.kv)
        if self.gemm not in GEMMS:
            raise InputError(f"GEMM algorithm '{self.gemm}': use one of {', '.join(GEMMS)}.")
        if self.chunk % self.mesh.rows:
            raise InputError(
                f"a prefill chunk of {self.chunk} tokens on {self.mesh.rows} rows: every row takes as "
                f"many. Use {-(-self.chunk // self.mesh.rows) * self.mesh.rows}."
            )

    @cached_property
    def placement(self) -> Placement:
        """Dimensions as placed for decode; embedding and output use it in prefill, too."""
        return Placement(self.config, self.mesh)

    @cached_property
    def prefill_placement(self) -> Placement:
        """The same dimensions as placed for prefill, which pads more on a mesh that is not square."""
        return Placement(self.config, self.mesh, "prefill")

    @property
    def row_slots(self) -> int:
        """KV entries that one row of cores holds for each sequence.

        With concat the last row takes every new entry, and may have to hold nearly all.
        """
        return self.capacity if self.kv == "concat" else -(-self.capacity // self.mesh.rows)

    @property
    def buffer_slots(self) -> int:
        """KV entries of one row in the prefill buffer: whole chunks, divisible into k-blocks."""
        return self._row_share(self.chunks)

    @property
    def chunks(self) -> int:
        """Chunks of tokens in the longest sequence."""
        return -(-self.capacity // self.chunk)

    def _row_share(self, chunks: int) -> int:
        """Buffer entries of one row for that many chunks, rounded up to whole k-blocks."""
        blocks = Mesh(self.mesh.rows, self.placement.span).steps // self.mesh.rows
        slots = chunks * (self.chunk // self.mesh.rows)
        return -(-slots // blocks) * blocks

    @property
    def kv_width(self) -> int:
        """Placed entries of one key (or value) over all columns."""
        return self.placement.keys.size

    def weights(self, phase: str) -> dict[str, Spec]:
        """The weights of one layer, as placed for decode or prefill."""
        config = self.config
        at = self.prefill_placement if phase == "prefill" else self.placement
        alone = COLS if phase == "prefill" else ROWS  # where a hidden vector lies
        tall = Blocks((ROWS, COLS)) if phase == "decode" else GEMMS[self.gemm][1]
        wide = Blocks((COLS, ROWS)) if phase == "decode" else GEMMS[self.gemm][1]
        shapes: dict[str, tuple[tuple[int, ...], Layout]] = {
            "input_norm": ((at.hidden.size,), Blocks((alone,))),
            "qkv": ((at.hidden.size, at.qkv.size), tall),
            "frequencies": ((at.frequencies.size,), Blocks((COLS,))),
            "o": ((at.attended.size, at.hidden.size), wide),
            "post_norm": ((at.hidden.size,), Blocks((alone,))),
            "gate_up": ((at.hidden.size, at.gate_up.size), tall),
            "down": ((at.ffn.size, at.hidden.size), wide),
        }
        if config.qkv_bias:
            shapes["qkv_bias"] = ((at.qkv.size,), Blocks((COLS,)))
        if config.o_bias:
            shapes["o_bias"] = ((at.hidden.size,), Blocks((alone,)))
        if config.qk_norm:
            shapes |= {n: ((at.head.size,), Blocks((COLS,))) for n in ("q_norm", "k_norm")}
        return {
            name: Spec(shape, layout, jnp.float32 if name == "frequencies" else self.dtype)
            for name, (shape, layout) in sorted(shapes.items())
        }

    def shape(self, layer: int, placement: Placement) -> decoder.LayerShape:
        return decoder.LayerShape(
            hidden=self.config.hidden,
            head_dim=self.config.head_dim,
            heads=placement.core_heads(layer),
            attended=placement.attended.size // self.mesh.cols,
            eps=self.config.norm_eps,
            rope_scale=rope_frequencies(self.config)[1],
            combine=self.combine,
            policy=self.kv,
            gemm=GEMMS[self.gemm][0],
            acc=self.acc,
        )

    def decode_layer(self, layer: int = 0) -> Program:
        """(weights, keys, values, x, entries, prompt, active) -> (keys, values, x)."""
        rows = self.mesh.rows * self.row_slots
        cache = self._spec((self.slots, rows, self.kv_width), (None, ROWS, COLS))
        x = self._spec((self.slots, self.placement.hidden.size), (None, ROWS))
        count = self._spec((self.slots,), (None,), jnp.int32)
        return Program(
            partial(decoder.decode_layer, shape=self.shape(layer, self.placement)),
            mesh=self.mesh,
            inputs=(self.weights("decode"), cache, cache, x, count, count, self._active),
            outputs=(cache, cache, x),
            name="decode_layer",
        )

    def prefill_layer(self, layer: int = 0, chunks: int | None = None) -> Program:
        """(weights, keys, values, x, start, length) -> (keys, values, x).

        Attention reads the first `chunks` chunks of the buffer (None: all), which must hold the prompt.
        """
        shape = self.shape(layer, self.prefill_placement)
        if chunks is not None:
            shape = replace(shape, held=self._row_share(chunks))
        buffer = self._spec((self.mesh.rows * self.buffer_slots, self.kv_width), (ROWS, COLS))
        x = self._spec((self.chunk, self.prefill_placement.hidden.size), (ROWS, COLS))
        scalar = self._spec((), (), jnp.int32)
        return Program(
            partial(decoder.prefill_layer, shape=shape),
            mesh=self.mesh,
            inputs=(self.weights("prefill"), buffer, buffer, x, scalar, scalar),
            outputs=(buffer, buffer, x),
            name="prefill_layer",
        )

    def embed(self, tokens: int) -> Program:
        """(table, token ids) -> x, hidden over y."""
        return Program(
            partial(decoder.embed, combine=self.combine),
            mesh=self.mesh,
            inputs=(self.table, self._spec((tokens,), (None,), jnp.int32)),
            outputs=self._spec((tokens, self.placement.hidden.size), (None, ROWS)),
            name="embed",
        )

    def head(self) -> Program:
        """(norm, table, x) -> logits of every slot, float32."""
        hidden = self.placement.hidden.size
        config = self.config
        return Program(
            partial(
                decoder.head,
                hidden=config.hidden,
                eps=config.norm_eps,
                combine=self.combine,
                acc=self.acc,
            ),
            mesh=self.mesh,
            inputs=(
                self._spec((hidden,), (ROWS,)),
                self.table,
                self._spec((self.slots, hidden), (None, ROWS)),
            ),
            outputs=self._spec((self.slots, config.vocab), (None, COLS), jnp.float32),
            name="head",
        )

    @property
    def table(self) -> Spec:
        """The embedding, and the output matrix: hidden over y, vocabulary over x."""
        at = self.placement
        return self._spec((at.hidden.size, at.vocab.size), (ROWS, COLS))

    @property
    def _active(self) -> Spec:
        return self._spec((self.slots,), (None,), jnp.bool_)

    def _spec(
        self, shape: tuple[int, ...], axes: tuple[str | None, ...], dtype: Any = None
    ) -> Spec:
        return Spec(shape, Blocks(axes), dtype or self.dtype)
