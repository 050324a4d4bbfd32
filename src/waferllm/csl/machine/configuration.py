"""A PE's configuration words, jitted: routes, switches, filters, teardown, queues, priorities, random."""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.machine.bits import lowest_bit
from waferllm.csl.machine.elements import activate
from waferllm.csl.machine.fabric import COLORS
from waferllm.csl.machine.image import RAMP
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.state import (
    CONFIG_FIRST,
    CONFIG_WORDS,
    PORT_BITS,
    PORT_FULL,
    QUEUE,
)
from waferllm.csl.target import QUEUES

COLOR_WORDS = (0x7F20, 0x7C00)
SWITCH_WORDS = (0x7F40, 0x7C40)
TEARDOWN_TASK = (
    29  # the local task that a teardown or a flushed queue activates; lib/tile_config/teardown
)
X_WORD, Y_WORD, TORN_WORD = 0x7FC0, 0x7FC1, 0x7FC2
FILTER_WORD = 0x7FD0
RANDOM_WORD = 0x7FE8
IN_STATUS_WORD, OUT_STATUS_WORD = 0x7FC9, 0x7FCA
# Indices of plain words: queues that were flushed, and those to be flushed (output queues high).
IN_FLUSHED, OUT_FLUSHED, FLUSHING = 0x7FCD - 0x7C00, 0x7FCE - 0x7C00, 0x7FCF - 0x7C00
LFSR_STEPS = 128


@njit(cache=True, inline="never")
def _filtered_color(s, pe, number):
    """The color of a PE's filter, which are numbered by color; -1 if there is none."""
    for color in range(s.filter_of.shape[1]):
        if s.filter_of[pe, color] >= 0:
            if number == 0:
                return color
            number -= 1
    return -1


@njit(cache=True, inline="never")
def _torn_colors(s, pe):
    """A bit for each color in teardown."""
    bits = np.int64(0)
    for color in range(24):
        bits |= np.int64(s.flags[pe, color] >> 3 & 1) << color
    return bits


@njit(cache=True, inline="never")
def _queued(s, pe, queue, output):
    """Wavelets in an input or output queue."""
    if output:
        return np.int64(s.out_count[pe, queue])
    color = s.input_color[s.code_of[pe], queue]
    return np.int64(s.in_count[pe, color]) if color >= 0 else np.int64(0)


@njit(cache=True, inline="never")
def _queue_status(s, pe, output):
    """A bit for each queue: empty in the low byte, full in the high one."""
    code, bits = s.code_of[pe], np.int64(0)
    for queue in range(QUEUES):
        held = _queued(s, pe, queue, output)
        color = s.input_color[code, queue]
        most = np.int64(s.output_depth[queue]) if output else np.int64(s.depth[code, color])
        bits |= np.int64(held == 0) << queue
        bits |= np.int64(held > 0 and held >= most) << (queue + 8)
    return bits


@njit(cache=True, inline="never")
def flush_empty(s, pe):
    """Queues to be flushed that are empty now: note it, and activate the teardown task."""
    for place in range(2 * QUEUES):
        queue, output = place % QUEUES, place >= QUEUES
        bit = np.uint16(1 << place)
        if s.config[pe, FLUSHING] & bit and _queued(s, pe, queue, output) == 0:
            s.config[pe, FLUSHING] ^= bit
            s.config[pe, OUT_FLUSHED if output else IN_FLUSHED] |= np.uint16(1 << queue)
            activate(s, pe, np.int64(TEARDOWN_TASK))


