"""`SdkRuntime`: the vendor's host class, over our machine (source: SdkRuntime API reference, SDK 2.10).

Commands that do not block wait in a queue until one that blocks, one that streams, or `stop`. Streamed
wavelets set out at once, after what was asked before them, and whether the call blocks or not.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.csl.code import Kind
from waferllm.csl.host.arguments import register_bits
from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder, by_pe, flat_u32, to_flat
from waferllm.csl.host.commands import JOURNAL, Commands
from waferllm.csl.host.core import save_core
from waferllm.csl.host.cs_python import PROFILE_VARIABLE
from waferllm.csl.host.platform import SdkCompileArtifacts, SdkExecutionPlatform, refuse_system
from waferllm.csl.host.program import Program, Stream, load_program
from waferllm.csl.machine.diagnose import mistakes
from waferllm.errors import InputError

SIM_LOG = "sim.log"


class Task:
    """A command that was given; `done` once the machine has carried it out."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.done = False

    def run(self) -> None:
        """Carry it out."""
        self.work()
        self.done = True


class SdkRuntime:
    """Runs a compiled program.

    `bindir` is the folder that `cslc -o` wrote, or what `SdkLayout.compile` returned. `profile` is
    the machine's: if left out, the one that `waferllm csl env --profile` named, else `sim`.
    """

    def __init__(
        self,
        bindir: Path | str | SdkCompileArtifacts,
        platform: SdkExecutionPlatform | None = None,
        *,
        cmaddr: str | None = None,
        suppress_simfab_trace: bool = False,
        simfab_numthreads: int = 1,
        msg_level: str = "WARNING",
        memcpy_required: bool = True,
        profile: str | None = None,
    ) -> None:
        del platform, suppress_simfab_trace, simfab_numthreads, msg_level, memcpy_required
        refuse_system(cmaddr)
        folder = bindir.path if isinstance(bindir, SdkCompileArtifacts) else bindir
        self.folder = Path(folder)
        self.program: Program = load_program(self.folder)
        self._profile = profile or os.environ.get(PROFILE_VARIABLE, "sim")
        self._commands: Commands | None = None
        self._stream: deque[Task] = deque()
        self._receives: deque[Task] = deque()

    def __enter__(self) -> "SdkRuntime":
        self.load()
        self.run()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self.stop()

    # --- Life --------------------------------------------------------------------------------

    def load(self) -> None:
        """Put the program on a machine, and the values on it that `set_symbol_all` gave."""
        self._commands = Commands(self.program, self._profile)
        self._commands.set_symbols()

    def run(self) -> None:
        """Start; the program's own activated tasks run from here on."""
        self._running()

    def stop(self) -> None:
        """Carry out all that was asked, then end; writes `sim.log`, the record and the core."""
        commands = self._running()
        self._flush()
        commands.finish()
        commands.journal.save(self.folder / JOURNAL)
        save_core(self.folder, commands.machine, self.program.image)
        lines = commands.machine.prints
        if lines:
            Path(SIM_LOG).write_text("".join(f"{line}\n" for line in lines))
        for line in mistakes(commands.machine):
            print(f"warning: {line}", file=sys.stderr)

    def _running(self) -> Commands:
        if self._commands is None:
            raise InputError("got a command before load(), expected load() and run() first")
        return self._commands

    # --- Symbols -----------------------------------------------------------------------------

    def get_id(self, symbol: str) -> int:
        """The number that stands for an exported name in copies."""
        return self.program.meta.symbol(symbol)

    def coord_logical_to_physical(self, logical_coords: tuple[int, int]) -> tuple[int, int]:
        """A PE's place on the fabric from its place in the program."""
        x, y = self.program.meta.offsets
        return logical_coords[0] + x, logical_coords[1] + y

    def _name(self, symbol: int, *, writes: bool) -> str:
        exports = list(self.program.meta.exports.items())
        if not 0 <= symbol < len(exports):
            raise InputError(
                f"got symbol {symbol}, expected a number that get_id returned; "
                "streaming=True takes a color instead"
            )
        name, mutable = exports[symbol]
        if writes and not mutable:
            raise InputError(
                f"got a copy to {name!r}, expected a symbol that the host may write: "
                f"@export_name({name!r}, …, true)"
            )
        return name

    # --- Copies and streams ------------------------------------------------------------------

    def memcpy_h2d(
        self,
        dest: int,
        src: np.ndarray,
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        *,
        streaming: bool,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        nonblock: bool,
    ) -> Task:
        """Copy A[h][w][elem_per_pe] into a symbol of a rectangle's PEs, or stream it to a color."""
        shape = (h, w, elem_per_pe)
        pes = self._rectangle(px, py, w, h)
        # A copy of the data: the caller may change its array while the command waits.
        rows = by_pe(flat_u32(src, h * w * elem_per_pe, "memcpy_h2d"), shape, order).copy()
        return self._h2d(dest, pes, rows, streaming, data_type, nonblock)

    def memcpy_h2d_colbcast(
        self, dest: int, src: np.ndarray, px: int, py: int, w: int, h: int, elem_per_pe: int,
        *, streaming: bool, data_type: MemcpyDataType, order: MemcpyOrder, nonblock: bool,
    ) -> Task:  # fmt: skip
        """Copy A[w][elem_per_pe] to a row of PEs and the same down each column."""
        flat = flat_u32(src, w * elem_per_pe, "memcpy_h2d_colbcast")
        rows = np.tile(by_pe(flat, (1, w, elem_per_pe), order), (h, 1))
        return self._h2d(dest, self._rectangle(px, py, w, h), rows, streaming, data_type, nonblock)

    def memcpy_h2d_rowbcast(
        self, dest: int, src: np.ndarray, px: int, py: int, w: int, h: int, elem_per_pe: int,
        *, streaming: bool, data_type: MemcpyDataType, order: MemcpyOrder, nonblock: bool,
    ) -> Task:  # fmt: skip
        """Copy A[h][elem_per_pe] to a column of PEs and the same along each row."""
        flat = flat_u32(src, h * elem_per_pe, "memcpy_h2d_rowbcast")
        rows = np.repeat(by_pe(flat, (h, 1, elem_per_pe), order), w, axis=0)
        return self._h2d(dest, self._rectangle(px, py, w, h), rows, streaming, data_type, nonblock)

    def memcpy_h2d_stride(
        self, dest: int, src: np.ndarray, px: int, py: int, w: int, h: int, elem_per_pe: int,
        row_stride: int, col_stride: int,
        *, streaming: bool, data_type: MemcpyDataType, order: MemcpyOrder, nonblock: bool,
    ) -> Task:  # fmt: skip
        """As `memcpy_h2d`, to every `row_stride`-th column and `col_stride`-th row of the rectangle."""
        grid = self._rectangle(px, py, w, h).reshape(h, w)[::col_stride, ::row_stride]
        shape = (*grid.shape, elem_per_pe)
        flat = flat_u32(src, grid.size * elem_per_pe, "memcpy_h2d_stride")
        rows = by_pe(flat, shape, order).copy()
        return self._h2d(dest, grid.ravel(), rows, streaming, data_type, nonblock)

    def memcpy_d2h(
        self,
        dest: np.ndarray,
        src: int,
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        *,
        streaming: bool,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        nonblock: bool,
    ) -> Task:
        """Copy a symbol of a rectangle's PEs, or what they stream on a color, into A[h][w][n]."""
        commands, pes = self._running(), self._rectangle(px, py, w, h)
        shape = (h, w, elem_per_pe)
        out = flat_u32(dest, h * w * elem_per_pe, "memcpy_d2h")
        name = "" if streaming else self._name(src, writes=False)

        def work() -> None:
            if streaming:
                rows = commands.receive(src, pes, elem_per_pe)
            else:
                rows = commands.read(name, pes, elem_per_pe, data_type)
            out[:] = to_flat(rows, shape, order)

        return self._give(Task(work), self._receives if streaming else self._stream, nonblock)

    def _h2d(
        self,
        dest: int,
        pes: np.ndarray,
        rows: np.ndarray,
        streaming: bool,
        data_type: MemcpyDataType,
        nonblock: bool,
    ) -> Task:
        commands = self._running()
        if streaming:
            return self._send(dest, pes, rows)
        name = self._name(dest, writes=True)
        return self._give(
            Task(lambda: commands.write(name, pes, rows, data_type)), self._stream, nonblock
        )

    def _send(self, color: int, pes: np.ndarray, rows: np.ndarray) -> Task:
        commands, sent = self._running(), Task(lambda: None)
        self._empty(self._stream)
        commands.send(color, pes, rows)
        sent.run()
        return sent

    def _rectangle(self, px: int, py: int, w: int, h: int) -> np.ndarray:
        width, height = self.program.meta.rectangle
        if not (px >= 0 and py >= 0 and 0 < w <= width - px and 0 < h <= height - py):
            raise InputError(
                f"got {w}x{h} PEs from ({px}, {py}), expected a rectangle inside the program's "
                f"{width}x{height}"
            )
        xs, ys = np.arange(px, px + w), np.arange(py, py + h)
        return (ys[:, None] * width + xs).ravel()

    # --- Ports of an SdkLayout program -------------------------------------------------------

    def get_port_id(self, port_name: str) -> int:
        """The number that stands for a stream's name."""
        return list(self.program.meta.streams).index(self._port(port_name)[0])

    def report_port_infos(self) -> None:
        """Print each stream's name, color and place."""
        for name, stream in self.program.meta.streams.items():
            x, y = (
                stream.pe % self.program.meta.rectangle[0],
                stream.pe // self.program.meta.rectangle[0],
            )
            print(f"{name}: color {stream.color} at ({x}, {y})")

    def send(
        self,
        port: str | int,
        src: np.ndarray,
        n_wavelets: int | None = None,
        *,
        nonblock: bool = False,
    ) -> Task:
        """Stream 32-bit elements to an input port; they set out at once, blocking or not."""
        del nonblock
        name, stream = self._port(port)
        if not stream.is_input:
            raise InputError(f"got port {name!r}, expected one of create_input_stream")
        count = src.size if n_wavelets is None else n_wavelets
        data = flat_u32(src, src.size, "send")[:count].reshape(1, -1).copy()
        return self._send(stream.color, np.array([stream.pe]), data)

    def receive(
        self, port: str | int, dest: np.ndarray, n_wavelets: int, *, nonblock: bool = False
    ) -> Task:
        """Fill an array with the next wavelets of an output port."""
        name, stream = self._port(port)
        if stream.is_input:
            raise InputError(f"got port {name!r}, expected one of create_output_stream")
        commands, out = self._running(), flat_u32(dest, dest.size, "receive")[:n_wavelets]

        def work() -> None:
            out[:] = commands.receive(stream.color, np.array([stream.pe]), n_wavelets)[0]

        return self._give(Task(work), self._receives, nonblock)

    def _port(self, port: str | int) -> tuple[str, Stream]:
        streams = self.program.meta.streams
        name = list(streams)[port] if isinstance(port, int) and port < len(streams) else port
        if name not in streams:
            raise InputError(f"got port {port!r}, expected one of: {', '.join(streams) or 'none'}")
        return str(name), streams[str(name)]

    def read_symbol(self, x: int, y: int, symbol_name: str, dtype: str = "uint8") -> np.ndarray:
        """A variable of the PE at (x, y) on the fabric, exported or not."""
        left, top = self.program.meta.offsets
        return self._running().variable(x - left, y - top, symbol_name).view(dtype)

    # --- Launches ----------------------------------------------------------------------------

    def launch(self, symbol: str, *args: Any, nonblock: bool) -> Task:
        """Start an exported function on every PE that has it; arguments are checked by type."""
        commands = self._running()
        kinds: Sequence[Kind] = commands.parameters(symbol)
        if len(args) != len(kinds):
            raise InputError(
                f"launch({symbol!r}): got {len(args)} argument(s), expected {len(kinds)}"
            )
        bits = [
            register_bits(arg, kind, f"launch({symbol!r})")
            for arg, kind in zip(args, kinds, strict=True)
        ]
        return self._give(Task(lambda: commands.launch(symbol, bits)), self._stream, nonblock)

    def call(self, symbol: str, params: Sequence[Any], nonblock: bool) -> Task:
        """The older form of `launch`."""
        return self.launch(symbol, *params, nonblock=nonblock)

    # --- Waiting -----------------------------------------------------------------------------

    def is_task_done(self, task_handle: Task) -> bool:
        """Whether a command was carried out; does not advance the machine."""
        return task_handle.done

    def task_wait(self, task_handle: Task) -> None:
        """Carry out what was asked, up to this command at least."""
        if not task_handle.done:
            self._flush()

    def _give(self, task: Task, queue: deque[Task], nonblock: bool) -> Task:
        queue.append(task)
        if not nonblock:
            self._flush()
        return task

    def _flush(self) -> None:
        # The stream first: what PEs send to the host waits there without holding anything up.
        self._empty(self._stream)
        self._empty(self._receives)

    def _empty(self, queue: deque[Task]) -> None:
        while queue:
            queue.popleft().run()
