"""A sequence with its text: from logits to a token, from a token to the text that it settles."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float

from waferllm.engine.sampling import forbid, penalise, sample, stream
from waferllm.engine.sequence import FinishReason, Output, Sequence
from waferllm.engine.stops import StopText


class TextStream(Protocol):
    """Text of ids that arrive one at a time, in pieces that are never taken back."""

    def push(self, token: int, /) -> str: ...

    def finish(self) -> str: ...


@dataclass(eq=False, kw_only=True)
class Request:
    """Owned by the engine, whose clock gives the times (seconds). `ends`: tokens that end it."""

    sequence: Sequence
    stream: TextStream
    ends: frozenset[int]
    seed: int
    arrived: float
    first_token: float | None = None
    pieces: list[str] = field(default_factory=list)
    output: Output | None = None
    stopper: StopText = field(init=False)

    def __post_init__(self) -> None:
        self.stopper = StopText(self.sequence.params.stop_strings)

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
        """Append a token: the text that it settles, and why the sequence ends, if it does."""
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
        """Text that the stop strings let pass; they do not see that of the first `min_tokens`."""
        if len(self.sequence.output_ids) > self.sequence.params.min_tokens:
            piece = self.stopper.push(piece)
        self.pieces.append(piece)
        return piece

    def close(self, reason: FinishReason, now: float) -> Output:
        """The output, as of now; to be flushed first."""
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
