"""Provenance: a value, where it was read, how far to trust it, and what its field may hold."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from waferllm.errors import InputError

UNDATED = "undated"
#: The day on which the sources of the catalogue were read.
CATALOGUE_READ = "2026-11-21"
_ABSURD = 1e24


class Tag(StrEnum):
    """How a number came to us. `label` is the word that people are shown."""

    SEEN = "SEEN"
    COMPUTED = "COMPUTED"
    RECALLED = "RECALLED"
    UNVERIFIED = "UNVERIFIED"
    ASSUMED = "ASSUMED"
    USER = "USER"

    @property
    def label(self) -> str:
        return _LABELS[self]

    @property
    def says(self) -> str:
        return _MEANINGS[self]


_LABELS = {
    Tag.SEEN: "published",
    Tag.COMPUTED: "computed",
    Tag.RECALLED: "recalled",
    Tag.UNVERIFIED: "unverified",
    Tag.ASSUMED: "assumed",
    Tag.USER: "yours",
}
_MEANINGS = {
    Tag.SEEN: "read in the named source",
    Tag.COMPUTED: "arithmetic on published numbers",
    Tag.RECALLED: "from memory, to be checked",
    Tag.UNVERIFIED: "a weak source, or carried over from a relative",
    Tag.ASSUMED: "nobody has published it; our choice",
    Tag.USER: "from a chip file of your own",
}


@dataclass(frozen=True)
class Source:
    """Where a number was found, how (`tag`), and the day on which it was read or worked out."""

    text: str
    tag: Tag
    date: str = UNDATED


@dataclass(frozen=True)
class Fact:
    """One value with its source."""

    value: float | str
    source: Source


def seen(value: float | str, text: str) -> Fact:
    """A fact read in the named source."""
    return Fact(value, Source(text, Tag.SEEN, CATALOGUE_READ))


def computed(value: float | str, text: str) -> Fact:
    """A fact that follows from published numbers; `text` gives the arithmetic."""
    return Fact(value, Source(text, Tag.COMPUTED, CATALOGUE_READ))


def recalled(value: float | str, text: str) -> Fact:
    """A fact from memory."""
    return Fact(value, Source(text, Tag.RECALLED, CATALOGUE_READ))


def unverified(value: float | str, text: str) -> Fact:
    """A fact from a weak source, or carried over from a related chip."""
    return Fact(value, Source(text, Tag.UNVERIFIED, CATALOGUE_READ))


def assumed(value: float | str, text: str) -> Fact:
    """A value that nobody has published, with the reason for ours."""
    return Fact(value, Source(text, Tag.ASSUMED, CATALOGUE_READ))


@dataclass(frozen=True)
class Quantity:
    """What a field holds: unit (empty for text), meaning, and which values make sense."""

    unit: str
    says: str
    whole: bool = False
    zero: bool = False
    endless: bool = False

    def check(self, key: str, value: object) -> None:
        """Raises `InputError` in one sentence unless `value` is a number this field may hold."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InputError(f"{key} = {value!r} is not a number; {self._expected}.")
        fits_size = value >= 0 if self.zero else value > 0  # false for NaN
        fits_end = value < _ABSURD or (self.endless and value == math.inf)
        fits_kind = not self.whole or isinstance(value, int) or value == math.inf
        if not (fits_size and fits_end and fits_kind):
            raise InputError(f"{key} = {value} cannot be; {self._expected}.")

    @property
    def _expected(self) -> str:
        kind = "whole number" if self.whole else "number"
        sign = "a" if self.zero else "a positive"
        bound = " that is zero or more" if self.zero else ""
        more = ", or inf for no limit" if self.endless else ""
        return f"expected {sign} {kind}{bound}{more} ({self.unit}: {self.says})"


def quantity(unit: str, says: str, **rules: bool) -> dict[str, Quantity]:
    """Metadata for a dataclass field: `field(metadata=quantity("B", "..."))`."""
    return {"quantity": Quantity(unit, says, **rules)}


def nearest(name: str, known: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """What to say after an unknown name: the nearest known one or alias, or all that are known."""
    from difflib import get_close_matches

    names = sorted(known)
    close = get_close_matches(name.lower(), [*names, *aliases], n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names)}."
