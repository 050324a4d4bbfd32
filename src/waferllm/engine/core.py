"""The engine: drives a runner by the scheduler's steps, chooses tokens, turns them into text.

The runner computes; everything else (who goes next, which token, when a text ends) is decided
here, on the host. This file imports no JAX: whoever builds an engine hands it a runner.
"""

import numbers
import secrets
import time
from collections import abc
from collections.abc import Callable
from itertools import count
from typing import Protocol, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from waferllm.engine.params import SamplingParams
from waferllm.engine.request import Request, TextStream
from waferllm.engine.scheduler import DecodeStep, PrefillStep, Scheduler, SlotBudget
from waferllm.engine.sequence import Event, FinishReason, Output, Sequence
from waferllm.errors import InputError, WaferError

Prompt = str | abc.Sequence[int]
Tokens = Int[np.ndarray, "slots"]
Active = Bool[np.ndarray, "slots"]


class Runner(Protocol):
    """A model with `slots` KV caches. Shapes never change from call to call, so nothing recompiles.

    Prefill is one sequence at a time, from start 0 on, without gaps; a new one may begin where
    another was broken off. A slot decodes after its last chunk and until its release.
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
        """Take in `ids[:length]` at positions from `start` on; logits if that is the last."""
        ...

    def decode(
        self, tokens: Tokens, positions: Tokens, active: Active
    ) -> Float[np.ndarray, "slots vocab"]:
        """Append `tokens` at `positions` in the active slots; logits there, elsewhere anything."""
        ...

    def release(self, slot: int) -> None:
        """The slot's sequence is over, or was broken off."""
        ...


class BurstRunner(Runner, Protocol):
    """A runner that also decodes greedily on its own, several tokens to a call."""

    def decode_greedy(
        self, tokens: Tokens, positions: Tokens, active: Active, steps: int
    ) -> Int[np.ndarray, "steps slots"]:
        """`steps` times: append, take the likeliest token, go on with it. Errors as for `decode`.

        Among equals the lowest id; -1 where the largest logit is not a finite number.
        """
        ...


