"""Why a machine stopped, in sentences: faults, and who waits for what when nothing moves any more."""

from typing import TYPE_CHECKING

import numpy as np

from waferllm.csl.code import NONE, Vector
from waferllm.csl.machine.image import PORTS
from waferllm.csl.machine.state import (
    C_STALL_IN,
    C_STALL_OUT,
    F_ADDRESS,
    F_BAD,
    F_COLLISION,
    F_DIVIDE,
    F_QUEUE,
    F_THREAD,
    F_TRAP,
    IN_VECTOR,
    K_FABIN,
    K_FABOUT,
    LEAVING,
    MAIN,
    O_COLOR,
    O_KIND,
    O_QUEUE,
    OPERAND_FIELDS,
    OPERANDS,
    OUTPUTS,
    T_LEFT,
    T_ROW,
    T_STALL,
    THREADS,
    in_routers,
)
from waferllm.errors import InputError

if TYPE_CHECKING:
    from waferllm.csl.machine.machine import Machine

MOST_SHOWN = 8
PORT_NAMES = {number: name for name, number in PORTS.items()}


class MachineFault(InputError):
    """The program did something that the hardware forbids, or can never end."""


def describe_fault(machine: "Machine") -> str:
    """The first fault, with its PE and source line."""
    kind, pe, row, detail = (int(each) for each in machine.state.fault[:4])
    where = f"{machine.place(pe)}, cycle {machine.cycle}"
    if kind == F_COLLISION:
        return (
            f"{where}: two routes deliver color {row} in one cycle, one of them from "
            f"{PORT_NAMES[detail]}; what the router then does is undefined"
        )
    if row >= 0:
        where = f"{machine.line(row)}, {where}"
    if kind == F_DIVIDE:
        return f"{where}: division by zero"
    if kind == F_ADDRESS:
        return (
            f"{where}: access to word {detail}, expected one below {machine.state.mem.shape[1]}: no "
            "variable lies there"
        )
    if kind == F_TRAP:
        code = machine.image.codes[int(machine.image.code_of[pe])]
        return f"{where}: {code.messages[detail]}"
    if kind in {F_THREAD, F_QUEUE}:
        return f"{where}: {_clash(machine, kind, pe, detail)}"
    if kind == F_BAD:
        return f"{where}: a fabric operand has no color; expected @initialize_queue for its queue"
    return f"{where}: fault {kind} ({detail})"


def _clash(machine: "Machine", kind: int, pe: int, taken: int) -> str:
    """Two operations at once on one microthread, color (its input queue) or output queue."""
    what = f"microthread {taken}"
    if kind == F_QUEUE:
        output = f"output queue {taken - OUTPUTS}"
        what = output if taken >= OUTPUTS else f"color {taken}'s input queue"
    threads = machine.state.threads[pe]
    running = [threads[slot] for slot in range(MAIN) if machine.state.running[pe] >> slot & 1]
    other = threads[taken] if kind == F_THREAD else next(t for t in running if taken in _queues(t))
    return (
        f"an operation wants {what}, on which {other[T_LEFT]} elements of another one are left "
        f"({machine.line(int(other[T_ROW]))}); two operations must not share it at once, so start "
        "this one from what the other activates or unblocks"
    )


def _queues(thread: np.ndarray) -> set[int]:
    """What an operation has for itself: colors of inputs, OUTPUTS and the number of output queues."""
    places = [OPERANDS + position * OPERAND_FIELDS for position in range(3)]
    outputs = {OUTPUTS + int(thread[o + O_QUEUE]) for o in places if thread[o + O_KIND] == K_FABOUT}
    return outputs | {int(thread[o + O_COLOR]) for o in places if thread[o + O_KIND] == K_FABIN}


def describe_quiet(machine: "Machine", what: str, pes: list[int]) -> str:
    """A deadlock: what each of these PEs waits for, then wavelets that are stuck on the way."""
    lines = [f"deadlock in cycle {machine.cycle}: {what}"]
    shown = pes[:MOST_SHOWN]
    lines += [f"  {machine.place(pe)}: {_waits(machine, pe)}" for pe in shown]
    if len(pes) > len(shown):
        lines.append(f"  and {len(pes) - len(shown)} more")
    lines += _stuck(machine)
    lines += _drawing(machine, pes)
    return "\n".join(lines)


