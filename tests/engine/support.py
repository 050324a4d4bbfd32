"""A language model that is a hash of its prefix, and a tokenizer of single characters."""

import zlib
from collections.abc import Sequence

import numpy as np

EOS = 0
VOCAB = 23
LETTERS = ".abcdefghijklmnopqrstuv"


def hash_logits(prefix: Sequence[int]) -> np.ndarray:
    """Logits (VOCAB,), float32, that depend on every token of the prefix."""
    seed = zlib.crc32(np.asarray(prefix, np.int32).tobytes())
    return (2 * np.random.default_rng(seed).normal(size=VOCAB)).astype(np.float32)


class HashModel:
    """A runner that checks what it is told: order, positions, slots, capacity. Logs its calls."""

    def __init__(self, *, slots=2, chunk=3, capacity=40, max_burst=1, bad_call=None, bad=None):
        self.slots, self.chunk, self.max_burst = slots, chunk, max_burst
        self.tokens_per_slot = capacity
        self.buffer: list[int] = []
        self.buffer_slot = -1
        self.held: dict[int, list[int]] = {}
        self.calls: list[str] = []
        self.bad_call, self.bad = bad_call, bad

    def capacity(self, _prompt: int) -> int:
        return self.tokens_per_slot

    def prefill(self, slot, ids, start, length, last):
        self._called("prefill")
        assert ids.shape == (self.chunk,)
        assert ids.dtype == np.int32
        assert slot not in self.held
        assert 0 <= slot < self.slots
        assert 1 <= length <= self.chunk
        assert last or length == self.chunk
        if start == 0:
            self.buffer, self.buffer_slot = [], slot
        assert (start, slot) == (len(self.buffer), self.buffer_slot)
        self.buffer += ids[:length].tolist()
        if not last:
            return None
        self.held[slot] = self.buffer
        return hash_logits(self.buffer)

    def decode(self, tokens, positions, active):
        self._called("decode")
        assert tokens.shape == positions.shape == active.shape == (self.slots,)
        assert set(np.flatnonzero(active)) == set(self.held)
        logits = np.full((self.slots, VOCAB), np.nan, np.float32)
        for slot, held in self.held.items():
            assert positions[slot] == len(held)
            held.append(int(tokens[slot]))
            assert len(held) <= self.tokens_per_slot
            logits[slot] = hash_logits(held)
        return logits

    def decode_greedy(self, tokens, positions, active, steps):
        assert steps == self.max_burst
        rows = []
        for _ in range(steps):
            logits = self.decode(tokens, positions, active)
            tokens = np.where(active, np.nan_to_num(logits, nan=-9.0).argmax(axis=1), 0)
            positions = positions + active
            rows.append(tokens)
        self.calls[-steps:] = ["burst"]
        return np.stack(rows)

    def release(self, slot):
        self.held.pop(slot, None)

    def _called(self, name):
        self.calls.append(name)
        if self.bad is not None and len(self.calls) == self.bad_call:
            raise self.bad


class Letters:
    """One letter per id; the text of every fifth id comes only with what follows it."""

    eos_ids = (EOS,)

    def encode(self, text: str) -> list[int]:
        return [LETTERS.index(letter) for letter in text]

    def stream(self, _context: Sequence[int]) -> "LetterStream":
        return LetterStream()


class LetterStream:
    def __init__(self):
        self.held = ""

    def push(self, token: int) -> str:
        text = self.held + LETTERS[token]
        self.held = text if token % 5 == 0 else ""
        return "" if self.held else text

    def finish(self) -> str:
        text, self.held = self.held, ""
        return text
