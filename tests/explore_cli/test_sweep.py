"""A sweep visits every design once, states its size first, and keeps what is done on Ctrl-C."""

import os
import signal
from collections.abc import Sequence

import pytest

from waferllm.cli.explore_options import parse_sweep
from waferllm.cli.explore_sweep import sweep
from waferllm.reports.explore_rows import Row

GRID = parse_sweep("hbf.stacks=0:8,hbm.stacks=1:4")


def named(designs: Sequence[dict[str, float]]) -> list[Row]:
    return [Row(f"{d['hbf.stacks']:g}+{d['hbm.stacks']:g}", design=d) for d in designs]


def test_every_design_once_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep(GRID, named, chunk_designs=7)
    assert [row.name for row in found.rows] == [f"{a}+{b}" for a in range(9) for b in range(1, 5)]
    assert (found.done, found.size, found.partial) == (36, 36, "")
    shown = capsys.readouterr()
    assert "9 hbf.stacks x 4 hbm.stacks = 36 designs" in shown.err
    assert shown.out == ""


def test_ctrl_c_keeps_whole_chunks_and_says_how_many() -> None:
    chunks = 0

    def interrupted(designs: Sequence[dict[str, float]]) -> list[Row]:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return named(designs)

    found = sweep(GRID, interrupted, chunk_designs=5)
    assert (chunks, found.done, len(found.rows)) == (3, 15, 15)
    assert found.partial == "Ctrl-C after 15 of 36 designs; the rest is missing here."
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
