"""One cycle of all routers, jitted, in two passes: propose moves from what stood at the cycle's start,
then commit them. Hence the order in which routers are visited cannot matter.

A router keeps wavelets per port and color. The head of one moves if its port is among the color's inputs,
every output link is free in this cycle and every place it goes to had room; to all outputs at once.
"""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np
from numba import njit

from waferllm.csl.machine.bits import lowest_bit
from waferllm.csl.machine.image import EAST, RAMP
from waferllm.csl.machine.state import (
    COLORS,
    CONTROL_BIT,
    F_COLLISION,
    MOVED,
    NEXT,
    QUEUE,
    READY_SHIFT,
)

CONTROL = 1 << CONTROL_BIT
DATA = 0xFFFFFFFF
KEPT = (1 << READY_SHIFT) - 1
SWITCH_ADV, SWITCH_RST, TEARDOWN = 1, 2, 3
RING, POP, TORN, SWAP_X, SWAP_Y = 1, 6, 8, 16, 32
ALWAYS_POP, POP_ON_ADVANCE, POP_ON_ADVANCE_NOP = 1, 2, 3
COMMANDS = 8
MOST_MOVES = 10
LINKS = 15
NEVER = np.int64(2**62)


@njit(cache=True)
def _command(word, slot):
    """(opcode, whether the core ignores it) of a control wavelet's command."""
    at = (22 + 3 * slot) % 30
    return (word >> at) & 3, (word >> ((at + 2) % 30)) & 1


@njit(cache=True, inline="never")
def _popped(word):
    """The wavelet without its first command; the last one's place becomes a NOP."""
    entry = word & (0x3F << 16)
    made = entry
    for slot in range(COMMANDS - 1):
        opcode, ignore = _command(word, slot + 1)
        at = (22 + 3 * slot) % 30
        made |= (opcode << at) | (ignore << ((at + 2) % 30))
    return made


@njit(cache=True)
def out_color(s, pe, color, port):
    """The color on the other side of a port (WSE-2 can swap neighbors)."""
    flags = s.flags[pe, color]
    if port <= EAST:
        return color ^ 1 if flags & SWAP_X else color
    return color ^ 1 if flags & SWAP_Y else color


@njit(cache=True)
def outputs(s, pe, color, wavelet):
    """Bits of the ports that a wavelet goes to."""
    tx = np.int64(s.tx[pe, color, s.position[pe, color]])
    if wavelet & CONTROL and _command(wavelet, 0)[1]:
        tx &= ~(1 << RAMP)
    return tx


@njit(cache=True)
def _room(s, held, near, depth, pe, color, tx):
    """Whether every place that a wavelet goes to had room when the cycle began."""
    swapped = s.flags[pe, color] & (SWAP_X | SWAP_Y)
    links = tx & LINKS
    while links:
        port = lowest_bit(links)
        links &= links - 1
        other = near[pe, port]
        there = out_color(s, pe, color, port) if swapped else color
        if other < 0 or held[other, port ^ 1, there] >= depth:
            return False
    if tx >> RAMP & 1 and not s.host_out[color]:
        return s.in_count[pe, color] < s.depth[s.code_of[pe], color]
    return True


@njit(cache=True, inline="never")
def _collides(s, pe, port, color, rx):
    """Another enabled input holds this color: 0 it came later, 1 it came first, 2 both at once."""
    mine = s.buffer[pe, port, color, 0] >> READY_SHIFT
    for other in range(5):
        if other != port and rx >> other & 1 and s.held[pe, other, color]:
            theirs = s.buffer[pe, other, color, 0] >> READY_SHIFT
            if theirs == mine:
                return 2
            if theirs < mine:
                return 1
    return 0


@njit(cache=True)
def _twice(masks):
    """Colors that more than one port of a router holds."""
    seen, twice = np.int64(0), np.int64(0)
    for port in range(5):
        twice |= seen & masks[port]
        seen |= masks[port]
    return twice


