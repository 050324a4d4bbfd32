"""Vector (DSD) operations, jitted: how one starts, what it does in a cycle, and what its end sets off.

A thread's row of `State.threads` holds all of one operation: how far its four operands are, and what
happens when it ends. Microthreads 0 to 7 run beside the main thread, whose own operation is thread 8.
"""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.machine.alu import element
from waferllm.csl.machine.elements import (
    finish,
    fits,
    one_element,
    pop_wavelet,
    push,
)
from waferllm.csl.machine.fabric import CONTROL
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.starting import (
    ADVANCE_WAVELET,
    D_ADVANCE,
    extent,
    fault,
)
from waferllm.csl.machine.state import (
    C_STALL_FIFO,
    F_BAD,
    F_COUNT,
    F_WANTS_DATA,
    F_WANTS_ROOM,
    K_CIRCBUF,
    K_FABIN,
    K_FABOUT,
    K_FIFO,
    K_MEM1D,
    K_NONE,
    K_SCALAR,
    O_ADDRESS,
    O_COLOR,
    O_KIND,
    O_MODE,
    O_QUEUE,
    O_STRIDE,
    O_TEMPLATE,
    O_VALUE,
    O_WORDS,
    OPERAND_FIELDS,
    OPERANDS,
    READY_SHIFT,
    T_ASYNC,
    T_CARRY,
    T_CONTROL,
    T_LEFT,
    T_NEEDS,
    T_OP,
    T_ROW,
    T_STALL,
    T_WIDTH,
)

DONE, PROGRESS, STALLED = 1, 2, 3
BANKS = 8  # successive words lie in successive ones
TEST_OR_SUSPEND, TERMINATE, SUSPEND, FAULT = range(4)


@njit(cache=True)
def _in_one_bank(thread, source):
    """Whether a source and the result never leave one bank: strides of whole rows of banks."""
    o = OPERANDS
    if thread[o + O_KIND] > K_CIRCBUF or thread[source + O_KIND] > K_CIRCBUF:
        return False
    mine, theirs = thread[o + O_STRIDE], thread[source + O_STRIDE]
    if mine == 0 or theirs == 0 or mine % BANKS or theirs % BANKS:
        return False
    return thread[o + O_ADDRESS] % BANKS == thread[source + O_ADDRESS] % BANKS


@njit(cache=True)
def _conflict(thread):
    """Whether the next words lie in banks that cannot be used together: those of the two sources, or of
    a result and a source that both stay in one bank."""
    a, b = OPERANDS + OPERAND_FIELDS, OPERANDS + 2 * OPERAND_FIELDS
    if _in_one_bank(thread, a) or _in_one_bank(thread, b):
        return True
    if thread[a + O_KIND] > K_CIRCBUF or thread[b + O_KIND] > K_CIRCBUF:
        return False
    return thread[a + O_ADDRESS] % 4 == thread[b + O_ADDRESS] % 4


@njit(cache=True)
def _is_straight(s, thread):
    """Whether operands are scalars, or lie in memory at strides, all within it."""
    if thread[OPERANDS + O_KIND] != K_MEM1D:
        return False
    for position in range(4):
        o = OPERANDS + position * OPERAND_FIELDS
        kind = thread[o + O_KIND]
        if kind == K_MEM1D:
            low, high = extent(s, thread, o)
            if thread[o + O_MODE] or low < 0 or high + thread[o + O_WORDS] > s.mem.shape[1]:
                return False
        elif kind != K_SCALAR and kind != K_NONE:
            return False
    return thread[OPERANDS + 3 * OPERAND_FIELDS + O_KIND] != K_MEM1D


@njit(cache=True, inline="always")
def _word(mem, at, words):
    value = np.int64(mem[at])
    return value | np.int64(mem[at + 1]) << 16 if words == 2 else value


