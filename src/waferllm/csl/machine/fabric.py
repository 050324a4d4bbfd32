"""One cycle of all routers, jitted, in two passes: propose moves from what stood at the cycle's start,
then commit them. Hence the order in which routers are visited cannot matter.

A router keeps wavelets per port and color. The head of one moves if its port is among the color's inputs,
every output link is free in this cycle and every place it goes to had room; to all outputs at once.
"""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

import numpy as np

from waferllm.csl.machine.bits import lowest_bit
from waferllm.csl.machine.image import EAST, RAMP
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.state import (
    COLORS,
    CONTROL_BIT,
    F_COLLISION,
    LEAVING,
    MOVED,
    NEXT,
    PORT_BITS,
    PORT_FULL,
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
LINKS = 15
ANY_HELD = 0x11111  # the lowest bit of each port's count in a word of `held`
ROUTE_TX, ROUTE_SWAPS = 20, 1 << 25
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


@njit(cache=True, inline="always")
def _room(s, held, near, places, pe, color, tx, swaps):
    """Whether every place that a wavelet goes to had room when the cycle began."""
    links = tx & LINKS
    while links:
        port = lowest_bit(links)
        links &= links - 1
        there = out_color(s, pe, color, port) if swaps else color
        if held[there, near[port, pe]] >> PORT_BITS * (port ^ 1) & PORT_FULL >= places:
            return False
    if tx >> RAMP & 1 and not s.host_out[color]:
        return s.in_count[pe, color] < s.depth[s.code_of[pe], color]
    return True


@njit(cache=True, inline="never")
def _collides(s, pe, port, color, full):
    """Another enabled input holds this color: 0 it came later, 1 it came first, 2 both at once."""
    mine = s.buffer[color, port, pe, 0] >> READY_SHIFT
    for other in range(5):
        if other != port and full >> PORT_BITS * other & 1:
            theirs = s.buffer[color, other, pe, 0] >> READY_SHIFT
            if theirs == mine:
                return 2
            if theirs < mine:
                return 1
    return 0


@njit(cache=True)
def set_route(s, pe, color):
    """Pack what `propose` asks of a color's route at a router; after every change of it."""
    place, flags = s.position[pe, color], s.flags[pe, color]
    rx, made = s.rx[pe, color, place], np.int64(s.tx[pe, color, place]) << ROUTE_TX
    if not flags & TORN:
        for port in range(5):
            made |= np.int64(rx >> port & 1) << PORT_BITS * port
    if flags & (SWAP_X | SWAP_Y):
        made |= ROUTE_SWAPS
    s.route[color, pe] = made


@njit(cache=True)
def set_all_routes(s):
    """Before the first cycle."""
    for pe in range(len(s.busy)):
        for color in range(COLORS):
            set_route(s, pe, color)


@njit(cache=True)
def propose(s, now, first, step):
    """Write this cycle's moves; returns their number. `first` and `step` set the visiting order."""
    # Arrays in local names: the loop below must not look them up again for each router.
    busy, buffer, held, route, near = s.busy, s.buffer, s.held, s.route, s.near
    places, written = buffer.shape[3], s.moves
    count, pes, nearest = 0, len(busy), NEVER
    links, turn = now % s.shape[6] < s.shape[5], now % COLORS
    for visit in range(pes):
        pe = (first + visit * step) % pes if step != 1 else visit
        colors = np.int64(busy[pe])
        if colors == 0:
            continue
        used, high = np.int64(0), colors >> turn << turn
        for part in (high, colors ^ high):
            while part:
                color = lowest_bit(part)
                part &= part - 1
                way, here = np.int64(route[color, pe]), np.int64(held[color, pe])
                full = (here | here >> 1) & way & ANY_HELD
                several, left = full & (full - 1), full
                while left:
                    port = lowest_bit(left) // PORT_BITS
                    left &= left - 1
                    wavelet = buffer[color, port, pe, 0]
                    if wavelet >> READY_SHIFT > now:
                        nearest = min(nearest, wavelet >> READY_SHIFT)
                        continue
                    if several:
                        verdict = _collides(s, pe, port, color, full)
                        if verdict == 2:
                            s.fault[:4] = F_COLLISION, pe, color, port
                        if verdict:
                            continue
                    tx = way >> ROUTE_TX & 31
                    if wavelet & CONTROL:
                        tx = outputs(s, pe, color, wavelet)
                    elif tx == 0:
                        continue
                    if tx & used:
                        continue
                    if tx & LINKS and not links:
                        nearest = min(nearest, now + 1)
                        continue
                    if _room(s, held, near, places, pe, color, tx, way & ROUTE_SWAPS):
                        used |= tx
                        written[count] = pe << 13 | port << 10 | color << 5 | tx
                        count += 1
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
    s.asleep[pe] = 0
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
        s.position[pe, color] = _after(s, pe, color, position)
    set_route(s, pe, color)
    return opcode == SWITCH_ADV and s.position[pe, color] != position


@njit(cache=True)
def _after(s, pe, color, position):
    """The switch position after this one, which is this one if there is no other."""
    for other in range(position + 1, 4):
        if s.rx[pe, color, other] or s.tx[pe, color, other]:
            return np.int64(other)
    return np.int64(0) if s.flags[pe, color] & RING else np.int64(position)


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
    ready, near, link_use = (now + s.shape[3]) << READY_SHIFT, s.near, s.link_use
    busy, buffer, held, route, moves = s.busy, s.buffer, s.held, s.route, s.moves
    for move in range(count):
        what = moves[move]
        pe, port, color, tx = what >> 13, what >> 10 & 7, what >> 5 & 31, what & 31
        wavelet = buffer[color, port, pe, 0] & KEPT
        here = held[color, pe] - (1 << PORT_BITS * port)
        held[color, pe] = here
        for at in range(here >> PORT_BITS * port & PORT_FULL):
            buffer[color, port, pe, at] = buffer[color, port, pe, at + 1]
        if here == 0:
            busy[pe] &= ~(1 << color)
        if port == RAMP and s.mode[pe] == LEAVING:
            s.alarm[pe] = min(s.alarm[pe], now + 1)
        swaps = route[color, pe] & ROUTE_SWAPS
        if wavelet & CONTROL:
            wavelet = _command_passes(s, pe, color, wavelet, tx, now)
        elif tx >> RAMP & 1:
            _deliver(s, pe, color, wavelet, now)
        links = tx & LINKS
        while links:
            out = lowest_bit(links)
            links &= links - 1
            other = near[out, pe]
            there = out_color(s, pe, color, out) if swaps else color
            _arrive(busy, buffer, held, other, out ^ 1, there, wavelet | ready)
            link_use[out, pe] += 1
    s.clock[MOVED] += count


@njit(cache=True, inline="always")
def _arrive(busy, buffer, held, pe, port, color, wavelet):
    """A wavelet into a router, which has room."""
    here = held[color, pe]
    buffer[color, port, pe, here >> PORT_BITS * port & PORT_FULL] = wavelet
    held[color, pe] = here + (1 << PORT_BITS * port)
    busy[pe] |= 1 << color


@njit(cache=True)
def leave_cores(s, now):
    """Up the ramps: one wavelet per core and cycle, from one of its output queues to the router."""
    nearest, out_mask, outq, held = NEVER, s.out_mask, s.outq, s.held
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
                wavelet, color = outq[pe, queue, head], np.int64(s.out_color[pe, queue, head])
                if wavelet >> READY_SHIFT > now:
                    nearest = min(nearest, wavelet >> READY_SHIFT)
                    continue
                if held[color, pe] >> PORT_BITS * RAMP & PORT_FULL >= s.buffer.shape[3]:
                    continue
                up = (wavelet & KEPT) | (now + 1) << READY_SHIFT
                _arrive(s.busy, s.buffer, held, pe, RAMP, color, up)
                s.link_use[RAMP, pe] += 1
                s.out_head[pe, queue] = (head + 1) % QUEUE
                s.out_count[pe, queue] -= 1
                if s.out_count[pe, queue] == 0:
                    out_mask[pe] &= ~(np.int64(1) << queue)
                s.asleep[pe] = 0
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
