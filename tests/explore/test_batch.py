"""One evaluation, two array modules: JAX agrees with NumPy, and its derivatives with differences."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from waferllm import explore
from waferllm.errors import CapacityError, InputError
from waferllm.explore import batch
from waferllm.explore.batch import compiled, evaluate_many
from waferllm.explore.evaluating import inputs, numpy_evaluate

MODEL = "llama3-70b"
CHAT = explore.WORKLOADS["chat"]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same operations without the seconds of compiling them, in every thread; two chunks."""
    monkeypatch.setattr(batch, "CHUNK", 32)
    jax.config.update("jax_disable_jit", True)
    yield
    jax.config.update("jax_disable_jit", False)


@pytest.mark.usefixtures("eager")
def test_many_designs_at_once_are_what_one_by_one_they_are() -> None:
    rng = np.random.default_rng(0)
    count = 40
    designs = {
        "hbm.gbps": rng.uniform(500, 2000, count),
        "hbf.stacks": rng.integers(0, 5, count),
        "link.latency_us": rng.uniform(0.2, 2, count),
        "tp": rng.choice([1, 2, 4, 8], count),
        "batch": rng.integers(1, 256, count),
    }
    made = evaluate_many("h100x8", "chat", designs, model=MODEL)
    system = explore.system("h100x8").with_numbers({"hbf.stacks": 1})
    for n in range(0, count, 5):
        d, m, w = inputs(system, explore.find_shape(MODEL), CHAT)
        s = explore.Sharding().values()
        for key, values in designs.items():
            (s if key in s else d)[key] = float(values[n])
        alone = numpy_evaluate(d, m, w, s)
        for group, figures in alone.items():
            for key, value in figures.items():
                got = float(made[group][key][n])
                if np.isnan(value):
                    assert np.isnan(got)
                else:
                    assert got == pytest.approx(float(value), rel=2e-3, abs=1e-6), (group, key)


def test_the_evaluation_traces_under_jit_and_vmap() -> None:
    d, m, w = inputs(explore.system("hbf-node"), explore.find_shape("deepseek-v3"), CHAT)
    s = explore.Sharding(tp=8).values()
    many = {**d, "hbm.gbps": jnp.linspace(500.0, 2000.0, 7)}
    traced = jax.eval_shape(compiled(), many, m, w, s)
    assert traced["figures"]["tpot_s"].shape == (7,)
    over = {key: 0 if key == "hbm.gbps" else None for key in d}
    mapped = jax.eval_shape(jax.vmap(compiled(), in_axes=(over, None, None, None)), many, m, w, s)
    assert mapped["cost"]["capital"].shape == (7,)


def test_designs_that_cannot_be_are_refused() -> None:
    for designs, says in (
        ({}, "at least one array"),
        ({"hbm.gbps": [1.0, 2.0], "tp": [1.0]}, "arrays of one length"),
        ({"tp": [0.0]}, "too small"),
        ({"tp": []}, "empty arrays"),
        ({"hbm.gbps": [-1.0]}, "hbm.gbps"),
        ({"hbm.gbp": [1.0]}, "Did you mean hbm.gbps"),
    ):
        with pytest.raises(InputError, match=says):
            evaluate_many("h100x8", "chat", designs, model=MODEL)


def test_sensitivities_of_what_cannot_be_are_refused() -> None:
    for system, cut, metric, error, says in (
        ("h100", {}, "tpot_s", CapacityError, "weights lack"),
        ("wse3x1", {}, "tpot_s", InputError, "wafers have no sensitivities"),
        ("h100x8", {"tp": 8}, "tpott_s", InputError, "Did you mean tpot_s"),
        ("tpu-v5px8", {"tp": 8}, "usd_per_mtok", InputError, "no purchase price was found"),
    ):
        with pytest.raises(error, match=says):
            explore.sensitivity(system, "chat", explore.Sharding(**cut), model=MODEL, metric=metric)
    with pytest.raises(InputError, match="wafers are placed by"):
        evaluate_many("wse3x1", "chat", {"batch": [1.0]}, model=MODEL)


def test_derivatives_are_those_of_small_steps() -> None:
    made = explore.sensitivity(
        "h100x8", "chat", explore.Sharding(tp=8, batch=32), model=MODEL, metric="tpot_s"
    )
    d, m, w = inputs(explore.system("h100x8"), explore.find_shape(MODEL), CHAT)
    s = explore.Sharding(tp=8, batch=32).values()
    step = 1e-4

    def log_tpot(key: str, factor: float) -> float:
        return float(
            np.log(numpy_evaluate({**d, key: d[key] * factor}, m, w, s)["figures"]["tpot_s"])
        )

    assert {one.key for one in made} >= {"hbm.gbps", "hbm.stacks", "chip.kernel_us", "link.gbps"}
    for one in made:
        slope = (log_tpot(one.key, 1 + step) - log_tpot(one.key, 1 - step)) / (2 * step)
        assert one.elasticity == pytest.approx(slope, abs=2e-3), one.key


def test_a_figure_that_only_memory_bounds_is_inverse_to_its_bandwidth() -> None:
    free = {
        "chip.kernel_us": 0.0,
        "link.software_us": 0.0,
        "link.peer_us": 0.0,
        "link.latency_us": 0.0,
    }
    made = explore.sensitivity(
        explore.system("h100").with_numbers({**free, "hbm.gb": 1000}), "reasoning",
        explore.Sharding(), model="llama3-8b", metric="tpot_s", exact=False, change=0.01,
    )  # fmt: skip
    strongest = made[0]
    assert strongest.key in ("hbm.gbps", "hbm.stacks")
    assert strongest.elasticity == pytest.approx(-1, abs=0.02)
