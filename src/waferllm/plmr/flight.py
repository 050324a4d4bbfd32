"""Cycles that one call of a fabric word takes on a line, apart by cause.

The form is that of HPDC'24 (arXiv 2404.15888): contention + distance + (2 ramps + 1) x depth. A
payload streams: it is paid once for each time it must pass the same ramp, never for each hop.

    shift         payload + hops + one depth
    reduce        every phase: payload from each side of its root + hops + depth of its longest chain
    reduce_to     the same, for a root at the far end
    broadcast     payload + hops + one depth; routers copy it on the way
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from waferllm.chip import Chip
from waferllm.errors import UnsupportedError
from waferllm.fabric.routes import Chain, Tree
from waferllm.plmr.constants import Software
from waferllm.plmr.words import Word

WAVELET_BYTES = 4
#: A chain whose root moves on by two cores (the ring) meets the next chain two stages further: a
#: core waits that much longer at each turn, not for the whole line.
MOVING_ROOT_STAGES = 2


@dataclass(frozen=True)
class Flight:
    """One call: `issue` keeps the core busy, `launch` its library, `stream` its ramp; `hops` and
    `stages` are distance and depth; `again` is the delay of a next call behind this one, which
    pipelines where no core waits for the result."""

    issue: float
    launch: float
    stream: float
    hops: float
    stages: float
    again: float = 0.0

    @property
    def total(self) -> float:
        return self.issue + self.launch + self.stream + self.hops + self.stages

    @property
    def occupancy(self) -> float:
        """What a call takes where the next one follows without waiting for its result."""
        return self.issue + self.stream + self.again


def stream_cycles(payload_bytes: int, chip: Chip) -> float:
    """A payload in whole wavelets over the slower of ramp and link."""
    whole = math.ceil(payload_bytes / WAVELET_BYTES) * WAVELET_BYTES
    return whole / min(chip.link_bytes_per_cycle, chip.ramp_bytes_per_cycle)


def depth_cycles(chip: Chip) -> float:
    """Hardware's part of one receive, add and send: down the ramp, the core, up the ramp."""
    return 2 * chip.ramp_cycles + 1


@lru_cache(maxsize=4096)
def flight(word: Word, payload_bytes: int, chip: Chip, software: Software) -> Flight:
    """One call of a word with that payload from each core."""
    stream = stream_cycles(payload_bytes, chip)
    far, depth = word.geometry.hops * chip.hop_cycles, depth_cycles(chip)
    stage = depth + software.stage_cycles
    launch = software.launch_cycles
    if word.name == "shift":
        return Flight(software.task_cycles, launch, stream, far, depth)
    if word.name == "rotate":
        turns = word.turns
        busy, waits = turns * software.task_cycles, turns * depth
        return Flight(busy, turns * launch, turns * stream, far, waits)
    if word.name in ("broadcast", "broadcast_from"):
        return Flight(software.issue_cycles, launch, stream, far, depth)
    if word.name == "reduce_to":
        again = MOVING_ROOT_STAGES * (stage + chip.hop_cycles)
        return Flight(
            software.issue_cycles, launch, stream, far, word.geometry.stages * stage, again
        )
    if word.name == "reduce" and isinstance(word.pattern, Tree):
        passes = _passes(word.pattern, word.cores)
        return Flight(
            passes * software.issue_cycles,
            launch,
            passes * stream,
            far,
            word.geometry.stages * stage,
        )
    raise UnsupportedError(f"no time is known for the fabric word '{word.name}'.")


@lru_cache(maxsize=1024)
def _passes(tree: Tree, cores: int) -> int:
    """How often a payload passes the busiest root's ramp, each time with an instruction of its own:
    once for each side from which a phase's chain arrives."""
    return sum(max(_sides(chain) for chain in phase) for phase in tree.phases(cores))


def _sides(chain: Chain) -> int:
    return (chain.root > 0) + (chain.root < len(chain.members) - 1)
