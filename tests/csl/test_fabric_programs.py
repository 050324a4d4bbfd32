"""Programs of several PEs on the machine: tasks, switches, filters, queues, streams of the host."""

from pathlib import Path

import numpy as np
import pytest

from tests.csl.running import Board, compiled, started
from waferllm.csl import registers
from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder
from waferllm.csl.machine.diagnose import mistakes

ARCHITECTURES = pytest.mark.parametrize("arch", ["wse2", "wse3"])
COUNT = 12


@ARCHITECTURES
def test_tasks_for_data_commands_and_teardown(arch: str) -> None:
    board = Board("tasks.csl", arch)
    board.go("receive")
    board.go("send")
    assert board.read("sum", np.uint32, 1)[0] == 10 + 20 + 30 + 40
    assert board.read("told", np.uint32, 1)[0] == 77
    # High priority before the lower number; four wavelets, the command, and what it unblocks.
    assert board.read("order", np.uint16, 1).tolist() == [4, 5, 1, 1, 1, 1, 2, 3, 0]
    assert board.read("kept", np.uint32, 1).tolist() == [10, 20, 30]  # after two commands
    assert board.read("through", np.uint32, 1).tolist() == [10, 20, 70]
    for pe in (0, 1):  # color 4 is torn down at both ends, then it is open again
        assert board.read("pending", np.uint32, pe).tolist() == [1 << 4, 0]
        assert board.read("torn", np.uint16, pe)[0] == 1


@pytest.fixture(scope="module", params=["wse2", "wse3"])
def routes(request: pytest.FixtureRequest) -> Board:
    board = Board("routes.csl", request.param)
    board.write("source", np.arange(COUNT, dtype=np.uint32))
    board.go("receive")
    board.go("send")
    return board


def test_a_switch_sends_parts_of_a_stream_to_pes_in_turn(routes: Board) -> None:
    assert routes.read("by_turns", np.uint32, 1).tolist() == [0, 1, 4, 5]
    assert routes.read("by_turns", np.uint32, 2).tolist() == [2, 3, 6, 7]


def counted(first: int, most: int, limits: list[int]) -> list[int]:
    """What a filter lets pass: the counter goes from `first` to the limit and starts again.

    After the last of several limits everything passes; one limit holds for ever.
    """
    passed, counter, left = [], first, list(limits)
    for each in range(COUNT):
        if counter <= most or not left:
            passed.append(each)
        if left and counter >= left[0]:
            counter = 0
            if len(limits) > 1:
                left.pop(0)
        else:
            counter += 1
    return passed


def test_filters_let_the_documented_wavelets_pass(routes: Board) -> None:
    for name, wanted in (
        ("passed", counted(1, 1, [3])),  # as the running program set it
        ("sparsely", counted(0, 0, [1, 3])),
    ):
        assert routes.read(name, np.uint32, 1)[: len(wanted)].tolist() == wanted
    assert routes.read("passed_count", np.uint16, 1)[0] == len(counted(1, 1, [3]))
    assert routes.read("sparse_count", np.uint16, 1)[0] == len(counted(0, 0, [1, 3]))


def test_a_relayed_command_is_a_command_again_for_the_task_that_the_mask_names(
    routes: Board,
) -> None:
    assert routes.read("seen", np.uint32, 2)[:2].tolist() == [9, 11]
    assert routes.read("told", np.uint32, 2)[0] == 5 + 1000 * 1  # between the two words


def test_colors_are_swapped_on_wse2() -> None:
    board = Board("routes.csl")
    board.write("source", np.arange(COUNT, dtype=np.uint32))
    board.go("receive")
    board.go("send")
    assert board.read("swapped", np.uint32, 1).tolist() == [3, 4]


def test_queues_say_whether_they_are_empty_or_full(routes: Board) -> None:
    routes.go("fill")
    routes.go("look")
    routes.go("watch")
    routes.go("watch_again")
    assert routes.read("status", np.uint16, 0)[:2].tolist() == [1 + 2 + 4, 1]
    assert routes.read("status", np.uint16, 1)[:2].tolist() == [1, 1]
    assert routes.read("last", np.uint32, 1)[0] == COUNT - 1


