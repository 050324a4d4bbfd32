"""Compiles a program of ours and runs it on the machine, as `cslc` and a host script would."""

from pathlib import Path

import numpy as np

from tests.csl.support import PROGRAMS
from waferllm.csl.code import Code
from waferllm.csl.host import cslc
from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder
from waferllm.csl.host.program import build, symbol_words
from waferllm.csl.host.runtime import SdkRuntime
from waferllm.csl.machine import Machine
from waferllm.csl.target import Architecture, Target
from waferllm.csl.values import integer

GRID_PROGRAMS = ("math", "collectives", "trace", "place", "values", "dsd_ops")


def compiled(folder: Path, file: str, arch: str = "wse2", **params: int) -> Path:
    """The folder of a compiled program."""
    out = folder / f"out_{arch}"
    given = ",".join(f"{name}:{value}" for name, value in params.items())
    code = cslc.main([str(PROGRAMS / file), f"--arch={arch}", f"--params={given}", "-o", str(out)])
    assert code == 0
    return out


def started(out: Path) -> SdkRuntime:
    """A runtime with a program on it, ready for commands."""
    runner = SdkRuntime(out)
    runner.load()
    runner.run()
    return runner


class Grid:
    """One of the programs of grid.csl; arrays are [y, x, n]."""

    def __init__(
        self,
        folder: Path,
        program: str,
        arch: str = "wse2",
        width: int = 4,
        height: int = 3,
        size: int = 8,
    ) -> None:
        self.width, self.height = width, height
        self.out = compiled(
            folder, "grid.csl", arch, width=width, height=height, size=size,
            program=GRID_PROGRAMS.index(program),
        )  # fmt: skip
        self.runner = started(self.out)

    def write(self, name: str, values: np.ndarray) -> None:
        """Copy [y, x, n] or [n] 32-bit values to all PEs."""
        full = np.broadcast_to(values, (self.height, self.width, values.shape[-1]))
        self.runner.memcpy_h2d(
            self.runner.get_id(name), np.ascontiguousarray(full).ravel(), 0, 0, self.width, self.height,
            values.shape[-1], streaming=False, order=MemcpyOrder.ROW_MAJOR,
            data_type=MemcpyDataType.MEMCPY_32BIT, nonblock=False,
        )  # fmt: skip

    def read(self, name: str, count: int, dtype: type = np.float32) -> np.ndarray:
        """[y, x, count] values from all PEs."""
        held = np.zeros((self.height, self.width, count), dtype)
        self.runner.memcpy_d2h(
            held, self.runner.get_id(name), 0, 0, self.width, self.height, count, streaming=False,
            order=MemcpyOrder.ROW_MAJOR, data_type=MemcpyDataType.MEMCPY_32BIT, nonblock=False,
        )  # fmt: skip
        return held

    def go(self, number: int) -> None:
        self.runner.launch("go", np.int16(number), nonblock=False)


class Board:
    """A program on a machine, without the host library; variables are named as in the program."""

    def __init__(self, file: str, arch: Architecture = "wse2", **params: int) -> None:
        given = {name: integer(value) for name, value in params.items()}
        self.program = build(PROGRAMS / file, given, target=Target(arch=arch))
        self.machine = Machine(self.program.image)
        self.machine.run("quiet")

    def read(self, name: str, dtype: type = np.int16, pe: int = 0) -> np.ndarray:
        """A variable's values on one PE."""
        at, words = symbol_words(self._code(pe), name)
        return self.machine.read_words(np.array([pe]), at, words)[0].view(dtype)

    def write(self, name: str, values: np.ndarray, pe: int = 0) -> None:
        """Put values where a variable lies."""
        at, words = symbol_words(self._code(pe), name)
        given = np.ascontiguousarray(values).view(np.uint16).reshape(1, -1)
        assert given.size <= words
        self.machine.write_words(np.array([pe]), at, given)

    def go(self, name: str = "go", *args: int) -> None:
        """Launch a function on every PE that has it, and wait until nothing moves."""
        self.machine.launch(name, args)
        self.machine.run("quiet")

    def _code(self, pe: int) -> Code:
        return self.program.image.codes[self.program.image.code_of[pe]]
