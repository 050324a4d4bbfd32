"""Chips from and to TOML files: strict, and a loaded dump equals the chip that was dumped."""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waferllm.chip.catalog import chip as chip_of_name
from waferllm.chip.facts import UNDATED, Fact, Source, Tag, nearest
from waferllm.chip.model import DTYPES, FIELDS, RATE_FIELDS, Chip, quantity_of
from waferllm.errors import InputError

_USER = Source("user file", Tag.USER)
_PLAIN = ("base", "name", "title", "notes", "sources")
_KEYS = (*_PLAIN, *(key for key in FIELDS if "." not in key), *RATE_FIELDS)


def load_chip(path: str | Path) -> Chip:
    """The chip that a TOML file describes; `base = "wse2"` gives it all that it does not say.

    Raises `InputError`, naming the file, for an unreadable file, an unknown or missing key, a
    wrong type, or a value that cannot be. A value without a source gets "user file".
    """
    try:
        with Path(path).open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise InputError(f"Cannot read chip file {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # bad TOML, bad UTF-8, an endless number
        raise InputError(f"Chip file {path} is not valid TOML: {error}.") from error
    try:
        return _chip_from(table)
    except InputError as error:
        raise InputError(f"Chip file {path}: {error}") from error


def _chip_from(table: Mapping[str, Any]) -> Chip:
    for key in table:
        if key not in _KEYS:
            raise InputError(f"unknown key {key}. {nearest(key, _KEYS)}")
    if "name" not in table:
        raise InputError("lacks name, what the chip is called in reports.")
    name, title = _text(table, "name"), _text(table, "title")
    base = chip_of_name(_text(table, "base")) if "base" in table else None
    values = _flat_values(table)
    sources = _flat_sources(table.get("sources", {}))
    facts = base.facts if base else {}
    for key in sources:
        if key not in values and key not in facts:
            raise InputError(f"sources.{key} is a source for a value that is not there.")
    facts |= {key: Fact(value, sources.get(key, _USER)) for key, value in values.items()}
    facts |= {key: Fact(facts[key].value, source) for key, source in sources.items()}
    notes = _notes(table["notes"]) if "notes" in table else base.notes if base else ()
    return Chip.of(name, title or (base.title if base else name), facts, notes)


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or (key in table and not value.strip()):
        raise InputError(f"{key} = {value!r} is not a name; expected text in quotes.")
    return value


def _notes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(note, str) for note in value):
        raise InputError(f"notes = {value!r} is not a list of texts.")
    return tuple(value)


def _flat_values(table: Mapping[str, Any]) -> dict[str, float | str]:
    """The file's values by flat key, checked for type and range."""
    values: dict[str, float | str] = {}
    for key in _KEYS:
        if key not in table or key in _PLAIN:
            continue
        if key == "process":
            values[key] = _text(table, key)
        elif key in RATE_FIELDS:
            values |= _flat_rates(key, table[key])
        else:
            values[key] = _number(key, table[key])
    return values


def _flat_rates(key: str, rates: object) -> dict[str, float | str]:
    if not isinstance(rates, dict):
        raise InputError(f"{key} = {rates!r} is not a table; write [{key}] and float16 = 4 in it.")
    for dtype in rates:
        if dtype not in DTYPES:
            raise InputError(f"unknown data type {key}.{dtype}. {nearest(dtype, DTYPES)}")
    return {f"{key}.{dtype}": _number(f"{key}.{dtype}", rate) for dtype, rate in rates.items()}


def _number(key: str, value: Any) -> float:
    """A checked number; one that is whole by nature stays an int, any other becomes a float."""
    spec = quantity_of(key)
    spec.check(key, value)
    return value if spec.whole else float(value)


def _flat_sources(table: object) -> dict[str, Source]:
    """`[sources]` by flat key; a source is a text or {text, tag, date}."""
    if not isinstance(table, dict):
        raise InputError(f"sources = {table!r} is not a table; write [sources] and key = text.")
    sources: dict[str, Source] = {}
    for key, value in table.items():
        if key in RATE_FIELDS and isinstance(value, dict):
            sources |= {f"{key}.{dtype}": _source(key, one) for dtype, one in value.items()}
        else:
            sources[key] = _source(key, value)
    for key in sources:
        if key not in FIELDS:
            raise InputError(f"sources.{key} is a source for no field. {nearest(key, FIELDS)}")
    return sources


def _source(key: str, value: object) -> Source:
    if isinstance(value, str):
        return Source(value, Tag.USER)
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise InputError(f"sources.{key} = {value!r} is neither a text nor {{text, tag, date}}.")
    for part in value:
        if part not in ("text", "tag", "date"):
            raise InputError(f"unknown key sources.{key}.{part}; expected text, tag or date.")
    tag, date = value.get("tag", Tag.USER), value.get("date", UNDATED)
    if tag not in list(Tag):
        raise InputError(f"sources.{key}.tag = {tag!r} is not one of {', '.join(Tag)}.")
    return Source(value["text"], Tag(tag), str(date))


def dump_chip(chip: Chip) -> str:
    """TOML text that `load_chip` reads back as an equal chip, sources and notes included."""
    facts = chip.facts
    lines = [f"name = {_quote(chip.name)}", f"title = {_quote(chip.title)}"]
    lines += [f"{key} = {_toml(fact.value)}" for key, fact in facts.items() if "." not in key]
    if chip.notes:
        lines += ["notes = [", *(f"    {_quote(note)}," for note in chip.notes), "]"]
    for table in RATE_FIELDS:
        lines += ["", f"[{table}]"]
        lines += [f"{d} = {_toml(rate)}" for d, rate in getattr(chip, table).known.items()]
    lines += ["", "[sources]"]
    for key, fact in facts.items():
        source = fact.source
        inside = f"text = {_quote(source.text)}, tag = {_quote(source.tag)}"
        lines.append(f"{key} = {{ {inside}, date = {_quote(source.date)} }}")
    return "\n".join(lines) + "\n"


def _toml(value: float | str) -> str:
    if isinstance(value, str):
        return _quote(value)
    return "inf" if math.isinf(value) else repr(value)


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, but for DEL."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
