"""The machine's main loop, jitted: cores, ramps, routers, cycle after cycle, until something stops it."""

import numpy as np

from waferllm.csl.machine.core import NEVER, step_all
from waferllm.csl.machine.fabric import commit, feed, leave_cores, propose
from waferllm.csl.machine.jit import njit
from waferllm.csl.machine.state import MOVED, NEXT, NOW

(READY, QUIET, LIMIT, FAULT, HOST_FULL) = range(5)


@njit(cache=True)
def all_ready(s):
    """Whether no launched PE is still at work for the host's command."""
    for pe in range(len(s.ready)):
        if s.ready[pe] == 0 or s.arrivals[pe] >= 0:
            return False
    return True


@njit(cache=True)
def run(s, until_ready, wanted, limit, feeds, order):
    """Run until PEs are ready (`until_ready`), the host has `wanted` wavelets, or nothing can move.

    `feeds` are the host's streams (see `fabric.feed`); `order` is (first, step) of the visits to PEs.
    """
    pes, colors, position, end, data = feeds
    while True:
        if s.fault[0]:
            return FAULT
        if until_ready and all_ready(s):
            return READY
        if wanted > 0 and s.to_host_count[0] >= wanted:
            return READY
        if s.to_host_count[0] + len(s.mode) > len(s.to_host):
            return HOST_FULL
        now = s.clock[NOW]
        if now >= limit:
            return LIMIT
        s.clock[MOVED], s.clock[NEXT] = 0, NEVER
        nearest = step_all(s, order[0], order[1])
        leave_cores(s, now)
        moves = propose(s, now, order[0], order[1])
        feed(s, now, pes, colors, position, end, data)
        commit(s, now, moves)
        if s.clock[MOVED]:
            s.clock[NOW] = now + 1
            continue
        # Nothing moved: go to when something can. Alarms may have been set since `nearest` was found.
        nearest = min(nearest, s.clock[NEXT])
        if nearest >= NEVER:
            return FAULT if s.fault[0] else QUIET
        s.clock[NOW] = max(nearest, now + 1)
    return np.int64(QUIET)
