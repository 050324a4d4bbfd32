"""What is shown of a run: stalls counted by hand, spans of a trace, the two pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.csl.machine.assemble import (
    END,
    code,
    constant,
    fabric_in,
    in_register,
    machine,
    memory_dsd,
    packed,
    route,
    vector,
)
from tests.csl.machine.test_fabric import RED, along_a_row, sender, torus_like
from waferllm.csl.code import Kind, Op, Vector
from waferllm.csl.machine import Machine
from waferllm.csl.machine.show import summary, write_activity, write_heatmap
from waferllm.csl.machine.state import C_STALL_IN
from waferllm.csl.machine.trace import STALLS_ROW, write_trace

DIVIDE_CYCLES = 50  # a comment in the published examples
DIVISIONS = 20


def late(asynchronous: bool, events: int = 0) -> Machine:
    """The receiver waits while the sender divides; then ten wavelets come."""
    west = sender(np.arange(10))
    rows = [constant(3, 0), *[(Op.DIV, Kind.U64, 4, 3, 3)] * DIVISIONS, *west.instructions.tolist()]
    slow = code(
        rows, dsds=[dict(zip(_names(), row, strict=True)) for row in west.dsds.tolist()],
        constants=west.constants.tolist(), memory=west.memory, outputs={2: RED},
    )  # fmt: skip
    rows = [constant(0, 0), constant(1, 1)]
    rows += [
        vector(Vector.MOV32, in_register(1), in_register(0), options=0 if asynchronous else -1),
        END,
    ]
    east = code(
        rows, dsds=[fabric_in(RED), memory_dsd()], options=[{"async": 1}],
        constants=[packed(0, 10), packed(1, 10, 0, 2)], memory=20, inputs={2: RED},
    )  # fmt: skip
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}
    made = machine({(0, 0): slow, (1, 0): east}, routes, events=events)
    made.run("quiet")
    return made


def _names() -> tuple[str, ...]:
    from waferllm.csl.code import DSD_COLUMNS

    return DSD_COLUMNS


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_core_that_waits_is_stalled_for_as_long_as_it_waits(asynchronous: bool) -> None:
    ran = late(asynchronous)
    stalled = ran.counters()["stalled"]
    # Both start alike; the receiver is ready at once, the sender after its divisions; the first wavelet
    # then takes two ramps and a hop.
    assert stalled[1] == pytest.approx(DIVISIONS * DIVIDE_CYCLES, abs=10)
    assert int(ran.stalls()[1, C_STALL_IN]) == stalled[1]
    assert stalled[0] == 0


def test_compute_stalled_and_idle_are_all_cycles() -> None:
    for ran in (late(asynchronous=True), torus_like((0, 1))):
        held = ran.counters()
        np.testing.assert_array_equal(sum(held.values()), ran.cycle)


def test_the_trace_has_each_task_and_operation_once(tmp_path: Path) -> None:
    ran = late(asynchronous=True, events=1000)
    spans = write_trace(ran, tmp_path / "trace.json")
    held = json.loads((tmp_path / "trace.json").read_text())
    events = [each for each in held["traceEvents"] if each["ph"] == "X"]
    assert spans == len(events)
    events = [each for each in events if each["tid"] != STALLS_ROW]
    assert len(events) == 4  # a task and an operation on each of two PEs
    assert held["otherData"]["events_lost"] == 0
    divisions = next(e for e in events if e["pid"] == 0 and e["tid"] == 0)
    assert divisions["name"] == "main"
    assert divisions["dur"] >= DIVISIONS * DIVIDE_CYCLES
    received = next(e for e in events if e["pid"] == 1 and e["tid"] > 0)
    assert received["name"] == "@mov32 hand.csl:3"
    assert received["ts"] + received["dur"] <= ran.cycle
    assert received["dur"] >= DIVISIONS * DIVIDE_CYCLES


def test_a_trace_that_is_full_says_how_much_is_lost(tmp_path: Path) -> None:
    write_trace(late(asynchronous=True, events=3), tmp_path / "trace.json")
    # Begin and end of a task and an operation on each of two PEs, and a stall; three are kept.
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"]["events_lost"] == 9 - 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stall_is_one_span_with_its_cause(asynchronous: bool, tmp_path: Path) -> None:
    stalls = stalls_in_trace(late(asynchronous, events=1000), tmp_path)
    assert [(each["pid"], each["name"]) for each in stalls] == [(1, "waiting for wavelets")]
    assert stalls[0]["dur"] == pytest.approx(DIVISIONS * DIVIDE_CYCLES, abs=10)


def test_a_stall_that_never_ends_is_in_the_trace(tmp_path: Path) -> None:
    # Routers and queues take fourteen of twenty wavelets, since nobody receives them.
    codes = {(0, 0): sender(np.arange(20)), (1, 0): code([END])}
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}
    ran = machine(codes, routes, events=1000)
    ran.run("quiet")
    ran.run("quiet", 100)
    stalls = stalls_in_trace(ran, tmp_path)
    assert stalls[-1]["name"] == "waiting to send"
    assert stalls[-1]["ts"] + stalls[-1]["dur"] == ran.cycle
    assert sum(each["dur"] for each in stalls) == ran.counters()["stalled"].sum()


def stalls_in_trace(ran: Machine, folder: Path) -> list[dict[str, Any]]:
    write_trace(ran, folder / "trace.json")
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    return [each for each in events if each["ph"] == "X" and each["tid"] == STALLS_ROW]


def test_the_summary_counts_hops_and_names_the_busiest_link() -> None:
    ran = along_a_row(4, 25)
    text = "\n".join(summary(ran))
    assert f"{ran.cycle:,} cycles on 5x1 PEs" in text
    assert "100 hops of wavelets" in text
    assert "to the east" in text


def test_pictures_are_written(tmp_path: Path) -> None:
    ran = along_a_row(4, 25)
    for write, name in ((write_activity, "activity.png"), (write_heatmap, "heat.png")):
        write(ran, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
