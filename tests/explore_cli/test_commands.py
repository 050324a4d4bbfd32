"""The explorer's commands, run as a user runs them; figures against closed forms and identities."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Ran
from tests.explore_cli.browser import CHROMIUM, browser
from waferllm.cli.app import main
from waferllm.explore import SYSTEMS

Waferllm = Callable[..., Ran]
# Ideal efficiencies and no fixed times: what is left is bytes over bandwidth.
IDEAL = [
    f"--set={key}"
    for key in (
        "hbm.eff_16=1", "hbm.eff_kv=1", "chip.gemm_eff_16=1", "chip.kernel_us=0", "chip.step_us=0",
    )
]  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Waferllm:
    def waferllm(*arguments: str | Path) -> Ran:
        try:
            main([str(one) for one in arguments])
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return waferllm


def test_systems_are_ranked_and_the_others_say_why_not(run: Waferllm) -> None:
    ran = run("explore", "--systems", "h200x8,b200x8,phone", "--json")
    assert ran.code == 0
    made = json.loads(ran.out)
    *fitting, phone = made["rows"]
    prices = [row["figures"]["usd_per_mtok"]["value"] for row in fitting]
    assert prices == sorted(prices)
    assert {row["system"] for row in fitting} == {"h200x8", "b200x8"}
    assert not phone["fits"]
    assert "141.1 GB" in phone["why_not"]  # 70.55e9 parameters of 2 bytes
    assert made["source"] == "predicted"


def test_figures_of_a_row_agree_with_each_other(run: Waferllm) -> None:
    (row,) = json.loads(run("explore", "--systems", "h200x8", "--json").out)["rows"]
    value = {key: figure["value"] for key, figure in row["figures"].items()}
    load = 0.85
    assert value["user_tokens_per_s"] == pytest.approx(1 / value["tpot_s"])
    rate = load * value["system_tokens_per_s"]
    assert value["joules_per_token"] == pytest.approx(value["power_w"] / rate)
    hours = 1e6 / rate / 3600
    per_mtok = value["usd_per_chip_hour"] * 8 * hours
    assert value["usd_per_mtok"] == pytest.approx(per_mtok)
    assert sum(row["cost_usd_per_mtok"].values()) == pytest.approx(value["usd_per_mtok"])


@pytest.mark.parametrize("objective", ["power", "co2e", "latency", "throughput"])
def test_the_best_by_an_objective_is_no_worse_by_it_than_the_best_by_price(
    run: Waferllm, objective: str
) -> None:
    key, sign = {
        "power": ("joules_per_token", 1), "co2e": ("gco2e_per_mtok", 1), "latency": ("tpot_s", 1),
        "throughput": ("system_tokens_per_s", -1),
    }[objective]  # fmt: skip
    by_price, by_this = (
        json.loads(run("explore", "--systems=h200x8", "--objective", one, "--json").out)
        for one in ("tco", objective)
    )
    worse, better = (
        sign * made["rows"][0]["figures"][key]["value"] for made in (by_price, by_this)
    )
    assert better <= worse


def test_a_sweep_has_every_design_and_its_best_value_of_each_axis(run: Waferllm) -> None:
    asked = (
        "explore",
        "--systems",
        "h200x8,hbf-node",
        "--sweep",
        "hbm.stacks=4:6,site.pue=1.1|1.4",
    )
    made = json.loads(run(*asked, "--json").out)
    assert len(made["rows"]) == 2 * 3 * 2
    designs = {(row["system"], *row["design"].values()) for row in made["rows"]}
    assert designs == {
        (name, stacks, pue)
        for name in ("h200x8", "hbf-node") for stacks in (4, 5, 6) for pue in (1.1, 1.4)
    }  # fmt: skip
    shown = run(*asked)
    assert "3 hbm.stacks x 2 site.pue = 6 designs" in shown.err
    assert "$ per Mtok at best for each hbm.stacks" in shown.out


def test_a_design_that_cannot_be_built_is_a_row_that_says_so(run: Waferllm) -> None:
    made = json.loads(run("explore", "--sweep", "hbf.stacks=2:4:2,hbm.stacks=0|8", "--json").out)
    cannot = [row for row in made["rows"] if row["design"]["hbm.stacks"] == 0]
    assert len(cannot) == 2
    assert all("Flash cannot take it" in row["why_not"] for row in cannot)
    assert sum(row["fits"] for row in made["rows"]) == 2


def test_roofline_of_an_ideal_h100_lies_on_its_roof(run: Waferllm, tmp_path: Path) -> None:
    plot = tmp_path / "roof.png"
    ran = run("roofline", "--model=llama3.1-8b", "--system=h100", *IDEAL,
              "--set=workload.prompt_tokens=4095.5", "--set=workload.output_tokens=1",
              "--batch=1:64", "--plot", plot, "--json")  # fmt: skip
    made = json.loads(ran.out)
    decode = [point for point in made["points"] if point["phase"] == "decode"]
    assert [point["batch"] for point in decode] == [1, 2, 4, 8, 16, 32, 64]
    for point in decode:
        moved = 15_009_849_344 + point["batch"] * 4096 * 131_072  # weights read, and KV
        assert point["seconds"] == pytest.approx(moved / 3.35e12, rel=1e-6)
        assert point["share_of_roof"] == pytest.approx(1, rel=1e-6)
    assert np.asarray(Image.open(plot)).std() > 10  # something is drawn


def test_a_roofline_stops_where_memory_ends_and_says_so(run: Waferllm) -> None:
    ran = run("roofline", "--model=llama3.1-8b", "--system=h100", "--batch=1:4096")
    assert ran.code == 0
    assert "on nothing fits: llama3.1-8b on h100" in " ".join(ran.out.split())


def test_files_are_written_and_the_page_opens(run: Waferllm, tmp_path: Path) -> None:
    names = {"--html": "a.html", "--plot": "front.png", "--cost": "cost.png", "--tornado": "t.png"}
    files = [word for option, name in names.items() for word in (option, str(tmp_path / name))]
    ran = run("explore", "--systems", "h200x8,b200x8,phone", *files)
    assert ran.code == 0, ran.err
    for name in list(names.values())[1:]:
        assert np.asarray(Image.open(tmp_path / name)).std() > 10
    if CHROMIUM is None:
        return
    with browser(tmp_path / "profile") as page:
        page.open(tmp_path / "a.html")
        assert page.see("document.querySelectorAll('#table tbody tr').length") == 3
        assert "chip" in page.see("document.querySelector('#tornado').textContent")
        assert not page.faults


def test_every_number_of_every_system_has_a_source(run: Waferllm) -> None:
    for name in SYSTEMS:
        made = json.loads(run("systems", name, "--json").out)
        assert made["numbers"]
        for key, number in made["numbers"].items():
            assert number["source"], (name, key)
            assert number["tag"] in ("SEEN", "COMPUTED", "RECALLED", "UNVERIFIED", "ASSUMED")


def test_one_user_on_a_phone_is_never_batched(run: Waferllm) -> None:
    asked = ("explore", "--model=llama3.2-3b", "--workload=mobile-chat", "--json")
    rows = json.loads(run(*asked, "--systems=phone,phone-pim,h200x8").out)["rows"]
    assert [row["batch"] for row in rows] == [1, 1, 1]
    assert not any("DP" in row["sharding"] for row in rows)


def test_a_number_of_the_user_is_marked_as_theirs(run: Waferllm) -> None:
    made = json.loads(run("systems", "h200x8", "--set", "hbm.stacks=7", "--json").out)
    assert made["numbers"]["hbm.stacks"]["value"] == 7
    assert made["numbers"]["hbm.stacks"]["tag"] == "USER"


def test_calibration_shows_measured_beside_predicted(run: Waferllm) -> None:
    made = json.loads(run("systems", "--calibration", "--json").out)
    for points in made["points"].values():
        for point in points:
            error = point["predicted"] / point["measured"] - 1
            assert point["error"] == pytest.approx(error)


def test_a_system_of_ones_own_from_a_file(run: Waferllm, tmp_path: Path) -> None:
    file = tmp_path / "fast.toml"
    file.write_text('base = "h200x8"\nname = "fast"\n[hbm]\ngbps = 2000\n')
    made = json.loads(
        run("explore", "--systems", f"h200x8,{file}", "--objective=latency", "--json").out
    )
    assert [row["system"] for row in made["rows"]] == ["fast", "h200x8"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["explore", "--systems=h20x8"], "Did you mean h200"),
        (["explore", "--model=llama3-70"], "llama3-70b"),
        (["explore", "--workload=chatt"], "chat"),
        (["explore", "--objective=tcoo"], "tco"),
        (["explore", "--systems=h200x0"], "at least 1"),
        (["explore", "--systems=h200x8,h200x8"], "twice"),
        (["explore", "--set=hbm.stack=3"], "hbm.stacks"),
        (["explore", "--set=hbm.stacks=-3"], "hbm.stacks"),
        (["explore", "--set=site.pue=0"], "site.pue"),
        (["explore", "--set=workload.prompt=3"], "prompt_tokens"),
        (["explore", "--set=workload.prompt_tokens=0"], "more than zero"),
        (["explore", "--set=workload.prompt_tokens=many"], "expected a number"),
        (["explore", "--sweep=hbm.stack=1:3"], "hbm.stacks"),
        (["explore", "--sweep=hbm.stacks=1:3,site.load=1:2"], "site.load"),
        (["explore", "--sweep=a.b=0:999,c.d=0:999,e.f=0:9"], "10,000,000 designs"),
        (["explore", "--max-racks=0"], "more than zero"),
        (["explore", "--sharding=tp=3x"], "whole number"),
        (["explore", "--sharding=tpp=3"], "tp"),
        (["explore", "--sharding=tp=16", "--systems=h200x8"], "16 chips"),
        (["explore", "--html=a.txt"], ".html"),
        (["explore", "--plot=/nowhere/at/all/a.png"], "no folder"),
        (["explore", "--systems=missing.toml"], "missing.toml"),
        (["roofline", "--system=wse3x4"], "wafer"),
        (["roofline", "--batch=0:4"], "1 or more"),
        (["roofline", "--model=llama3-70b", "--system=phone"], "weights lack"),
        (["systems", "h200x8", "--calibration"], "--calibration"),
        (["systems", "--set=hbm.gb=3"], "name it"),
    ],
)
def test_a_mistake_is_one_sentence(run: Waferllm, asked: list[str], says: str) -> None:
    ran = run(*asked)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert ran.err.startswith("waferllm: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="needs POSIX signals")
def test_ctrl_c_in_a_sweep_keeps_what_is_done(tmp_path: Path) -> None:
    page = tmp_path / "part.html"
    asked = [
        "explore",
        "--sweep",
        "hbm.stacks=1:8,site.pue=1.1:1.5:500",
        "--html",
        str(page),
        "--json",
    ]
    running = subprocess.Popen(
        [sys.executable, "-c", "from waferllm.cli.app import main; main()", *asked],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stderr is not None
    assert "4,000 designs" in running.stderr.readline()
    interrupt_when_begun(running)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    made = json.loads(out)
    assert 0 < len(made["rows"]) < 4000
    assert "Ctrl-C" in made["partial"]
    assert page.exists()


def interrupt_when_begun(running: "subprocess.Popen[str]") -> None:
    """Its first chunk is done within a second; with nothing done, Ctrl-C would end it at once."""
    import time

    time.sleep(1.5)
    running.send_signal(signal.SIGINT)
