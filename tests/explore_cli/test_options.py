"""The option languages of the explorer, against NumPy and counting by hand."""

from itertools import product

import numpy as np
import pytest

from waferllm.cli.explore_options import (
    parse_batches,
    parse_names,
    parse_settings,
    parse_sweep,
)
from waferllm.errors import InputError


def test_whole_ends_count_by_one_and_the_grid_is_the_product_of_its_axes() -> None:
    grid = parse_sweep("hbf.stacks=0:8,hbm.stacks=2:4")
    assert list(grid.designs()) == [
        {"hbf.stacks": float(a), "hbm.stacks": float(b)} for a, b in product(range(9), range(2, 5))
    ]
    assert grid.size == 27
    assert grid.sentence() == "9 hbf.stacks x 3 hbm.stacks = 27 designs"


def test_other_ends_take_even_steps_and_keep_both_ends() -> None:
    (axis,) = parse_sweep("link.latency_us=0.2:2:7").axes
    np.testing.assert_allclose(axis.values, np.linspace(0.2, 2, 7), rtol=1e-12)
    assert (axis.values[0], axis.values[-1]) == (0.2, 2.0)
    assert parse_sweep("page.bytes=4096|16384").axes[0].values == (4096.0, 16384.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected part.key"),
        ("hbf=0:8", "expected part.key"),
        ("hbf.stacks=", "expected part.key"),
        ("hbf.stacks=1", "expected part.key"),
        ("hbf.stacks=1:2:3:4", "expected part.key"),
        ("hbf.stacks=0:8,", "one is empty"),
        ("hbf.stacks=-1:8", "zero or more"),
        ("hbf.stacks=0:inf", "finite"),
        ("hbf.stacks=0:nan", "finite"),
        ("hbf.stacks=few:8", "expected a number"),
        ("hbf.stacks=8:0", "not less than"),
        ("hbf.stacks=0:8:0", "1 or more"),
        ("hbf.stacks=0:8:1", "2 or more"),
        ("hbf.stacks=0:8,hbf.stacks=0:4", "twice"),
    ],
)
def test_a_wrong_sweep_is_one_sentence(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse_sweep(text)
    assert "\n" not in str(caught.value)


def test_a_sweep_that_explodes_states_its_size_before_it_is_built() -> None:
    with pytest.raises(InputError, match=r"1,001 a.b x 1,001 c.d = 1,002,001 designs"):
        parse_sweep("a.b=0:1000,c.d=0:1000")
    with pytest.raises(InputError, match="1,000,000,000,001 values"):
        parse_sweep("a.b=0:1000000000000")


def test_batches_double_and_end_where_asked() -> None:
    assert parse_batches("1:256") == tuple(2**n for n in range(9))
    assert parse_batches("3:20") == (3, 6, 12, 20)
    assert parse_batches("16,4,4") == (4, 16)
    assert parse_batches("7") == (7,)


@pytest.mark.parametrize("text", ["0", "-1", "1:2:3", "8:4", "many", "1,,2", "1:", "2.5"])
def test_a_wrong_batch_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--batch"):
        parse_batches(text)


def test_settings_and_names_are_read_once_each() -> None:
    assert parse_settings(["hbm.stacks=6", "price.usd = 1e4"]) == {
        "hbm.stacks": "6",
        "price.usd": "1e4",
    }
    for wrong in (["hbm.stacks"], ["hbm.stacks="], ["stacks=6"], ["a.b=1", "a.b=2"]):
        with pytest.raises(InputError, match="--set"):
            parse_settings(wrong)
    assert parse_names("h200x8, b200x8", "--systems") == ("h200x8", "b200x8")
    for wrong in ("", "a,,b", "a,a"):
        with pytest.raises(InputError, match="--systems"):
            parse_names(wrong, "--systems")
