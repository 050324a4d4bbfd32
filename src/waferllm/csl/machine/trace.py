"""What PEs did, in time: tasks, DSD operations, stalls, for viewers of Chrome's trace format (Perfetto)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from waferllm.csl.code import Vector
from waferllm.csl.machine.core import TRACE_END, TRACE_STALL, TRACE_TASK, TRACE_VECTOR
from waferllm.csl.machine.machine import Machine
from waferllm.csl.machine.show import CAUSES
from waferllm.csl.machine.state import MAIN, THREADS

# A PE's rows in the viewer: its tasks, the operations of its microthreads and main thread, its stalls.
TASKS_ROW, FIRST_THREAD_ROW, STALLS_ROW = 0, 1, 1 + THREADS
Event = dict[str, Any]


def write_trace(machine: Machine, path: Path) -> int:
    """Write the trace as JSON for https://ui.perfetto.dev; returns how many spans it has.

    A microsecond of the viewer is a cycle of the machine; one process for each PE. The machine must
    have been made with `events`; what did not fit is said in the file's metadata.
    """
    rows, lost = kept(machine)
    spans = [*_spans(machine, rows), *_stalls(machine, rows)]
    names = list(_names(machine, sorted({row[0] for row in rows})))
    about = {"unit": "1 us is 1 cycle", "profile": machine.profile.name, "events_lost": lost}
    path.write_text(
        json.dumps({"traceEvents": names + spans, "otherData": about}, separators=(",", ":"))
    )
    return len(spans)


def kept(machine: Machine) -> tuple[list[list[int]], int]:
    """Rows of (pe, cycle, what, instruction, thread), and how many more there would have been."""
    count, most = (int(each) for each in machine.state.event_count)
    return machine.state.events[: min(count, most)].tolist(), max(0, count - most)


def _spans(machine: Machine, rows: list[list[int]]) -> Iterator[Event]:
    """Begin and end of each task and each operation, joined."""
    begun: dict[tuple[int, int], tuple[int, str]] = {}
    names = _Names(machine)
    for pe, cycle, what, row, thread in rows:
        if what == TRACE_STALL:
            continue
        if what in {TRACE_TASK, TRACE_VECTOR}:
            viewer_row = TASKS_ROW if what == TRACE_TASK else FIRST_THREAD_ROW + thread
            name = names.task(pe, row) if what == TRACE_TASK else names.operation(row)
            begun[pe, viewer_row] = cycle, name
            continue
        viewer_row = TASKS_ROW if what == TRACE_END else FIRST_THREAD_ROW + thread
        if (pe, viewer_row) in begun:
            yield _span(machine, pe, viewer_row, *begun.pop((pe, viewer_row)), cycle)
    for (pe, viewer_row), (cycle, name) in begun.items():
        yield _span(machine, pe, viewer_row, cycle, f"{name}, not ended", machine.cycle)


def _stalls(machine: Machine, rows: list[list[int]]) -> Iterator[Event]:
    """Whole stalls: a core that wakes, finds nothing to do and waits on for the same cause stalls on."""
    waits = machine.state.waits
    still = [(pe, waits[pe, 1], machine.cycle, waits[pe, 0]) for pe in waits[:, 0].nonzero()[0]]
    ended = [(pe, begin, end, cause) for pe, begin, what, end, cause in rows if what == TRACE_STALL]
    open_: dict[int, tuple[int, int, int]] = {}
    for pe, begin, end, cause in [*ended, *(tuple(map(int, each)) for each in still)]:
        since, until, before = open_.get(pe, (begin, begin, cause))
        if until != begin or before != cause:
            yield _span(machine, pe, STALLS_ROW, since, CAUSES[before], until)
            since = begin
        open_[pe] = since, end, cause
    for pe, (since, until, cause) in open_.items():
        yield _span(machine, pe, STALLS_ROW, since, CAUSES[cause], until)


def _span(machine: Machine, pe: int, row: int, start: int, name: str, end: int) -> Event:
    return {"ph": "X", "pid": pe, "tid": row, "ts": start, "dur": max(end - start, 0), "name": name}


def _names(machine: Machine, pes: Iterable[int]) -> Iterator[Event]:
    threads = [
        "tasks",
        *(f"microthread {n}" for n in range(MAIN)),
        "operations of tasks",
        "stalled",
    ]
    for pe in pes:
        yield _meta("process_name", pe, 0, machine.place(pe))
        for row, name in enumerate(threads):
            yield _meta("thread_name", pe, row, name)


def _meta(what: str, pe: int, row: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": pe, "tid": row, "args": {"name": name}}


class _Names:
    """Names of tasks and operations, looked up once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._entries = [_entries(code) for code in machine.image.codes]
        self._operations: dict[int, str] = {}

    def task(self, pe: int, row: int) -> str:
        number = int(self._machine.image.code_of[pe])
        entry = row - int(self._machine.state.at[number, 0])
        return self._entries[number].get(entry, f"task at {self._machine.line(row)}")

    def operation(self, row: int) -> str:
        if row not in self._operations:
            op = Vector(int(self._machine.state.ins[row, 1])).name.lower()
            self._operations[row] = f"@{op} {self._machine.line(row)}"
        return self._operations[row]


def _entries(code: Any) -> dict[int, str]:
    tasks = (*code.tasks.values(), *code.teardown.values(), *code.functions.values())
    return {task.entry: task.name for task in tasks}
