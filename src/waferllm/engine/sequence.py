"""One request on its way: its tokens, where it stands, and what is handed back at the end."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from waferllm.engine.params import SamplingParams
from waferllm.errors import InputError

FinishReason = Literal["stop", "length", "abort"]


class Status(StrEnum):
    """WAITING for a slot, in PREFILL chunk by chunk, RUNNING token by token, FINISHED."""

    WAITING = "waiting"
    PREFILL = "prefill"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False, kw_only=True)
class Sequence:
    """A prompt and the tokens that follow it. The scheduler moves it; the engine appends to it.

    `index` tells requests with the same seed apart. `max_new` is the number of output tokens that
    it may reach; the scheduler sets it when it takes the sequence. `slot` is None while it has
    none. Raises InputError for a prompt that is empty, and for negative ids or index.
    """

    request_id: str
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    index: int = 0
    max_new: int = field(default=0, init=False)
    output_ids: list[int] = field(default_factory=list, init=False)
    status: Status = field(default=Status.WAITING, init=False)
    slot: int | None = field(default=None, init=False)
    prefilled: int = field(default=0, init=False)
    finish_reason: FinishReason | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise InputError("A prompt without tokens has nothing to continue. Give at least one.")
        if min(self.prompt_ids) < 0:
            raise InputError(f"token id {min(self.prompt_ids)} in a prompt: use ids of 0 or more.")
        if self.index < 0:
            raise InputError(f"request index {self.index}: use 0 or more.")

    @property
    def tokens(self) -> int:
        """Prompt and output together."""
        return len(self.prompt_ids) + len(self.output_ids)

    @property
    def remaining(self) -> int:
        """Output tokens that may still come."""
        return self.max_new - len(self.output_ids)

    @property
    def last_token(self) -> int:
        return (self.output_ids or self.prompt_ids)[-1]

    @property
    def finished(self) -> bool:
        return self.status is Status.FINISHED


@dataclass(frozen=True, kw_only=True)
class Output:
    """What came of one request.

    `token_ids` are all tokens generated, an end-of-sequence token among them; `text` is without it,
    and ends before a stop string. `finish_reason` is "stop" (end of sequence, stop token or stop
    string), "length" or "abort". `ttft_s` is the time from arrival to the first token, None without
    one; `wall_s` from arrival to the end, so it includes waiting for a slot.
    """

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    prompt_token_ids: tuple[int, ...]
    finish_reason: FinishReason
    ttft_s: float | None
    wall_s: float

    @property
    def tokens_per_s(self) -> float:
        """Output tokens per second since arrival; 0 if there are none."""
        return len(self.token_ids) / self.wall_s if self.token_ids else 0.0

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first; None below two tokens."""
        if self.ttft_s is None or len(self.token_ids) < 2:
            return None
        return (self.wall_s - self.ttft_s) / (len(self.token_ids) - 1)


@dataclass(frozen=True)
class Event:
    """One more token of one request, and the text that it settled, perhaps none.

    The pieces of a request's events concatenate to its output's text, unless it was aborted: then
    the output also has what was held back. `finished` comes with the last.
    """

    request_id: str
    text: str
    token_id: int
    finished: Output | None = None
