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


def read_decode(programs: ModelPrograms) -> dict[str, Reading]:
    """The readings of embedding, layer and output: from families where there are any, else walked."""
    config, mesh, combine = programs.config, programs.mesh, programs.combine
    at = Placement(config, mesh)
    sizes = {
        "hidden": -(-config.hidden // mesh.rows), "ffn": -(-config.ffn // mesh.cols),
        "pairs": at.width // 2, "slots": programs.row_slots, "vocab": -(-config.vocab // mesh.cols),
    }  # fmt: skip
    if (
        mesh.cols < config.kv_heads
        or min(size for name, size in sizes.items() if name != "pairs") < 2
        or combine.algorithm != "meshgemv"
    ):
        return walked(programs)
    lines = Lines(mesh, at.span, combine)
    kind = (one_layer(config), programs.slots, str(jnp.dtype(programs.dtype)), at.span == 1)
    found = {
        "embed": family("embed", *kind),
        "layer": family("layer", *kind, programs.kv),
        "head": family("head", *kind),
    }
    return {name: one.at({n: sizes[n] for n in one.names}, lines) for name, one in found.items()}


def one_layer(config: ModelConfig) -> ModelConfig:
    """The same programs, whatever the number of layers: what readings are kept by."""
    return replace(config, name="", layers=1)


def walked(programs: ModelPrograms) -> dict[str, Reading]:
    """The same readings by walking every program."""
    return {
        "embed": read(programs.embed(programs.slots)),
        "layer": read(programs.decode_layer()),
        "head": read(programs.head()),
    }


@lru_cache(maxsize=1024)
def read_prefill(
    config: ModelConfig, mesh: Mesh, *, chunk: int, capacity: int, dtype: str
) -> tuple[dict[str, Reading], ModelPrograms]:
    """The readings of embedding, layer and output for chunks of a prompt, and their programs."""
    programs = ModelPrograms(config, mesh, chunk=chunk, capacity=capacity, dtype=jnp.dtype(dtype))
    readings = {
        "embed": read(programs.embed(programs.chunk)),
        "layer": read(programs.prefill_layer()),
        "head": read(programs.head()),
    }
    return readings, programs


_SIZES = {
    "embed": ("hidden", "vocab"),
    "layer": ("hidden", "ffn", "pairs", "slots"),
    "head": ("hidden", "vocab"),
}


@lru_cache(maxsize=64)
def family(
    program: str, config: ModelConfig, batch: int, dtype: str, whole: bool, kv: str = "shift"
) -> Family:
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
            small, mesh, tokens=tokens, batch=batch, kv=kv, combine=AllReduce(), dtype=dtype
        )
        if program == "embed":
            return programs.embed(batch)
        return programs.head() if program == "head" else programs.decode_layer()

    return Family(member, _SIZES[program], Lines(mesh, span, AllReduce()))
