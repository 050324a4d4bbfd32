"""Which sequence does what next: continuous batching over a fixed number of slots.

Plain Python; it knows neither JAX nor models, only how many tokens a slot holds. `next_step`
proposes, `commit` records that the step was done; between the two nothing changes. First come,
first served: one sequence prefills at a time, and while others decode, prefill chunks and decode
steps take turns, so neither waits for more than one of the other.

    slot 0   P P P D . D . D D D         a prompt of three chunks decodes five tokens;
    slot 1   . . . . P . P D D D D D     the next, of two chunks, joins while it does
"""

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from waferllm.engine.sequence import FinishReason, Sequence, Status
from waferllm.errors import CapacityError, InputError


class KvBudget(Protocol):
    """How many tokens a slot's KV cache holds, known before anything runs."""

    def max_new(self, prompt_len: int) -> int:
        """Output tokens that fit after a prompt of that many; 0 if not even the prompt fits."""
        ...

    def fits(self, prompt_len: int, max_new: int) -> str | None:
        """None if both fit; else a sentence that names the numbers that would."""
        ...


@dataclass(frozen=True)
class SlotBudget:
    """A budget by one function: `capacity(prompt_len)` tokens, prompt and output together.

    A shift cache has the same capacity for every prompt. A concat cache has less for a short one,
    because output goes to one row only. What is left for output may not grow with the prompt.
    """

    capacity: Callable[[int], int]

    def max_new(self, prompt_len: int) -> int:
        return max(0, self.capacity(prompt_len) - prompt_len)

    def fits(self, prompt_len: int, max_new: int) -> str | None:
        room = self.max_new(prompt_len)
        if max_new <= room:
            return None
        wanted = f"A prompt of {prompt_len} tokens with {max_new} to follow"
        holds = f"does not fit: a slot's KV cache holds {self.capacity(prompt_len)} tokens"
        advice = [f"ask for at most {room} new tokens"] if room else []
        longest = self._longest(prompt_len, max_new)
        if longest:
            advice.append(f"shorten the prompt to at most {longest} tokens")
        elif not room:
            advice.append(self._smaller(prompt_len))
        return f"{wanted} {holds}. {' or '.join(advice).capitalize()}, or plan for more capacity."

    def _longest(self, prompt_len: int, max_new: int) -> int:
        """The longest prompt, shorter than this one, that leaves room for `max_new`; 0 if none."""
        lengths = range(1, prompt_len)
        return bisect_left(lengths, True, key=lambda length: self.max_new(length) < max_new)

    def _smaller(self, prompt_len: int) -> str:
        """What fits when neither this prompt nor so many new tokens do."""
        longest = self._longest(prompt_len, 1)
        if not longest:
            return "give the cache room for a prompt of one token and one new token"
        return f"shorten the prompt to at most {longest} tokens and ask for {self.max_new(longest)}"


@dataclass(frozen=True)
class PrefillStep:
    """Put `tokens`, at most a chunk, of a prompt into `slot` at position `start` and after."""

    sequence: Sequence
    slot: int
    start: int
    tokens: tuple[int, ...]
    last: bool


@dataclass(frozen=True)
class DecodeStep:
    """One more token for each of these sequences, by slot, in ascending order."""

    slots: Mapping[int, Sequence]


Step = PrefillStep | DecodeStep


class Scheduler:
    """Owns the queue, the slots and where every sequence stands."""

    def __init__(self, *, slots: int, chunk: int, budget: KvBudget) -> None:
        if slots < 1 or chunk < 1:
            raise InputError(f"{slots} slots and chunks of {chunk} tokens: use 1 or more of each.")
        self.slots, self.chunk, self.budget = slots, chunk, budget
        self.waiting: deque[Sequence] = deque()
        self.prefilling: tuple[int, Sequence] | None = None
        self.running: dict[int, Sequence] = {}
        self._free = list(range(slots))
        self._unfinished: dict[str, Sequence] = {}
        self._decode_is_due = False

    @property
    def idle(self) -> bool:
        return not self._unfinished

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence and set how many tokens it may generate.

        Raises CapacityError, which says what would fit, if a slot cannot hold it; InputError if a
        sequence of that name is here already.
        """
        if sequence.request_id in self._unfinished:
            raise InputError(
                f"Request {sequence.request_id!r} is here already: choose another id, or wait."
            )
        prompt, asked = len(sequence.prompt_ids), sequence.params.max_tokens
        least = sequence.params.min_tokens or 1
        refusal = self.budget.fits(prompt, least if asked is None else asked)
        if refusal is not None:
            raise CapacityError(refusal)
        sequence.max_new = self.budget.max_new(prompt) if asked is None else asked
        self._unfinished[sequence.request_id] = sequence
        self.waiting.append(sequence)

    def next_step(self) -> Step | None:
        """What to do now, or None when no sequence is unfinished. Asking twice changes nothing."""
        self._admit()
        if self.prefilling and not (self.running and self._decode_is_due):
            slot, sequence = self.prefilling
            start, end = sequence.prefilled, sequence.prefilled + self.chunk
            tokens = sequence.prompt_ids[start:end]
            return PrefillStep(sequence, slot, start, tokens, last=end >= len(sequence.prompt_ids))
        if self.running:
            return DecodeStep(dict(sorted(self.running.items())))
        return None

    def commit(self, step: Step) -> None:
        """Record that a step was done. The caller then appends tokens and finishes sequences."""
        self._decode_is_due = isinstance(step, PrefillStep)
        if isinstance(step, DecodeStep):
            return
        sequence = step.sequence
        sequence.prefilled += len(step.tokens)
        if step.last:
            self.prefilling = None
            sequence.status = Status.RUNNING
            self.running[step.slot] = sequence

    def finish(self, sequence: Sequence, reason: FinishReason) -> None:
        """Take a sequence out, wherever it stands; its slot is free for the next one."""
        del self._unfinished[sequence.request_id]
        if sequence.slot is None:
            self.waiting.remove(sequence)
        else:
            self.running.pop(sequence.slot, None)
            heapq.heappush(self._free, sequence.slot)
        if sequence.status is Status.PREFILL:
            self.prefilling = None
        sequence.status, sequence.slot, sequence.finish_reason = Status.FINISHED, None, reason

    def _admit(self) -> None:
        """Give the first in the queue the lowest free slot, unless another is in prefill."""
        if self.prefilling is None and self.waiting and self._free:
            sequence = self.waiting.popleft()
            slot = heapq.heappop(self._free)
            sequence.slot, sequence.status = slot, Status.PREFILL
            self.prefilling = slot, sequence

    def find(self, request_id: str) -> Sequence:
        """An unfinished sequence by its id. Raises InputError if there is none."""
        if request_id not in self._unfinished:
            raise InputError(f"No unfinished request {request_id!r}: it ended, or was never added.")
        return self._unfinished[request_id]

    def abort(self, request_id: str) -> Sequence:
        """Finish a sequence early, with reason "abort". Raises InputError if there is none."""
        sequence = self.find(request_id)
        self.finish(sequence, "abort")
        return sequence
