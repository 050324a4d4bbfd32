"""One PE's core, jitted: which task runs, what the main thread executes, which thread issues in a cycle.

In a cycle one thread issues. High and medium microthreads come before the main thread; the main thread
and the low ones (the default) take turns, since neither starves the other on the chip. Longer than most
files because the main thread has one branch for each instruction.
"""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.code import Op
from waferllm.csl.code import Target as Id
from waferllm.csl.machine.alu import binary, convert, is_float, math_function, wrap
from waferllm.csl.machine.bits import lowest_bit
from waferllm.csl.machine.configuration import (
    FLUSHING,
    QUEUES,
    TEARDOWN_TASK,
    flush_empty,
    get_config,
    on_its_way,
    random16,
    set_config,
)
from waferllm.csl.machine.elements import (
    activate,
    block,
    finish,
    pop_wavelet,
    unblock,
)
from waferllm.csl.machine.fabric import COLORS, CONTROL, set_route
from waferllm.csl.machine.floats import from_float, to_float
from waferllm.csl.machine.image import DATA_PARAMS
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.starting import (
    D_FIFO,
    D_WORDS,
    fault,
    load,
    signed16,
    start,
    store,
)
from waferllm.csl.machine.state import (
    C_COMPUTE,
    C_STALL_IN,
    C_STALL_OUT,
    C_TASKS,
    C_VECTORS,
    CONFIG_FIRST,
    F_ADDRESS,
    F_BAD,
    F_DIVIDE,
    F_READ,
    F_TRAP,
    F_WRITE,
    IDLE,
    IN_VECTOR,
    LEAVING,
    MAIN,
    MOVED,
    NOW,
    READY_SHIFT,
    RUNNING,
    T_ROW,
    T_STALL,
    T_START,
)
from waferllm.csl.machine.vector import (
    DONE,
    STALLED,
    all_at_once,
    arrival,
    beat,
    memory_only,
)

O = {each.name: int(each) for each in Op}  # noqa: E741
CONST, MOVE, LOAD, STORE, COPY = (O[n] for n in ("CONST", "MOVE", "LOAD", "STORE", "COPY"))
LOAD_NEXT, STORE_NEXT, LOOP = (O[n] for n in ("LOAD_NEXT", "STORE_NEXT", "LOOP"))
ADD, DIV, REM, SHR, NEG, NOT, LNOT, EQ, GE = (
    O[n] for n in ("ADD", "DIV", "REM", "SHR", "NEG", "NOT", "LNOT", "EQ", "GE")
)
CONVERT, MATH, JUMP, JUMP_IF, JUMP_UNLESS = (
    O[n] for n in ("CONVERT", "MATH", "JUMP", "JUMP_IF", "JUMP_UNLESS")
)
CALL, CALL_AT, RETURN, END, TRAP = (O[n] for n in ("CALL", "CALL_AT", "RETURN", "END", "TRAP"))
VECTOR, LOAD_DSR, SET_DSR, DSD_ADDRESS, DSD_LENGTH = (
    O[n] for n in ("VECTOR", "LOAD_DSR", "SET_DSR", "DSD_ADDRESS", "DSD_LENGTH")
)
DSD_STRIDE, DSD_ADVANCE, DSD_PART, FIFO_LENGTH = (
    O[n] for n in ("DSD_STRIDE", "DSD_ADVANCE", "DSD_PART", "FIFO_LENGTH")
)
ACTIVATE, BLOCK, UNBLOCK, QUEUE_FLUSH = (
    O[n] for n in ("ACTIVATE", "BLOCK", "UNBLOCK", "QUEUE_FLUSH")
)
TIME, TIME_ENABLE, RANDOM, SET_RANDOM = (
    O[n] for n in ("TIME", "TIME_ENABLE", "RANDOM", "SET_RANDOM")
)
GET_CONFIG, SET_CONFIG, PRINT, HOST_READY = (
    O[n] for n in ("GET_CONFIG", "SET_CONFIG", "PRINT", "HOST_READY")
)
LOCAL_TASK = int(Id.LOCAL_TASK)
U64_KIND, I64_KIND, SET_READ = 7, 6, 0
NEVER = np.int64(2**62)
BATCH = 256
TRACE_TASK, TRACE_END, TRACE_VECTOR, TRACE_DONE, TRACE_STALL = 1, 2, 3, 4, 5
PRIORITY_WORD = 0x7FC4  # the first of four


