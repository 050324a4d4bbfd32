"""A model on its meshes: placed weights, KV caches, and the compiled steps that use them.

The engine hands over token ids and gets logits. Decode and prefill may use different meshes; weights are
kept once, as placed for decode, and re-laid layer by layer while a prompt is prefilled, as is the prompt's
KV when its last chunk is done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from waferllm.kernels.kv_cache import capacity as kv_capacity
from waferllm.kernels.kv_cache import offset
from waferllm.models.checkpoint import Checkpoint
from waferllm.models.config import ModelConfig
from waferllm.models.placement import PAD, move
from waferllm.models.programs import ModelPrograms
from waferllm.models.weights import load_ends, load_layer
from waferllm.program import Spec
from waferllm.program.run import on_cores, on_devices, partition

Devices = jax.sharding.Mesh | None
READ_MORE = (
    4  # when a prompt outgrows the chunks that attention reads, the next step reads 4 times more
)
TOGETHER = 8  # decode layers in one compiled step: fewer dispatches, a bounded time to compile


@dataclass(frozen=True)
class Relayout:
    """Moves one layer's weights, and a prompt's KV, between the decode mesh and the prefill mesh."""

    decode: ModelPrograms
    prefill: ModelPrograms

    def weights(self, weights: dict[str, Array]) -> dict[str, Array]:
        """Decode-placed weights in the order of the prefill mesh."""
        a, b = self.decode.placement, self.prefill.prefill_placement
        hidden = (a.hidden, b.hidden)
        head = (a.head.reshape(-1), b.head.reshape(-1))
        orders = {
            "input_norm": (hidden,),
            "post_norm": (hidden,),
            "o_bias": (hidden,),
            "qkv": (hidden, (a.qkv, b.qkv)),
            "qkv_bias": ((a.qkv, b.qkv),),
            "q_norm": (head,),
            "k_norm": (head,),
            "frequencies": ((a.frequencies, b.frequencies),),
            "o": ((a.attended, b.attended), hidden),
            "gate_up": (hidden, (a.gate_up, b.gate_up)),
            "down": ((a.ffn, b.ffn), hidden),
        }
        return {name: _relay(w, orders[name]) for name, w in weights.items()}

    def kv(self, buffer: Array, length: Array) -> Array:
        """A prompt's keys (or values) from the prefill buffer, as the decode cache holds them.

        Row by row, balanced over the rows, position t in slot t mod row capacity.
        """
        d, p = self.decode, self.prefill
        row = np.arange(d.mesh.rows)[:, None]
        first = offset(row, length, d.mesh.rows)
        slot = np.arange(d.row_slots)[None, :]
        position = (first + (slot - first) % d.row_slots).reshape(-1)
        share = p.chunk // p.mesh.rows
        source = position % p.chunk // share * p.buffer_slots
        source += position // p.chunk * share + position % share
        held = jnp.take(buffer, source, axis=0, mode="clip")
        keys = (p.placement.keys.reshape(-1), d.placement.keys.reshape(-1))
        return _relay(held, (None, keys))


def _relay(array: Array, orders: tuple) -> Array:
    for axis, order in enumerate(orders):
        if order is None or np.array_equal(*order):
            continue
        index = move(*order)
        outside = array.shape[axis]
        array = jnp.take(
            array, np.where(index == PAD, outside, index), axis=axis, mode="fill", fill_value=0
        )
    return array


@dataclass(frozen=True, eq=False)
class PlacedModel:
    """A checkpoint's weights in placed order, one dictionary for each layer, and its ends."""

    config: ModelConfig
    layers: tuple[dict[str, Array], ...]
    table: Array
    norm: Array
    output: Array


