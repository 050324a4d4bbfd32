"""The decode programs of a model as families: one walk of small members, then any grid at once."""

from collections.abc import Callable
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
    if mesh.cols < config.kv_heads or min(sizes.values()) < 2 or combine.algorithm != "meshgemv":
        return walked(programs)
    lines = Lines(mesh, at.span, combine)
    kind = (config, programs.slots, programs.kv, str(jnp.dtype(programs.dtype)), at.span == 1)
    return {
        name: family.at({n: sizes[n] for n in family.names}, lines)
        for name, family in families(*kind).items()
    }


def walked(programs: ModelPrograms) -> dict[str, Reading]:
    """The same readings by walking every program."""
    return {
        "embed": read(programs.embed(programs.slots)),
        "layer": read(programs.decode_layer()),
        "head": read(programs.head()),
    }


@lru_cache(maxsize=64)
def families(
    config: ModelConfig, batch: int, kv: str, dtype: str, whole: bool
) -> dict[str, Family]:
    """Embedding, layer and output; `whole` heads lie on one column each."""
    span = 1 if whole else SPAN_SAMPLED
    mesh = Mesh(ROWS_SAMPLED, span * config.kv_heads)
    given = {"hidden": 2, "ffn": 2, "pairs": 2, "slots": 2, "vocab": 2}

    def programs(sizes: Sizes) -> ModelPrograms:
        tile = given | dict(sizes)
        made = replace(
            config,
            hidden=tile["hidden"] * mesh.rows,
            ffn=tile["ffn"] * mesh.cols,
            head_dim=2 * tile["pairs"] * span,
            vocab=tile["vocab"] * mesh.cols,
        )
        tokens = tile["slots"] * (mesh.rows if kv == "shift" else 1)
        return decode_programs(
            made, mesh, tokens=tokens, batch=batch, kv=kv, combine=AllReduce(), dtype=dtype
        )

    def family(made: Callable[[ModelPrograms], Program], *names: str) -> Family:
        return Family(lambda s: made(programs(s)), names, Lines(mesh, span, AllReduce()))

    return {
        "embed": family(lambda p: p.embed(batch), "hidden", "vocab"),
        "layer": family(lambda p: p.decode_layer(), "hidden", "ffn", "pairs", "slots"),
        "head": family(lambda p: p.head(), "hidden", "vocab"),
    }
