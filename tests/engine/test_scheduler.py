"""The scheduler under random arrivals, lengths, chunk sizes, slots and aborts."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from waferllm.engine.params import SamplingParams
from waferllm.engine.scheduler import DecodeStep, PrefillStep, Scheduler, SlotBudget
from waferllm.engine.sequence import Sequence, Status
from waferllm.errors import CapacityError, InputError

CAPACITY = 24


def concat(prompt: int) -> int:
    """Tokens that a concat cache of 3 rows x 8 entries holds: output goes to the last row only."""
    return prompt + 8 - prompt // 3 if prompt <= CAPACITY else CAPACITY


def shift(_prompt: int) -> int:
    return CAPACITY


def scheduler(slots=2, chunk=3, capacity=shift) -> Scheduler:
    return Scheduler(slots=slots, chunk=chunk, budget=SlotBudget(capacity))


def sequence(name: str, prompt: int, max_tokens: int | None = 4, **more) -> Sequence:
    params = SamplingParams(max_tokens=max_tokens, **more)
    return Sequence(request_id=name, prompt_ids=tuple(range(prompt)), params=params)


def carry_out(scheduler: Scheduler, step: PrefillStep | DecodeStep) -> None:
    """What an engine does: one more token for each sequence that decodes, or ends its prefill."""
    scheduler.commit(step)
    if isinstance(step, DecodeStep):
        advanced = list(step.slots.values())
    else:
        advanced = [step.sequence] if step.last else []
    for sequence in advanced:
        sequence.output_ids.append(7)
        if sequence.remaining == 0:
            scheduler.finish(sequence, "length")


class Serving(RuleBasedStateMachine):
    """Requests arrive and are aborted between steps; what a cache would hold is kept beside."""

    @initialize(
        slots=st.integers(1, 4), chunk=st.integers(1, 5), kv=st.sampled_from([concat, shift])
    )
    def start(self, slots, chunk, kv) -> None:
        self.capacity = kv
        self.scheduler = scheduler(slots, chunk, kv)
        self.arrived: list[Sequence] = []
        self.admitted: list[Sequence] = []
        self.held: dict[int, list[int]] = {}
        self.turn: type | None = None

    @rule(prompt=st.integers(1, 26), max_tokens=st.one_of(st.none(), st.integers(1, 12)))
    def add(self, prompt, max_tokens) -> None:
        new = sequence(str(len(self.arrived)), prompt, max_tokens)
        room = self.capacity(prompt) - prompt
        if room < (max_tokens or 1):
            with pytest.raises(CapacityError):
                self.scheduler.add(new)
            return
        self.scheduler.add(new)
        assert new.max_new == (room if max_tokens is None else max_tokens)
        self.arrived.append(new)

    @rule(data=st.data())
    def abort(self, data) -> None:
        there = [s for s in self.arrived if not s.finished]
        if there:
            gone = data.draw(st.sampled_from(there))
            self.held.pop(gone.slot, None)
            assert self.scheduler.abort(gone.request_id) is gone
            assert gone.finish_reason == "abort"

    @rule(count=st.integers(1, 6))
    def steps(self, count) -> None:
        for _ in range(count):
            self.one_step()

    def one_step(self) -> bool:
        step = self.scheduler.next_step()
        assert step == self.scheduler.next_step()
        if step is None:
            assert all(s.finished for s in self.arrived)
            assert self.scheduler.idle
            return False
        self._check_turn(step)
        if isinstance(step, PrefillStep):
            self._prefill(step)
        else:
            self._decode(step)
        carry_out(self.scheduler, step)
        for slot in [slot for slot in self.held if slot not in self._slots()]:
            del self.held[slot]
        return True

    def _check_turn(self, step) -> None:
        """While some decode and one prefills, the two take turns."""
        both = self.scheduler.running and self.scheduler.prefilling
        assert not (both and self.turn is type(step))
        self.turn = type(step)

    def _prefill(self, step: PrefillStep) -> None:
        if step.start == 0:
            assert step.slot not in self.held
            self.held[step.slot] = []
            self.admitted.append(step.sequence)
        assert 1 <= len(step.tokens) <= self.scheduler.chunk
        assert step.start == len(self.held[step.slot])
        self.held[step.slot] += step.tokens
        done = tuple(self.held[step.slot])
        assert done == step.sequence.prompt_ids[: len(done)]
        assert step.last == (done == step.sequence.prompt_ids)

    def _decode(self, step: DecodeStep) -> None:
        assert step.slots == self.scheduler.running
        for slot, sequence in step.slots.items():
            assert len(self.held[slot]) == sequence.tokens - 1
            self.held[slot].append(sequence.last_token)

    def _slots(self) -> set[int]:
        return {s.slot for s in self.arrived if s.slot is not None}

    @invariant()
    def slots_are_not_shared(self) -> None:
        seated = [s for s in self.arrived if s.slot is not None]
        assert len(self._slots()) == len(seated) <= self.scheduler.slots
        assert {s.status for s in seated} <= {Status.PREFILL, Status.RUNNING}
        assert sum(s.status is Status.PREFILL for s in seated) <= 1

    @invariant()
    def capacity_is_not_exceeded(self) -> None:
        for s in self.arrived:
            assert s.tokens <= self.capacity(len(s.prompt_ids))

    @invariant()
    def first_come_first_served(self) -> None:
        assert self.admitted == sorted(self.admitted, key=self.arrived.index)

    def teardown(self) -> None:
        """Everyone finishes in no more steps than chunks and tokens that are left."""
        chunk = self.scheduler.chunk
        left = [s for s in self.arrived if not s.finished]
        most = sum(-(-(len(s.prompt_ids) - s.prefilled) // chunk) + s.remaining for s in left)
        steps = 0
        while self.one_step():
            steps += 1
        assert steps <= most
        for s in left:
            assert (s.finish_reason, s.remaining) == ("length", 0)


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_prompt_joins_while_another_decodes() -> None:
    """The picture in the scheduler's docstring."""
    s = scheduler()
    for name, prompt, new in (("a", 9, 6), ("b", 6, 6)):
        s.add(sequence(name, prompt, new))
    rows: dict[int, str] = {0: "", 1: ""}
    while (step := s.next_step()) is not None:
        prefill = isinstance(step, PrefillStep)
        for slot in rows:
            here = slot == step.slot if prefill else slot in step.slots
            rows[slot] += "." if not here else "P" if prefill else "D"
        carry_out(s, step)
    assert rows == {0: "PPPD.D.DDD..", 1: "....P.PDDDDD"}


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([concat, shift]))
def test_a_refusal_names_numbers_that_fit_and_are_the_largest(prompt, max_new, capacity) -> None:
    budget = SlotBudget(capacity)
    refusal = budget.fits(prompt, max_new)
    room = capacity(prompt) - prompt
    assert (refusal is None) == (max_new <= room)
    if refusal is None:
        return
    assert str(prompt) in refusal
    assert str(max_new) in refusal
    for new in re.findall(r"at most (\d+) new tokens", refusal.lower()):
        assert budget.fits(prompt, int(new)) is None
        assert budget.fits(prompt, int(new) + 1) is not None
    for longest in map(int, re.findall(r"prompt to at most (\d+) tokens", refusal)):
        asked = re.findall(r"and ask for (\d+)", refusal)
        new = int(asked[0]) if asked else max_new
        assert budget.fits(longest, new) is None
        assert budget.fits(longest + 1, new) is not None
    assert re.search(r"at most \d+", refusal)


