"""The state of all PEs and routers, as flat arrays in one tuple that jitted code takes."""

from typing import NamedTuple

import numpy as np

from waferllm.csl.code import NONE
from waferllm.csl.code import Target as Id
from waferllm.csl.machine.image import (
    EAST,
    NORTH,
    RAMP,
    SOUTH,
    TASK_IDS,
    WEST,
    Image,
    Tables,
    make_tables,
    memory_words,
)
from waferllm.csl.machine.profile import Profile, instruction_cycles, operand_bits, simd_widths
from waferllm.csl.registers import INVALID, SWITCH
from waferllm.csl.target import QUEUES, ROUTABLE_COLORS
from waferllm.errors import InputError

COLORS = ROUTABLE_COLORS
QUEUE = 8  # places of an input or output queue's array; how many are used is the queue's depth
OUTPUTS = 32
THREADS = QUEUES + 1  # eight microthreads, then the main thread's vector
MAIN = QUEUES
DSRS = 32

# Main thread: what it does. `wake` is when it goes on.
# LEAVING: it waits to change a color's route until what it sent on it has left.
IDLE, RUNNING, IN_VECTOR, LEAVING = range(4)

# A wavelet: data in bits 0-31, control in bit 32, the cycle from which it may move on above.
CONTROL_BIT = 32
READY_SHIFT = 33

# A word of `held`: four bits for each port. No port can take what goes over the edge of the rectangle.
PORT_BITS, PORT_FULL, EDGE = 4, 15, 0xFFFFF

# A thread's fields, then four operands (destination, src0, src1, scalar) of fields each.
(
    T_ACTIVE, T_OP, T_LEFT, T_START, T_OPTIONS, T_ROW, T_RESULT, T_PRIORITY, T_CONTROL, T_ASYNC,
    T_STALL, T_CARRY, T_WIDTH, T_NEEDS,
) = range(14)  # fmt: skip
OPERANDS = 14
(
    O_KIND, O_ADDRESS, O_STRIDE, O_TEMPLATE, O_I0, O_I1, O_I2, O_VALUE, O_DSR, O_COLOR, O_QUEUE,
    O_WORDS, O_MODE,
) = range(13)  # fmt: skip
OPERAND_FIELDS = 13
THREAD_FIELDS = OPERANDS + 4 * OPERAND_FIELDS
# Kinds of operand while a vector runs; the first six are `DsdKind`s.
K_MEM1D, K_MEM4D, K_CIRCBUF, K_FABIN, K_FABOUT, K_FIFO, K_SCALAR, K_POINTER, K_NONE = range(9)

# Fields of a FIFO.
F_HEAD, F_COUNT, F_READ, F_WRITE, F_WANTS_DATA, F_WANTS_ROOM = range(6)
FIFO_FIELDS = 6

# Counters of a PE, in cycles or events.
C_COMPUTE, C_STALL_IN, C_STALL_OUT, C_STALL_FIFO, C_TASKS, C_VECTORS = range(6)
COUNTERS = 6

# Faults: `fault[0]` is one of these (0: none), then PE, instruction row, two details.
(
    OK, F_DIVIDE, F_ADDRESS, F_TRAP, F_THREAD, F_COLLISION, F_NO_TASK, F_BAD, F_TWO_INPUTS, F_UNBOUND,
    F_QUEUE,
) = range(11)  # fmt: skip

# Words of `clock`: the cycle, when something next happens, whether the timestamp counters run.
NOW, NEXT, MOVED = 0, 1, 2