@njit(cache=True)
def trace(s, pe, now, what, detail, slot):
    """Append to the trace, if one was asked for; it counts what did not fit, too."""
    count = s.event_count[0]
    if count < s.event_count[1]:
        s.events[count] = pe, now, what, np.int64(detail), np.int64(slot)
    s.event_count[0] = count + 1


# --- Scalar instructions ---------------------------------------------------------------------


@njit(cache=True)
def _words(kind):
    if kind == U64_KIND or kind == I64_KIND:
        return 4
    return 2 if kind == 4 or kind == 5 or kind == 11 else 1


@njit(cache=True)
def _load(s, pe, address, kind, row):
    words = _words(kind)
    if address < 0 or address + words > s.mem.shape[1]:
        fault(s, F_ADDRESS, pe, row, address)
        return np.int64(0)
    if words == 4:
        low, high = load(s, pe, address, 2), load(s, pe, address + 2, 2)
        return low | high << 32
    value = load(s, pe, address, words)
    return value if is_float(kind) else wrap(value, kind)


@njit(cache=True)
def _store(s, pe, address, kind, value, row):
    words = _words(kind)
    if address < 0 or address + words > s.mem.shape[1]:
        fault(s, F_ADDRESS, pe, row, address)
        return
    if words == 4:
        store(s, pe, address, 2, value & 0xFFFFFFFF)
        store(s, pe, address + 2, 2, value >> 32 & 0xFFFFFFFF)
    else:
        store(s, pe, address, words, value)


@njit(cache=True, inline="never")
def _unary(op, kind, a):
    if op == LNOT:
        return np.int64(a == 0)
    if op == NOT:
        return wrap(~a, kind)
    if is_float(kind):
        return from_float(-to_float(a, kind), kind)
    return wrap(-a, kind)


