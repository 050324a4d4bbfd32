"""The decode programs of a model as families: one walk of small members, then any grid at once."""

from dataclasses import replace
from functools import lru_cache

import jax.numpy as jnp

from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.config import ModelConfig
from waferllm.models.placement import Placement
from waferllm.models.programs import ModelPrograms
from waferllm.plmr import Reading
from waferllm.plmr.walk import read
from waferllm.program import Program
from waferllm.tune.family import Family, Lines, Sizes

#: A sampled mesh: rows, and columns for each key/value head. Neither is a tile size or the other.
ROWS_SAMPLED, SPAN_SAMPLED = 9, 3


def decode_programs(
    config: ModelConfig, mesh: Mesh, *, tokens: int, batch: int, kv: str, combine: AllReduce,
    dtype: str,
) -> ModelPrograms:  # fmt: skip
    """The programs that decode on a mesh with room for `tokens` KV entries of each sequence."""
    return ModelPrograms(
        config, mesh, slots=batch, chunk=mesh.rows, capacity=tokens, kv=kv, combine=combine,
        dtype=jnp.dtype(dtype),
    )  # fmt: skip


def read_decode(
    programs: ModelPrograms, names: tuple[str, ...] = ("embed", "layer", "head")
) -> dict[str, Reading]:
    """Readings of embedding, layer and output: from families where there are any, else walked."""
    config, mesh, combine = programs.config, programs.mesh, programs.combine
    at = Placement(config, mesh)
    sizes = {
        "hidden": -(-config.hidden // mesh.rows), "ffn": -(-config.ffn // mesh.cols),
        "pairs": at.width // 2, "slots": programs.row_slots, "vocab": -(-config.vocab // mesh.cols),
        "batch": programs.slots,
    }  # fmt: skip
    if (
        mesh.cols < config.kv_heads
        or min(size for name, size in sizes.items() if name not in ("pairs", "batch")) < 2
        or combine.algorithm != "meshgemv"
    ):
        return {name: walked(programs, name) for name in names}
    lines = Lines(mesh, at.span, combine)
    kind = one_layer(config), str(jnp.dtype(programs.dtype)), at.span == 1
    policy = {"layer": programs.kv}
    found = {name: family(name, *kind, policy.get(name, "shift")) for name in names}
    return {name: one.at({n: sizes[n] for n in one.names}, lines) for name, one in found.items()}


def one_layer(config: ModelConfig) -> ModelConfig:
    """The same programs, whatever the number of layers: what readings are kept by."""
    return replace(config, name="", layers=1)


def walked(programs: ModelPrograms, name: str) -> Reading:
    """The same reading by walking the whole program."""
    if name == "layer":
        return read(programs.decode_layer())
    return read(programs.embed(programs.slots) if name == "embed" else programs.head())


def prefill_programs(
    config: ModelConfig, mesh: Mesh, *, chunk: int, capacity: int, dtype: str
) -> ModelPrograms:
    """The programs of a prompt of `capacity` tokens in chunks."""
    return ModelPrograms(config, mesh, chunk=chunk, capacity=capacity, dtype=jnp.dtype(dtype))


@lru_cache(maxsize=1024)
def read_prefill(programs: ModelPrograms) -> dict[str, Reading]:
    """The readings of embedding, layer and output for chunks of a prompt."""
    embed = read_decode(replace(programs, slots=programs.chunk), ("embed",))
    head = read_decode(programs, ("head",))
    return embed | {"layer": read(programs.prefill_layer())} | head


@lru_cache(maxsize=1024)
def read_chunk(programs: ModelPrograms, chunk: int) -> Reading:
    """The layer's reading for the `chunk`th chunk, which attends to those before it and itself."""
    return read(programs.prefill_layer(chunks=chunk))


_SIZES = {
    "embed": ("hidden", "vocab"),
    "layer": ("hidden", "ffn", "pairs", "slots"),
    "head": ("hidden", "vocab"),
}


@lru_cache(maxsize=64)
def family(program: str, config: ModelConfig, dtype: str, whole: bool, kv: str) -> Family:
    """Of "embed", "layer" or "head"; `whole` heads lie on one column each."""
    span = 1 if whole else SPAN_SAMPLED
    mesh = Mesh(ROWS_SAMPLED, span * config.kv_heads)

    def member(sizes: Sizes) -> Program:
        tile = {"hidden": 2, "ffn": 2, "pairs": 2, "slots": 2, "vocab": 2} | dict(sizes)
        small = replace(
            config,
            hidden=tile["hidden"] * mesh.rows,
            ffn=tile["ffn"] * mesh.cols,
            head_dim=2 * tile["pairs"] * span,
            vocab=tile["vocab"] * mesh.cols,
        )
        tokens = tile["slots"] * (mesh.rows if kv == "shift" else 1)
        programs = decode_programs(
            small, mesh, tokens=tokens, batch=tile["batch"], kv=kv, combine=AllReduce(), dtype=dtype
        )
        if program == "embed":
            return programs.embed(tile["batch"])
        return programs.head() if program == "head" else programs.decode_layer()

    return Family(member, _SIZES[program], Lines(mesh, span, AllReduce()), count="batch")
