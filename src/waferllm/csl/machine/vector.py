"""Vector (DSD) operations, jitted: how one starts, what it does in a cycle, and what its end sets off.

A thread's row of `State.threads` holds all of one operation: how far its four operands are, and what
happens when it ends. Microthreads 0 to 7 run beside the main thread, whose own operation is thread 8.
"""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.code import DSD_COLUMNS, OPTION_COLUMNS, Operand, Priority
from waferllm.csl.code import Target as Id
from waferllm.csl.machine.alu import DFILT, FMOVH, FMOVS, MOV16, MOV32, element
from waferllm.csl.machine.bits import lowest_bit
from waferllm.csl.machine.fabric import CONTROL, DATA
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.state import (
    C_STALL_FIFO,
    C_STALL_IN,
    C_STALL_OUT,
    F_ADDRESS,
    F_BAD,
    F_COUNT,
    F_HEAD,
    F_QUEUE,
    F_READ,
    F_THREAD,
    F_WANTS_DATA,
    F_WANTS_ROOM,
    F_WRITE,
    K_CIRCBUF,
    K_FABIN,
    K_FABOUT,
    K_FIFO,
    K_MEM1D,
    K_MEM4D,
    K_NONE,
    K_POINTER,
    K_SCALAR,
    MAIN,
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
    T_CONTROL,
    T_LEFT,
    T_NEEDS,
    T_OP,
    T_OPTIONS,
    T_PRIORITY,
    T_RESULT,
    T_ROW,
    T_STALL,
    T_START,
    T_WIDTH,
)

D = {name: at for at, name in enumerate(DSD_COLUMNS)}
D_KIND, D_WORDS, D_RANK, D_EXTENT, D_STRIDE = (
    D[n] for n in ("kind", "element_words", "rank", "extent0", "stride0")
)
D_WRAP, D_WRAP_WORDS, D_QUEUE, D_COLOR, D_CONTROL = (
    D[n] for n in ("wrap_address", "wrap_words", "queue", "color", "control")
)
D_TRANSFORM, D_ADVANCE, D_INDEX, D_PRIORITY, D_SIMD, D_FIFO = (
    D[n]
    for n in ("control_transform", "advance_switch", "index_offset", "priority", "simd", "fifo")
)
D_ZERO = D["zero"]
SECOND_SOURCE = 2  # of `.zero`
P = {name: at for at, name in enumerate(OPTION_COLUMNS)}
P_ASYNC, P_ACTIVATE, P_UNBLOCK_KIND, P_UNBLOCK = (
    P[n] for n in ("async", "activate", "unblock_kind", "unblock")
)
P_TERMINATE, P_C_ACTIVATE, P_C_KIND, P_C_UNBLOCK = (
    P[n]
    for n in ("control_terminate", "control_activate", "control_unblock_kind", "control_unblock")
)
P_THREAD, P_PRIORITY, P_SAVE = (P[n] for n in ("microthread", "priority", "save_address"))

BY_DSD, BY_DSR, BY_SCALAR, BY_POINTER = (
    int(x) for x in (Operand.DSD, Operand.DSR, Operand.SCALAR, Operand.POINTER)
)
LOCAL, COLOR, QUEUE_ID, DATA_TASK, CONTROL_TASK, THREAD_ID = (
    int(x)
    for x in (
        Id.LOCAL_TASK, Id.COLOR, Id.INPUT_QUEUE, Id.DATA_TASK, Id.CONTROL_TASK, Id.MICROTHREAD,
    )
)  # fmt: skip
DONE, PROGRESS, STALLED = 1, 2, 3
BANKS = 8  # successive words lie in successive ones
HIGH, MEDIUM = int(Priority.HIGH), int(Priority.MEDIUM)
TEST_OR_SUSPEND, TERMINATE, SUSPEND, FAULT = range(4)
NOWHERE = -1  # in `owner`
CONTROL_MASK_WORD = 0x7FCC - 0x7C00
# With `.control_transform` the two highest bits say that a word was a control wavelet.
MARK, MARKED = 3 << 30, 2 << 30
# One SWITCH_ADV; the bits that keep a control wavelet from cores are set for all eight commands.
ADVANCE_WAVELET = (31 << 16) | (1 << 22) | sum(1 << bit for bit in (24, 27, 0, 3, 6, 9, 12, 15))


@njit(cache=True)
def signed16(value):
    """The low 16 bits as a signed number."""
    value &= 0xFFFF
    return value - 0x10000 if value & 0x8000 else value


@njit(cache=True)
def fault(s, kind, pe, row, detail):
    """Note the first thing that went wrong."""
    if s.fault[0] == 0:
        s.fault[0], s.fault[1], s.fault[2], s.fault[3] = kind, pe, row, detail


