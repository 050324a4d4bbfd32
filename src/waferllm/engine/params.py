"""What a request asks of the sampler: the names, defaults and meanings of vLLM's SamplingParams."""

import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from waferllm.errors import InputError

_OFF = (0, -1)
_SEEDS = 2**64
Kind = TypeVar("Kind", str, int)


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen and when a text ends. Raises InputError for an impossible value.

    Choosing:
      temperature         0 is greedy; the other filters then have nothing to do.
      top_k               only the k likeliest tokens, ties included; 0 or -1 for all of them.
      top_p               only the fewest likeliest tokens that together reach top_p; 1 for all.
      min_p               only tokens at least min_p times as likely as the likeliest; 0 for all.
      seed                the same seed gives the same text; None draws one for each request.
      repetition_penalty  divides (if positive, else multiplies) the logits of tokens in the prompt
                          and the output; 1 for none.
      presence_penalty    taken from the logits of tokens in the output, once.
      frequency_penalty   the same, once for each time that the token is there.

    Ending:
      max_tokens          at most so many output tokens; None for as many as the KV cache holds.
      min_tokens          no end of sequence, stop token or stop string among the first so many.
      stop                strings that end the text; they are not part of it. One, several or none.
      stop_token_ids      tokens that end the text, beside the checkpoint's end-of-sequence tokens.
      ignore_eos          go on after an end-of-sequence token.

    `stop` and `stop_token_ids` become tuples, whatever they were given as.
    """

    max_tokens: int | None = 16
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Iterable[str] | None = ()
    stop_token_ids: Iterable[int] | None = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", self.stop_strings)
        object.__setattr__(self, "stop_token_ids", self._stop_tokens)
        self._check_choosing()
        self._check_ending()

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    @property
    def penalised(self) -> bool:
        """Whether logits depend on the tokens before, other than through the model."""
        penalties = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty)
        return penalties != (1, 0, 0)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return _tuple("stop", self.stop, str)

    def ends(self, eos_ids: Iterable[int]) -> frozenset[int]:
        """The tokens that end this request's text, for a checkpoint with those `eos_ids`."""
        eos = () if self.ignore_eos else eos_ids
        return frozenset((*self._stop_tokens, *eos))

    @property
    def _stop_tokens(self) -> tuple[int, ...]:
        return _tuple("stop_token_ids", self.stop_token_ids, int)

    def _check_choosing(self) -> None:
        _real("temperature", self.temperature, lambda t: t >= 0, "0 (greedy) or more")
        _real("top_p", self.top_p, lambda p: 0 < p <= 1, "above 0, at most 1 (off)")
        _real("min_p", self.min_p, lambda p: 0 <= p <= 1, "between 0 (off) and 1")
        _whole("top_k", self.top_k, lambda k: k > 0 or k in _OFF, "1 or more, or 0 or -1 (off)")
        if self.seed is not None:
            _whole("seed", self.seed, lambda s: 0 <= s < _SEEDS, "0 to 2**64 - 1, or None")
        _real("repetition_penalty", self.repetition_penalty, lambda r: r > 0, "above 0 (1 is off)")
        for name in ("presence_penalty", "frequency_penalty"):
            _real(name, getattr(self, name), lambda p: -2 <= p <= 2, "between -2 and 2 (0 is off)")

    def _check_ending(self) -> None:
        most, least = self.max_tokens, self.min_tokens
        if most is not None:
            _whole("max_tokens", most, lambda n: n >= 1, "1 or more, or None (as many as fit)")
        _whole("min_tokens", least, lambda n: n >= 0, "0 or more")
        if most is not None and least > most:
            raise InputError(f"min_tokens {least} is more than max_tokens {most}: lower one.")
        if not isinstance(self.ignore_eos, bool):
            raise _wrong("ignore_eos", self.ignore_eos, "True or False")
        if "" in self.stop_strings:
            raise _wrong("stop", self.stop, "strings of one character or more ('' is everywhere)")
        if min(self._stop_tokens, default=0) < 0:
            raise _wrong("stop_token_ids", self.stop_token_ids, "token ids of 0 or more")


def _tuple(name: str, given: Any, kind: type[Kind]) -> tuple[Kind, ...]:
    """One, several or no items as a tuple. Raises InputError for an item of another kind."""
    if given is None:
        return ()
    several = isinstance(given, Iterable) and not isinstance(given, str)
    items: tuple[Any, ...] = tuple(given) if several else (given,)
    if not all(_is(kind, item) for item in items):
        raise _wrong(name, given, f"{kind.__name__}, or several of them")
    return items


def _real(name: str, value: Any, allowed: Callable[[float], bool], expected: str) -> None:
    """Raise InputError unless a value is a finite number that is allowed."""
    if not _is(numbers.Real, value) or not math.isfinite(value) or not allowed(value):
        raise _wrong(name, value, expected)


def _whole(name: str, value: Any, allowed: Callable[[int], bool], expected: str) -> None:
    """Raise InputError unless a value is a whole number that is allowed."""
    if not _is(numbers.Integral, value) or not allowed(value):
        raise _wrong(name, value, f"a whole number, {expected}")


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _wrong(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"{name} {value!r}: use {expected}.")