class Arrays(NamedTuple):
    """All arrays of the state. `pe` is the first index where one is per PE."""

    clock: np.ndarray
    fault: np.ndarray
    shape: np.ndarray  # width, height, fp16 kind, hop, ramp, link wavelets, link period, WSE-3
    cost: np.ndarray  # [op, kind]
    simd: np.ndarray
    widths: np.ndarray
    vector_cost: np.ndarray  # start, DSD load, task start
    reads: np.ndarray  # words a cycle, cycles of a step whose words lie in one bank
    # Program
    ins: np.ndarray
    constants: np.ndarray
    dsds: np.ndarray
    options: np.ndarray
    fifos: np.ndarray
    at: np.ndarray
    local_entry: np.ndarray
    data_entry: np.ndarray
    data_params: np.ndarray
    control_entry: np.ndarray
    control_params: np.ndarray
    teardown_entry: np.ndarray
    input_color: np.ndarray
    depth: np.ndarray
    output_color: np.ndarray
    output_depth: np.ndarray
    data_bits: np.ndarray
    owner: np.ndarray
    code_of: np.ndarray
    # PEs
    mode: np.ndarray
    pc: np.ndarray
    wake: np.ndarray
    reg: np.ndarray
    mem: np.ndarray
    dsr: np.ndarray  # int64 [pe, file, number]
    dsr_options: np.ndarray
    fifo: np.ndarray  # int64 [pe, fifo, FIFO_FIELDS]
    active: np.ndarray  # int64 [pe]: local tasks, a bit for each id
    since: np.ndarray  # int64 [pe, id]: the cycle in which a local task was activated
    blocked: np.ndarray
    blocked_data: np.ndarray  # a bit for each color
    blocked_control: np.ndarray
    owned: (
        np.ndarray
    )  # colors whose input queue a running vector owns; output queues from bit OUTPUTS
    threads: np.ndarray  # int32 [pe, THREADS, THREAD_FIELDS]; values as 32 bits
    running: np.ndarray  # int64 [pe]: active microthreads, a bit for each
    asleep: np.ndarray  # int64 [pe]: those that an arrival or a departure has to wake
    urgent: np.ndarray  # int64 [pe]: those that go before the main thread
    turn: np.ndarray
    ready: np.ndarray  # host: 1 when ready for the next command
    last_task: np.ndarray  # int64 [pe]: the local task that began last, or -1
    random: np.ndarray  # int64 [pe, 2]: state, generator
    config: np.ndarray  # uint16 [pe, words] of the configuration range's plain words
    tsc: np.ndarray  # int64 [pe, 2]: running, the value while stopped
    counters: np.ndarray
    waits: np.ndarray  # int64 [pe, 2]: the stall that a core is in (its counter), since when
    # Queues
    inq: np.ndarray  # int64 [pe, color, QUEUE]
    in_head: np.ndarray
    in_count: np.ndarray
    in_mask: np.ndarray  # int64 [pe]: colors with something in their queue
    outq: np.ndarray  # int64 [pe, queue, QUEUE]
    out_color: np.ndarray
    out_head: np.ndarray
    out_count: np.ndarray
    out_mask: np.ndarray
    # Routers
    buffer: np.ndarray  # int64 [color, port, pe, hop cycles + 1]
    held: np.ndarray  # int32 [color, pe + 1]: how many of each port; past the edges full
    busy: np.ndarray  # int32 [pe]: colors with something
    route: np.ndarray  # int32 [color, pe]: see `fabric.set_route`
    rx: np.ndarray
    tx: np.ndarray
    position: np.ndarray
    flags: np.ndarray
    filter_of: np.ndarray
    filters: np.ndarray
    filter_state: np.ndarray  # int64 [pe, color, 4]: counter, maximum, limit, passes; or one row
    torn: np.ndarray  # int64 [pe]: colors whose teardown the handler has not seen
    alarm: np.ndarray  # int64 [pe]: when the core is looked at next
    link_use: np.ndarray  # int64 [port, pe]: wavelets sent
    moves: np.ndarray  # int64: pe, port, color, bits of the ports it goes to
    near: np.ndarray  # int32 [port, pe]: the PE on the other side, or the column beyond the edges
    # Host
    host_in: np.ndarray  # bool [color]
    host_out: np.ndarray
    to_host: np.ndarray  # int64 [*, 4]: pe, color, data, cycle; a ring the machine empties
    to_host_count: np.ndarray
    prints: np.ndarray  # int64 [*, 7]: pe, row, four values, cycle
    print_count: np.ndarray
    events: np.ndarray  # int64 [*, 5]: the trace: pe, cycle, what, row, thread
    event_count: np.ndarray
    arrivals: np.ndarray  # int64 [pe]: cycle at which a launched function starts, or -1
    launch_entry: np.ndarray  # int32 [code]
    beyond: np.ndarray  # int64 [instruction, 4]: the first DSD beyond its array: see `_note_beyond`


TO_HOST, PRINTS = 1 << 16, 1 << 12
CONFIG_FIRST, CONFIG_WORDS = 0x7C00, 0x400


