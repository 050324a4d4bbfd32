"""`Machine`: an image running, as the host sees it: memory, launches, streams, and what went wrong."""

from collections.abc import Sequence

import numpy as np

from waferllm.csl.code import NONE, Kind, Op
from waferllm.csl.machine.diagnose import MachineFault, describe_fault, describe_quiet
from waferllm.csl.machine.fabric import set_all_routes
from waferllm.csl.machine.image import Image
from waferllm.csl.machine.prints import Lines, format_message
from waferllm.csl.machine.profile import find_profile
from waferllm.csl.machine.run import FAULT, HOST_FULL, LIMIT, QUIET, READY, run
from waferllm.csl.machine.state import (
    C_COMPUTE,
    C_STALL_FIFO,
    C_STALL_IN,
    C_STALL_OUT,
    NOW,
    PRINTS,
    make_arrays,
)
from waferllm.csl.machine.view import View
from waferllm.errors import InputError

CYCLE_LIMIT = 1 << 30


class Machine:
    """Runs an image cycle by cycle. PEs are numbered pe = y * width + x inside the rectangle.

    `profile` is `sim` or `silicon`; `events` is how many rows of trace are kept at most. The host's
    commands take no cycles: its link is not simulated.
    """

    def __init__(self, image: Image, profile: str = "sim", *, events: int = 0) -> None:
        self.image = image
        self.profile = find_profile(profile, image.arch)
        self.state = make_arrays(image, self.profile, events)
        self._jitted = View(self.state)
        set_all_routes(self._jitted)
        self._lines = Lines()
        self.limit = CYCLE_LIMIT
        # The order in which PEs are visited, (first, step): it cannot matter, which tests check.
        self.order = (0, 1)
        self._streams: dict[tuple[int, int], list[np.ndarray]] = {}
        self._feeds = _no_feeds()
        self._received: dict[tuple[int, int], list[int]] = {}

    @property
    def prints(self) -> list[str]:
        """Lines that PEs printed, each with the cycle in which it ended."""
        return self._lines.done

    @property
    def cycle(self) -> int:
        """Cycles so far."""
        return int(self.state.clock[NOW])

    # --- Memory ------------------------------------------------------------------------------

    def read_words(self, pes: np.ndarray, addresses: np.ndarray | int, count: int) -> np.ndarray:
        """uint16[len(pes), count] from each PE's memory."""
        rows, columns = self._places(pes, addresses, count)
        return self.state.mem[rows, columns]

    def write_words(self, pes: np.ndarray, addresses: np.ndarray | int, words: np.ndarray) -> None:
        """Put uint16[len(pes), count] into each PE's memory."""
        rows, columns = self._places(pes, addresses, words.shape[1])
        self.state.mem[rows, columns] = words

    def _places(
        self, pes: np.ndarray, addresses: np.ndarray | int, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        first = np.broadcast_to(np.asarray(addresses, np.int64), (len(pes),))
        if count and (first.min() < 0 or first.max() + count > self.state.mem.shape[1]):
            raise InputError(
                f"got words {first.min()} to {first.max() + count - 1}, expected addresses below "
                f"{self.state.mem.shape[1]}: no variable lies there"
            )
        return np.asarray(pes)[:, None], first[:, None] + np.arange(count)

    # --- Launches ----------------------------------------------------------------------------

    def launch(self, name: str, args: Sequence[int]) -> None:
        """Start an exported function on every PE that has it, x + y hops after the command."""
        state, found = self.state, False
        for number, code in enumerate(self.image.codes):
            function = code.functions.get(name)
            state.launch_entry[number] = NONE if function is None else function.entry
            if function is None:
                continue
            found = True
            here = np.flatnonzero(self.image.code_of == number)
            hops = here % self.image.width + here // self.image.width
            state.arrivals[here] = self.cycle + 1 + hops * self.profile.hop_cycles
            state.alarm[here] = np.minimum(state.alarm[here], state.arrivals[here])
            state.ready[here] = 0
            for (register, _), value in zip(function.params, args, strict=True):
                state.reg[here, register] = value
        if not found:
            raise InputError(f"got function {name!r}, expected one that a PE exports")

    # --- Streams -----------------------------------------------------------------------------

    def inject(self, color: int, pes: np.ndarray, words: np.ndarray) -> None:
        """Queue uint32[len(pes), n] for these PEs' input queues of a color, after what waits there."""
        self._keep_rest()
        for pe, row in zip(pes, words, strict=True):
            self._streams.setdefault((int(pe), color), []).append(np.asarray(row, np.int64))
        self._feeds = _make_feeds(self._streams)

    def _keep_rest(self) -> None:
        """Forget what has been fed."""
        pes, colors, position, end, data = self._feeds
        self._streams = {
            (int(pe), int(color)): [data[at:stop]]
            for pe, color, at, stop in zip(pes, colors, position, end, strict=True)
            if at < stop
        }

    def drain(self, color: int, pes: np.ndarray, count: int) -> np.ndarray:
        """uint32[len(pes), count]: the next wavelets that these PEs send to the host; runs until then."""
        keys = [(int(pe), color) for pe in pes]
        while any(len(self._received.get(key, ())) < count for key in keys):
            if self._go(until_ready=False, wanted=1) != READY:
                missing = [k[0] for k in keys if len(self._received.get(k, ())) < count]
                raise MachineFault(
                    describe_quiet(self, f"the host waits for wavelets of color {color}", missing)
                )
        out = np.empty((len(pes), count), np.uint32)
        for at, key in enumerate(keys):
            held = self._received.get(key, [])
            out[at], self._received[key] = held[:count], held[count:]
        return out

    # --- Time --------------------------------------------------------------------------------

    def run(self, until: str = "ready", most_cycles: int | None = None) -> None:
        """Run until every launched PE is ready for the host's next command (`ready`), or until nothing
        can happen any more (`quiet`); raises `MachineFault` if the first can never be.

        With `most_cycles` it stops after as many cycles, however far it is.
        """
        if until not in {"ready", "quiet"}:
            raise InputError(f"got run(until={until!r}), expected 'ready' or 'quiet'")
        outcome = self._go(until_ready=until == "ready", wanted=0, most_cycles=most_cycles)
        if outcome == QUIET and until == "ready":
            late = np.flatnonzero((self.state.ready == 0) | (self.state.arrivals >= 0))
            raise MachineFault(
                describe_quiet(self, "PEs did not get ready for the host", late.tolist())
            )

    def _go(self, *, until_ready: bool, wanted: int, most_cycles: int | None = None) -> int:
        limit = self.limit if most_cycles is None else min(self.limit, self.cycle + most_cycles)
        while True:
            outcome = run(self._jitted, until_ready, wanted, limit, self._feeds, self.order)
            self._collect()
            if outcome == FAULT:
                raise MachineFault(describe_fault(self))
            if outcome == LIMIT and limit < self.limit:
                return outcome
            if outcome == LIMIT:
                raise MachineFault(f"the program still runs after {self.limit:,} cycles")
            if outcome != HOST_FULL:
                return outcome

    def _collect(self) -> None:
        """Empty what the jitted loop wrote for the host."""
        count = int(self.state.to_host_count[0])
        for pe, color, data, _ in self.state.to_host[:count].tolist():
            self._received.setdefault((pe, color), []).append(data)
        self.state.to_host_count[0] = 0
        printed = int(self.state.print_count[0])
        for row in self.state.prints[: min(printed, PRINTS)].tolist():
            self._print(row)
        if printed > PRINTS:
            self._lines.done.append(f"({printed - PRINTS} more pieces of text are left out)")
        self.state.print_count[0] = 0

    def _print(self, row: list[int]) -> None:
        pe, at, *values, cycle = row
        ins, code = self.state.ins[at], self.image.codes[int(self.image.code_of[pe])]
        kinds = [(int(ins[8]) >> shift) & 255 for shift in (0, 8, 16, 24)]
        given = [(v, Kind(k)) for v, k in zip(values, kinds, strict=True) if k in set(Kind)]
        self._lines.add(pe, cycle, format_message(code.messages[int(ins[3])], given))

    # --- What happened -----------------------------------------------------------------------

    def place(self, pe: int) -> str:
        """A PE's coordinates in the rectangle."""
        return f"PE ({pe % self.image.width}, {pe // self.image.width})"

    def line(self, row: int) -> str:
        """Where an instruction comes from: `file:line`."""
        for code, first in zip(self.image.codes, self.state.at[:, 0], strict=True):
            if first <= row < first + len(code.instructions):
                file, line = code.lines[row - first]
                return f"{code.files[file].rsplit('/', 1)[-1]}:{line}"
        return "no line"

    def operation(self, row: int) -> str:
        """An instruction's name."""
        return Op(int(self.state.ins[row, 0])).name

    def stalls(self) -> np.ndarray:
        """The PEs' counters (see state.py), with stalls that still last: int64 [pe, COUNTERS]."""
        held, waits = self.state.counters.copy(), self.state.waits
        still = np.flatnonzero(waits[:, 0])
        held[still, waits[still, 0]] += self.cycle - waits[still, 1]
        return held

    def counters(self) -> dict[str, np.ndarray]:
        """Cycles per PE: compute, stalled on the fabric, idle."""
        held = self.stalls()
        stalled = held[:, [C_STALL_IN, C_STALL_OUT, C_STALL_FIFO]].sum(axis=1)
        compute = held[:, C_COMPUTE]
        return {
            "compute": compute,
            "stalled": stalled,
            "idle": np.maximum(0, self.cycle - compute - stalled),
        }


Feeds = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _no_feeds() -> Feeds:
    return _make_feeds({})


def _make_feeds(streams: dict[tuple[int, int], list[np.ndarray]]) -> Feeds:
    parts = [np.concatenate(each) for each in streams.values()]
    ends = np.cumsum([0] + [len(part) for part in parts], dtype=np.int64)
    keys = np.array(list(streams), np.int64).reshape(-1, 2)
    data = np.concatenate(parts) if parts else np.zeros(1, np.int64)
    return keys[:, 0].copy(), keys[:, 1].copy(), ends[:-1].copy(), ends[1:].copy(), data
