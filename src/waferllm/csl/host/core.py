"""The PEs' memory at the end of a run, kept in the program's folder for `debug_util`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waferllm.csl.host.program import Program, load_program, symbol_words
from waferllm.csl.machine import Image, Machine
from waferllm.errors import InputError

CORE = "core.npz"
LARGEST_CORE_BYTES = 1 << 28


def used_words(image: Image) -> int:
    """16-bit words that any PE's variables reach to."""
    return max((len(code.memory) for code in image.codes), default=0)


def save_core(folder: Path, machine: Machine, image: Image) -> None:
    """Write all PEs' variables; leaves no core behind if they take more than 256 MiB."""
    path, words, pes = folder / CORE, used_words(image), len(image.code_of)
    path.unlink(missing_ok=True)
    if 2 * words * pes <= LARGEST_CORE_BYTES:
        memory = machine.read_words(np.arange(pes), np.zeros(pes, dtype=np.int64), words)
        np.savez(path, memory=memory)


@dataclass(frozen=True)
class Core:
    """The memory of a finished run. Places are those on the fabric, as the vendor's tools count."""

    program: Program
    memory: np.ndarray  # uint16[pes, words]

    def words(self, x: int, y: int, name: str) -> np.ndarray:
        """A variable's words on the PE at (x, y) of the fabric."""
        pe = self._pe(x, y)
        image = self.program.image
        at, count = symbol_words(image.codes[image.code_of[pe]], name)
        return self.memory[pe, at : at + count]

    def _pe(self, x: int, y: int) -> int:
        (left, top), (width, height) = self.program.meta.offsets, self.program.meta.rectangle
        if not (left <= x < left + width and top <= y < top + height):
            raise InputError(
                f"got PE ({x}, {y}) of the fabric, expected x from {left} to {left + width - 1} and "
                f"y from {top} to {top + height - 1}: the program starts at ({left}, {top})"
            )
        return (y - top) * width + x - left


def load_core(folder: Path) -> Core:
    """The core that the last `SdkRuntime.stop` left; raises `InputError` if there is none."""
    path = folder / CORE
    if not path.is_file():
        raise InputError(
            f"got {folder}, expected the core of a run in it: call SdkRuntime.stop() first. "
            f"Programs with more than {LARGEST_CORE_BYTES >> 20} MiB of variables leave none"
        )
    with np.load(path) as held:
        return Core(load_program(folder), held["memory"])