@njit(cache=True, inline="never")
def _rare(s, pe, ins, row, now):
    """Instructions that are not in inner loops. Returns extra cycles."""
    op, d, reg = ins[0], ins[2], s.reg[pe]
    if op == MATH:
        b = reg[ins[4]] if ins[4] >= 0 else np.int64(0)
        reg[d] = math_function(ins[5], ins[1], reg[ins[3]], b)
    elif op == COPY:
        for at in range(ins[4]):
            store(s, pe, reg[d] + at, 1, load(s, pe, reg[ins[3]] + at, 1))
        return np.int64(ins[4])
    elif op == LOAD_DSR:
        dsr = ins[3] & 0xFFFFFF
        s.dsr[pe, dsr >> 8, dsr & 0xFF] = reg[ins[4]]
        s.dsr_options[pe, dsr >> 8, dsr & 0xFF] = ins[7]
    elif op == SET_DSR:
        dsr, low = ins[3] & 0xFFFFFF, 16 * ins[5]
        packed = s.dsr[pe, dsr >> 8, dsr & 0xFF] & ~(np.int64(0xFFFF) << low)
        s.dsr[pe, dsr >> 8, dsr & 0xFF] = packed | (reg[ins[4]] & 0xFFFF) << low
    elif op == DSD_ADDRESS:
        reg[d] = (reg[ins[3]] & ~np.int64(0xFFFF)) | (reg[ins[4]] & 0xFFFF)
    elif op == DSD_LENGTH:
        reg[d] = (reg[ins[3]] & ~np.int64(0xFFFF0000)) | (reg[ins[4]] & 0xFFFF) << 16
    elif op == DSD_STRIDE:
        packed = reg[ins[3]]
        words = s.dsds[s.at[s.code_of[pe], 2] + ((packed >> 48) & 0xFFFF), D_WORDS]
        stride = (reg[ins[4]] * max(words, 1)) & 0xFFFF
        reg[d] = (packed & ~(np.int64(0xFFFF) << 32)) | stride << 32
    elif op == DSD_ADVANCE:
        packed = reg[ins[3]]
        moved = (packed + reg[ins[4]] * ins[5]) & 0xFFFF
        reg[d] = (packed & ~np.int64(0xFFFF)) | moved
    elif op == DSD_PART:
        packed = reg[ins[3]]
        if ins[4] < 2:
            reg[d] = packed >> 16 * ins[4] & 0xFFFF
        else:
            words = max(s.dsds[s.at[s.code_of[pe], 2] + ((packed >> 48) & 0xFFFF), D_WORDS], 1)
            reg[d] = signed16(packed >> 32) // words * ins[5] & 0xFFFF
    elif op == FIFO_LENGTH:
        packed = reg[ins[3]]
        fifo = s.dsds[s.at[s.code_of[pe], 2] + ((packed >> 48) & 0xFFFF), D_FIFO]
        s.fifo[pe, fifo, F_READ if ins[5] == SET_READ else F_WRITE] = reg[ins[4]]
    elif op == ACTIVATE:
        activate(s, pe, reg[ins[3]])
    elif op == BLOCK:
        block(s, pe, ins[1], reg[ins[3]])
    elif op == UNBLOCK:
        unblock(s, pe, ins[1], reg[ins[3]])
    elif op == QUEUE_FLUSH:
        s.config[pe, FLUSHING] |= np.uint16(1 << (reg[ins[3]] + QUEUES * ins[5]))
    elif op == TIME:
        reg[d] = (now if s.tsc[pe, 0] else s.tsc[pe, 1]) & 0xFFFFFFFFFFFF
    elif op == TIME_ENABLE:
        if s.tsc[pe, 0] and not ins[3]:
            s.tsc[pe, 1] = now
        s.tsc[pe, 0] = ins[3]
    elif op == RANDOM:
        reg[d] = random16(s, pe)
    elif op == SET_RANDOM:
        s.random[pe, 1] = reg[ins[3]]
    elif op == GET_CONFIG:
        reg[d] = get_config(s, pe, reg[ins[3]])
    elif op == SET_CONFIG:
        set_config(s, pe, reg[ins[3]], reg[ins[4]])
        for color in range(COLORS):
            set_route(s, pe, color)
    elif op == PRINT:
        count = s.print_count[0]
        if count < len(s.prints):
            s.prints[count, 0], s.prints[count, 1] = pe, row
            for at in range(4):
                s.prints[count, 2 + at] = reg[ins[4 + at]] if ins[4 + at] >= 0 else 0
            s.prints[count, 6] = s.clock[NOW]
        s.print_count[0] = count + 1
    elif op == HOST_READY:
        s.ready[pe] = 1
    else:
        fault(s, F_BAD, pe, row, op)
    return np.int64(0)


