"""Power, money, carbon and wear, recomputed by hand from a result's own rates."""

from math import isnan

import pytest

from tests.explore.ideal import ask, ideal, point
from waferllm import explore
from waferllm.explore.chips import ACT_YIELD, CHIPS, IC_SCALE

YEAR_S, YEAR_H = 8760 * 3600, 8760
MODEL = "llama3-70b"
CUT = {"tp": 8, "batch": 32}


def _sums(name: str = "h100x8") -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    return dict(explore.system(name).values()), ask(explore.system(name), point(), MODEL, **CUT)


def test_dollars_are_capital_building_electricity_and_staff_over_tokens() -> None:
    d, made = _sums()
    each = d["chip.usd"] + 80 * d["hbm.usd_per_gb"] + d["host.usd"]
    assert d["chip.usd"] + 80 * d["hbm.usd_per_gb"] == pytest.approx(30_000)  # its market price
    watts = made["figures"]["power_w"]
    yearly = (
        8 * each / 4
        + 8 * (700 + d["host.w"]) * 11 / 17.5
        + watts / 1000 * YEAR_H * 1.2 * 0.08
        + 8 * each * 0.01
    )
    mtok = made["figures"]["system_tokens_per_s"] * 0.85 * YEAR_S / 1e6
    assert made["figures"]["usd_per_mtok"] == pytest.approx(yearly / mtok)
    assert sum(made["cost"].values()) == pytest.approx(yearly / mtok)
    # the form that clouds use: dollars an hour over tokens an hour
    hourly = made["figures"]["usd_per_chip_hour"] * 8
    assert hourly / (made["figures"]["system_tokens_per_s"] * 0.85 * 3600) * 1e6 == pytest.approx(
        made["figures"]["usd_per_mtok"]
    )


def test_an_h100_hour_costs_what_owners_pay() -> None:
    """InferenceX: $1.30 (hyperscaler) to $1.69 (neocloud) an hour, all in; ours has no interest."""
    result = explore.evaluate("h100x8", "chat", explore.Sharding(tp=8, batch=32), model=MODEL)
    figure = result.figures["usd_per_chip_hour"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < 1.30 < figure.high
    assert figure.low < 1.69 < figure.high


def test_carbon_is_embodied_over_life_and_electricity_times_the_grid() -> None:
    d, made = _sums()
    logic = 8.14 * 1.54 / ACT_YIELD * IC_SCALE
    kg = 8 * (logic + d["chip.other_kg"] + 80 * d["hbm.kg_per_gb"] + 500)
    assert made["figures"]["embodied_kg"] == pytest.approx(kg)
    yearly_g = 1000 * kg / 4 + made["figures"]["power_w"] / 1000 * YEAR_H * 1.2 * 369
    mtok = made["figures"]["system_tokens_per_s"] * 0.85 * YEAR_S / 1e6
    assert made["figures"]["gco2e_per_mtok"] == pytest.approx(yearly_g / mtok)


def test_an_h100_weighs_what_nvidias_footprint_says() -> None:
    d = explore.system("h100").values()
    kg = d["chip.die_cm2"] * d["chip.kg_per_cm2"] + d["chip.other_kg"] + 80 * d["hbm.kg_per_gb"]
    assert kg == pytest.approx(1312 / 8, rel=0.01)
    assert d["chip.die_cm2"] * d["chip.kg_per_cm2"] == pytest.approx(0.25 * 164, rel=0.01)


def test_power_is_what_every_pass_moves_and_computes_beside_idle_and_host() -> None:
    d, made = _sums()
    rate = made["figures"]["system_tokens_per_s"] * 0.85 / 512
    path = d["hbm.pj_per_bit"] + d["chip.path_pj_per_bit"]
    prompts = 2  # of 1,024 tokens, share a pass
    moved = 8 * (512 / 32 * made["work"]["decode_bytes"] + made["work"]["prefill_bytes"] / prompts)
    assert made["power"]["hbm"] == pytest.approx(rate * moved * 8e-12 * path)
    done = 8 * (512 / 32 * made["work"]["decode_flops"] + made["work"]["prefill_flops"] / prompts)
    assert made["power"]["compute"] == pytest.approx(rate * done * 0.7 * 700 / 989e12)
    assert made["power"]["static"] == pytest.approx(8 * 0.3 * 700)
    assert sum(made["power"].values()) == pytest.approx(made["figures"]["power_w"])
    assert made["figures"]["joules_per_token"] == pytest.approx(
        made["figures"]["power_w"] / (made["figures"]["system_tokens_per_s"] * 0.85)
    )


@pytest.mark.parametrize("name", [name for name in CHIPS if name not in ("groq",)])
def test_no_chip_draws_more_than_its_cooling(name: str) -> None:
    system = explore.system(name)
    if isnan(system["chip.tdp_w"]):
        pytest.skip("rated power is not published")
    work = point(prompt=256, output=256, dtype="int4", kv_dtype="fp8")
    made = ask(system.with_numbers({"site.load": 1.0}), work, "llama3-8b", batch=4)
    chip_w = made["figures"]["power_w"] - made["power"]["host"]
    assert chip_w <= system["chip.thermal_w"] * (1 + 1e-9)


def test_flash_lives_as_long_as_its_writes_allow() -> None:
    flash = {"hbm__stacks": 0, "ddr__devices": 8, "ddr__gb": 64, "hbf__stacks": 1, "hbf__gb": 512}
    system = ideal("h100x2", **flash)
    made = ask(system, point(output=512, weight_updates_per_year=12), MODEL, dp=2, batch=2)
    budget = 2 * 512e9 * 100_000 / 1.02
    weights = 2 * made["held"]["weights_hbf"]  # each of two replicas has its copy
    assert weights > 2 * 139e9
    assert made["flash"]["years"] == pytest.approx(budget / (12 * weights))
    assert made["flash"]["load_s"] == pytest.approx(weights / 2 / 48e9)
    assert made["flash"]["buffer_mb_needed"] == pytest.approx(2 * 1638e9 * 20e-6 / 1e6)
    rate = made["figures"]["system_tokens_per_s"] / 512
    live = rate * (1024 + 512) * 327_680 * YEAR_S
    assert made["flash"]["years_if_live_kv"] == pytest.approx(budget / (12 * weights + live))


def test_a_missing_price_leaves_the_metric_out_and_says_so() -> None:
    made = explore.search("mi355xx8", "chat", model=MODEL)
    assert made.value("usd_per_mtok") is None
    assert "chip.usd" in made.figures["usd_per_mtok"].why_missing
    assert made.cost_usd_per_mtok == {}
    assert made.value("tpot_s") is not None


def test_ranges_hold_the_value_and_certain_inputs_have_none() -> None:
    made = explore.evaluate("h100x8", "chat", explore.Sharding(tp=8, batch=32), model=MODEL)
    for key, figure in made.figures.items():
        assert figure.value is not None, key
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    d = explore.system("h100x8")
    sure = {key: d[key] for key in d.ranged}
    cut = explore.Sharding(tp=8, batch=32)
    exact = explore.evaluate(d.with_numbers(sure), "chat", cut, model=MODEL)
    cost = exact.figures["usd_per_mtok"]
    assert (cost.low, cost.high) == (cost.value, cost.value)
