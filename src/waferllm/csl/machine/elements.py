"""One element of a vector operation, jitted: from memory, queues and FIFOs to where it goes; and the end."""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.machine.alu import FMOVH, FMOVS, MOV16, MOV32, element
from waferllm.csl.machine.fabric import CONTROL, DATA
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.starting import (
    COLOR,
    CONTROL_MASK_WORD,
    CONTROL_TASK,
    D_CONTROL,
    D_EXTENT,
    D_INDEX,
    D_RANK,
    D_SIMD,
    D_STRIDE,
    D_TRANSFORM,
    D_WRAP,
    D_WRAP_WORDS,
    DATA_TASK,
    LOCAL,
    MARK,
    MARKED,
    P_ACTIVATE,
    P_C_ACTIVATE,
    P_C_KIND,
    P_C_UNBLOCK,
    P_SAVE,
    P_TERMINATE,
    P_UNBLOCK,
    P_UNBLOCK_KIND,
    QUEUE_ID,
    load,
    store,
)
from waferllm.csl.machine.state import (
    C_STALL_FIFO,
    C_STALL_IN,
    C_STALL_OUT,
    F_COUNT,
    F_HEAD,
    F_READ,
    F_WANTS_DATA,
    F_WANTS_ROOM,
    F_WRITE,
    K_CIRCBUF,
    K_FABIN,
    K_FABOUT,
    K_FIFO,
    K_MEM1D,
    K_MEM4D,
    K_POINTER,
    K_SCALAR,
    NOW,
    O_ADDRESS,
    O_COLOR,
    O_DSR,
    O_I0,
    O_KIND,
    O_MODE,
    O_QUEUE,
    O_STRIDE,
    O_TEMPLATE,
    O_VALUE,
    O_WORDS,
    OPERAND_FIELDS,
    OPERANDS,
    OUTPUTS,
    QUEUE,
    READY_SHIFT,
    T_ACTIVE,
    T_ASYNC,
    T_CARRY,
    T_LEFT,
    T_OP,
    T_OPTIONS,
    T_RESULT,
)


@njit(cache=True)
def _advance(s, thread, o):
    """Move a memory operand to its next element."""
    kind = thread[o + O_KIND]
    if kind == K_MEM1D:
        thread[o + O_ADDRESS] += thread[o + O_STRIDE]
    elif kind == K_MEM4D:
        row = s.dsds[thread[o + O_TEMPLATE]]
        rank = 0
        while rank < row[D_RANK] - 1 and rank < 3:
            thread[o + O_I0 + rank] += 1
            if thread[o + O_I0 + rank] < row[D_EXTENT + rank]:
                break
            thread[o + O_I0 + rank] = 0
            rank += 1
        thread[o + O_ADDRESS] += row[D_STRIDE + rank]
    elif kind == K_CIRCBUF:
        row = s.dsds[thread[o + O_TEMPLATE]]
        thread[o + O_ADDRESS] += thread[o + O_STRIDE]
        if thread[o + O_ADDRESS] >= row[D_WRAP] + row[D_WRAP_WORDS]:
            thread[o + O_ADDRESS] = row[D_WRAP]


@njit(cache=True)
def fits(s, pe, thread, o, popped, now):
    """Whether an operand can give or take one more element in this cycle: 0, or why not."""
    kind = thread[o + O_KIND]
    if kind == K_FABIN:
        if thread[o + O_MODE]:
            return 0
        color = thread[o + O_COLOR]
        if popped >> color & 1 or s.in_count[pe, color] == 0:
            return C_STALL_IN
        head = s.inq[pe, color, s.in_head[pe, color]]
        return C_STALL_IN if head >> READY_SHIFT > now else 0
    if kind == K_FABOUT:
        if thread[o + O_MODE]:
            return 0
        queue = thread[o + O_QUEUE]
        return C_STALL_OUT if s.out_count[pe, queue] >= s.output_depth[queue] else 0
    if kind == K_FIFO:
        fifo = thread[o + O_QUEUE]
        state, row = s.fifo[pe, fifo], s.fifos[s.at[s.code_of[pe], 4] + fifo]
        if o == OPERANDS:
            full = (state[F_COUNT] + 1) * thread[o + O_WORDS] > row[1]
            return C_STALL_FIFO if full else 0
        return C_STALL_FIFO if state[F_COUNT] == 0 else 0
    return 0


@njit(cache=True, inline="never")
def pop_wavelet(s, pe, color):
    head = s.in_head[pe, color]
    wavelet = s.inq[pe, color, head]
    s.in_head[pe, color] = (head + 1) % QUEUE
    s.in_count[pe, color] -= 1
    if s.in_count[pe, color] == 0:
        s.in_mask[pe] &= ~(np.int64(1) << color)
    return wavelet