def _waits(machine: "Machine", pe: int) -> str:
    """What a PE's threads wait for."""
    state, found = machine.state, []
    for slot in range(THREADS):
        thread = state.threads[pe, slot]
        running = state.running[pe] >> slot & 1 if slot != MAIN else state.mode[pe] == IN_VECTOR
        if not running:
            continue
        name = "its task" if slot == MAIN else f"microthread {slot}"
        found.append(
            f"{name} waits {_for_what(thread)}, {thread[T_LEFT]} elements left "
            f"({machine.line(int(thread[T_ROW]))})"
        )
    if state.mode[pe] == LEAVING:
        row = int(state.at[machine.image.code_of[pe], 0] + state.pc[pe])
        found.append(
            "its task waits to change a color's route until what it sent on it has left "
            f"({machine.line(row)})"
        )
    if found:
        return "; ".join(found)
    pending = int(state.active[pe] & state.blocked[pe])
    if pending:
        ids = ", ".join(str(i) for i in range(64) if pending >> i & 1)
        return f"no task runs; local task {ids} is activated but blocked"
    return "no task runs and none is activated"


def _for_what(thread: np.ndarray) -> str:
    for position in range(4):
        o = OPERANDS + position * OPERAND_FIELDS
        if thread[T_STALL] == C_STALL_IN and thread[o + O_KIND] == K_FABIN:
            return f"for wavelets of color {thread[o + O_COLOR]}"
        if thread[T_STALL] == C_STALL_OUT and thread[o + O_KIND] == K_FABOUT:
            return f"to send on color {thread[o + O_COLOR]}"
    return "for a FIFO"


def stuck_wavelets(machine: "Machine") -> list[tuple[int, str, int, int]]:
    """Wavelets still in routers and input queues: (PE, where, color, how many)."""
    state, found = machine.state, []
    held = in_routers(state)
    for pe, port, color in np.argwhere(held).tolist():
        found.append((pe, f"router, from {PORT_NAMES[port]}", color, int(held[pe, port, color])))
    for pe, color in np.argwhere(state.in_count).tolist():
        found.append((pe, "input queue", color, int(state.in_count[pe, color])))
    return found


def mistakes(machine: "Machine") -> list[str]:
    """What went wrong without stopping the program: wavelets that nobody took, DSDs beyond their arrays.

    The second is how some published programs are written, so the hardware's way is kept: the operation
    meets what lies there.
    """
    rows = np.flatnonzero(machine.state.beyond[:, 0]).tolist()
    beyond = list({machine.line(row): row for row in reversed(rows)}.values())[::-1]
    lines = [_beyond(machine, row) for row in beyond[:MOST_SHOWN]]
    if len(beyond) > MOST_SHOWN:
        lines.append(f"{len(beyond) - MOST_SHOWN} more lines have a DSD beyond its variable")
    left = stuck_wavelets(machine)
    for pe, where, color, count in left[:MOST_SHOWN]:
        lines.append(
            f"{machine.place(pe)}: {count} wavelet(s) of color {color} left in its {where} at the end"
        )
    if len(left) > MOST_SHOWN:
        lines.append(f"{len(left) - MOST_SHOWN} more places hold wavelets at the end")
    return lines


def _beyond(machine: "Machine", row: int) -> str:
    pe, position, at, word = (int(each) for each in machine.state.beyond[row])
    pe -= 1
    vector = Vector(int(machine.state.ins[row, 1])).name.lower()
    names = ("destination", "first source", "second source")
    return (
        f"{machine.line(row)}, {machine.place(pe)}: the {names[position]} of @{vector} begins in "
        f"{_variable(machine, pe, at)} and goes to {_variable(machine, pe, word)}; expected a DSD within "
        "one variable"
    )


def _variable(machine: "Machine", pe: int, word: int) -> str:
    """What lies at a word of a PE's memory."""
    code = int(machine.image.code_of[pe])
    owner = machine.state.owner[code]
    if not 0 <= word < len(owner) or owner[word] == NONE:
        return f"word {word} of the memory, which no variable has"
    found = machine.image.codes[code].memory_map[owner[word]]
    return f"word {word - found.address} of {found.name} ({found.words} words)"


def _stuck(machine: "Machine") -> list[str]:
    found = stuck_wavelets(machine)
    lines = [
        f"  {machine.place(pe)}: {count} wavelet(s) of color {color} stuck in its {where}"
        for pe, where, color, count in found[:MOST_SHOWN]
    ]
    if len(found) > MOST_SHOWN:
        lines.append(f"  and {len(found) - MOST_SHOWN} more places with wavelets")
    return lines


def _drawing(machine: "Machine", pes: list[int]) -> list[str]:
    """The rectangle: `#` waits, `o` holds wavelets, `.` neither; only if it is small."""
    width, height = machine.image.width, machine.image.height
    if not 1 < width * height <= 64 * 32 or width > 64:
        return []
    waiting = set(pes)
    holds = set(np.flatnonzero(machine.state.busy).tolist())
    marks = ["#" if pe in waiting else "o" if pe in holds else "." for pe in range(width * height)]
    return ["  " + "".join(marks[y * width : (y + 1) * width]) for y in range(height)]