@njit(cache=True, inline="never")
def _straight(s, pe, thread):
    """`all_at_once` of what `_is_straight`: the same, its operands in local names."""
    o, first, second = OPERANDS, OPERANDS + OPERAND_FIELDS, OPERANDS + 2 * OPERAND_FIELDS
    op, kind, left, carry = thread[T_OP], s.shape[2], thread[T_LEFT], thread[T_CARRY]
    to, to_step, to_words = thread[o + O_ADDRESS], thread[o + O_STRIDE], thread[o + O_WORDS]
    a, a_step, a_words = (
        thread[first + O_ADDRESS],
        thread[first + O_STRIDE],
        thread[first + O_WORDS],
    )
    b, b_step, b_words = (
        thread[second + O_ADDRESS],
        thread[second + O_STRIDE],
        thread[second + O_WORDS],
    )
    in_a, in_b = thread[first + O_KIND] == K_MEM1D, thread[second + O_KIND] == K_MEM1D
    x, y = thread[first + O_VALUE], thread[second + O_VALUE]
    c = thread[OPERANDS + 3 * OPERAND_FIELDS + O_VALUE]
    always = _in_one_bank(thread, first) or _in_one_bank(thread, second)
    both, width, slow = in_a and in_b, thread[T_WIDTH], s.reads[1]
    mem, cycles = s.mem[pe], np.int64(0)
    while left > 0:
        cycles += slow if always or (both and (a - b) % 4 == 0) else 1
        for _ in range(min(width, left)):
            if in_a:
                x = _word(mem, a, a_words)
            if in_b:
                y = _word(mem, b, b_words)
            value, carry = element(op, kind, x, y, c, carry)
            mem[to] = value & 0xFFFF
            if to_words == 2:
                mem[to + 1] = value >> 16 & 0xFFFF
            to, a, b = to + to_step, a + a_step, b + b_step
        left -= width
    thread[o + O_ADDRESS], thread[T_LEFT], thread[T_CARRY] = to, 0, carry
    if in_a:
        thread[first + O_ADDRESS] = a
    if in_b:
        thread[second + O_ADDRESS] = b
    return cycles


@njit(cache=True, inline="never")
def all_at_once(s, pe, thread):
    """Run a memory-only operation to its end; returns its cycles."""
    if thread[T_LEFT] > 0 and _is_straight(s, thread):
        return _straight(s, pe, thread)
    width, cycles = thread[T_WIDTH], np.int64(0)
    while thread[T_LEFT] > 0:
        cycles += s.reads[1] if _conflict(thread) else 1
        for _ in range(min(width, thread[T_LEFT])):
            one_element(s, pe, thread, 0)
        if s.fault[0]:
            if s.fault[2] < 0:
                s.fault[2] = thread[T_ROW]
            break
    return cycles


@njit(cache=True)
def memory_only(thread):
    """Whether no operand is a queue or a FIFO."""
    return thread[T_NEEDS] == 0


@njit(cache=True, inline="never")
def _on_fifo(s, pe, slot, thread):
    """A FIFO was empty or full: the operation ends or waits, as its action says."""
    for position in range(3):
        o = OPERANDS + position * OPERAND_FIELDS
        if thread[o + O_KIND] != K_FIFO:
            continue
        fifo = thread[o + O_QUEUE]
        row = s.fifos[s.at[s.code_of[pe], 4] + fifo]
        if position == 0 and (s.fifo[pe, fifo, F_COUNT] + 1) * thread[o + O_WORDS] > row[1]:
            s.fifo[pe, fifo, F_WANTS_ROOM], action = 1, row[6]
        elif position > 0 and s.fifo[pe, fifo, F_COUNT] == 0:
            s.fifo[pe, fifo, F_WANTS_DATA], action = 1, row[5]
        else:
            continue
        if action == FAULT:
            fault(s, F_BAD, pe, thread[T_ROW], fifo)
        elif action == TERMINATE or (action == TEST_OR_SUSPEND and not thread[T_ASYNC]):
            finish(s, pe, slot, np.int64(action == TERMINATE), False)
            return DONE
    return STALLED


@njit(cache=True, inline="never")
def _control_ends(s, pe, slot, thread, now):
    """A control wavelet at the head of an input ends the operation, if it was asked to."""
    for position in range(1, 3):
        o = OPERANDS + position * OPERAND_FIELDS
        color = thread[o + O_COLOR]
        if thread[o + O_KIND] == K_FABIN and s.in_count[pe, color]:
            head = s.inq[pe, color, s.in_head[pe, color]]
            if head & CONTROL and head >> READY_SHIFT <= now:
                pop_wavelet(s, pe, color)
                finish(s, pe, slot, np.int64(1), True)
                return True
    return False