def make_arrays(image: Image, profile: Profile, events: int = 0) -> Arrays:
    """The state before the first cycle."""
    tables, pes = make_tables(image), image.pes
    codes = image.codes
    registers = max((c.registers for c in codes), default=0) + 1
    fifos = max((len(c.fifos) for c in codes), default=0) + 1
    i64 = np.int64

    def zeros(*shape: int, dtype: type = i64) -> np.ndarray:
        return np.zeros(shape, dtype)

    state = Arrays(
        clock=zeros(4),
        fault=zeros(6),
        shape=np.array(
            [
                image.width,
                image.height,
                image.fp16_kind,
                profile.hop_cycles,
                profile.ramp_cycles,
                *profile.link_period,
                image.arch == "wse3",
            ],
            i64,
        ),
        cost=instruction_cycles(profile),
        simd=simd_widths(profile),
        widths=operand_bits(),
        vector_cost=np.array(
            [profile.vector_start_cycles, profile.dsd_load_cycles, profile.task_start_cycles], i64
        ),
        reads=np.array([profile.read_words, profile.conflict_cycles], i64),
        ins=tables.instructions,
        constants=tables.constants,
        dsds=tables.dsds,
        options=tables.options,
        fifos=tables.fifos,
        at=tables.at,
        local_entry=tables.local_entry,
        data_entry=tables.data_entry,
        data_params=tables.data_params,
        control_entry=tables.control_entry,
        control_params=tables.control_params,
        teardown_entry=tables.teardown_entry,
        input_color=tables.input_color,
        depth=tables.depth,
        output_color=tables.output_color,
        output_depth=tables.output_depth,
        data_bits=tables.data_bits,
        owner=tables.owner,
        code_of=image.code_of,
        mode=zeros(pes, dtype=np.int8),
        pc=zeros(pes, dtype=np.int32),
        wake=zeros(pes),
        reg=zeros(pes, registers),
        mem=zeros(pes, memory_words(image), dtype=np.uint16),
        dsr=zeros(pes, 3, DSRS),
        dsr_options=np.full((pes, 3, DSRS), NONE, np.int32),
        fifo=zeros(pes, fifos, FIFO_FIELDS),
        active=zeros(pes),
        since=zeros(pes, TASK_IDS),
        blocked=zeros(pes),
        blocked_data=zeros(pes),
        blocked_control=zeros(pes),
        owned=zeros(pes),
        threads=zeros(pes, THREADS, THREAD_FIELDS, dtype=np.int32),
        running=zeros(pes),
        asleep=zeros(pes),
        urgent=zeros(pes),
        turn=zeros(pes, dtype=np.int8),
        ready=np.ones(pes, np.int8),
        last_task=np.full(pes, -1, np.int64),
        random=zeros(pes, 2),
        config=zeros(pes, CONFIG_WORDS, dtype=np.uint16),
        tsc=zeros(pes, 2),
        counters=zeros(pes, COUNTERS),
        waits=zeros(pes, 2),
        inq=zeros(pes, COLORS, QUEUE),
        in_head=zeros(pes, COLORS, dtype=np.uint8),
        in_count=zeros(pes, COLORS, dtype=np.uint8),
        in_mask=zeros(pes),
        outq=zeros(pes, QUEUES, QUEUE),
        out_color=zeros(pes, QUEUES, QUEUE, dtype=np.uint8),
        out_head=zeros(pes, QUEUES, dtype=np.uint8),
        out_count=zeros(pes, QUEUES, dtype=np.uint8),
        out_mask=zeros(pes),
        # Full rate with registered credit: a wavelet holds its place for a hop and a cycle.
        buffer=zeros(COLORS, 5, pes, profile.hop_cycles + 1),
        held=zeros(COLORS, pes + 1, dtype=np.int32),
        busy=zeros(pes, dtype=np.int32),
        route=zeros(COLORS, pes, dtype=np.int32),
        rx=image.rx.copy(),
        tx=image.tx.copy(),
        position=image.position.copy(),
        flags=image.flags.copy(),
        filter_of=image.filter_of,
        filters=image.filters,
        filter_state=zeros(pes if (image.filter_of >= 0).any() else 1, COLORS, 4),
        torn=zeros(pes),
        alarm=zeros(pes),
        link_use=zeros(5, pes),
        moves=zeros(pes * COLORS),
        near=_neighbors(image.width, image.height),
        host_in=_members(image.host_in),
        host_out=_members(image.host_out),
        to_host=zeros(TO_HOST, 4),
        to_host_count=zeros(1),
        prints=zeros(PRINTS, 7),
        print_count=zeros(1),
        events=zeros(max(events, 1), 5),
        event_count=np.array([0, events], i64),
        arrivals=np.full(pes, -1, i64),
        launch_entry=np.full(len(codes), NONE, np.int32),
        beyond=zeros(len(tables.instructions), 4),
    )
    state.held[:, pes] = EDGE
    _first_values(image, tables, state)
    return state


