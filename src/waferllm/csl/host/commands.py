"""What the host can ask of a machine, one command at a time, and the record of a run.

Copies and launches form one stream: each waits until every PE is ready for it. Streamed wavelets do
not wait for that stream, nor it for them. No command takes cycles of its own: the link between host
and wafer is not simulated. But before it reads or writes memory, what is on its way on the wafer gets the
time that a copy takes to begin.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.csl.code import Code, HostVariable, Kind
from waferllm.csl.host.arrays import MemcpyDataType, from_words, to_words
from waferllm.csl.host.program import Program, symbol_words
from waferllm.csl.machine import Machine
from waferllm.errors import InputError

JOURNAL = "journal.npz"
# A copy's round trip takes 0.76 ms on a CS-3 before the first byte moves (measured there by others, with
# 16 channels; cycles of 0.85 ns to 1.2 ns). Nothing that is on its way needs as long.
HOST_CYCLES = 700_000


@dataclass
class Journal:
    """What the host asked, in order: enough to run the same program again."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, Any] = field(default_factory=dict)

    def add(self, verb: str, arrays: Mapping[str, np.ndarray], **facts: object) -> None:
        """Append one command."""
        at = len(self.steps)
        self.steps.append({"verb": verb, "arrays": list(arrays), **facts})
        self.arrays |= {f"{at}.{name}": np.array(held) for name, held in arrays.items()}

    def save(self, path: Path) -> None:
        """Write all of it into one file."""
        np.savez(path, steps=np.array(json.dumps(self.steps)), **self.arrays)

    @staticmethod
    def load(path: Path) -> "Journal":
        """What `save` wrote; raises `InputError` if there is none."""
        if not path.is_file():
            raise InputError(
                f"got {path.parent}, expected a folder whose program ran before: there is no "
                f"{path.name}. Run its host script with cs_python first"
            )
        with np.load(path) as held:
            arrays = {name: held[name] for name in held.files if name != "steps"}
            return Journal(json.loads(str(held["steps"])), arrays)