def place_model(
    checkpoint: Checkpoint,
    programs: ModelPrograms,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> PlacedModel:
    """Read every tensor once, check it, and place it for decode; `progress` sees layers come in."""
    layers = []
    total = checkpoint.config.layers
    for i in range(total):
        layer = load_layer(checkpoint, programs.placement, i, programs.dtype)
        layers.append(jax.block_until_ready(layer))
        checkpoint.forget()
        progress(i + 1, total)
    ends = jax.block_until_ready(load_ends(checkpoint, programs.placement, programs.dtype))
    checkpoint.forget()
    return PlacedModel(checkpoint.config, tuple(layers), *ends)


def shard_model(model: PlacedModel, programs: ModelPrograms, devices: Any) -> PlacedModel:
    """The weights spread over the devices of a JAX mesh, each device holding its core's tiles."""

    def put(array: Array, spec: Spec) -> Array:
        return jax.device_put(array, NamedSharding(devices, partition(spec.layout, array.ndim)))

    specs = programs.weights("decode")
    norm, table, _ = programs.head().inputs
    return PlacedModel(
        model.config,
        tuple({name: put(w, specs[name]) for name, w in layer.items()} for layer in model.layers),
        put(model.table, table),
        put(model.norm, norm),
        put(model.output, table),
    )


def sequence_capacity(p: ModelPrograms, prompt: int) -> int:
    """Tokens that a sequence with a prompt of that many tokens can hold in all."""
    return min(p.capacity, kv_capacity(p.kv, p.mesh.rows, p.row_slots, prompt))


class WaferRunner:
    """Runs one placed model. `slots` sequences decode together, each of at most `capacity` tokens."""

    max_burst = 1

    def __init__(
        self,
        model: PlacedModel,
        decode: ModelPrograms,
        prefill: ModelPrograms,
        devices: tuple[Devices, Devices] = (None, None),
    ) -> None:
        if devices[0] is not None:
            model = shard_model(model, decode, devices[0])
        self.model, self.programs, self.prefill_programs = model, decode, prefill
        self.relayout = Relayout(decode, prefill)
        self._devices = devices
        cache = (decode.slots, decode.mesh.rows * decode.row_slots, decode.kv_width)
        buffer = (prefill.mesh.rows * prefill.buffer_slots, prefill.kv_width)
        self.caches = [self._pair(cache) for _ in model.layers]
        self.buffers = [self._pair(buffer) for _ in model.layers]
        self.prompt = np.zeros(decode.slots, np.int32)
        self._decode_steps: dict[tuple[int, ...], Callable[..., Any]] = {}
        self._prefill_steps: dict[tuple[int, int], Callable[..., Any]] = {}

    def _pair(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        return jnp.zeros(shape, self.programs.dtype), jnp.zeros(shape, self.programs.dtype)

    @property
    def slots(self) -> int:
        return self.programs.slots

    @property
    def chunk(self) -> int:
        return self.prefill_programs.chunk

    def capacity(self, prompt: int) -> int:
        """Tokens that a sequence with a prompt of that many tokens can hold in all."""
        return sequence_capacity(self.programs, prompt)

    def decode(self, tokens: np.ndarray, positions: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Logits (slots, vocab) after one more token in every active slot, at `positions`."""
        x = self._embed_tokens(self.model.table, np.asarray(tokens, np.int32))
        where = (np.asarray(positions, np.int32), self.prompt, np.asarray(active))
        for first in range(0, len(self.model.layers), TOGETHER):
            part = slice(first, first + TOGETHER)
            step = self._decode_layers(tuple(self._kind[part]))
            self.caches[part], x = step(self.model.layers[part], self.caches[part], x, *where)
        return np.asarray(self._head(self.model.norm, self.model.output, x))

    def prefill(
        self, slot: int, ids: np.ndarray, start: int, length: int, last: bool
    ) -> np.ndarray | None:
        """One chunk of a prompt; after the last one its KV moves into `slot`. Logits (vocab,) then."""
        x = self._carry(self._embed_chunk(self.model.table, jnp.asarray(ids, jnp.int32)), 1)
        where = (jnp.asarray(start, jnp.int32), jnp.asarray(length, jnp.int32))
        chunks = self._chunks_read(start // self.chunk + 1)
        for i, weights in enumerate(self.model.layers):
            placed = self._carry(weights, 1)
            step = self._prefill_layer(self._kind[i], chunks)
            *buffer, x = step(placed, *self.buffers[i], x, *where)
            self.buffers[i] = tuple(buffer)
        if not last:
            return None
        self.prompt[slot] = start + length
        total = jnp.asarray(start + length, jnp.int32)
        for i, buffer in enumerate(self.buffers):
            held = self._carry(buffer, 0)
            self.caches[i] = self._adopt(self.caches[i], held, jnp.asarray(slot), total)
        x = self._last(self._carry(x, 0), where[1])
        return np.asarray(self._head(self.model.norm, self.model.output, x))[0]

    def _carry(self, tree: Any, to: int) -> Any:
        """Arrays on the devices of the decode (0) or prefill (1) mesh, where those are not the same."""
        devices = self._devices[to]
        if devices is None or self._devices[0] == self._devices[1]:
            return tree
        return jax.device_put(tree, NamedSharding(devices, PartitionSpec()))

    def release(self, slot: int) -> None:
        """The slot's sequence is over; what its cache holds no longer counts.

        A step that was broken off may have given arrays away without getting new ones: replace them.
        """
        self.prompt[slot] = 0
        for held in (self.caches, self.buffers):
            for i, (keys, values) in enumerate(held):
                if keys.is_deleted() or values.is_deleted():
                    held[i] = self._pair(keys.shape)

    # Compiled steps: made on first use, one for each kind of layer (layers differ by their window only).

    @cached_property
    def _kind(self) -> list[int]:
        windows = [self.programs.config.window(i) for i in range(len(self.model.layers))]
        return [windows.index(w) for w in windows]

    def _compile(self, program: Any, prefill: bool = False) -> Callable[..., Any]:
        devices = self._devices[prefill]
        return on_cores(program) if devices is None else on_devices(program, devices)

    @cached_property
    def _embed_tokens(self) -> Callable[..., Array]:
        return jax.jit(self._compile(self.programs.embed(self.slots)))

    @cached_property
    def _head(self) -> Callable[..., Array]:
        return jax.jit(self._compile(self.programs.head()))

    def _decode_layers(self, kinds: tuple[int, ...]) -> Callable[..., Any]:
        """Several layers as one compiled step: (weights, caches, x, …) -> (caches, x)."""
        if kinds not in self._decode_steps:
            run = {i: self._compile(self.programs.decode_layer(i)) for i in set(kinds)}

            def step(weights: tuple, caches: list, x: Array, *where: Array) -> tuple[list, Array]:
                after = []
                for kind, layer, cache in zip(kinds, weights, caches, strict=True):
                    *cache, x = run[kind](layer, *cache, x, *where)
                    after.append(tuple(cache))
                return after, x

            self._decode_steps[kinds] = jax.jit(step, donate_argnums=1)
        return self._decode_steps[kinds]

    @cached_property
    def _embed_chunk(self) -> Callable[..., Array]:
        embed = self._compile(self.programs.embed(self.chunk))
        width = self.prefill_programs.prefill_placement.hidden.size
        return jax.jit(lambda table, ids: _resize(embed(table, ids), width))

    def _chunks_read(self, held: int) -> int:
        """Chunks of the buffer that attention reads when `held` are filled: a power of READ_MORE, or all."""
        read = 1
        while read < held:
            read *= READ_MORE
        return min(read, self.prefill_programs.chunks)

    def _prefill_layer(self, kind: int, chunks: int) -> Callable[..., Any]:
        if (kind, chunks) not in self._prefill_steps:
            program = self.prefill_programs.prefill_layer(kind, chunks)
            run = self._compile(program, prefill=True)
            self._prefill_steps[kind, chunks] = jax.jit(
                lambda weights, *rest: run(self.relayout.weights(weights), *rest),
                donate_argnums=(1, 2),
            )
        return self._prefill_steps[kind, chunks]

    @cached_property
    def _last(self) -> Callable[..., Array]:
        """The last real token's hidden vector, alone in slot 0, on the decode mesh."""
        width = self.programs.placement.hidden.size

        def pick(x: Array, length: Array) -> Array:
            row = jax.lax.dynamic_slice_in_dim(x, length - 1, 1, axis=0)
            return jnp.pad(_resize(row, width), ((0, self.slots - 1), (0, 0)))

        return jax.jit(pick)

    @cached_property
    def _adopt(self) -> Callable[..., Any]:
        def adopt(cache: tuple, buffer: tuple, slot: Array, length: Array) -> tuple:
            return tuple(
                jax.lax.dynamic_update_index_in_dim(c, self.relayout.kv(b, length), slot, 0)
                for c, b in zip(cache, buffer, strict=True)
            )

        return jax.jit(adopt, donate_argnums=0)


def _resize(x: Array, width: int) -> Array:
    """Crop or pad the last dimension: hidden vectors differ between meshes by their padding only."""
    x = x[..., :width]
    return jnp.pad(x, ((0, 0), (0, width - x.shape[-1])))
