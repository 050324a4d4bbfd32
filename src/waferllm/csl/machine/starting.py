"""How a vector (DSD) operation starts, jitted: its operands, its length, its thread; what it may touch."""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.code import DSD_COLUMNS, OPTION_COLUMNS, Operand, Priority
from waferllm.csl.code import Target as Id
from waferllm.csl.machine.alu import DFILT
from waferllm.csl.machine.bits import lowest_bit
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.state import (
    F_ADDRESS,
    F_BAD,
    F_QUEUE,
    F_READ,
    F_THREAD,
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
    O_ADDRESS,
    O_COLOR,
    O_DSR,
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
HIGH, MEDIUM = int(Priority.HIGH), int(Priority.MEDIUM)
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
def extent(s, thread, o):
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
        low, high = extent(s, thread, o)
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