@njit(cache=True)
def propose(s, now, first, step):
    """Write this cycle's moves; returns their number. `first` and `step` set the visiting order."""
    # Arrays in local names: the loop below must not look them up again for each router.
    port_mask, buffer, held, position = s.port_mask, s.buffer, s.held, s.position
    all_rx, all_tx, flags, depth = s.rx, s.tx, s.flags, s.buffer.shape[3]
    move_pe, move_what, move_tx, near = s.move_pe, s.move_what, s.move_tx, s.near
    count, pes, nearest = 0, len(port_mask), NEVER
    links, turn = now % s.shape[6] < s.shape[5], now % COLORS
    for visit in range(pes):
        pe = (first + visit * step) % pes if step != 1 else visit
        masks = port_mask[pe]
        union = masks[0] | masks[1] | masks[2] | masks[3] | masks[4]
        if union == 0:
            continue
        twice, used, moves = np.int64(-1), np.int64(0), 0
        high = union >> turn << turn
        for colors in (high, union ^ high):
            while colors and moves < MOST_MOVES:
                color = lowest_bit(colors)
                colors &= colors - 1
                if flags[pe, color] & TORN:
                    continue
                place = position[pe, color]
                rx = np.int64(all_rx[pe, color, place])
                while rx:
                    port = lowest_bit(rx)
                    rx &= rx - 1
                    if held[pe, port, color] == 0:
                        continue
                    wavelet = buffer[pe, port, color, 0]
                    if wavelet >> READY_SHIFT > now:
                        nearest = min(nearest, wavelet >> READY_SHIFT)
                        continue
                    if rx or twice >= 0:
                        if twice < 0:
                            twice = _twice(masks)
                        if twice >> color & 1:
                            verdict = _collides(s, pe, port, color, all_rx[pe, color, place])
                            if verdict == 2:
                                s.fault[:4] = F_COLLISION, pe, color, port
                            if verdict:
                                continue
                    tx = np.int64(all_tx[pe, color, place])
                    if wavelet & CONTROL:
                        tx = outputs(s, pe, color, wavelet)
                    elif tx == 0:
                        continue
                    if tx & used:
                        continue
                    if tx & LINKS and not links:
                        nearest = min(nearest, now + 1)
                        continue
                    if _room(s, held, near, depth, pe, color, tx):
                        used |= tx
                        move_pe[count], move_what[count] = pe, port << 5 | color
                        move_tx[count] = tx
                        count += 1
                        moves += 1
                        break
    s.clock[NEXT] = min(s.clock[NEXT], nearest)
    return count


@njit(cache=True, inline="never")
def _filtered(s, pe, color, wavelet):
    """Whether the color's filter keeps a wavelet from the core; counts it."""
    row = s.filter_of[pe, color]
    if row < 0:
        return False
    rule, state = s.filters[row], s.filter_state[pe, color]
    control = wavelet & CONTROL != 0
    if rule[0] == 2:
        index = (wavelet >> 16) & 0xFFFF
        return not control and not (rule[9] <= index <= rule[8])
    counter, limit = state[0], state[2]
    if rule[0] == 1 and (state[3] == 2 or limit == 0):
        return False
    rejected = counter > state[1]
    if rule[7]:
        rejected = not (control and counter == state[1])
    if rule[2] if control else rule[1]:
        if counter >= limit:
            state[0] = 0
            if rule[0] == 1:
                state[2] = rule[5] if state[3] == 0 else 0
                state[3] = 1 if state[3] == 0 and rule[5] else 2
        else:
            state[0] = counter + 1
    return rejected


@njit(cache=True)
def enqueue(s, pe, color, wavelet, ready):
    """Into the input queue of a core, which has room."""
    at = (np.int64(s.in_head[pe, color]) + s.in_count[pe, color]) % QUEUE
    s.inq[pe, color, at] = (wavelet & KEPT) | ready << READY_SHIFT
    s.in_count[pe, color] += 1
    s.in_mask[pe] |= np.int64(1) << color
    s.alarm[pe] = min(s.alarm[pe], ready)


@njit(cache=True, inline="never")
def _deliver(s, pe, color, wavelet, now):
    """Off the ramp: to the host, to the core, or nowhere if a filter says so."""
    if s.host_out[color]:
        count = s.to_host_count[0]
        if count < len(s.to_host):
            s.to_host[count] = pe, color, wavelet & DATA, now
        s.to_host_count[0] = count + 1
    elif not _filtered(s, pe, color, wavelet):
        enqueue(s, pe, color, wavelet, now + s.shape[4])


@njit(cache=True, inline="never")
def switch(s, pe, color, opcode):
    """Carry out a router command; returns whether the position advanced."""
    position = s.position[pe, color]
    if opcode == SWITCH_RST:
        s.position[pe, color] = 0
    elif opcode == TEARDOWN:
        s.flags[pe, color] |= TORN
        s.torn[pe] |= np.int64(1) << color
        s.alarm[pe] = min(s.alarm[pe], s.clock[0] + 1)
    elif opcode == SWITCH_ADV:
        for other in range(position + 1, 4):
            if s.rx[pe, color, other] or s.tx[pe, color, other]:
                s.position[pe, color] = other
                return True
        if s.flags[pe, color] & RING and position:
            s.position[pe, color] = 0
            return True
    return False


