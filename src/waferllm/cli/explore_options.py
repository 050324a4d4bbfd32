"""Options of the explorer that are small languages: --sweep, --set, --batch and --systems."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from waferllm.errors import InputError

DEFAULT_STEPS = 10
MAX_DESIGNS = 1_000_000
_SWEEP_FORM = "part.key=low:high, low:high:count or a|b|c"


@dataclass(frozen=True)
class Axis:
    """One swept quantity and its values, in the order they are visited."""

    key: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Grid:
    """The product of all axes; its size is known before anything is evaluated."""

    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """How many designs there are."""
        return math.prod(len(axis.values) for axis in self.axes)

    def sentence(self) -> str:
        """Such as: 9 hbf.stacks x 10 link.latency_us = 90 designs."""
        factors = " x ".join(f"{len(axis.values):,} {axis.key}" for axis in self.axes)
        return f"{factors} = {self.size:,} designs"

    def designs(self) -> Iterator[dict[str, float]]:
        """Every design, the last axis fastest."""
        keys = [axis.key for axis in self.axes]
        for values in product(*(axis.values for axis in self.axes)):
            yield dict(zip(keys, values, strict=True))


def parse_sweep(text: str, limit: int = MAX_DESIGNS) -> Grid:
    """Read `a.b=0:8,c.d=0.2:2:5`: whole ends count by one, others take ten steps unless counted.

    Raises InputError for a wrong form, a repeated key, a negative quantity or more than `limit` designs.
    """
    axes = tuple(_axis(part) for part in _parts(text, "--sweep", _SWEEP_FORM))
    _reject_repeats([axis.key for axis in axes], "--sweep")
    grid = Grid(axes)
    if grid.size > limit:
        raise InputError(
            f"--sweep asks for {grid.sentence()}, more than the {limit:,} that are allowed: "
            "narrow a range, give it a count (low:high:count), or raise --max-designs."
        )
    return grid


def parse_settings(texts: Iterable[str]) -> dict[str, str]:
    """Read `part.key=value` pairs; the values stay text, since only the system knows their types."""
    pairs = [_pair(text, "--set", "part.key=value") for text in texts]
    _reject_repeats([key for key, _ in pairs], "--set")
    return dict(pairs)


def parse_batches(text: str) -> tuple[int, ...]:
    """Read `8`, `1,4,16` or `1:256`, which doubles from low to high and always ends at high."""
    if ":" not in text:
        batches = tuple(_positive(part, "--batch") for part in text.split(","))
        return tuple(sorted(set(batches)))
    ends = text.split(":")
    if len(ends) != 2:
        raise InputError(f"--batch {text}: expected N, N,N,... or low:high, such as 1:256.")
    low, high = (_positive(end, "--batch") for end in ends)
    if low > high:
        raise InputError(f"--batch {text}: {low} is more than {high}; write low:high.")
    doubled = [low << n for n in range((high // low).bit_length())]
    return tuple(dict.fromkeys([*doubled, high]))


def parse_names(text: str, option: str) -> tuple[str, ...]:
    """Read `a,b,c`; raises InputError for an empty or repeated name."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option} {text!r}: expected names separated by commas; one is empty.")
    _reject_repeats(names, option)
    return tuple(names)


def _parts(text: str, option: str, form: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{option} {text!r}: expected {form}, separated by commas; one is empty.")
    return parts


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (equals and value and "." in key.strip(".")):
        raise InputError(f"{option} {text!r}: expected {form}.")
    return key, value


def _axis(text: str) -> Axis:
    key, values = _pair(text, "--sweep", _SWEEP_FORM)
    if "|" in values:
        return Axis(key, tuple(_quantity(value, key) for value in values.split("|")))
    ends = values.split(":")
    if len(ends) not in (2, 3):
        raise InputError(f"--sweep {text!r}: expected {_SWEEP_FORM}.")
    low, high = (_quantity(end, key) for end in ends[:2])
    if low >= high:
        raise InputError(f"--sweep {text!r}: {low:g} is not less than {high:g}; write low:high.")
    count = _positive(ends[2], f"--sweep {key}, count") if len(ends) == 3 else _steps(low, high)
    if count < 2:
        raise InputError(f"--sweep {text!r}: a range needs a count of 2 or more.")
    return Axis(key, _spaced(low, high, count))


def _steps(low: float, high: float) -> int:
    whole = low.is_integer() and high.is_integer()
    return int(high - low) + 1 if whole else DEFAULT_STEPS


def _spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    if count > MAX_DESIGNS:  # counted by the grid's limit; not worth building first
        raise InputError(
            f"--sweep {low:g}:{high:g} has {count:,} values, more than {MAX_DESIGNS:,}: "
            "give it a count, low:high:count."
        )
    step = (high - low) / (count - 1)
    return (*(round(low + n * step, 12) for n in range(count - 1)), high)


def _quantity(text: str, key: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"--sweep {key}={text!r}: expected a number ({_SWEEP_FORM}).") from None
    if not math.isfinite(value) or value < 0:
        raise InputError(f"--sweep {key}={text}: expected a finite quantity of zero or more.")
    return value


def _positive(text: str, option: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise InputError(f"{option} {text.strip()!r}: expected a whole number of 1 or more.")
    return int(text)


def _reject_repeats(names: Sequence[str], option: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{option} names {', '.join(repeated)} twice; name each once.")