def test_a_refusal_reads_well() -> None:
    def refusal(capacity: int, prompt: int, max_tokens: int | None) -> str:
        with pytest.raises(CapacityError) as error:
            scheduler(capacity=lambda _: capacity).add(sequence("a", prompt, max_tokens))
        return str(error.value)

    assert refusal(24, 20, 8) == (
        "A prompt of 20 tokens with 8 to follow does not fit: a slot's KV cache holds 24 tokens. "
        "Ask for at most 4 new tokens or shorten the prompt to at most 16 tokens, "
        "or plan for more capacity."
    )
    assert "shorten the prompt to at most 23 tokens" in refusal(24, 40, None).lower()
    assert "at most 23 tokens and ask for 1" in refusal(24, 40, 99)
    assert "one token" in refusal(1, 5, 5)


def test_any_budget_will_do() -> None:
    budget = SimpleNamespace(max_new=lambda _: 3, fits=lambda *_: None)
    s = Scheduler(slots=1, chunk=1, budget=budget)
    unbounded = sequence("a", 1, None)
    s.add(unbounded)
    assert unbounded.max_new == 3


def test_misuse_is_an_error() -> None:
    s = scheduler()
    s.add(sequence("a", 1))
    with pytest.raises(InputError, match="'a' is here already"):
        s.add(sequence("a", 2))
    with pytest.raises(InputError, match="No unfinished request 'b'"):
        s.abort("b")
    with pytest.raises(InputError, match="0 slots"):
        scheduler(slots=0)
    with pytest.raises(InputError, match="without tokens"):
        sequence("c", 0)
    with pytest.raises(InputError, match="-3"):
        Sequence(request_id="d", prompt_ids=(1, -3), params=SamplingParams())
    with pytest.raises(InputError, match="index -1"):
        Sequence(request_id="e", prompt_ids=(1,), params=SamplingParams(), index=-1)
