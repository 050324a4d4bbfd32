"""Systems are values of sourced numbers; what cannot be is refused in one sentence."""

from pathlib import Path

import pytest

from waferllm import explore
from waferllm.chip.facts import Tag
from waferllm.errors import InputError
from waferllm.explore.collectives import TOPOLOGIES
from waferllm.explore.numbers import FIELDS


@pytest.mark.parametrize("name", explore.SYSTEMS)
def test_every_number_of_every_system_has_a_source(name: str) -> None:
    system = explore.system(name)
    assert set(system.numbers) == set(FIELDS)
    assert all(number.source.text for number in system.numbers.values())


def test_catalogue_figures_are_those_of_the_notes() -> None:
    flops = {"a100": 312, "h100": 989, "b200": 2250, "mi300x": 1307, "tpu-v5p": 459, "groq": 188}
    tbps = {"a100": 2.039, "h100": 3.35, "b200": 8.0, "mi300x": 5.3, "tpu-v5p": 2.765}
    for name, peak in flops.items():
        assert explore.system(name)["chip.tflops_16"] == peak
    for name, rate in tbps.items():
        d = explore.system(name)
        assert d["hbm.stacks"] * d["hbm.gbps"] == pytest.approx(rate * 1e3)
    assert explore.system("gb200-nvl72")["chip.count"] == 72


def test_the_four_directions_keep_the_ratios_of_the_papers_tables() -> None:
    flash = explore.system("hbf-node")
    assert flash["hbf.gb"] / flash["hbm.gb"] == pytest.approx(512 / 48)
    assert flash["hbf.gbps"] == flash["hbm.gbps"] == 1638
    for name, low, high in (("pim-node", 5, 10), ("pnm-node", 2, 5)):
        assert low <= 1 / explore.system(name)["pnm.pj_scale"] <= high  # bandwidth per watt
    pim, plain = explore.system("pim-node"), explore.system("hbm4-node")
    assert pim["hbm.gb"] < plain["hbm.gb"]  # shares its die with logic
    assert pim["hbm.usd_per_gb"] > plain["hbm.usd_per_gb"]  # no commodity
    assert explore.system("pnm-node")["hbm.gb"] == plain["hbm.gb"]
    assert explore.system("pnm-node")["pnm.shard_gb"] / pim["pnm.shard_gb"] == pytest.approx(500)
    stacked = explore.system("stacked-node")
    ratio = plain["hbm.pj_per_bit"] / stacked["hbm.pj_per_bit"]
    assert 2 <= ratio <= 3
    assert stacked["chip.thermal_w"] < plain["chip.thermal_w"]


def test_a_file_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'base = "h200x8"\nname = "mine"\n[hbf]\nstacks = 4\n[link]\ntopology = "ring"\n'
    )
    made = explore.load_system(file)
    assert (made.name, made["hbf.stacks"], made["hbf.gb"]) == ("mine", 4, 512)
    assert made.number("hbf.stacks").source.tag is Tag.USER
    assert made["hbm.gbps"] == explore.system("h200")["hbm.gbps"]
    assert TOPOLOGIES[int(made["link.topology"])] == "ring"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('base = "h200x8"\n[hbm]\nstaks = 4\n', "Did you mean hbm.stacks"),
        ('base = "h200x8"\n[hmb]\nstacks = 4\n', "Did you mean hbm"),
        ('base = "h900x8"\n', "Unknown system 'h900x8'"),
        ("[hbm]\nstacks = 4\n", "lacks base"),
        ('base = "h200x8"\nhbm = 4\n', "is not a table"),
        ("base = ", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        explore.load_system(file)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hbm.gbps": -1}, "hbm.gbps"),
        ({"chip.count": 0}, "chip.count"),
        ({"hbm.eff_16": 1.2}, "between 0 and 1"),
        ({"link.reduces": 0.5}, "expected 0 .no. or 1"),
        ({"hbm.stacks": 0}, "needs memory for its live KV cache"),
        ({"hbf.stacks": 1, "hbf.buffer_mb": 0}, "read-ahead buffer"),
        ({"pnm.gain": 0.5}, "at least the bandwidth"),
        ({"pnm.gain": 2, "pnm.tflops": 0}, "has no compute"),
        ({"link.topology": "rong"}, "Did you mean ring"),
        ({"link.topology": 99}, "expected one of switch"),
        ({"hbm.stacks": "many"}, "is not a number"),
        ({"hbm.stack": 1}, "Did you mean hbm.stacks"),
        ({"hbm.gb": float("nan")}, "hbm.gb"),
    ],
)
def test_impossible_parts_are_refused(changes: dict[str, float | str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        explore.system("h100x8").with_numbers(changes)


def test_logic_needs_dram_to_be_near() -> None:
    with pytest.raises(InputError, match="no DRAM"):
        explore.system("groqx8").with_numbers({"pnm.gain": 2, "pnm.tflops": 1})


def test_switching_a_part_on_brings_its_catalogue_numbers_and_their_tags() -> None:
    made = explore.system("h100x8").with_numbers({"hbf.stacks": 2, "pnm.gain": 2})
    assert made["hbf.gb"] == 512
    assert made.number("hbf.gb").source.tag is Tag.UNVERIFIED
    assert made["pnm.tflops"] == pytest.approx(16 * 3.35)  # operations a byte of its bus


def test_names_take_counts_and_unknown_ones_offer_the_nearest() -> None:
    assert explore.system("H100x4").chips == 4
    with pytest.raises(InputError, match="Did you mean h100"):
        explore.system("h1000x4")
    with pytest.raises(InputError, match="at least 1"):
        explore.system("h100x0")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"promt_tokens": 1}, "Did you mean prompt_tokens"),
        ({"prompt_tokens": 0}, "more than zero"),
        ({"cached_tokens": -1}, "zero or more"),
        ({"output_tokens": float("inf")}, "finite"),
    ],
)
def test_workloads_that_cannot_be_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        explore.WORKLOADS["chat"].with_(**changes)


def test_unknown_workloads_and_formats_offer_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean chat"):
        explore.find_workload("chatt")
    work = explore.WORKLOADS["chat"].with_(dtype="fp9")
    with pytest.raises(InputError, match="Did you mean fp8"):
        explore.evaluate("h100x8", work, explore.Sharding(tp=8), model="llama3-70b")
