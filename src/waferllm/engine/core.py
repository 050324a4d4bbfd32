"""The engine: drives a runner by the scheduler's steps, chooses tokens, turns them into text.

The runner computes; everything else (who goes next, which token, when a text ends) is decided here, on
the host. This file imports no JAX: whoever builds an engine hands it a runner.
"""

import secrets
import time
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from waferllm.engine.params import SamplingParams
from waferllm.engine.sampling import forbid, penalise, sample, stream
from waferllm.engine.scheduler import DecodeStep, PrefillStep, Scheduler, SlotBudget
from waferllm.engine.sequence import FinishReason, Output, Sequence
from waferllm.engine.stops import StopText
from waferllm.errors import InputError

Prompt = str | abc.Sequence[int]
Tokens = Int[np.ndarray, "slots"]
Active = Bool[np.ndarray, "slots"]


class Runner(Protocol):
    """A model with `slots` KV caches. Shapes never change from call to call, so nothing recompiles.

    Prefill is one sequence at a time, from start 0 on, without gaps; a new one may begin where another
    was broken off. A slot decodes after its last chunk and until its release.
    """

    @property
    def slots(self) -> int: ...

    @property
    def chunk(self) -> int:
        """Prompt tokens per prefill call."""
        ...

    @property
    def max_burst(self) -> int:
        """Decode steps in one `decode_greedy` call; 1 if the runner has no such call."""
        ...

    def capacity(self, prompt: int) -> int:
        """Tokens that a slot holds in all when so many of them are the prompt."""
        ...

    def prefill(
        self, slot: int, ids: Int[np.ndarray, "chunk"], start: int, length: int, last: bool
    ) -> Float[np.ndarray, "vocab"] | None:
        """Take in `ids[:length]` at positions `start` and after; logits after the last, else None."""
        ...

    def decode(
        self, tokens: Tokens, positions: Tokens, active: Active
    ) -> Float[np.ndarray, "slots vocab"]:
        """Append `tokens` at `positions` in the active slots; logits after each. Other rows: anything."""
        ...

    def release(self, slot: int) -> None:
        """The slot's sequence is over, or was broken off."""
        ...


class BurstRunner(Runner, Protocol):
    """A runner that also decodes greedily on its own, several tokens to a call."""

    def decode_greedy(
        self, tokens: Tokens, positions: Tokens, active: Active, steps: int
    ) -> Int[np.ndarray, "steps slots"]:
        """`steps` times: append, take the likeliest token (the lowest id among equals), go on with it."""
        ...


class TextStream(Protocol):
    """Text of ids that arrive one at a time, in pieces that are never taken back."""

    def push(self, token: int, /) -> str: ...

    def finish(self) -> str: ...


class Tokenizer(Protocol):
    """What the engine needs to know of text."""

    @property
    def eos_ids(self) -> tuple[int, ...]: ...

    def encode(self, text: str, /) -> list[int]: ...

    def stream(self, context: abc.Sequence[int], /) -> TextStream:
        """A stream of the text that continues the ids in `context`."""
        ...


