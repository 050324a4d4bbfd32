"""The engine over a model that is a hash of its prefix: batched is as one at a time."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.support import EOS, LETTERS, VOCAB, HashModel, Letters, hash_logits
from waferllm.engine.core import Engine, Interrupted
from waferllm.engine.params import SamplingParams
from waferllm.engine.sampling import sample, stream
from waferllm.engine.sequence import Output
from waferllm.errors import CapacityError, InputError, WaferError

PROMPTS = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=9), max_size=6)
PARAMS = st.builds(
    SamplingParams,
    max_tokens=st.one_of(st.none(), st.integers(3, 20)),
    min_tokens=st.integers(0, 3),
    temperature=st.sampled_from([0, 0, 0.7, 1.5]),
    top_k=st.sampled_from([0, 5]),
    top_p=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, 3),
    stop=st.lists(st.text("abcd", min_size=1, max_size=2), max_size=3),
    stop_token_ids=st.sets(st.integers(0, VOCAB - 1), max_size=2),
    ignore_eos=st.booleans(),
)
GREEDY = SamplingParams(temperature=0, ignore_eos=True, max_tokens=12)


def engine(**model) -> Engine:
    return Engine(HashModel(**model), Letters())


def alone(prompt: list[int], params: SamplingParams, index: int) -> tuple[list[int], str, str]:
    """One request worked out without an engine: tokens, text, why it ended."""
    ends = set(params.stop_token_ids or ()) | (set() if params.ignore_eos else {EOS})
    most = 40 - len(prompt) if params.max_tokens is None else params.max_tokens
    out: list[int] = []
    while len(out) < most:
        logits = hash_logits(prompt + out)
        if len(out) < params.min_tokens:
            logits[list(ends)] = -np.inf
        token = int(logits.argmax())
        if params.temperature > 0:
            token = sample(logits, params, stream(params.seed or 0, index, len(out)))
        out.append(token)
        if token in ends:
            return out, "".join(LETTERS[t] for t in out[:-1]), "stop"
        text = "".join(LETTERS[t] for t in out)
        found = [text.find(s, params.min_tokens) for s in params.stop_strings]
        if max(found, default=-1) >= 0:
            return out, text[: min(at for at in found if at >= 0)], "stop"
    return out, "".join(LETTERS[t] for t in out), "length"


def drain(engine: Engine) -> list[Output]:
    """Step until nothing is left; outputs in the order in which they finished."""
    outputs = []
    while not engine.idle:
        outputs += [event.finished for event in engine.step() if event.finished is not None]
    return outputs


def assert_same(output: Output, expected: tuple[list[int], str, str]) -> None:
    """A letter that comes only with the next one delays a stop string by as many tokens."""
    tokens, text, reason = expected
    assert (output.text, output.finish_reason) == (text, reason)
    assert list(output.token_ids[: len(tokens)]) == tokens


@given(PROMPTS, st.data(), st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 1, 4]))
@settings(max_examples=80)
def test_batched_output_is_that_of_one_at_a_time(prompts, data, slots, chunk, burst) -> None:
    params = [data.draw(PARAMS) for _ in prompts]
    batched = engine(slots=slots, chunk=chunk, max_burst=burst)
    for index, output in enumerate(batched.generate(prompts, params)):
        single = engine(slots=1, chunk=2)
        single.add(prompts[index], params[index], index=index)
        (other,) = drain(single)
        assert (output.token_ids, output.text) == (other.token_ids, other.text)
        assert_same(output, alone(prompts[index], params[index], index))
        assert output.prompt_token_ids == tuple(prompts[index])
    assert batched.idle
    assert batched.runner.held == {}


@given(PROMPTS, PARAMS, st.integers(1, 3))
@settings(max_examples=40)
def test_events_add_up_to_outputs(prompts, params, slots) -> None:
    events = []
    outputs = engine(slots=slots).generate(prompts, params, on_event=events.append)
    for output in outputs:
        mine = [event for event in events if event.request_id == output.request_id]
        assert "".join(event.text for event in mine) == output.text
        assert [event.token_id for event in mine] == list(output.token_ids)
        assert [event.finished for event in mine] == [None] * (len(mine) - 1) + [output]


def test_requests_join_and_leave_between_steps() -> None:
    e = engine(slots=2)
    waiting = [e.add([1 + i] * (2 + i), replace(GREEDY, max_tokens=5 + i)) for i in range(2)]
    outputs = {}
    for turn in range(60):
        if turn == 6:
            waiting += [e.add([7, 8], GREEDY, request_id="late"), e.add([9], GREEDY)]
        for event in e.step():
            if event.finished is not None:
                outputs[event.request_id] = event.finished
    assert list(outputs)[:2] == waiting[:2]
    assert set(outputs) == set(waiting)
    assert_same(outputs["late"], alone([7, 8], GREEDY, 0))


def test_without_max_tokens_a_text_ends_when_the_slot_is_full() -> None:
    output = engine(capacity=20).generate([[1, 2, 3]], replace(GREEDY, max_tokens=None))[0]
    assert (len(output.token_ids), output.finish_reason) == (17, "length")


def test_an_end_token_is_among_the_tokens_but_not_in_the_text() -> None:
    expected = alone([5], GREEDY, 0)[0]
    end = expected[4]
    output = engine().generate([[5]], replace(GREEDY, stop_token_ids=[end]))[0]
    at = expected.index(end)
    assert output.token_ids == tuple(expected[: at + 1])
    assert output.text == "".join(LETTERS[t] for t in expected[:at])
    assert output.finish_reason == "stop"


def test_nothing_ends_a_text_before_min_tokens() -> None:
    tokens, text, _ = alone([5], GREEDY, 0)
    at = next(i for i in range(4, 12) if tokens[i] not in tokens[:i] and tokens[i] % 5)
    early, late = text[2], text[at]
    assert early not in text[3:at]
    params = replace(GREEDY, stop=[early, late])
    assert engine().generate([[5]], params)[0].text == text[:2]
    assert engine().generate([[5]], replace(params, min_tokens=3))[0].text == text[:at]
    ended = replace(GREEDY, stop_token_ids=[tokens[0]], min_tokens=3, max_tokens=3)
    assert tokens[0] not in engine().generate([[5]], ended)[0].token_ids


def test_bursts_are_used_when_all_are_greedy_and_none_prefills() -> None:
    e = engine(max_burst=4)
    output = e.generate([[5]], replace(GREEDY, max_tokens=11))[0]
    assert e.runner.calls == ["prefill", "burst", "burst", "decode", "decode"]
    assert_same(output, alone([5], replace(GREEDY, max_tokens=11), 0))
    e.runner.calls.clear()
    e.generate([[5], [6]], [GREEDY, replace(GREEDY, temperature=1, seed=1)])
    assert "burst" not in e.runner.calls


def test_a_burst_without_a_maximum_is_an_error() -> None:
    e = engine(max_burst=4)
    e.runner.decode_greedy = lambda *_: np.full((4, 2), -1)
    with pytest.raises(WaferError, match="float32"):
        e.generate([[5]], GREEDY)


def test_prompts_are_text_or_ids() -> None:
    e = engine()
    texts = e.generate("cab", GREEDY), e.generate(["cab"], GREEDY), e.generate([[3, 1, 2]], GREEDY)
    assert len({outputs[0].text for outputs in texts}) == 1
    assert e.generate([], GREEDY) == []
    for bad in ([3], [[1.5]], [[]], [None]):
        with pytest.raises(InputError):
            e.generate(bad, GREEDY)
    with pytest.raises(InputError, match="2 prompts with 1"):
        e.generate(["a", "b"], [GREEDY])


def test_nothing_runs_if_any_prompt_is_refused() -> None:
    e = engine(capacity=10)
    with pytest.raises(CapacityError, match="at most 7 new tokens"):
        e.generate([[1], [1, 2, 3]], [replace(GREEDY, max_tokens=3), GREEDY])
    assert e.runner.calls == []
    assert e.idle


def test_the_same_seed_gives_the_same_text_and_none_a_fresh_one() -> None:
    params = SamplingParams(max_tokens=12, seed=3, ignore_eos=True)
    twice = [engine().generate([[1], [1]], params) for _ in range(2)]
    assert [o.text for o in twice[0]] == [o.text for o in twice[1]]
    assert twice[0][0].text != twice[0][1].text
    fresh = [engine().generate([[1]], replace(params, seed=None))[0].text for _ in range(4)]
    assert len(set(fresh)) > 1


def test_repetition_can_be_made_all_but_impossible() -> None:
    params = replace(GREEDY, repetition_penalty=1e9, presence_penalty=2, max_tokens=8)
    tokens = engine().generate([[1, 2]], params)[0].token_ids
    assert len({1, 2, *tokens}) == 10


@pytest.mark.parametrize("steps", range(8))
def test_an_abort_frees_the_slot_whatever_the_state(steps: int) -> None:
    e = engine(slots=1)
    first, second = e.add([1] * 7, GREEDY), e.add([2], GREEDY)
    for _ in range(steps):
        e.step()
    output = e.abort(first)
    expected = alone([1] * 7, GREEDY, 0)[0][: max(0, steps - 2)]
    assert list(output.token_ids) == expected
    assert output.text == "".join(LETTERS[t] for t in expected)
    assert (output.finish_reason, output.ttft_s is None) == ("abort", steps < 3)
    with pytest.raises(InputError, match="No unfinished"):
        e.abort(first)
    (left,) = drain(e)
    assert left.request_id == second
    assert_same(left, alone([2], GREEDY, 0))


@pytest.mark.parametrize("call", range(1, 12))
def test_ctrl_c_leaves_what_there_was_and_an_engine_that_works(call: int) -> None:
    e = engine(bad_call=call, bad=KeyboardInterrupt())
    prompts = [[1], [2, 3, 4, 5], [6]]
    with pytest.raises(Interrupted) as stopped:
        e.generate(prompts, GREEDY)
    outputs = stopped.value.outputs
    assert len(outputs) == 3
    for prompt, output in zip(prompts, outputs, strict=True):
        tokens = alone(prompt, GREEDY, 0)[0][: len(output.token_ids)]
        assert list(output.token_ids) == tokens
        assert output.text == "".join(LETTERS[t] for t in tokens)
        assert output.finish_reason == "abort"
    assert e.idle
    assert_same(e.generate([[9]], GREEDY)[0], alone([9], GREEDY, 0))


def test_ctrl_c_while_a_text_is_shown() -> None:
    def show(event) -> None:
        if event.finished is not None:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        engine().generate([[1], [2]], [replace(GREEDY, max_tokens=3), GREEDY], on_event=show)
    assert [output.finish_reason for output in stopped.value.outputs] == ["length", "abort"]


def test_logits_that_are_not_numbers_end_the_batch_with_an_error() -> None:
    e = engine()
    good = e.runner.decode
    e.runner.decode = lambda *state: good(*state) * np.float32("nan")
    with pytest.raises(WaferError, match="finite"):
        e.generate([[1]], GREEDY)
    e.runner.decode = good
    assert e.idle
    assert len(e.generate([[1]], GREEDY)) == 1


def test_generate_wants_the_engine_for_itself() -> None:
    e = engine()
    e.add([1], GREEDY)
    with pytest.raises(InputError, match="under way"):
        e.generate([[1]], GREEDY)
    assert len(e.interrupt()) == 1


def test_times_are_those_of_the_clock() -> None:
    """A clock that ticks once for each look: arrival, each token, the end."""
    ticks = itertools.count()
    e = Engine(HashModel(), Letters(), clock=lambda: float(next(ticks)))
    output = e.generate([[1]], replace(GREEDY, max_tokens=4))[0]
    assert (output.ttft_s, output.wall_s) == (1, 5)
    assert output.tokens_per_s == 4 / 5
    assert output.tpot_s == 4 / 3
    single = e.generate([[1]], replace(GREEDY, max_tokens=1))[0]
    assert (single.ttft_s, single.tpot_s) == (1, None)