@njit(cache=True)
def execute(s, pe, now, most):
    """Up to `most` scalar instructions, until a vector or the task's end; sets when to go on."""
    first = s.at[s.code_of[pe], 0]
    constant = s.at[s.code_of[pe], 1]
    reg, pc, t = s.reg[pe], s.pc[pe], now
    for _ in range(most):
        row = first + pc
        ins = s.ins[row]
        op = ins[0]
        if op == VECTOR:
            if t > now:
                break
            slot = start(s, pe, row, now)
            if slot < 0:
                return False
            pc += 1
            s.counters[pe, C_VECTORS] += 1
            trace(s, pe, now, TRACE_VECTOR, row, slot)
            thread = s.threads[pe, slot]
            if slot == MAIN:
                if s.running[pe] == 0 and memory_only(thread):
                    t = thread[T_START] + all_at_once(s, pe, thread)
                    finish(s, pe, slot, np.int64(1), False)
                    trace(s, pe, t, TRACE_DONE, row, slot)
                else:
                    s.mode[pe] = IN_VECTOR
                    t = thread[T_START]
            else:
                t = thread[T_START]  # the main thread loads the descriptors, then goes on
            break
        cost = s.cost[op, ins[1]]
        pc += 1
        if op == CONST:
            reg[ins[2]] = s.constants[constant + ins[3]]
        elif op == MOVE:
            reg[ins[2]] = reg[ins[3]]
        elif op == LOAD:
            reg[ins[2]] = _load(s, pe, reg[ins[3]] + ins[4], ins[1], row)
        elif op == STORE:
            _store(s, pe, reg[ins[3]] + ins[4], ins[1], reg[ins[2]], row)
        elif ADD <= op <= SHR or EQ <= op <= GE:
            b = reg[ins[4]]
            if (op == DIV or op == REM) and b == 0 and not is_float(ins[1]):
                fault(s, F_DIVIDE, pe, row, 0)
                break
            reg[ins[2]] = binary(op, ins[1], reg[ins[3]], b)
        elif op == LOAD_NEXT:
            at = reg[ins[3]]
            reg[ins[3]] = (at + reg[ins[5]]) & 0xFFFF
            reg[ins[2]] = _load(s, pe, at, ins[1], row)
        elif op == STORE_NEXT:
            at = reg[ins[3]]
            reg[ins[3]] = (at + reg[ins[5]]) & 0xFFFF
            _store(s, pe, at, ins[1], reg[ins[2]], row)
        elif op == LOOP:
            reg[ins[3]] -= 1
            if reg[ins[3]]:
                pc = ins[4]
        elif op == JUMP:
            pc = ins[3]
        elif op == JUMP_IF:
            if reg[ins[3]]:
                pc = ins[4]
                cost += 1
        elif op == JUMP_UNLESS:
            if not reg[ins[3]]:
                pc = ins[4]
                cost += 1
        elif op == CONVERT:
            reg[ins[2]] = convert(reg[ins[3]], ins[4], ins[1])
        elif NEG <= op <= LNOT:
            reg[ins[2]] = _unary(op, ins[1], reg[ins[3]])
        elif op == CALL:
            reg[ins[2]] = pc
            pc = ins[3]
        elif op == CALL_AT:
            target = reg[ins[3]]
            reg[ins[2]] = pc
            pc = np.int32(target)
        elif op == RETURN:
            pc = np.int32(reg[ins[3]])
        elif op == END:
            s.mode[pe] = IDLE
            trace(s, pe, t, TRACE_END, row, MAIN)
            break
        elif op == TRAP:
            fault(s, F_TRAP, pe, row, ins[3])
            break
        else:
            if t > now and (op == SET_CONFIG or op == GET_CONFIG or op == QUEUE_FLUSH):
                pc -= 1  # routers and queues are seen and changed in the instruction's own cycle
                break
            if op == SET_CONFIG and on_its_way(s, pe, reg[ins[3]]):
                s.mode[pe], s.wake[pe], s.threads[pe, MAIN, T_STALL] = LEAVING, now, C_STALL_OUT
                return False
            cost += _rare(s, pe, ins, row, t)
        t += cost
        if s.fault[0]:
            break
    s.pc[pe] = pc
    s.counters[pe, C_COMPUTE] += t - now
    s.wake[pe] = max(t, now + 1) if s.mode[pe] != IDLE else t
    return True


# --- Tasks -----------------------------------------------------------------------------------


@njit(cache=True)
def _begin(s, pe, entry, now):
    s.mode[pe], s.pc[pe] = RUNNING, entry
    s.wake[pe] = now + s.vector_cost[2]
    s.counters[pe, C_TASKS] += 1
    s.counters[pe, C_COMPUTE] += s.vector_cost[2]
    trace(s, pe, now, TRACE_TASK, s.at[s.code_of[pe], 0] + entry, MAIN)


@njit(cache=True, inline="never")
def _give_arguments(s, pe, params, wavelet):
    """A wavelet's 32 bits as a task's parameters, low bits first."""
    at = 0
    for each in range(DATA_PARAMS):
        register, kind = params[each, 0], params[each, 1]
        if register < 0:
            break
        raw = wavelet >> at & (0xFFFFFFFF if _words(kind) == 2 else 0xFFFF)
        s.reg[pe, register] = raw if is_float(kind) else wrap(raw, kind)
        at = (at + 16 * _words(kind)) % 32


@njit(cache=True, inline="never")
def _oldest_wavelet(s, pe, now):
    """The color whose waiting wavelet came first, or -1, and when; control wavelets without a task are
    dropped on the way."""
    code = s.code_of[pe]
    colors = s.in_mask[pe] & ~s.owned[pe] & ~s.blocked_data[pe]
    found, since = np.int64(-1), NEVER
    while colors:
        color = lowest_bit(colors)
        colors &= colors - 1
        head = s.inq[pe, color, s.in_head[pe, color]]
        ready = head >> READY_SHIFT
        if ready < since:
            if head & CONTROL and ready <= now and s.control_entry[code, head >> 16 & 0x3F] < 0:
                pop_wavelet(s, pe, color)
                s.clock[MOVED] += 1
                since = min(since, now + 1)
            elif head & CONTROL or s.data_entry[code, color] >= 0:
                found, since = color, ready
    return found, since