class Commands:
    """A machine that runs a program, and the commands that it obeys.

    PEs are numbers, y * width + x inside the program's rectangle.
    """

    def __init__(self, program: Program, profile: str, *, events: int = 0) -> None:
        self.program = program
        self.machine = Machine(program.image, profile, events=events)
        self.journal = Journal()

    @property
    def width(self) -> int:
        return self.program.meta.rectangle[0]

    # --- Copies and launches -----------------------------------------------------------------

    def write(self, name: str, pes: np.ndarray, elements: np.ndarray, kind: MemcpyDataType) -> None:
        """Copy uint32[pes, n] into an exported variable of these PEs, once they are ready."""
        self.journal.add("write", {"pes": pes, "elements": elements}, name=name, kind=kind.value)
        self._settle()
        words = to_words(elements, kind)
        addresses = self._addresses(name, pes, room=words.shape[1])
        self.machine.write_words(pes, addresses, words)

    def read(self, name: str, pes: np.ndarray, count: int, kind: MemcpyDataType) -> np.ndarray:
        """uint32[pes, count] from an exported variable of these PEs on, once they are ready.

        More than the variable holds may be read, as a published program does: what lies behind it.
        """
        self.journal.add("read", {"pes": pes}, name=name, count=count, kind=kind.value)
        self._settle()
        words = count * kind.value // 16
        return from_words(self.machine.read_words(pes, self._addresses(name, pes), words), kind)

    def launch(self, name: str, args: Sequence[int]) -> None:
        """Start an exported function, once all PEs are ready; `args` are registers' bits."""
        self.journal.add("launch", {}, name=name, args=list(args))
        self.machine.run("ready")
        self.machine.launch(name, list(args))

    # --- Streams -----------------------------------------------------------------------------

    def send(self, color: int, pes: np.ndarray, wavelets: np.ndarray) -> None:
        """Put uint32[pes, n] wavelets on the way to these PEs; they enter as there is room."""
        self.journal.add("send", {"pes": pes, "wavelets": wavelets}, color=color)
        self.machine.inject(color, pes, wavelets)

    def receive(self, color: int, pes: np.ndarray, count: int) -> np.ndarray:
        """uint32[pes, count]: the next wavelets that these PEs send to the host."""
        self.journal.add("receive", {"pes": pes}, color=color, count=count)
        return self.machine.drain(color, pes, count)

    def finish(self) -> None:
        """Run until every PE is ready again and what is on its way has arrived."""
        self.journal.add("finish", {})
        self._settle()

    def _settle(self) -> None:
        """Wait for launched functions, then as long as the host's link would take, or less."""
        self.machine.run("ready")
        self.machine.run("quiet", HOST_CYCLES)

    def replay(self, journal: Journal) -> None:
        """Give all commands of a record again."""
        for at, step in enumerate(journal.steps):
            facts = {k: v for k, v in step.items() if k not in {"verb", "arrays"}}
            if "kind" in facts:
                facts["kind"] = MemcpyDataType(facts["kind"])
            arrays = {name: journal.arrays[f"{at}.{name}"] for name in step["arrays"]}
            getattr(self, str(step["verb"]))(**facts, **arrays)

    # --- Variables, exported or not ----------------------------------------------------------

    def set_symbols(self) -> None:
        """Put the values that the program came with where they belong."""
        for place, value in self.program.symbols.items():
            pe, name = int(place.split(":", 1)[0]), place.split(":", 1)[1]
            at, words = symbol_words(self._code(pe), name)
            data = np.ascontiguousarray(value).view(np.uint16).reshape(1, -1)
            if data.size != words:
                raise InputError(
                    f"got {data.size} 16-bit words for {name!r} of PE {self._place(pe)}, expected {words}"
                )
            self.machine.write_words(np.array([pe]), np.array([at]), data)

    def variable(self, x: int, y: int, name: str) -> np.ndarray:
        """The words of a variable on one PE of the program."""
        width, height = self.program.meta.rectangle
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"got PE ({x}, {y}), expected one of the program's {width}x{height}")
        pe = y * width + x
        at, words = symbol_words(self._code(pe), name)
        return self.machine.read_words(np.array([pe]), np.array([at]), words)[0]

    def _code(self, pe: int) -> Code:
        return self.program.image.codes[self.program.image.code_of[pe]]

    # --- Symbols -----------------------------------------------------------------------------

    def parameters(self, name: str) -> tuple[Kind, ...]:
        """The kinds of an exported function's parameters; raises `InputError` if no PE has it."""
        for code in self.program.image.codes:
            if name in code.functions:
                return tuple(kind for _, kind in map(_pair, code.functions[name].params))
        known = sorted({each for code in self.program.image.codes for each in code.functions})
        raise InputError(
            f"got function {name!r}, expected one that a PE exports: {', '.join(known) or 'none is'}"
        )

    def _addresses(self, name: str, pes: np.ndarray, room: int = 0) -> np.ndarray:
        """Where an exported variable lies on each PE; a pointer leads to what it points to now.

        Raises `InputError` if a PE has none of that name, or one with room for fewer words.
        """
        image, found = self.program.image, np.empty(len(pes), dtype=np.int64)
        code_of = np.asarray(image.code_of)[pes]
        for number in np.unique(code_of):
            here = code_of == number
            variable = image.codes[number].variables.get(name)
            if variable is None:
                raise InputError(
                    f"got symbol {name!r} for PE {self._place(pes[here][0])}, which runs "
                    f"{image.codes[number].name}; expected one that it exports: "
                    f"{', '.join(sorted(image.codes[number].variables)) or 'it exports none'}"
                )
            self._check_room(variable, room)
            found[here] = self._start(variable, pes[here])
        return found

    def _start(self, variable: HostVariable, pes: np.ndarray) -> np.ndarray | int:
        if variable.pointed is None:
            return variable.address
        if variable.address < 0:  # a constant pointer takes no memory
            return variable.pointed
        return self.machine.read_words(pes, np.full(len(pes), variable.address), 1)[:, 0]

    def _check_room(self, variable: HostVariable, words: int) -> None:
        if words > variable.words:
            raise InputError(
                f"got {words} 16-bit words per PE for {variable.name!r}, expected at most its "
                f"{variable.words}"
            )

    def _place(self, pe: int) -> str:
        return f"({pe % self.width}, {pe // self.width})"


def _pair(param: tuple[int, int]) -> tuple[int, Kind]:
    return param[0], Kind(param[1])