@njit(cache=True, inline="never")
def get_config(s, pe, word):
    """A configuration word; see registers.py."""
    colors, switches = COLOR_WORDS[s.shape[7]], SWITCH_WORDS[s.shape[7]]
    if colors <= word < colors + 24:
        color = word - colors
        flags = np.int64(s.flags[pe, color])
        made = np.int64(s.tx[pe, color, 0]) | np.int64(s.rx[pe, color, 0]) << 5
        made |= (flags >> 5 & 1) << 10 | (flags >> 4 & 1) << 11 | (flags >> 1 & 3) << 12
        return made | (flags >> 3 & 1) << 14
    if s.shape[7] == 0 and switches <= word < switches + 24:
        color = word - switches
        kept = np.int64(s.config[pe, word - CONFIG_FIRST]) & 0x8FFF
        return kept | np.int64(s.flags[pe, color] & 1) << 12 | np.int64(s.position[pe, color]) << 13
    if switches <= word < switches + 96:
        color, field = (word - switches) // 4, (word - switches) % 4
        if field == 3:
            return np.int64(s.position[pe, color]) | np.int64(s.flags[pe, color] & 1) << 2
        return np.int64(s.tx[pe, color, field + 1]) | np.int64(s.rx[pe, color, field + 1]) << 5
    if word == X_WORD:
        return pe % s.shape[0]
    if word == Y_WORD:
        return pe // s.shape[0]
    if word == TORN_WORD or word == TORN_WORD + 1:
        return _torn_colors(s, pe) >> (16 * (word - TORN_WORD)) & 0xFFFF
    if word == IN_STATUS_WORD or word == OUT_STATUS_WORD:
        return _queue_status(s, pe, word == OUT_STATUS_WORD)
    if word == RANDOM_WORD or word == RANDOM_WORD + 1:
        return s.random[pe, 0] >> (16 * (word - RANDOM_WORD)) & 0xFFFF
    if FILTER_WORD <= word < FILTER_WORD + 16:
        color = _filtered_color(s, pe, (word - FILTER_WORD) // 4)
        return s.filter_state[pe, color, (word - FILTER_WORD) % 4] if color >= 0 else np.int64(0)
    if CONFIG_FIRST <= word < CONFIG_FIRST + CONFIG_WORDS:
        return np.int64(s.config[pe, word - CONFIG_FIRST])
    return np.int64(0)


@njit(cache=True, inline="never")
def _set_switch(s, pe, color, value):
    """A color's whole switch on WSE-2; see registers.py."""
    s.config[pe, SWITCH_WORDS[0] + color - CONFIG_FIRST] = value
    s.flags[pe, color] = (s.flags[pe, color] & ~1) | (value >> 12 & 1)
    s.position[pe, color] = value >> 13 & 3
    for position in range(1, 4):
        field = value >> (4 * position - 4) & 15
        if field & 7 > RAMP:
            s.rx[pe, color, position], s.tx[pe, color, position] = 0, 0
        elif field & 8:
            s.rx[pe, color, position] = 1 << (field & 7)
            s.tx[pe, color, position] = s.tx[pe, color, 0]
        else:
            s.tx[pe, color, position] = 1 << (field & 7)
            s.rx[pe, color, position] = s.rx[pe, color, 0]


@njit(cache=True, inline="never")
def set_config(s, pe, word, value):
    """Write a configuration word."""
    colors, switches = COLOR_WORDS[s.shape[7]], SWITCH_WORDS[s.shape[7]]
    if colors <= word < colors + 24:
        color = word - colors
        old_rx, old_tx = s.rx[pe, color, 0], s.tx[pe, color, 0]
        rx, tx = value >> 5 & 31, value & 31
        sides = np.int64(s.config[pe, SWITCH_WORDS[0] + color - CONFIG_FIRST])
        for position in range(1, 4):
            # A side that a position left alone follows position 0.
            if not s.rx[pe, color, position] and not s.tx[pe, color, position]:
                continue
            if s.shape[7] == 0:
                if sides >> (4 * position - 1) & 1:
                    s.tx[pe, color, position] = tx
                else:
                    s.rx[pe, color, position] = rx
            else:
                if s.rx[pe, color, position] == old_rx:
                    s.rx[pe, color, position] = rx
                if s.tx[pe, color, position] == old_tx:
                    s.tx[pe, color, position] = tx
        s.rx[pe, color, 0], s.tx[pe, color, 0] = rx, tx
        ring = s.flags[pe, color] & 1
        s.flags[pe, color] = (
            ring
            | (value >> 12 & 3) << 1
            | (value >> 14 & 1) << 3
            | (value >> 11 & 1) << 4
            | (value >> 10 & 1) << 5
        )
        if not value >> 14 & 1:
            s.torn[pe] &= ~(np.int64(1) << color)
    elif s.shape[7] == 0 and switches <= word < switches + 24:
        _set_switch(s, pe, word - switches, value)
    elif switches <= word < switches + 96:
        color, field = (word - switches) // 4, (word - switches) % 4
        if field == 3:
            s.position[pe, color] = value & 3
            s.flags[pe, color] = (s.flags[pe, color] & ~1) | (value >> 2 & 1)
        else:
            rx, tx = value >> 5 & 31, value & 31
            s.rx[pe, color, field + 1] = rx if rx or not tx else s.rx[pe, color, 0]
            s.tx[pe, color, field + 1] = tx if tx or not rx else s.tx[pe, color, 0]
    elif word == RANDOM_WORD or word == RANDOM_WORD + 1:
        shift = 16 * (word - RANDOM_WORD)
        kept = s.random[pe, 0] & ~(np.int64(0xFFFF) << shift)
        s.random[pe, 0] = kept | (value & 0xFFFF) << shift
    elif FILTER_WORD <= word < FILTER_WORD + 16:
        color = _filtered_color(s, pe, (word - FILTER_WORD) // 4)
        if color >= 0:
            s.filter_state[pe, color, (word - FILTER_WORD) % 4] = value
    elif CONFIG_FIRST <= word < CONFIG_FIRST + CONFIG_WORDS:
        s.config[pe, word - CONFIG_FIRST] = value


@njit(cache=True, inline="never")
def on_its_way(s, pe, word):
    """Whether the color's route at `word` still has wavelets of its own core to take."""
    color = word - COLOR_WORDS[s.shape[7]]
    if not 0 <= color < COLORS or not s.route[color, pe] >> PORT_BITS * RAMP & 1:
        return False
    if s.held[color, pe] >> PORT_BITS * RAMP & PORT_FULL:
        return True
    queues = s.out_mask[pe]
    while queues:
        queue = lowest_bit(queues)
        queues &= queues - 1
        for at in range(s.out_count[pe, queue]):
            if s.out_color[pe, queue, (np.int64(s.out_head[pe, queue]) + at) % QUEUE] == color:
                return True
    return False


@njit(cache=True, inline="never")
def random16(s, pe):
    """The next 16 bits of x^23 + x^18 + 1, advanced 128 steps (CSL documentation, @random16)."""
    state = s.random[pe, 0]
    for _ in range(LFSR_STEPS):
        bit = (state >> 22 ^ state >> 17) & 1
        state = (state << 1 | bit) & 0xFFFFFFFF
    s.random[pe, 0] = state
    return state & 0xFFFF
