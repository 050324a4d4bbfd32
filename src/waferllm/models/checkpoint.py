"""A checkpoint directory: its configuration and its tensors, checked by name, shape and dtype.

Opening maps the files and reads headers only. A tensor's bytes are read when someone looks.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waferllm.errors import CheckpointError
from waferllm.models.config import ModelConfig, load_config
from waferllm.models.jsonfile import Fields, read_json
from waferllm.models.safetensors_file import DTYPES, Entry, TensorFile, open_file

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_BENIGN = re.compile(r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.\w+")
# An exponent of all ones is NaN or infinity, in each dtype seen as unsigned integers.
_EXPONENT: dict[np.dtype[Any], tuple[type[np.unsignedinteger[Any]], int]] = {
    DTYPES["F32"]: (np.uint32, 0x7F80_0000),
    DTYPES["F16"]: (np.uint16, 0x7C00),
    DTYPES["BF16"]: (np.uint16, 0x7F80),
}
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A validated checkpoint: exactly the tensors that its configuration asks for."""

    path: Path
    config: ModelConfig
    files: Mapping[str, TensorFile]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors the model uses, in the order of `expected_tensors`."""
        return tuple(self.files)

    def tensor(self, name: str) -> NDArray[Any]:
        """A read-only view into the mapped file, in the file's dtype (bfloat16 by ml_dtypes).

        `lm_head.weight` of a tied model is `model.embed_tokens.weight`.
        """
        if name == "lm_head.weight" and self.config.tied:
            name = "model.embed_tokens.weight"
        if name not in self.files:
            raise CheckpointError(f"{self.path} has no tensor {name} that its model uses.")
        return self.files[name].tensor(name)

    def forget(self) -> None:
        """Let the system reclaim the pages of tensors read so far."""
        for file in set(self.files.values()):
            file.forget()

    @property
    def dtype(self) -> str:
        """The dtype that holds most of the weights: "float32", "float16" or "bfloat16"."""
        count: dict[str, int] = {}
        for name, file in self.files.items():
            entry = file.entries[name]
            count[entry.dtype] = count.get(entry.dtype, 0) + math.prod(entry.shape)
        return str(DTYPES[max(count, key=lambda dtype: count[dtype])])


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open and validate a directory with `config.json` and `model*.safetensors`.

    Raises CheckpointError that names the file or tensor at fault, UnsupportedError for a model
    this package does not run. Values are not looked at: see `check_finite`.
    """
    path = Path(path)
    config = load_config(path)
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a directory. Name the directory that holds it.")
    files = _tensor_files(path)
    expected = expected_tensors(config)
    _check_names(path, config, expected, files)
    for name, shape in expected.items():
        _check_entry(path, name, files[name].entries[name], shape)
    return Checkpoint(path, config, {name: files[name] for name in expected})


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor the decoder needs, by its Hugging Face name, with its shape (out, in)."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab, config.hidden)
    }
    for layer in range(config.layers):
        for name, shape in _layer_tensors(config).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    shapes["model.norm.weight"] = (config.hidden,)
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab, config.hidden)
    return shapes


