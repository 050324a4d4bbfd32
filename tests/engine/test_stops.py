"""Stop strings over streamed text."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waferllm.engine.stops import StopText

TEXT = st.text("ab.", max_size=30)
STOPS = st.lists(st.text("ab.", min_size=1, max_size=5), max_size=4).map(tuple)


def truncated(text: str, stops: tuple[str, ...]) -> str:
    return text[: min([text.index(s) for s in stops if s in text], default=len(text))]


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(edges)]


@given(TEXT, STOPS, st.lists(st.integers(0, 30)))
@example("ab.", ("ab.", "b"), [1, 2])  # the longer one begins first, the shorter is there first
@example("aba", ("ab.", "b"), [1, 2])
def test_pieces_add_up_to_the_text_before_the_first_stop_string(text, stops, places) -> None:
    stopper = StopText(stops)
    emitted = "".join([*(stopper.push(piece) for piece in cut(text, places)), stopper.finish()])
    assert emitted == truncated(text, stops)
    assert stopper.stopped == (emitted != text)


@given(TEXT, STOPS)
def test_no_more_is_held_back_than_may_become_a_stop_string(text, stops) -> None:
    stopper = StopText(stops)
    for letter in text:
        stopper.push(letter)
        if stopper.held and not stopper.stopped:
            assert any(s.startswith(stopper.held) or s in stopper.held for s in stops)


@pytest.mark.parametrize("pieces", [["one\n", "\ntwo"], ["one", "\n\n", "two"], ["one\n\ntwo"]])
def test_a_stop_string_over_several_pieces(pieces: list[str]) -> None:
    stopper = StopText(("\n\n",))
    assert "".join(map(stopper.push, pieces)) == "one"
    assert stopper.stopped
    assert stopper.push("more") == stopper.finish() == ""


def test_without_stop_strings_text_passes() -> None:
    stopper = StopText(())
    assert [stopper.push("a"), stopper.push(""), stopper.finish()] == ["a", "", ""]