@njit(cache=True)
def load(s, pe, address, words):
    """One or two words of memory, low first; a wrong address is a fault."""
    if address < 0 or address + words > s.mem.shape[1]:
        fault(s, F_ADDRESS, pe, -1, address)
        return np.int64(0)
    value = np.int64(s.mem[pe, address])
    if words == 2:
        value |= np.int64(s.mem[pe, address + 1]) << 16
    return value


@njit(cache=True)
def store(s, pe, address, words, value):
    """Into one or two words of memory."""
    if address < 0 or address + words > s.mem.shape[1]:
        fault(s, F_ADDRESS, pe, -1, address)
        return
    s.mem[pe, address] = value & 0xFFFF
    if words == 2:
        s.mem[pe, address + 1] = (value >> 16) & 0xFFFF


# --- Start -----------------------------------------------------------------------------------


@njit(cache=True, inline="never")
def _operand(s, pe, code, position, field, thread, words, index):
    """Fill one operand of a thread; returns its length in elements, or -1."""
    how, payload = field >> 24, field & 0xFFFFFF
    o = OPERANDS + position * OPERAND_FIELDS
    for each in range(OPERAND_FIELDS):
        thread[o + each] = 0
    thread[o + O_WORDS], thread[o + O_DSR] = words, -1
    if how == 0:
        thread[o + O_KIND] = K_NONE
        return np.int64(-1)
    if how == BY_SCALAR:
        thread[o + O_KIND], thread[o + O_VALUE] = K_SCALAR, s.reg[pe, payload]
        return np.int64(-1)
    if how == BY_POINTER:
        thread[o + O_KIND], thread[o + O_ADDRESS] = K_POINTER, s.reg[pe, payload]
        return np.int64(-1)
    if how == BY_DSR:
        thread[o + O_DSR] = payload
        packed = s.dsr[pe, payload >> 8, payload & 0xFF]
    else:
        packed = s.reg[pe, payload]
    template = s.at[code, 2] + ((packed >> 48) & 0xFFFF)
    row = s.dsds[template]
    kind = row[D_KIND]
    length = (packed >> 16) & 0xFFFF
    thread[o + O_KIND], thread[o + O_TEMPLATE] = kind, template
    thread[o + O_ADDRESS], thread[o + O_STRIDE] = packed & 0xFFFF, signed16(packed >> 32)
    if kind <= K_CIRCBUF:
        # A DSD does not know what lies there: its stride counts elements of the operation's width.
        if row[D_WORDS] and row[D_WORDS] != words:
            thread[o + O_STRIDE] = thread[o + O_STRIDE] // row[D_WORDS] * words
        if row[D_INDEX]:
            thread[o + O_ADDRESS] += index
    if kind == K_MEM4D:
        length = np.int64(1)
        for rank in range(row[D_RANK]):
            length *= row[D_EXTENT + rank]
    elif kind == K_FABIN:
        queue = row[D_QUEUE]
        color = np.int64(row[D_COLOR])
        if s.shape[7] or color < 0:
            color = np.int64(s.input_color[code, queue]) if queue >= 0 else color
        thread[o + O_COLOR], thread[o + O_QUEUE] = color, queue
        if color < 0:
            fault(s, F_BAD, pe, thread[T_ROW], queue)
    elif kind == K_FABOUT:
        queue, color = np.int64(row[D_QUEUE]), np.int64(row[D_COLOR])
        if queue < 0:
            queue = np.int64(0)
        if s.shape[7] or color < 0:
            color = (
                np.int64(s.output_color[code, queue]) if s.output_color[code, queue] >= 0 else color
            )
        thread[o + O_COLOR], thread[o + O_QUEUE] = color, queue
        if row[D_INDEX]:
            thread[o + O_VALUE] = index << 16
        if color < 0:
            fault(s, F_BAD, pe, thread[T_ROW], queue)
    elif kind == K_FIFO:
        thread[o + O_QUEUE] = row[D_FIFO]
        state = s.fifo[pe, row[D_FIFO]]
        length = state[F_WRITE] if position == 0 else state[F_READ]
        return length if length > 0 else np.int64(-1)
    return length


@njit(cache=True)
def _thread_of(s, thread, options):
    """The microthread of an asynchronous operation: given, or that of its first queue."""
    if options >= 0 and s.options[options, P_THREAD] >= 0:
        return np.int64(s.options[options, P_THREAD])
    for position in range(3):
        o = OPERANDS + position * OPERAND_FIELDS
        if thread[o + O_KIND] == K_FABOUT or thread[o + O_KIND] == K_FABIN:
            return max(thread[o + O_QUEUE], np.int64(0))
    return np.int64(0)