@dataclass(frozen=True)
class Event:
    """One more token of one request, and the text that it settled, perhaps none.

    The pieces of a request's events concatenate to its output's text. `finished` comes with the last.
    """

    request_id: str
    text: str
    token_id: int
    finished: Output | None = None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `generate`. `outputs` is what there was of every prompt, in order."""

    def __init__(self, outputs: list[Output]) -> None:
        super().__init__("generation was interrupted")
        self.outputs = outputs


@dataclass(eq=False, kw_only=True)
class _Request:
    """A sequence with its text and times (seconds by the engine's clock)."""

    sequence: Sequence
    stream: TextStream
    stopper: StopText
    ends: frozenset[int]
    seed: int
    arrived: float
    first_token: float | None = None
    pieces: list[str] = field(default_factory=list)
    output: Output | None = None

    @property
    def plain(self) -> bool:
        """Whether the next tokens are simply the likeliest."""
        sequence, params = self.sequence, self.sequence.params
        free = len(sequence.output_ids) >= params.min_tokens
        return params.greedy and not params.penalised and free

    def choose(self, logits: Float[np.ndarray, "vocab"]) -> int:
        """The next token: a function of the tokens so far, the seed and the request's index."""
        sequence, params = self.sequence, self.sequence.params
        step = len(sequence.output_ids)
        logits = penalise(logits, params, sequence.prompt_ids, sequence.output_ids)
        if step < params.min_tokens:
            logits = forbid(logits, self.ends)
        return sample(logits, params, stream(self.seed, sequence.index, step))

    def take(self, token: int, now: float) -> tuple[str, FinishReason | None]:
        """Append a token. The text that it settles, and why the sequence ends with it, if it does."""
        self.first_token = now if self.first_token is None else self.first_token
        self.sequence.output_ids.append(token)
        if token in self.ends:
            return self.flush(), "stop"
        text = self._emit(self.stream.push(token))
        if not self.stopper.stopped and self.sequence.remaining > 0:
            return text, None
        text += self.flush()
        return text, "stop" if self.stopper.stopped else "length"

    def flush(self) -> str:
        """Text that was held back, when no more comes."""
        text = self._emit(self.stream.finish())
        rest = self.stopper.finish()
        self.pieces.append(rest)
        return text + rest

    def _emit(self, piece: str) -> str:
        """Text after the stop strings have seen it; those of the first `min_tokens` do not count."""
        if len(self.sequence.output_ids) > self.sequence.params.min_tokens:
            piece = self.stopper.push(piece)
        self.pieces.append(piece)
        return piece

    def close(self, reason: FinishReason, now: float) -> Output:
        sequence, first = self.sequence, self.first_token
        self.output = Output(
            request_id=sequence.request_id,
            text="".join(self.pieces),
            token_ids=tuple(sequence.output_ids),
            prompt_token_ids=sequence.prompt_ids,
            finish_reason=reason,
            ttft_s=None if first is None else first - self.arrived,
            wall_s=now - self.arrived,
        )
        return self.output


class Engine:
    """Requests come in by `add`, tokens go out by `step`; `generate` does both for a list of prompts.

    Not for several threads at once. After an exception out of `step` the runner's caches and our record
    of them may differ: call `interrupt` before going on.
    """

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.runner, self.tokenizer = runner, tokenizer
        self._clock = clock
        self._scheduler = self._new_scheduler()
        self._requests: dict[str, _Request] = {}
        self._names = map(str, count())

    @property
    def idle(self) -> bool:
        """Whether every request has finished."""
        return not self._requests

    def add(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        index: int = 0,
        request_id: str | None = None,
    ) -> str:
        """Queue a prompt, text or token ids; returns the request's id.

        Requests with the same seed and prompt differ by their `index`. Raises CapacityError, which says
        what would fit, if a slot cannot hold prompt and output; InputError for a prompt that is empty
        or an id that is taken.
        """
        params = SamplingParams() if params is None else params
        sequence = Sequence(
            request_id=next(self._names) if request_id is None else request_id,
            prompt_ids=tuple(self._encode(prompt)),
            params=params,
            index=index,
        )
        self._scheduler.add(sequence)
        self._requests[sequence.request_id] = _Request(
            sequence=sequence,
            stream=self.tokenizer.stream(sequence.prompt_ids),
            stopper=StopText(params.stop_strings),
            ends=params.ends(self.tokenizer.eos_ids),
            seed=secrets.randbits(64) if params.seed is None else params.seed,
            arrived=self._clock(),
        )
        return sequence.request_id

    def step(self) -> list[Event]:
        """One call of the runner, and what came of it: no events after a prompt's chunk but the last."""
        step = self._scheduler.next_step()
        match step:
            case PrefillStep():
                return self._prefill(step)
            case DecodeStep():
                return self._decode(step)
        return []

    def abort(self, request_id: str) -> Output:
        """End a request early, with what there is of it. InputError if it ended or never was."""
        request = self._requests[self._scheduler.find(request_id).request_id]
        request.flush()
        return self._finish(request, "abort")

    def interrupt(self) -> list[Output]:
        """End all requests, whatever state they are in, with what there is of them, in order of arrival.

        Trusts nothing that an exception may have left half done: the scheduler starts anew.
        """
        requests, self._requests = self._requests, {}
        self._scheduler = self._new_scheduler()
        for slot in range(self.runner.slots):
            self.runner.release(slot)
        now = self._clock()
        for request in requests.values():
            if request.output is None:
                request.flush()
        return [request.output or request.close("abort", now) for request in requests.values()]

    def generate(
        self,
        prompts: Prompt | abc.Sequence[Prompt],
        params: SamplingParams | abc.Sequence[SamplingParams] | None = None,
        *,
        on_event: Callable[[Event], object] | None = None,
    ) -> list[Output]:
        """Run prompts as one batch; outputs in their order. A prompt's index is its place in the list.

        `params` is one for all or one for each; `on_event` sees every token as it comes. Nothing runs
        if any prompt is refused. Raises as `add` does; Interrupted, with the outputs so far, on Ctrl-C;
        InputError while other requests are under way.
        """
        if not self.idle:
            raise InputError("Other requests are under way. Use add and step beside them.")
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        requests: list[_Request] = []
        try:
            for index, (prompt, chosen) in enumerate(_pair(prompts, params)):
                requests.append(self._requests[self.add(prompt, chosen, index=index)])
            while not self.idle:
                for event in self.step():
                    if on_event is not None:
                        on_event(event)
        except KeyboardInterrupt:
            self.interrupt()
            raise Interrupted(_outputs(requests)) from None
        except BaseException:
            self.interrupt()
            raise
        return _outputs(requests)

    def _new_scheduler(self) -> Scheduler:
        runner = self.runner
        budget = SlotBudget(runner.capacity)
        return Scheduler(slots=runner.slots, chunk=runner.chunk, budget=budget)

    def _encode(self, prompt: Prompt) -> abc.Sequence[int]:
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt)
        if isinstance(prompt, abc.Iterable):
            return [int(token) for token in prompt]
        raise InputError(f"prompt {prompt!r}: use a text or a list of token ids.")

    def _prefill(self, step: PrefillStep) -> list[Event]:
        ids = np.zeros(self.runner.chunk, np.int32)
        ids[: len(step.tokens)] = step.tokens
        logits = self.runner.prefill(step.slot, ids, step.start, len(step.tokens), step.last)
        self._scheduler.commit(step)
        if logits is None:
            return []
        return self._take([self._request(step.sequence)], [logits])

    def _decode(self, step: DecodeStep) -> list[Event]:
        tokens, positions = np.zeros((2, self.runner.slots), np.int32)
        active = np.zeros(self.runner.slots, bool)
        for slot, sequence in step.slots.items():
            tokens[slot], positions[slot] = sequence.last_token, sequence.tokens - 1
            active[slot] = True
        requests = [self._request(sequence) for sequence in step.slots.values()]
        if self._may_burst(requests):
            return self._burst(step, requests, (tokens, positions, active))
        logits = self.runner.decode(tokens, positions, active)
        self._scheduler.commit(step)
        return self._take(requests, [logits[slot] for slot in step.slots])

    def _burst(
        self, step: DecodeStep, requests: list[_Request], state: tuple[Tokens, Tokens, Active]
    ) -> list[Event]:
        """Several greedy tokens at once; what follows a sequence's end is thrown away."""
        runner = cast(BurstRunner, self.runner)  # `max_burst` says so
        rows = runner.decode_greedy(*state, runner.max_burst)
        self._scheduler.commit(step)
        pairs = list(zip(step.slots, requests, strict=True))
        events = [
            self._advance(request, int(row[slot]))
            for row in rows
            for slot, request in pairs
            if request.output is None
        ]
        return self._deliver(events)

    def _may_burst(self, requests: list[_Request]) -> bool:
        """Never while a prompt waits for its next chunk, nor beyond what a slot may hold."""
        most = self.runner.max_burst
        if most < 2 or self._scheduler.prefilling is not None:
            return False
        return all(request.plain and request.sequence.remaining >= most for request in requests)

    def _take(self, requests: list[_Request], logits: abc.Iterable[np.ndarray]) -> list[Event]:
        """Choose for all before any moves on: an error then leaves every sequence where it was."""
        pairs = list(zip(requests, logits, strict=True))
        chosen = [request.choose(row) for request, row in pairs]
        return self._deliver(list(map(self._advance, requests, chosen)))

    def _advance(self, request: _Request, token: int) -> Event:
        text, reason = request.take(token, self._clock())
        output = None if reason is None else self._finish(request, reason)
        return Event(request.sequence.request_id, text, token, output)

    def _finish(self, request: _Request, reason: FinishReason) -> Output:
        slot = request.sequence.slot
        self._scheduler.finish(request.sequence, reason)
        if slot is not None:
            self.runner.release(slot)
        return request.close(reason, self._clock())

    def _deliver(self, events: list[Event]) -> list[Event]:
        """Forget finished requests, last of all: until then `interrupt` still returns their outputs."""
        for event in events:
            if event.finished is not None:
                del self._requests[event.request_id]
        return events

    def _request(self, sequence: Sequence) -> _Request:
        return self._requests[sequence.request_id]


def _pair(
    prompts: list[Prompt], params: SamplingParams | abc.Sequence[SamplingParams] | None
) -> list[tuple[Prompt, SamplingParams]]:
    """Every prompt with its parameters. Raises InputError if there are not as many of both."""
    if params is None or isinstance(params, SamplingParams):
        params = [params or SamplingParams()] * len(prompts)
    if len(params) != len(prompts):
        raise InputError(
            f"{len(prompts)} prompts with {len(params)} parameters. Give one for all, or one for each."
        )
    return list(zip(prompts, params, strict=True))


def _outputs(requests: list[_Request]) -> list[Output]:
    return [request.output for request in requests if request.output is not None]