@njit(cache=True, inline="never")
def _command_passes(s, pe, color, wavelet, tx, now):
    """A control wavelet at a router: deliver it, obey it; returns it as it goes on."""
    if tx >> RAMP & 1:
        _deliver(s, pe, color, wavelet, now)
    opcode, _ = _command(wavelet, 0)
    advanced = switch(s, pe, color, opcode)
    pop = (s.flags[pe, color] & POP) >> 1
    if (
        pop == ALWAYS_POP
        or (pop >= POP_ON_ADVANCE and advanced)
        or (pop == POP_ON_ADVANCE_NOP and opcode == 0)
    ):
        return (wavelet & ~np.int64(DATA)) | _popped(wavelet & DATA)
    return wavelet


@njit(cache=True)
def commit(s, now, count):
    """Carry out the moves that `propose` wrote."""
    ready, near = (now + s.shape[3]) << READY_SHIFT, s.near
    buffer, held, port_mask, link_use, flags = s.buffer, s.held, s.port_mask, s.link_use, s.flags
    move_pe, move_what, move_tx = s.move_pe, s.move_what, s.move_tx
    for move in range(count):
        pe, what = np.int64(move_pe[move]), move_what[move]
        port, color, tx = what >> 5, np.int64(what & 31), np.int64(move_tx[move])
        wavelet = buffer[pe, port, color, 0] & KEPT
        held[pe, port, color] -= 1
        for at in range(held[pe, port, color]):
            buffer[pe, port, color, at] = buffer[pe, port, color, at + 1]
        if held[pe, port, color] == 0:
            port_mask[pe, port] &= ~(np.int64(1) << color)
        swapped = flags[pe, color] & (SWAP_X | SWAP_Y)
        if wavelet & CONTROL:
            wavelet = _command_passes(s, pe, color, wavelet, tx, now)
        elif tx >> RAMP & 1:
            _deliver(s, pe, color, wavelet, now)
        links = tx & LINKS
        while links:
            out = lowest_bit(links)
            links &= links - 1
            other = near[pe, out]
            there = out_color(s, pe, color, out) if swapped else color
            at = held[other, out ^ 1, there]
            buffer[other, out ^ 1, there, at] = wavelet | ready
            held[other, out ^ 1, there] = at + 1
            port_mask[other, out ^ 1] |= np.int64(1) << there
            link_use[pe, out] += 1
    s.clock[MOVED] += count


@njit(cache=True)
def leave_cores(s, now):
    """Up the ramps: one wavelet per core and cycle, from one of its output queues to the router."""
    nearest, out_mask, outq, out_color, held = NEVER, s.out_mask, s.outq, s.out_color, s.held
    for pe in range(len(out_mask)):
        mask = out_mask[pe]
        if mask == 0:
            continue
        turn = now % 8
        high = mask >> turn << turn
        for queues in (high, mask ^ high):
            sent = False
            while queues:
                queue = lowest_bit(queues)
                queues &= queues - 1
                head = s.out_head[pe, queue]
                wavelet, color = outq[pe, queue, head], out_color[pe, queue, head]
                if wavelet >> READY_SHIFT > now:
                    nearest = min(nearest, wavelet >> READY_SHIFT)
                    continue
                at = held[pe, RAMP, color]
                if at >= s.buffer.shape[3]:
                    continue
                s.buffer[pe, RAMP, color, at] = (wavelet & KEPT) | (now + 1) << READY_SHIFT
                held[pe, RAMP, color] = at + 1
                s.port_mask[pe, RAMP] |= np.int64(1) << np.int64(color)
                s.link_use[pe, RAMP] += 1
                s.out_head[pe, queue] = (head + 1) % QUEUE
                s.out_count[pe, queue] -= 1
                if s.out_count[pe, queue] == 0:
                    out_mask[pe] &= ~(np.int64(1) << queue)
                s.alarm[pe] = min(s.alarm[pe], now + 1)
                s.clock[MOVED] += 1
                sent = True
                break
            if sent:
                break
    s.clock[NEXT] = min(s.clock[NEXT], nearest)


@njit(cache=True)
def feed(s, now, pes, colors, position, end, data):
    """Host streams: at most one wavelet per stream and cycle into its PE's input queue."""
    for stream in range(len(pes)):
        pe, color = pes[stream], colors[stream]
        if position[stream] < end[stream] and s.in_count[pe, color] < s.depth[s.code_of[pe], color]:
            enqueue(s, pe, color, np.int64(data[position[stream]]), now + s.shape[4])
            position[stream] += 1
            s.clock[MOVED] += 1
