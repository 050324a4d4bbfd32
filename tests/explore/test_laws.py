"""Laws that every design obeys: floors, Little's law, cooling, nothing negative, over random designs."""

from random import Random
from typing import Any

import numpy as np
import pytest

from tests.explore.ideal import IDEAL
from waferllm import explore
from waferllm.explore.evaluating import inputs, numpy_evaluate
from waferllm.explore.sharding import shardings

SYSTEMS = (
    "h100x8", "h200x16", "gb200-nvl72", "hbf-node", "pnm-node", "pim-node", "lowlat-node", "groqx256",
    "tpu-v5px64", "sn40lx16", "phone-hbf", "m4-max",
)  # fmt: skip
MODELS = ("llama3-8b", "llama3-70b", "deepseek-v3", "gpt-oss-120b", "mixtral-8x7b")
EACH = 25


def _machine(rng: Random, name: str) -> explore.System:
    """As it is, or without overheads, where nothing hides what is below a floor."""
    system = explore.system(name)
    if rng.random() < 0.5:
        return system
    return system.with_numbers({k: v for k, v in IDEAL.items() if k != "chip.thermal_w"})


def _work(rng: Random) -> explore.Workload:
    work = rng.choice(list(explore.WORKLOADS.values()))
    return work.with_(
        prompt_tokens=10 ** rng.uniform(0, 5), output_tokens=10 ** rng.uniform(0, 4),
        dtype=rng.choice(["", "fp8", "int4", "fp4"]),
    )  # fmt: skip


def _cut(rng: Random, shape: explore.Shape, chips: int) -> explore.Sharding:
    row = rng.choice(shardings(shape, chips))
    names = ("tp", "pp", "cp", "dp", "ep", "prefill_chips")
    made = {name: int(value) for name, value in zip(names, row, strict=True)}
    batch = rng.choice([1, 2, 7, 64, 512, 4096])
    return explore.Sharding(**made, batch=batch, cool_flash=rng.choice([0, 1]))


def _obeys(d: dict[str, Any], cut: explore.Sharding, made: dict[str, dict[str, Any]]) -> None:
    figures = {key: float(value) for key, value in made["figures"].items()}
    in_flight = cut.dp * cut.batch
    if any(map(float, made["decode_s"].values())):  # denoising gives all tokens at once
        assert figures["system_tokens_per_s"] * figures["tpot_s"] <= in_flight * (1 + 1e-9)
    for group in ("decode_s", "prefill_s", "held", "work"):
        assert all(float(value) >= 0 for value in made[group].values())
    assert all(np.isnan(value) or 0 <= value < np.inf for value in figures.values())
    if not sum(map(float, made["fits"].values())) and not np.isnan(figures["power_w"]):
        idle_w = d["chip.static_share"] * d["chip.tdp_w"]
        most_w = d["chip.count"] * max(d["chip.thermal_w"], idle_w)
        assert figures["power_w"] - float(made["power"]["host"]) <= most_w * (1 + 1e-6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_random_designs_obey(name: str) -> None:
    rng = Random(name)
    for _ in range(EACH):
        system, shape = _machine(rng, name), explore.find_shape(rng.choice(MODELS))
        cut = _cut(rng, shape, system.chips)
        d, m, w = inputs(system, shape, _work(rng))
        _obeys(d, cut, numpy_evaluate(d, m, w, cut.values()))  # raises below a floor