@njit(cache=True, inline="never")
def _from_fifo(s, pe, thread, o):
    fifo, words = thread[o + O_QUEUE], thread[o + O_WORDS]
    state, row = s.fifo[pe, fifo], s.fifos[s.at[s.code_of[pe], 4] + fifo]
    capacity = row[1] // words
    value = load(s, pe, row[0] + state[F_HEAD] * words, words)
    state[F_HEAD] = (state[F_HEAD] + 1) % capacity
    state[F_COUNT] -= 1
    if state[F_WANTS_ROOM]:
        state[F_WANTS_ROOM] = 0
        if row[4] >= 0:
            activate(s, pe, row[4])
    return value


@njit(cache=True, inline="never")
def _to_fifo(s, pe, thread, value):
    o = OPERANDS
    fifo, words = thread[o + O_QUEUE], thread[o + O_WORDS]
    state, row = s.fifo[pe, fifo], s.fifos[s.at[s.code_of[pe], 4] + fifo]
    capacity = row[1] // words
    at = (state[F_HEAD] + state[F_COUNT]) % capacity
    store(s, pe, row[0] + at * words, words, value)
    state[F_COUNT] += 1
    if state[F_WANTS_DATA]:
        state[F_WANTS_DATA] = 0
        if row[3] >= 0:
            activate(s, pe, row[3])


@njit(cache=True, inline="never")
def _from_fabric(s, pe, thread, o):
    """The next element of a fabric input; in SIMD mode the wavelet's high half is kept for later."""
    if thread[o + O_MODE]:
        thread[o + O_MODE] = 0
        return thread[o + O_VALUE] >> 16 & 0xFFFF
    wavelet = pop_wavelet(s, pe, thread[o + O_COLOR])
    if wavelet & CONTROL and s.dsds[thread[o + O_TEMPLATE], D_TRANSFORM]:
        wavelet = (wavelet & ~MARK) | MARKED
    simd = s.dsds[thread[o + O_TEMPLATE], D_SIMD] > 0
    if simd and thread[o + O_WORDS] == 1:
        thread[o + O_VALUE], thread[o + O_MODE] = wavelet & DATA, 1
    return wavelet & (0xFFFF if thread[o + O_WORDS] == 1 else DATA)


@njit(cache=True, inline="never")
def push(s, pe, queue, color, wavelet, now):
    """Into an output queue that has room."""
    at = (np.int64(s.out_head[pe, queue]) + s.out_count[pe, queue]) % QUEUE
    s.outq[pe, queue, at] = wavelet | (now + s.shape[4]) << READY_SHIFT
    s.out_color[pe, queue, at] = color
    s.out_count[pe, queue] += 1
    s.out_mask[pe] |= np.int64(1) << queue


@njit(cache=True, inline="never")
def _to_fabric(s, pe, thread, value, now):
    """Send an element; in SIMD mode the first of a pair waits for the second."""
    o = OPERANDS
    row = s.dsds[thread[o + O_TEMPLATE]]
    if thread[o + O_WORDS] == 1 and row[D_SIMD] > 0 and not row[D_INDEX]:
        if thread[o + O_MODE] == 0 and thread[T_LEFT] > 1:
            thread[o + O_VALUE], thread[o + O_MODE] = value & 0xFFFF, 1
            return
        if thread[o + O_MODE]:
            value = thread[o + O_VALUE] | (value & 0xFFFF) << 16
            thread[o + O_MODE] = 0
    elif row[D_INDEX]:
        value = thread[o + O_VALUE] | (value & 0xFFFF)
    control = row[D_CONTROL] > 0
    if row[D_TRANSFORM] and value & DATA & MARK == MARKED:
        control = True
        value = (value & ~MARK) ^ np.int64(s.config[pe, CONTROL_MASK_WORD]) << 16
    wavelet = (value & DATA) | (CONTROL if control else 0)
    push(s, pe, thread[o + O_QUEUE], thread[o + O_COLOR], wavelet, now)


@njit(cache=True)
def _get(s, pe, thread, position):
    o = OPERANDS + position * OPERAND_FIELDS
    kind = thread[o + O_KIND]
    if kind <= K_CIRCBUF:
        value = load(s, pe, thread[o + O_ADDRESS] & 0xFFFF, thread[o + O_WORDS])
        if thread[o + O_MODE]:
            store(s, pe, thread[o + O_ADDRESS] & 0xFFFF, thread[o + O_WORDS], 0)
        _advance(s, thread, o)
        return value
    if kind == K_SCALAR:
        return thread[o + O_VALUE]
    if kind == K_FABIN:
        return _from_fabric(s, pe, thread, o)
    if kind == K_POINTER:
        return load(s, pe, thread[o + O_ADDRESS], thread[o + O_WORDS])
    if kind == K_FIFO:
        return _from_fifo(s, pe, thread, o)
    return np.int64(0)