@njit(cache=True, inline="never")
def _begin_wavelet(s, pe, color, now):
    """Start the data or control task of a color's first wavelet."""
    code, head = s.code_of[pe], pop_wavelet(s, pe, color)
    if head & CONTROL:
        id_ = head >> 16 & 0x3F
        _give_arguments(s, pe, s.control_params[code, id_], head)
        _begin(s, pe, s.control_entry[code, id_], now)
    else:
        _give_arguments(s, pe, s.data_params[code, color], head)
        _begin(s, pe, s.data_entry[code, color], now)


@njit(cache=True)
def _next_local(s, pe):
    """The next local task that may run, or -1, and when the first of them was activated: those of high
    priority first; by rising id, from the one that ran last on, so that tasks which activate themselves
    starve no other."""
    tasks, code = s.active[pe] & ~s.blocked[pe], s.code_of[pe]
    low = PRIORITY_WORD - CONFIG_FIRST
    preferred = tasks & (np.int64(s.config[pe, low]) | np.int64(s.config[pe, low + 1]) << 16)
    if preferred:
        tasks = preferred
    found, since = np.int64(-1), NEVER
    high = tasks >> s.last_task[pe] + 1 << s.last_task[pe] + 1
    for waiting in (high, tasks ^ high):
        while waiting:
            id_ = lowest_bit(waiting)
            waiting &= waiting - 1
            if s.local_entry[code, id_] >= 0:
                since = min(since, s.since[pe, id_])
                if found < 0:
                    found = id_
    return found, since


@njit(cache=True, inline="never")
def dispatch(s, pe, now):
    """Start a task if one may run; returns when to look again."""
    code = s.code_of[pe]
    waiting = s.torn[pe]
    while waiting:
        color = lowest_bit(waiting)
        waiting &= waiting - 1
        if s.teardown_entry[code, color] >= 0:
            s.torn[pe] &= ~(np.int64(1) << color)
            _begin(s, pe, s.teardown_entry[code, color], now)
            return s.wake[pe]
        if s.local_entry[code, TEARDOWN_TASK] >= 0:
            s.torn[pe] &= ~(np.int64(1) << color)
            activate(s, pe, np.int64(TEARDOWN_TASK))
    soonest = NEVER
    if s.config[pe, FLUSHING]:
        flush_empty(s, pe)
        if s.config[pe, FLUSHING]:
            soonest = now + 1
    if s.arrivals[pe] >= 0:
        if s.arrivals[pe] <= now:
            s.arrivals[pe] = -1
            _begin(s, pe, s.launch_entry[code], now)
            return s.wake[pe]
        soonest = s.arrivals[pe]
    # The order is not published. Local tasks and wavelets take turns by age, so that neither starves;
    # local tasks go round by id.
    id_, since = _next_local(s, pe)
    if s.in_mask[pe]:
        color, ready = _oldest_wavelet(s, pe, now)
        if ready < since and ready <= now and color >= 0:
            _begin_wavelet(s, pe, color, now)
            return s.wake[pe]
        soonest = min(soonest, ready)
    if id_ >= 0:
        s.active[pe] &= ~(np.int64(1) << id_)
        s.last_task[pe] = id_
        _begin(s, pe, s.local_entry[code, id_], now)
        return s.wake[pe]
    return soonest


# --- One cycle -------------------------------------------------------------------------------


@njit(cache=True, inline="never")
def _issue_microthread(s, pe, now, mask):
    """Let one of these microthreads issue; (did, when next)."""
    soonest, turn = NEVER, np.int64(s.turn[pe]) % 8
    high = mask >> turn << turn
    for slots in (high, mask ^ high):
        while slots:
            slot = lowest_bit(slots)
            slots &= slots - 1
            thread = s.threads[pe, slot]
            if thread[T_START] > now:
                soonest = min(soonest, thread[T_START])
                continue
            outcome = beat(s, pe, slot, now)
            if outcome == STALLED:
                ready, stall = arrival(s, pe, thread), thread[T_STALL]
                soonest = min(soonest, ready if ready > now else NEVER)
                if stall == C_STALL_OUT or (stall == C_STALL_IN and ready == NEVER):
                    s.asleep[pe] |= np.int64(1) << slot
                continue
            if outcome == DONE:
                trace(s, pe, now + 1, TRACE_DONE, thread[T_ROW], slot)
            if s.wake[pe] <= now:  # else the main thread's own cycles are counted already
                s.counters[pe, C_COMPUTE] += 1
            s.turn[pe] = (slot + 1) % 8
            return True, now + 1
    return False, soonest