class Tokenizer(Protocol):
    """What the engine needs to know of text."""

    @property
    def eos_ids(self) -> tuple[int, ...]: ...

    def encode(self, text: str, /) -> list[int]: ...

    def stream(self, context: abc.Sequence[int], /) -> TextStream:
        """A stream of the text that continues the ids in `context`."""
        ...


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `generate`. `outputs` is what there was of the prompts taken in, in order."""

    def __init__(self, outputs: list[Output]) -> None:
        super().__init__("generation was interrupted")
        self.outputs = outputs


class Engine:
    """Requests come in by `add`, tokens go out by `step`; `generate` does both for many prompts.

    Not for several threads at once. After an exception out of `step` the runner's caches and our
    record of them may differ: call `interrupt` before going on.
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
        self._requests: dict[str, Request] = {}
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

        Requests with the same seed and prompt differ by their `index`. Raises CapacityError, which
        says what would fit, if a slot cannot hold prompt and output; InputError for a prompt that
        is empty or an id that is taken.
        """
        params = SamplingParams() if params is None else params
        sequence = Sequence(
            request_id=self._new_name() if request_id is None else request_id,
            prompt_ids=tuple(self._encode(prompt)),
            params=params,
            index=index,
        )
        self._scheduler.add(sequence)
        self._requests[sequence.request_id] = Request(
            sequence=sequence,
            stream=self.tokenizer.stream(sequence.prompt_ids),
            ends=params.ends(self.tokenizer.eos_ids),
            seed=secrets.randbits(64) if params.seed is None else params.seed,
            arrived=self._clock(),
        )
        return sequence.request_id

    def step(self) -> list[Event]:
        """One call of the runner, and what came of it; of a chunk before the last, nothing."""
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
        output = self._finish(request, "abort")
        del self._requests[request_id]
        return output

    def interrupt(self) -> list[Output]:
        """End all requests with what there is of them, in order of arrival.

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
        prompts: str | abc.Sequence[Prompt],
        params: SamplingParams | abc.Sequence[SamplingParams] | None = None,
        *,
        on_event: Callable[[Event], object] | None = None,
    ) -> list[Output]:
        """Run prompts as one batch; outputs in their order. A prompt's index is its place there.

        `params` is one for all or one for each; `on_event` sees every token as it comes. Nothing
        runs if any prompt is refused. Raises as `add` does; Interrupted, with the outputs so far,
        on Ctrl-C; InputError while other requests are under way.
        """
        if not self.idle:
            raise InputError("Other requests are under way. Use add and step beside them.")
        batch: list[Prompt] = [prompts] if isinstance(prompts, str) else list(prompts)
        requests: list[Request] = []
        try:
            for index, (prompt, chosen) in enumerate(_pair(batch, params)):
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

    def _new_name(self) -> str:
        return next(name for name in self._names if name not in self._requests)

    def _new_scheduler(self) -> Scheduler:
        runner = self.runner
        budget = SlotBudget(runner.capacity)
        return Scheduler(slots=runner.slots, chunk=runner.chunk, budget=budget)

    def _encode(self, prompt: Prompt) -> abc.Sequence[int]:
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt)
        if isinstance(prompt, abc.Iterable):
            ids = list(prompt)
            if all(isinstance(token, numbers.Integral) for token in ids):
                return [int(token) for token in ids]
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
        self, step: DecodeStep, requests: list[Request], state: tuple[Tokens, Tokens, Active]
    ) -> list[Event]:
        """Several greedy tokens at once; what follows a sequence's end is thrown away."""
        runner = cast(BurstRunner, self.runner)  # `max_burst` says so
        rows = runner.decode_greedy(*state, runner.max_burst)
        self._scheduler.commit(step)
        pairs = list(zip(step.slots, requests, strict=True))
        events = [
            self._advance(request, _finite(int(row[slot])))
            for row in rows
            for slot, request in pairs
            if request.output is None
        ]
        return self._deliver(events)

    def _may_burst(self, requests: list[Request]) -> bool:
        """Never while a prompt waits for its next chunk, nor beyond what a slot may hold."""
        most = self.runner.max_burst
        if most < 2 or self._scheduler.prefilling is not None:
            return False
        return all(request.plain and request.sequence.remaining >= most for request in requests)

    def _take(self, requests: list[Request], logits: abc.Iterable[np.ndarray]) -> list[Event]:
        """Choose for all before any moves on: an error leaves none ahead of the others."""
        pairs = list(zip(requests, logits, strict=True))
        chosen = [request.choose(row) for request, row in pairs]
        return self._deliver(list(map(self._advance, requests, chosen)))

    def _advance(self, request: Request, token: int) -> Event:
        text, reason = request.take(token, self._clock())
        output = None if reason is None else self._finish(request, reason)
        return Event(request.sequence.request_id, text, token, output)

    def _finish(self, request: Request, reason: FinishReason) -> Output:
        slot = request.sequence.slot
        self._scheduler.finish(request.sequence, reason)
        if slot is not None:
            self.runner.release(slot)
        return request.close(reason, self._clock())

    def _deliver(self, events: list[Event]) -> list[Event]:
        """Forget finished requests, last of all: until then `interrupt` returns their outputs."""
        for event in events:
            if event.finished is not None:
                del self._requests[event.request_id]
        return events

    def _request(self, sequence: Sequence) -> Request:
        return self._requests[sequence.request_id]


def _pair(
    prompts: list[Prompt], params: SamplingParams | abc.Sequence[SamplingParams] | None
) -> list[tuple[Prompt, SamplingParams]]:
    """Every prompt with its parameters. Raises InputError if there are not as many of both."""
    if params is None or isinstance(params, SamplingParams):
        params = [params or SamplingParams()] * len(prompts)
    if len(params) != len(prompts):
        raise InputError(
            f"{len(prompts)} prompts with {len(params)} parameters: give one for all, or for each."
        )
    return list(zip(prompts, params, strict=True))


def _finite(token: int) -> int:
    """A token of a burst. Raises WaferError for the -1 that stands for logits without a maximum."""
    if token < 0:
        raise WaferError(
            "The model gave logits whose largest is not a finite number: its weights are damaged, "
            "or its values overflow this dtype. Try float32."
        )
    return token


def _outputs(requests: list[Request]) -> list[Output]:
    return [request.output for request in requests if request.output is not None]