@njit(cache=True, inline="never")
def arrival(s, pe, thread):
    """When the wavelet that a stalled operation waits for comes up the ramp, if it is on it."""
    soonest = np.int64(2**62)
    for position in range(1, 3):
        o = OPERANDS + position * OPERAND_FIELDS
        color = thread[o + O_COLOR]
        if thread[o + O_KIND] == K_FABIN and s.in_count[pe, color]:
            soonest = min(soonest, s.inq[pe, color, s.in_head[pe, color]] >> READY_SHIFT)
    return soonest


@njit(cache=True, inline="never")
def _drop(s, pe, slot, thread, now):
    """`@dfilt`: throw data away until enough control wavelets have come."""
    o = OPERANDS
    while o < OPERANDS + 3 * OPERAND_FIELDS and thread[o + O_KIND] != K_FABIN:
        o += OPERAND_FIELDS
    color = thread[o + O_COLOR]
    if s.in_count[pe, color] == 0 or s.inq[pe, color, s.in_head[pe, color]] >> READY_SHIFT > now:
        return STALLED
    thread[T_LEFT] -= pop_wavelet(s, pe, color) & CONTROL != 0
    if thread[T_LEFT] == 0:
        finish(s, pe, slot, np.int64(1), False)
        return DONE
    return PROGRESS


@njit(cache=True)
def _why_not(s, pe, thread, popped, now):
    """Why the next element cannot be computed in this cycle; 0 if it can."""
    needs = thread[T_NEEDS]
    for position in range(3):
        if needs >> position & 1:
            why = fits(s, pe, thread, OPERANDS + position * OPERAND_FIELDS, popped, now)
            if why:
                return why
    return 0


@njit(cache=True)
def _popping(thread):
    """Colors whose queue the next element takes a wavelet from."""
    popped, needs = np.int64(0), thread[T_NEEDS]
    for position in range(1, 3):
        o = OPERANDS + position * OPERAND_FIELDS
        if needs >> position & 1 and thread[o + O_KIND] == K_FABIN and thread[o + O_MODE] == 0:
            popped |= np.int64(1) << thread[o + O_COLOR]
    return popped


@njit(cache=True)
def beat(s, pe, slot, now):
    """One cycle of an operation: DONE, PROGRESS or STALLED."""
    thread = s.threads[pe, slot]
    if thread[T_CONTROL]:
        if thread[T_CONTROL] == 2:
            return _drop(s, pe, slot, thread, now)
        if _control_ends(s, pe, slot, thread, now):
            return DONE
    width, taken, popped, why = thread[T_WIDTH], 0, np.int64(0), 0
    sends, queue = thread[OPERANDS + O_KIND] == K_FABOUT, thread[OPERANDS + O_QUEUE]
    while taken < width and thread[T_LEFT] > 0:
        why = _why_not(s, pe, thread, popped, now)
        if why:
            break
        popped |= _popping(thread)
        before = s.out_count[pe, queue] if sends else 0
        one_element(s, pe, thread, now)
        taken += 1
        if sends and s.out_count[pe, queue] != before:
            break  # one wavelet into the queue in a cycle
    if s.fault[0] and s.fault[2] < 0:
        s.fault[2] = thread[T_ROW]
    if thread[T_LEFT] == 0 and (taken or why == 0):
        if not _after_last(s, pe, thread, now):
            return PROGRESS
        finish(s, pe, slot, np.int64(1), False)
        return DONE
    if taken:
        return PROGRESS
    thread[T_STALL] = why
    if why == C_STALL_FIFO:
        return _on_fifo(s, pe, slot, thread)
    return STALLED


@njit(cache=True)
def _after_last(s, pe, thread, now):
    """`.advance_switch`: a command to the routers follows the last wavelet; False while it waits."""
    o = OPERANDS
    if thread[o + O_KIND] != K_FABOUT or s.dsds[thread[o + O_TEMPLATE], D_ADVANCE] <= 0:
        return True
    queue = thread[o + O_QUEUE]
    if s.out_count[pe, queue] >= s.output_depth[queue]:
        return False
    push(s, pe, queue, thread[o + O_COLOR], ADVANCE_WAVELET | CONTROL, now)
    return True
