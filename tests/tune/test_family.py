"""A reading from a family equals the walk of the whole program, on placements drawn at random."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from waferllm.chip import WSE2
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import Mesh
from waferllm.models.registry import find_config
from waferllm.plmr.time import time_of
from waferllm.tune.family import Family, Lines, NotOneFamilyError
from waferllm.tune.members import decode_programs, read_decode, walked

MODELS = ("llama3-8b", "qwen2-7b")


def drawn(model, seed):
    """A placement drawn at random: any rectangle, tree, batch, context and KV policy."""
    rng = np.random.default_rng(seed)
    mesh = Mesh(int(rng.integers(40, 700)), int(rng.integers(60, 900)))
    kv = str(rng.choice(["shift", "concat"]))
    tree = (
        AllReduce(k=int(rng.integers(1, 9)), end=bool(rng.random() < 0.5))
        if rng.random() < 0.5
        else AllReduce(groups=int(rng.integers(2, 40)))
    )
    batch, tokens = int(rng.choice([1, 2, 4, 7, 64])), int(rng.integers(2000, 9000))
    return decode_programs(
        find_config(model), mesh, tokens=tokens, batch=batch, kv=kv, combine=tree, dtype="float16"
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", MODELS)
def test_the_fast_reading_is_the_walk(model, seed):
    programs = drawn(model, seed)
    for name, fast in read_decode(programs).items():
        slow = walked(programs, name)
        assert replace(fast, useful_share=0.0, equations=0) == replace(
            slow, useful_share=0.0, equations=0
        )
        assert time_of(fast, WSE2).cycles == time_of(slow, WSE2).cycles


def test_the_fast_reading_is_the_walk_where_a_core_has_one_rotary_pair():
    programs = decode_programs(
        find_config("llama3-8b"), Mesh(331, 720), tokens=8192, batch=2, kv="concat",
        combine=AllReduce(k=3), dtype="float16",
    )  # fmt: skip
    fast, slow = read_decode(programs)["layer"], walked(programs, "layer")
    assert fast.phases == slow.phases
    assert fast.memory_bytes_per_core == slow.memory_bytes_per_core


def test_members_of_different_structure_are_refused():
    config, policies = find_config("llama3-8b"), cycle(["shift", "concat"])

    def member(sizes):
        return decode_programs(
            config, Mesh(9, 24), tokens=9 * sizes["slots"], batch=1, kv=next(policies),
            combine=AllReduce(), dtype="float16",
        ).decode_layer()  # fmt: skip

    with pytest.raises(NotOneFamilyError):
        Family(member, ("slots",), Lines(Mesh(9, 24), 3, AllReduce()))
