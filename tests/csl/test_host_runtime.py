"""`SdkRuntime`'s ways of copying, waiting and asking, on a grid whose PEs keep what they get."""

from pathlib import Path

import numpy as np
import pytest

from tests.csl.running import Grid
from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder
from waferllm.errors import InputError

WIDTH, HEIGHT, COUNT = 4, 3, 4
HOW = {
    "streaming": False, "order": MemcpyOrder.ROW_MAJOR, "data_type": MemcpyDataType.MEMCPY_32BIT,
    "nonblock": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("grid"), "values", width=WIDTH, height=HEIGHT)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def test_a_row_is_copied_down_its_columns_and_a_column_along_its_rows(grid: Grid) -> None:
    runner, place = grid.runner, (0, 0, WIDTH, HEIGHT, COUNT)
    row, column = numbers(WIDTH, COUNT), numbers(HEIGHT, COUNT)
    runner.memcpy_h2d_colbcast(runner.get_id("input"), row.ravel(), *place, **HOW)
    np.testing.assert_array_equal(grid.read("input", COUNT), np.stack([row] * HEIGHT))
    runner.memcpy_h2d_rowbcast(runner.get_id("input"), column.ravel(), *place, **HOW)
    np.testing.assert_array_equal(grid.read("input", COUNT), np.stack([column] * WIDTH, axis=1))


def test_a_stride_leaves_columns_and_rows_out(grid: Grid) -> None:
    runner, before = grid.runner, numbers(HEIGHT, WIDTH, COUNT)
    grid.write("input", before)
    some = numbers(2, 2, COUNT) + 100  # rows 0 and 2, columns 0 and 3
    place = (0, 0, WIDTH, HEIGHT, COUNT)
    runner.memcpy_h2d_stride(runner.get_id("input"), some.ravel(), *place, 3, 2, **HOW)
    wanted = before.copy()
    wanted[::2, ::3] = some
    np.testing.assert_array_equal(grid.read("input", COUNT), wanted)


def test_a_part_of_the_grid_is_copied_in_column_order(grid: Grid) -> None:
    runner, before = grid.runner, numbers(HEIGHT, WIDTH, COUNT)
    grid.write("input", before)
    got = np.zeros(COUNT * 2 * 3, np.float32)
    how = {**HOW, "order": MemcpyOrder.COL_MAJOR}
    runner.memcpy_d2h(got, runner.get_id("input"), 1, 0, 2, 3, COUNT, **how)
    # Fortran order of A[h][w][n]: rows vary fastest.
    np.testing.assert_array_equal(got, before[:, 1:3].ravel(order="F"))


def test_commands_that_do_not_block_are_done_when_they_are_waited_for(grid: Grid) -> None:
    runner = grid.runner
    task = runner.launch("go", np.int16(3), nonblock=True)
    assert not runner.is_task_done(task)
    runner.task_wait(task)
    assert runner.is_task_done(task)
    runner.call("go", [np.int16(4)], nonblock=False)
    grid.read("words", 1)  # a copy waits for the function to end
    assert runner.coord_logical_to_physical((2, 1)) == (2 + 4, 1 + 1)
    words = runner.read_symbol(2 + 4, 1 + 1, "words", "uint32")
    assert words[4] == 4  # the low half of 0xdead0004


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((3, 0, 2, 1, COUNT), "a rectangle inside the program's 4x3"),
        ((0, 0, WIDTH, HEIGHT, COUNT + 3), "elements"),
    ],
)
def test_copies_that_do_not_fit_are_refused(
    grid: Grid, arguments: tuple[int, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        grid.runner.memcpy_h2d(
            grid.runner.get_id("input"),
            np.zeros(WIDTH * HEIGHT * COUNT, np.float32),
            *arguments,
            **HOW,
        )


def test_unknown_names_and_arguments_are_refused(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'inptu'"):
        grid.runner.get_id("inptu")
    with pytest.raises(InputError, match="got 2 argument"):
        grid.runner.launch("go", np.int16(1), np.int16(2), nonblock=False)
    with pytest.raises(InputError, match="expected a folder that cslc wrote"):
        type(grid.runner)(tmp_path)