def test_a_source_is_cleared_when_it_has_been_sent(routes: Board) -> None:
    routes.go("clear")
    routes.go("watch_cleared")
    got = routes.read("after", np.uint32, 1)
    assert got[:4].tolist() == [1, 2, 3, 4]
    assert got[4:].view(np.float32).tolist() == [2 * 5, 3 * 6, 4 * 7]
    assert not routes.read("cleared", np.uint32, 0).any()
    assert not routes.read("factor", np.float32, 0).any()
    assert routes.read("second", np.float32, 0).tolist() == [5, 6, 7]


def test_switch_positions_are_what_was_set(routes: Board) -> None:
    routes.go("switches")
    words = routes.read("words", np.uint16, 1).tolist()
    if routes.program.image.arch == "wse2":  # four bits a position: a direction, 8 for an input
        port = registers.OUT
        into = [port[side] | 8 for side in ("EAST", "NORTH", "SOUTH")]
        assert words[0] == into[0] | into[1] << 4 | into[2] << 8
        assert words[3] == into[0] | into[1] << 4 | port["NORTH"] << 8
        return
    into_bits = {name: 1 << bit for name, bit in registers.IN.items()}
    out = {name: 1 << bit for name, bit in registers.OUT.items()}
    # The route itself is from the west to the east; a position changes one side of it, or both.
    wanted = [into_bits[side] | out["EAST"] for side in ("EAST", "NORTH", "SOUTH")]
    wanted.append(into_bits["WEST"] | out["NORTH"])
    pairs = (("EAST", "RAMP"), ("RAMP", "WEST"), ("SOUTH", "NORTH"))
    assert words[:7] == wanted + [into_bits[a] | out[b] for a, b in pairs]


def test_a_flushed_queue_calls_its_handler_or_the_teardown_task() -> None:
    board = Board("flush.csl", "wse3")
    board.go("send")
    assert not board.read("flags", np.uint16, 0).any()  # the east does not read yet
    board.go("read")
    assert board.read("sum", np.uint32, 1)[0] == 30 * 6
    assert board.read("flags", np.uint16, 0).tolist() == [0, 1 << 2, 1, 1, 0]
    assert board.read("flags", np.uint16, 1).tolist() == [0, 1 << 3, 1, 0, 0]


@ARCHITECTURES
def test_the_host_streams_to_and_from_each_pe(tmp_path: Path, arch: str) -> None:
    width, height, size = 4, 3, 5
    runner = started(compiled(tmp_path, "stream.csl", arch, width=width, height=height, size=size))
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((2, height, width, size)).astype(np.float32)
    how = {"order": MemcpyOrder.ROW_MAJOR, "data_type": MemcpyDataType.MEMCPY_32BIT}
    got = np.zeros((height, width, size), np.float32)
    place = (0, 0, width, height, size)
    runner.memcpy_h2d(6, first.ravel(), *place, streaming=True, nonblock=True, **how)
    runner.memcpy_h2d(7, second.ravel(), *place, streaming=True, nonblock=True, **how)
    runner.memcpy_d2h(got.ravel(), 8, *place, streaming=True, nonblock=False, **how)
    np.testing.assert_array_equal(got, first + second)


@ARCHITECTURES
def test_mistakes_that_stop_nothing_are_named(arch: str) -> None:
    board = Board("careless.csl", arch)
    board.go("inside")
    assert mistakes(board.machine) == []
    board.go("beyond")
    source, table = mistakes(board.machine)
    assert (
        "careless.csl:29, PE (0, 0): the first source of @mov16 begins in word 0 of short (4 words)"
        in source
    )
    assert "and goes to word 1 of table (6 words)" in source
    assert (
        "careless.csl:30, PE (0, 0): the destination of @mov16 begins in word 1 of table (6"
        in table
    )
    assert board.read("result").tolist()[:6] == [1, 2, 3, 4, 4, 4]  # as on the hardware
    board.go("leave")
    assert mistakes(board.machine)[2:] == [
        "PE (1, 0): 2 wavelet(s) of color 2 left in its input queue at the end"
    ]