@njit(cache=True)
def _stride_limit(width, thread, o):
    """Elements per cycle that a memory operand's stride allows (documentation's appendix)."""
    if thread[o + O_KIND] != K_MEM1D:
        return width
    stride = thread[o + O_STRIDE] // thread[o + O_WORDS]
    if stride == 0 or stride == 1:
        return width
    rest = stride % 8
    if rest == 0:
        return np.int64(1)
    if rest == 1 or rest == 7 or rest == 4:
        return min(width, np.int64(2))
    return width


@njit(cache=True)
def _width(s, thread):
    """Elements that one cycle can take, fabric aside."""
    width, words = s.simd[thread[T_OP]], np.int64(0)
    for position in range(3):
        o = OPERANDS + position * OPERAND_FIELDS
        width = _stride_limit(width, thread, o)
        if position > 0 and thread[o + O_KIND] <= K_CIRCBUF:
            words += thread[o + O_WORDS]
    return min(width, s.reads[0] // words) if words else width


@njit(cache=True)
def _needs(thread):
    """Bits of the operands that must be looked at before an element: queues and FIFOs."""
    bits = np.int64(0)
    for position in range(4):
        if K_FABIN <= thread[OPERANDS + position * OPERAND_FIELDS + O_KIND] <= K_FIFO:
            bits |= np.int64(1) << position
    return bits


@njit(cache=True)
def _ends_by_control(s, options):
    """Whether a control wavelet may end the operation."""
    if options < 0:
        return np.int64(0)
    row = s.options[options]
    return np.int64(row[P_TERMINATE] > 0 or row[P_C_ACTIVATE] >= 0 or row[P_C_UNBLOCK] >= 0)


@njit(cache=True)
def _ends_somehow(s, options):
    """Whether something is activated or unblocked when the operation ends."""
    row = s.options[options]
    return row[P_ACTIVATE] >= 0 or row[P_UNBLOCK] >= 0 or _ends_by_control(s, options) != 0


@njit(cache=True, inline="never")
def _clear_source(s, thread):
    """`.zero` of a fabric output: each element of the source is cleared when it has been read. The
    only source of an operation counts as its second."""
    second = s.dsds[thread[OPERANDS + O_TEMPLATE], D_ZERO] == SECOND_SOURCE
    last = OPERANDS + 2 * OPERAND_FIELDS
    alone = thread[last + O_KIND] == K_NONE
    thread[(last if second and not alone else last - OPERAND_FIELDS) + O_MODE] = 1


@njit(cache=True)
def _extent(s, thread, o):
    """The lowest and the highest word that a memory operand's elements begin at."""
    low = high = thread[o + O_ADDRESS]
    if thread[o + O_KIND] == K_MEM1D:
        last = low + (thread[T_LEFT] - 1) * thread[o + O_STRIDE]
        return min(low, last), max(high, last)
    row, back = s.dsds[thread[o + O_TEMPLATE]], np.int64(0)
    for rank in range(row[D_RANK]):
        # A rank's stride also takes back what the ranks within it have gone.
        span = (row[D_STRIDE + rank] + back) * (row[D_EXTENT + rank] - 1)
        back += span
        low, high = low + min(span, 0), high + max(span, 0)
    return low, high


@njit(cache=True)
def _note_beyond(s, pe, row, code, thread):
    """Keep the first operand of an instruction that goes beyond the variable it begins in: PE + 1,
    operand, the word where it begins, the word where it should not be."""
    owner = s.owner[code]
    for position in range(3):
        o = OPERANDS + position * OPERAND_FIELDS
        if thread[o + O_KIND] > K_MEM4D or thread[T_LEFT] == 0:
            continue
        at = np.int64(thread[o + O_ADDRESS])
        low, high = _extent(s, thread, o)
        high += thread[o + O_WORDS] - 1
        mine = owner[at] if 0 <= at < len(owner) else NOWHERE
        for word in (low, high):
            if mine == NOWHERE or not 0 <= word < len(owner) or owner[word] != mine:
                s.beyond[row] = pe + 1, position, at, word
                return


@njit(cache=True, inline="never")
def start(s, pe, row, now):
    """Begin the vector operation of instruction `row`: the thread it runs on. Sharing a microthread or a
    queue with a running operation, which the documentation forbids, is a fault, and -1 is returned."""
    code = s.code_of[pe]
    ins = s.ins[row]
    op = ins[1]
    thread = s.threads[pe, MAIN]
    thread[T_ROW], thread[T_OP] = row, op
    index = s.reg[pe, ins[8]] if ins[8] >= 0 else np.int64(0)
    options = s.at[code, 3] + ins[7] if ins[7] >= 0 else np.int64(-1)
    own, threads = options, options
    asynchronous = own >= 0 and s.options[own, P_ASYNC] > 0
    loads, length, fabric, owned = 0, np.int64(-1), False, np.int64(0)
    room = np.int64(-1)
    priority = np.int64(0)
    for position in range(4):
        count = _operand(
            s, pe, code, position, ins[3 + position], thread, s.widths[op, position], index
        )
        # The first source with a length says how many elements there are, else the destination (a
        # vendor's comment in the published allreduce example).
        if position == 0:
            room = count
        elif length <= 0:
            length = max(length, count)
        o = OPERANDS + position * OPERAND_FIELDS
        loads += ins[3 + position] >> 24 == BY_DSD
        if thread[o + O_DSR] >= 0:
            dsr = thread[o + O_DSR]
            held = s.dsr_options[pe, dsr >> 8, dsr & 0xFF]
            if held >= 0:
                held += s.at[code, 3]
                asynchronous = asynchronous or s.options[held, P_ASYNC] > 0
                if threads < 0 or s.options[threads, P_THREAD] < 0:
                    threads = held
                # What a DSR was loaded with says how an operation on it ends.
                if options < 0 or not _ends_somehow(s, options):
                    options = held
        if thread[o + O_KIND] == K_FABIN:
            fabric = True
            owned |= np.int64(1) << thread[o + O_COLOR]
        if thread[o + O_KIND] == K_FABOUT:
            fabric = True
            if s.dsds[thread[o + O_TEMPLATE], D_QUEUE] >= 0:
                owned |= np.int64(1) << OUTPUTS + thread[o + O_QUEUE]
        if thread[o + O_KIND] in (K_FABIN, K_FABOUT):
            priority = max(priority, np.int64(s.dsds[thread[o + O_TEMPLATE], D_PRIORITY]))
    if thread[OPERANDS + O_KIND] == K_FABOUT and s.dsds[thread[OPERANDS + O_TEMPLATE], D_ZERO]:
        _clear_source(s, thread)
    if length <= 0:
        length = max(length, room)
    thread[T_LEFT] = length if length >= 0 else 1
    thread[T_OPTIONS], thread[T_RESULT] = options, ins[2]
    thread[T_STALL], thread[T_CARRY] = 0, 0
    thread[T_CONTROL] = 2 if op == DFILT else _ends_by_control(s, options)
    thread[T_WIDTH], thread[T_NEEDS] = _width(s, thread), _needs(thread)
    if thread[T_CONTROL] == 0 and s.beyond[row, 0] == 0:
        _note_beyond(s, pe, row, code, thread)
    thread[T_START] = now + s.vector_cost[0] + loads * s.vector_cost[1]
    if own >= 0 and s.options[own, P_PRIORITY] > 0:
        priority = np.int64(s.options[own, P_PRIORITY])
    thread[T_PRIORITY] = priority
    asynchronous = fabric and asynchronous
    thread[T_ASYNC] = asynchronous
    slot = np.int64(MAIN)
    if asynchronous:
        slot = _thread_of(s, thread, threads)
        if s.running[pe] >> slot & 1:
            fault(s, F_THREAD, pe, row, slot)
            return np.int64(-1)
    if owned & s.owned[pe]:
        fault(s, F_QUEUE, pe, row, lowest_bit(owned & s.owned[pe]))
        return np.int64(-1)
    s.owned[pe] |= owned
    if slot != MAIN:
        for field in range(len(thread)):
            s.threads[pe, slot, field] = thread[field]
        bit = np.int64(1) << slot
        s.running[pe] |= bit
        s.asleep[pe] &= ~bit
        first = priority == HIGH or priority == MEDIUM
        s.urgent[pe] = s.urgent[pe] | bit if first else s.urgent[pe] & ~bit
        thread = s.threads[pe, slot]
    thread[T_ACTIVE] = 1
    return slot


# --- One element -----------------------------------------------------------------------------


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
def _fits(s, pe, thread, o, popped, now):
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
def _pop_wavelet(s, pe, color):
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
    wavelet = _pop_wavelet(s, pe, thread[o + O_COLOR])
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


# --- One cycle -------------------------------------------------------------------------------


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
            low, high = _extent(s, thread, o)
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
                _pop_wavelet(s, pe, color)
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
    thread[T_LEFT] -= _pop_wavelet(s, pe, color) & CONTROL != 0
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
            why = _fits(s, pe, thread, OPERANDS + position * OPERAND_FIELDS, popped, now)
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
