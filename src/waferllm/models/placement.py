"""Which entry of a weight lies where: index maps from placed order to the checkpoint's order.

A placed dimension lists, core after core, the index in the checkpoint's dimension that each entry holds,
or -1 for padding (zeros). Everything is padded, nothing truncated. On a mesh of X columns:

* heads: a column holds whole key/value heads, or a head is cut over `span` columns; after each
  key/value head come the queries that share it; rotary halves are interleaved (see kernels.rope);
* fused weights keep each column's parts together: [q | k | v] and [gate | up].
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from waferllm.kernels.attention import CoreHeads
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig

PAD = -1
Index = np.ndarray


@dataclass(frozen=True)
class Placement:
    """How a model's dimensions are padded and ordered on one mesh, for "decode" or for "prefill".

    Decode cuts a dimension over one side of the mesh; MeshGEMM of prefill cuts it into the mesh's steps.
    """

    config: ModelConfig
    mesh: Mesh
    phase: str = "decode"

    @property
    def span(self) -> int:
        """Columns that share one key/value head.

        As many as the heads leave, or somewhat fewer if those divide the rows: attention on rows x span
        cores takes lcm(rows, span) steps.
        """
        most = max(1, self.mesh.cols // self.config.kv_heads)
        return next((s for s in range(most, most // 2, -1) if self.mesh.rows % s == 0), most)

    @property
    def heads_per_core(self) -> int:
        """Key/value heads (or, when a head is cut, parts of one) on a column."""
        return -(-self.config.kv_heads // (self.mesh.cols // self.span))

    @property
    def group(self) -> int:
        """Query heads for each key/value head."""
        return self.config.heads // self.config.kv_heads

    @property
    def width(self) -> int:
        """Entries of a head on one core: whole rotary pairs."""
        return 2 * -(-self.config.head_dim // (2 * self.span))

    def core_heads(self, layer: int) -> CoreHeads:
        return CoreHeads(
            kv=self.heads_per_core,
            group=self.group,
            width=self.width,
            span=self.span,
            scale=self.config.head_dim**-0.5,
            window=self.config.window(layer),
        )

    def _grain(self, side: int) -> int:
        return self.mesh.steps if self.phase == "prefill" else side

    @cached_property
    def hidden(self) -> Index:
        return _padded(self.config.hidden, self._grain(self.mesh.rows))

    @cached_property
    def ffn(self) -> Index:
        return _padded(self.config.ffn, self._grain(self.mesh.cols))

    @cached_property
    def vocab(self) -> Index:
        return _padded(self.config.vocab, self.mesh.cols)

    @cached_property
    def head(self) -> Index:
        """A head's dimension on the columns that share it, per column: shape (cols, width)."""
        half = self.config.head_dim // 2
        interleaved = np.stack([np.arange(half), np.arange(half) + half], axis=1).reshape(-1)
        padded = np.full(self.span * self.width, PAD)
        padded[: interleaved.size] = interleaved
        parts = padded.reshape(self.span, self.width)
        return parts[np.arange(self.mesh.cols) % self.span]

    @cached_property
    def kv_head(self) -> Index:
        """The key/value heads of each column, PAD where it has none: shape (cols, heads_per_core)."""
        first = np.arange(self.mesh.cols)[:, None] // self.span * self.heads_per_core
        held = first + np.arange(self.heads_per_core)
        return np.where(held < self.config.kv_heads, held, PAD)

    @cached_property
    def keys(self) -> Index:
        """Placed columns of K (and V) -> checkpoint's. Shape (cols, heads_per_core * width)."""
        at = _join(self.kv_head[:, :, None], self.head[:, None, :], self.config.head_dim)
        return at.reshape(self.mesh.cols, -1)

    @cached_property
    def queries(self) -> Index:
        """Placed columns of Q -> checkpoint's. Shape (cols, heads_per_core * group * width)."""
        heads = _join(self.kv_head[:, :, None], np.arange(self.group), self.group)
        at = _join(heads[..., None], self.head[:, None, None, :], self.config.head_dim)
        return at.reshape(self.mesh.cols, -1)

    @cached_property
    def attended(self) -> Index:
        """Rows of W_O: `queries`, each column's share padded to divide into MeshGEMM's k-blocks."""
        blocks = self._grain(self.mesh.cols) // self.mesh.cols
        return _pad_columns(self.queries, blocks).reshape(-1)

    @cached_property
    def qkv(self) -> Index:
        """Columns of the fused [Q | K | V] weight, each core's parts together."""
        q_width = self.config.heads * self.config.head_dim
        kv_width = self.config.kv_heads * self.config.head_dim
        k, v = _offset(self.keys, q_width), _offset(self.keys, q_width + kv_width)
        return np.concatenate([self.queries, k, v], axis=1).reshape(-1)

    @cached_property
    def gate_up(self) -> Index:
        """Columns of the fused [gate | up] weight, each core's parts together."""
        gate = self.ffn.reshape(self.mesh.cols, -1)
        return np.concatenate([gate, _offset(gate, self.config.ffn)], axis=1).reshape(-1)

    @cached_property
    def frequencies(self) -> Index:
        """Rotary frequencies of each core's pairs: shape (cols * width / 2,)."""
        return self.head[:, ::2].reshape(-1)


def _padded(length: int, multiple: int) -> Index:
    return np.concatenate([np.arange(length), np.full(-length % multiple, PAD)])


def _join(high: Index, low: Index, base: int) -> Index:
    """high * base + low, PAD where either is."""
    return np.where((high == PAD) | (low == PAD), PAD, high * base + low)


def _offset(at: Index, by: int) -> Index:
    return np.where(at == PAD, PAD, at + by)


def _pad_columns(at: Index, multiple: int) -> Index:
    return np.pad(at, ((0, 0), (0, -at.shape[1] % multiple)), constant_values=PAD)


def take(array: np.ndarray, at: Index, axis: int) -> np.ndarray:
    """`array` with dimension `axis` in placed order, zeros for padding."""
    if np.array_equal(at, np.arange(array.shape[axis])):
        return array
    shape = list(array.shape)
    shape[axis] = at.size
    out = np.zeros(shape, array.dtype)
    held = np.flatnonzero(at != PAD)
    where: list = [slice(None)] * array.ndim
    where[axis] = held
    out[tuple(where)] = np.take(array, at[held], axis=axis)
    return out


def move(source: Index, target: Index) -> np.ndarray:
    """For each entry of the `target` order, its place in the `source` order; PAD where it has none."""
    place = np.full(max(int(source.max()), int(target.max())) + 1, PAD)
    held = np.flatnonzero(source != PAD)
    place[source[held]] = held
    return np.where(target == PAD, PAD, place[np.maximum(target, 0)])