@njit(cache=True)
def one_element(s, pe, thread, now):
    """Compute and put away the next element; the operands were found to fit."""
    op = thread[T_OP]
    value = _get(s, pe, thread, 1)
    if op == MOV32 or op == FMOVS:
        value &= DATA
    elif op == MOV16 or op == FMOVH:
        value &= 0xFFFF
    else:
        b, c = _get(s, pe, thread, 2), _get(s, pe, thread, 3)
        value, thread[T_CARRY] = element(op, s.shape[2], value, b, c, thread[T_CARRY])
    o = OPERANDS
    kind = thread[o + O_KIND]
    if kind <= K_CIRCBUF:
        store(s, pe, thread[o + O_ADDRESS] & 0xFFFF, thread[o + O_WORDS], value)
        _advance(s, thread, o)
    elif kind == K_FABOUT:
        _to_fabric(s, pe, thread, value, now)
    elif kind == K_POINTER:
        store(s, pe, thread[o + O_ADDRESS], thread[o + O_WORDS], value)
    elif kind == K_FIFO:
        _to_fifo(s, pe, thread, value)
    thread[T_LEFT] -= 1


# --- End -------------------------------------------------------------------------------------


@njit(cache=True, inline="never")
def unblock(s, pe, kind, id_):
    """`@unblock`: let a task run, or a color's data task."""
    _set_block(s, pe, kind, id_, False)


@njit(cache=True)
def activate(s, pe, id_):
    """Activate a local task; one that is activated already stays as old as it was."""
    bit = np.int64(1) << np.int64(id_)
    if s.active[pe] & bit == 0:
        s.since[pe, id_] = s.clock[NOW]
        s.active[pe] |= bit


@njit(cache=True, inline="never")
def block(s, pe, kind, id_):
    """`@block`."""
    _set_block(s, pe, kind, id_, True)


@njit(cache=True, inline="never")
def _set_block(s, pe, kind, id_, on):
    bit = np.int64(1) << id_
    if kind == LOCAL or (kind == COLOR and not s.shape[7]):
        s.blocked[pe] = s.blocked[pe] | bit if on else s.blocked[pe] & ~bit
    if kind == CONTROL_TASK:
        s.blocked_control[pe] = s.blocked_control[pe] | bit if on else s.blocked_control[pe] & ~bit
    if kind in (DATA_TASK, QUEUE_ID, COLOR):
        if s.shape[7] and kind != COLOR:
            color = s.input_color[s.code_of[pe], id_]
            if color < 0:
                return
            bit = np.int64(1) << np.int64(color)
        s.blocked_data[pe] = s.blocked_data[pe] | bit if on else s.blocked_data[pe] & ~bit


@njit(cache=True, inline="never")
def _save_addresses(s, pe, thread):
    """DSRs loaded with `save_address` keep where their operand has come to."""
    for position in range(4):
        o = OPERANDS + position * OPERAND_FIELDS
        dsr = thread[o + O_DSR]
        if dsr < 0 or thread[o + O_KIND] > K_CIRCBUF:
            continue
        held = s.dsr_options[pe, dsr >> 8, dsr & 0xFF]
        if thread[o + O_KIND] == K_CIRCBUF or (
            held >= 0 and s.options[s.at[s.code_of[pe], 3] + held, P_SAVE] > 0
        ):
            packed = s.dsr[pe, dsr >> 8, dsr & 0xFF]
            s.dsr[pe, dsr >> 8, dsr & 0xFF] = (packed & ~np.int64(0xFFFF)) | (
                thread[o + O_ADDRESS] & 0xFFFF
            )


@njit(cache=True, inline="never")
def finish(s, pe, slot, result, by_control):
    """An operation has ended: what it held is free, what it was to set off is set off."""
    thread = s.threads[pe, slot]
    thread[T_ACTIVE] = 0
    _save_addresses(s, pe, thread)
    for position in range(3):
        o = OPERANDS + position * OPERAND_FIELDS
        if thread[o + O_KIND] == K_FABIN:
            s.owned[pe] &= ~(np.int64(1) << thread[o + O_COLOR])
        if thread[o + O_KIND] == K_FABOUT:
            s.owned[pe] &= ~(np.int64(1) << OUTPUTS + thread[o + O_QUEUE])
        if thread[o + O_KIND] == K_FIFO:
            s.fifo[pe, thread[o + O_QUEUE], F_WRITE if position == 0 else F_READ] = (
                0 if result else thread[T_LEFT]
            )
    options = thread[T_OPTIONS]
    if thread[T_ASYNC]:
        s.running[pe] &= ~(np.int64(1) << slot)
    elif thread[T_RESULT] >= 0:
        s.reg[pe, thread[T_RESULT]] = result
    if options < 0:
        return
    row = s.options[options]
    if by_control:
        if row[P_C_ACTIVATE] >= 0:
            activate(s, pe, row[P_C_ACTIVATE])
        if row[P_C_UNBLOCK] >= 0:
            unblock(s, pe, row[P_C_KIND], row[P_C_UNBLOCK])
        if row[P_TERMINATE] <= 0:
            return
    if row[P_ACTIVATE] >= 0:
        activate(s, pe, row[P_ACTIVATE])
    if row[P_UNBLOCK] >= 0:
        unblock(s, pe, row[P_UNBLOCK_KIND], row[P_UNBLOCK])