def in_routers(state: Arrays) -> np.ndarray:
    """Wavelets that routers hold: int32[pe, port, color]."""
    shifts = PORT_BITS * np.arange(5)[:, None, None]
    return (state.held[:, :-1] >> shifts & PORT_FULL).transpose(2, 0, 1)


def _neighbors(width: int, height: int) -> np.ndarray:
    """int32[port, pe]: the PE beyond each port; at the edge of the rectangle the number of PEs."""
    pe = np.arange(width * height)
    found = np.full((RAMP, len(pe)), len(pe), np.int32)
    for port, (step, inside) in {
        WEST: (-1, pe % width > 0),
        EAST: (1, pe % width < width - 1),
        SOUTH: (width, pe + width < len(pe)),
        NORTH: (-width, pe >= width),
    }.items():
        found[port, inside] = pe[inside] + step
    return found


def _members(colors: frozenset[int]) -> np.ndarray:
    return np.array([color in colors for color in range(COLORS)], np.bool_)


def _first_values(image: Image, tables: Tables, state: Arrays) -> None:
    """Memory, DSRs, tasks and configuration words as the codes say; filters as the routes say."""
    for number, code in enumerate(image.codes):
        here = image.code_of == number
        state.mem[here, : len(code.memory)] = code.memory
        for (file, dsr), (packed, options) in code.dsrs.items():
            if dsr >= DSRS:
                raise InputError(f"{code.name} uses DSR {dsr}, expected at most {DSRS - 1}")
            state.dsr[here, file, dsr], state.dsr_options[here, file, dsr] = packed, options
        for id_ in code.activated:
            state.active[here] |= 1 << id_
        for kind, id_ in code.blocked:
            _block(state, tables, number, here, Id(kind), id_, image.arch)
        for word, value in code.config.items():
            if CONFIG_FIRST <= word < CONFIG_FIRST + CONFIG_WORDS:
                state.config[here, word - CONFIG_FIRST] = value
    if image.arch == "wse2":
        first = SWITCH[image.arch] - CONFIG_FIRST
        state.config[:, first : first + COLORS] = _switch_words(image)
    state.random[:, 0] = 0xDEADBEEF
    pes, colors = np.nonzero(image.filter_of >= 0)
    for pe, color in zip(pes, colors, strict=True):
        values = image.filters[image.filter_of[pe, color]]
        state.filter_state[pe, color] = values[3], values[6], values[4], 0


def _switch_words(image: Image) -> np.ndarray:
    """uint16[pe, color]: positions 1 to 3 as WSE-2 packs them (registers.py)."""
    made = np.zeros(image.rx.shape[:2], np.uint16)
    first_port = np.array(
        [INVALID, *((bits & -bits).bit_length() - 1 for bits in range(1, 1 << 5))], np.uint16
    )
    for position in range(1, 4):
        rx, tx = image.rx[:, :, position], image.tx[:, :, position]
        listens = (rx != image.rx[:, :, position - 1]) | (tx == image.tx[:, :, position - 1])
        port = first_port[np.where(listens, rx, tx)]
        made |= (port | listens.astype(np.uint16) << 3) << (4 * position - 4)
    return made


def _block(
    state: Arrays, tables: Tables, number: int, here: np.ndarray, kind: Id, id_: int, arch: str
) -> None:
    if kind == Id.LOCAL_TASK:
        state.blocked[here] |= 1 << id_
    elif kind == Id.CONTROL_TASK:
        state.blocked_control[here] |= 1 << id_
    elif kind == Id.COLOR or arch == "wse2":
        state.blocked_data[here] |= 1 << id_
        state.blocked[here] |= 1 << id_ if kind == Id.COLOR else 0
    elif kind in {Id.DATA_TASK, Id.INPUT_QUEUE}:
        color = int(tables.input_color[number, id_])
        if color >= 0:
            state.blocked_data[here] |= 1 << color