def _layer_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    hidden, ffn = config.hidden, config.ffn
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (hidden,)}
    for name, rows in (("q", q), ("k", kv), ("v", kv)):
        shapes[f"self_attn.{name}_proj.weight"] = (rows, hidden)
        if config.qkv_bias:
            shapes[f"self_attn.{name}_proj.bias"] = (rows,)
    if config.qk_norm:
        shapes["self_attn.q_norm.weight"] = (config.head_dim,)
        shapes["self_attn.k_norm.weight"] = (config.head_dim,)
    shapes["self_attn.o_proj.weight"] = (hidden, q)
    if config.o_bias:
        shapes["self_attn.o_proj.bias"] = (hidden,)
    shapes["post_attention_layernorm.weight"] = (hidden,)
    shapes["mlp.gate_proj.weight"] = (ffn, hidden)
    shapes["mlp.up_proj.weight"] = (ffn, hidden)
    shapes["mlp.down_proj.weight"] = (hidden, ffn)
    return shapes


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Raise CheckpointError if an array of float32, float16 or bfloat16 holds NaN or infinity.

    Reads in pieces of a million elements, so that a mapped tensor is not copied whole.
    """
    unsigned, exponent = _EXPONENT[array.dtype]
    flat = array.reshape(-1).view(unsigned)
    mask = unsigned(exponent)
    for start in range(0, flat.size, _CHUNK):
        bad = np.flatnonzero((flat[start : start + _CHUNK] & mask) == mask)
        if bad.size:
            place = np.unravel_index(start + int(bad[0]), array.shape)
            index = ", ".join(str(int(i)) for i in place)
            raise CheckpointError(
                f"tensor {name} has {float(array[place])} at [{index}], expected finite weights. "
                "The checkpoint is damaged: copy or convert it again."
            )


def _tensor_files(path: Path) -> dict[str, TensorFile]:
    """Which open file holds each tensor: one file, an index of shards, or shards without one."""
    if (path / SINGLE).exists():
        return _by_name([open_file(path / SINGLE)])
    if (path / INDEX).exists():
        return _indexed_files(path)
    shards = sorted(path.glob("model*.safetensors"))
    if not shards:
        others = sorted(file.name for file in path.glob("*.bin")) or ["none"]
        raise CheckpointError(
            f"{path} has no {SINGLE}, {INDEX} or model*.safetensors (other weights: {others[0]}). "
            "Convert the checkpoint with transformers' save_pretrained."
        )
    return _by_name(open_file(shard) for shard in shards)


def _by_name(files: Iterable[TensorFile]) -> dict[str, TensorFile]:
    found: dict[str, TensorFile] = {}
    for file in files:
        for name in file.entries:
            if name in found:
                raise CheckpointError(
                    f"tensor {name} is in both {found[name].path} and {file.path}, expected one."
                )
            found[name] = file
    return found


def _indexed_files(path: Path) -> dict[str, TensorFile]:
    """The shards an index names, which must hold exactly what it says they hold."""
    where = str(path / INDEX)
    weight_map = Fields(read_json(path / INDEX), where).section("weight_map")
    if not weight_map:
        raise CheckpointError(f"{where} has no weight_map, expected tensor names and their files.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{where} places {name} in {shard!r}, expected a file name.")
        if not (path / shard).exists():
            raise CheckpointError(
                f"{where} places {name} in {shard}, which is not in {path}. Copy that shard too."
            )
    shards = {shard: open_file(path / shard) for shard in sorted(set(weight_map.values()))}
    for name, shard in weight_map.items():
        if name not in shards[shard].entries:
            raise CheckpointError(f"{where} places {name} in {shard}, which does not hold it.")
    return _by_name(shards.values())


def _check_names(
    path: Path,
    config: ModelConfig,
    expected: Mapping[str, tuple[int, ...]],
    files: Mapping[str, TensorFile],
) -> None:
    """Refuse missing tensors, and extra ones unless they carry nothing of their own."""
    missing = [name for name in expected if name not in files]
    if missing:
        hint = (
            " If input and output embeddings are the same, config.json must say "
            "tie_word_embeddings = true."
            if missing == ["lm_head.weight"]
            else " Is a shard missing, or does config.json belong to another model?"
        )
        raise CheckpointError(f"{path} lacks {_listed(missing)}.{hint}")
    extra = [name for name in files if name not in expected and not _BENIGN.fullmatch(name)]
    if config.tied and "lm_head.weight" in extra:
        extra.remove("lm_head.weight")
        _check_tie(path, files)
    if extra:
        raise CheckpointError(
            f"{path} holds {_listed(extra)}, which a {config.family} model of this config.json "
            "does not use. Does config.json belong to another model?"
        )


def _check_tie(path: Path, files: Mapping[str, TensorFile]) -> None:
    """A stored output matrix of a tied model must be its embedding, bit for bit."""
    head, embedding = (
        files[name].tensor(name) if files[name].entries[name].dtype in DTYPES else None
        for name in ("lm_head.weight", "model.embed_tokens.weight")
    )
    if head is None or embedding is None or not _same_bits(head, embedding):
        raise CheckpointError(
            f"{path} says tie_word_embeddings = true, but its lm_head.weight differs from "
            "model.embed_tokens.weight. Set tie_word_embeddings = false, or remove the tensor."
        )


def _same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    left, right = (array.reshape(-1).view(np.uint8) for array in (a, b))
    pieces = range(0, left.size, _CHUNK)
    return all(np.array_equal(left[i : i + _CHUNK], right[i : i + _CHUNK]) for i in pieces)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"tensor {names[0]}{more}"


def _check_entry(path: Path, name: str, entry: Entry, shape: tuple[int, ...]) -> None:
    if entry.shape != shape:
        raise CheckpointError(
            f"tensor {name} in {path} has shape {list(entry.shape)}, expected {list(shape)} "
            "by config.json."
        )
    if entry.dtype not in DTYPES:
        raise CheckpointError(
            f"tensor {name} in {path} has dtype {entry.dtype}, expected one of "
            f"{', '.join(DTYPES)}. Convert the checkpoint to one of them."
        )
