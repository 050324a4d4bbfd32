"""JSON files of a checkpoint directory, read strictly: a wrong value is an error that names it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waferllm.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError for no file, no JSON, or no object."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}. "
            "Name a directory that holds a Hugging Face checkpoint."
        ) from None
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: {error}. Copy the file again.") from None
    return parse_object(text, str(path))


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object in `text`; `where` names its place in the error."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not valid JSON: {error}. Copy the file again.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a {type(value).__name__}, expected a JSON object.")
    return value


@dataclass(frozen=True)
class Fields:
    """Typed look-ups in a JSON object. A key that is absent or null gives the default.

    Every method raises CheckpointError where the value has another type or is out of range.
    """

    values: Mapping[str, Any]
    where: str

    def refuse(self, key: str, expected: str) -> CheckpointError:
        """The error for a value that is not what it must be."""
        return CheckpointError(
            f"{self.where} says {key} = {self.values.get(key)!r}, expected {expected}."
        )

    def integer(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """An integer of at least `least`; without a default the key is required."""
        value = self.values.get(key)
        if value is None:
            if default is None:
                raise CheckpointError(f"{self.where} has no {key}, expected an integer.")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(key, f"an integer of at least {least}")
        return value

    def optional_integer(self, key: str, *, least: int = 1) -> int | None:
        """An integer of at least `least`, or None."""
        return None if self.values.get(key) is None else self.integer(key, least=least)

    def optional_number(self, key: str, *, above: float = -1.0) -> float | None:
        """A finite number above a bound, or None."""
        value = self.values.get(key)
        if value is None:
            return None
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not number or not above < value < float("inf"):
            raise self.refuse(key, f"a finite number above {above:g}")
        return float(value)

    def number(self, key: str, default: float | None = None, *, above: float = 0.0) -> float:
        """A finite number above a bound; without a default the key is required."""
        value = self.optional_number(key, above=above)
        value = default if value is None else value
        if value is None:
            raise CheckpointError(f"{self.where} has no {key}, expected a number.")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.refuse(key, "a string")
        return value

    def ids(self, key: str) -> tuple[int, ...]:
        """Token ids: one integer, a list of them, or none. Negative ids mean none (old Llama-1)."""
        value = self.values.get(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        if any(isinstance(item, bool) or not isinstance(item, int) for item in items):
            raise self.refuse(key, "a token id or a list of them")
        return tuple(dict.fromkeys(item for item in items if item >= 0))

    def section(self, key: str) -> dict[str, Any]:
        """A nested object, empty when absent."""
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refuse(key, "an object")
        return value