@njit(cache=True, inline="never")
def _issue_main(s, pe, now):
    """Let the main thread issue: (did, when next)."""
    if s.wake[pe] > now:
        return False, s.wake[pe]
    if s.mode[pe] == IDLE:
        when = dispatch(s, pe, now)
        return s.mode[pe] == RUNNING, when
    if s.mode[pe] == IN_VECTOR:
        outcome = beat(s, pe, MAIN, now)
        if outcome == STALLED:
            ready = arrival(s, pe, s.threads[pe, MAIN])
            return False, ready if ready > now else NEVER
        s.counters[pe, C_COMPUTE] += 1
        if outcome == DONE:
            trace(s, pe, now + 1, TRACE_DONE, s.threads[pe, MAIN, T_ROW], MAIN)
            s.mode[pe] = RUNNING
        s.wake[pe] = now + 1
        return True, now + 1
    s.mode[pe] = RUNNING
    went = execute(s, pe, now, 1 if s.running[pe] else BATCH)
    if not went:
        return False, NEVER
    return True, s.wake[pe]


@njit(cache=True)
def _why_still(s, pe, now):
    """What a core that does nothing waits for: the counter of that stall, 0 if it is busy or idle."""
    if s.mode[pe] != IDLE and s.wake[pe] > now:
        return np.int64(0)
    if s.mode[pe] != IDLE and s.threads[pe, MAIN, T_STALL]:
        return s.threads[pe, MAIN, T_STALL]
    slots = s.running[pe]
    while slots:
        slot = lowest_bit(slots)
        slots &= slots - 1
        if s.threads[pe, slot, T_STALL]:
            return s.threads[pe, slot, T_STALL]
    return np.int64(0)


@njit(cache=True)
def step(s, pe, now):
    """One cycle of one core; returns when it is to be looked at again."""
    did, when = False, NEVER
    if s.waits[pe, 0]:
        s.counters[pe, s.waits[pe, 0]] += now - s.waits[pe, 1]
        trace(s, pe, s.waits[pe, 1], TRACE_STALL, now, s.waits[pe, 0])
        s.waits[pe, 0] = 0
    main_first = s.turn[pe] & 8 == 0
    if s.running[pe]:
        awake = s.running[pe] & ~s.asleep[pe]
        urgent, others = awake & s.urgent[pe], awake & ~s.urgent[pe]
        if urgent:
            did, when = _issue_microthread(s, pe, now, urgent)
        if not did and not main_first and others:
            did, other = _issue_microthread(s, pe, now, others)
            when = min(when, other)
            if did:
                s.turn[pe] &= 7
    if not did:
        did, other = _issue_main(s, pe, now)
        when = min(when, other)
        if did and s.running[pe]:
            s.turn[pe] |= 8
        elif not did and s.running[pe] and main_first:
            others = s.running[pe] & ~s.urgent[pe] & ~s.asleep[pe]
            did, other = _issue_microthread(s, pe, now, others)
            when = min(when, other)
    if did:
        s.clock[MOVED] += 1
        return now + 1 if s.running[pe] else max(when, now + 1)
    s.waits[pe, 0], s.waits[pe, 1] = _why_still(s, pe, now), now
    return when


@njit(cache=True)
def step_all(s, first, stride):
    """One cycle of all cores that have something to do; returns the next cycle in which one has."""
    now, nearest, alarm = s.clock[NOW], NEVER, s.alarm
    pes = len(alarm)
    for visit in range(pes):
        pe = (first + visit * stride) % pes if stride != 1 else visit
        if alarm[pe] <= now:
            alarm[pe] = NEVER
            when = step(s, pe, now)
            alarm[pe] = min(alarm[pe], when)
        nearest = min(nearest, alarm[pe])
    return nearest
