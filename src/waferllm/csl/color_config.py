"""The struct given to `@set_color_config`, read field by field into a `ColorConfig`.

Fields and their meaning: the SDK documentation's page on builtins, under @set_color_config.
"""

from typing import Any

from waferllm.csl import types as t
from waferllm.csl.diagnostics import fail, nearest
from waferllm.csl.layout import ColorConfig, Switch
from waferllm.csl.operators import is_integer
from waferllm.csl.source import Span
from waferllm.csl.values import Value, freeze, is_struct, is_tuple, show, type_of

POP_MODES = ("no_pop", "always_pop", "pop_on_advance", "pop_on_advance_nop")
# fast_mode is used by published programs and not documented; it is kept for the machine to judge.
FILTER_FIELDS = {
    "counter": {
        "count_data", "count_control", "init_counter", "limit1", "max_counter", "filter_control",
        "fast_mode",
    },
    "sparse_counter": {
        "count_data", "count_control", "init_counter", "limit1", "limit2", "max_counter",
    },
    "range": {"max_idx", "min_idx"},
}  # fmt: skip


class ConfigReader:
    """Reads configurations; equal ones give the same object."""

    def __init__(self) -> None:
        self._seen: dict[Any, ColorConfig] = {}

    def read(self, value: Value, span: Span) -> ColorConfig:
        """The configuration that a struct describes; stops at what is not understood."""
        key = freeze(value)
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = _config(value, span)
        return found


def _config(value: Value, span: Span) -> ColorConfig:
    fields = _fields(
        value, {"routes", "switches", "filter", "teardown"}, "a color's configuration", span
    )
    if "routes" not in fields:
        fail("a color's configuration needs routes", span, ".{ .routes = .{ .rx = …, .tx = … } }")
    allowed = {"rx", "tx", "pop_mode", "color_swap_x", "color_swap_y"}
    routes = _fields(fields["routes"], allowed, "routes", span)
    found: dict[str, Any] = {
        "rx": _directions(routes.get("rx"), span),
        "tx": _directions(routes.get("tx"), span),
    }
    for name in ("color_swap_x", "color_swap_y"):
        if name in routes:
            found[name] = _flag(routes[name], name, span)
    if "pop_mode" in routes:
        found["pop_mode"] = _one_of(routes["pop_mode"], POP_MODES, "pop_mode", span)
    if "switches" in fields:
        found |= _switches(fields["switches"], span)
    if "filter" in fields:
        found["filter"] = _filter(fields["filter"], span)
    if "teardown" in fields:
        found["teardown"] = _flag(fields["teardown"], "teardown", span)
    return ColorConfig(**found)


def _switches(value: Value, span: Span) -> dict[str, Any]:
    allowed = {"pos1", "pos2", "pos3", "current_switch_pos", "ring_mode", "pop_mode"}
    fields = _fields(value, allowed, "switches", span)
    names = ("pos1", "pos2", "pos3")
    found: dict[str, Any] = {"switches": tuple(_switch(fields.get(n), n, span) for n in names)}
    if "current_switch_pos" in fields:
        found["current_switch"] = _number(fields["current_switch_pos"], "current_switch_pos", span)
        if not 0 <= found["current_switch"] <= 3:
            fail(f"current_switch_pos is 0 to 3, got {found['current_switch']}", span)
    if "ring_mode" in fields:
        found["ring_mode"] = _flag(fields["ring_mode"], "ring_mode", span)
    if "pop_mode" in fields:
        found["pop_mode"] = _one_of(fields["pop_mode"], POP_MODES, "pop_mode", span)
    return found


def _switch(value: Value | None, name: str, span: Span) -> Switch | None:
    if value is None:
        return None
    fields = _fields(value, {"rx", "tx", "invalid"}, name, span)
    if len(fields) != 1:
        fail(f"{name} has exactly one of rx, tx and invalid, got {show(value)}", span)
    if "invalid" in fields:
        if not _flag(fields["invalid"], f"{name}.invalid", span):
            fail(f"{name}.invalid can only be true", span, "leave the field out")
        return None
    rx, tx = (_directions(fields[n], span) if n in fields else None for n in ("rx", "tx"))
    if rx is not None and len(rx) != 1:
        fail(f"{name}.rx takes one direction, got {len(rx)}", span)
    return Switch(rx, tx)


def _filter(value: Value, span: Span) -> tuple[tuple[str, int | bool | str], ...]:
    every = set().union(*FILTER_FIELDS.values()) | {"kind"}
    fields = _fields(value, every, "filter", span)
    if "kind" not in fields:
        fail("a filter needs a kind", span, ".kind = .{ .counter = true }")
    kind = _one_of(fields["kind"], tuple(FILTER_FIELDS), "filter.kind", span)
    found: list[tuple[str, int | bool | str]] = [("kind", kind)]
    for name, each in fields.items():
        if name == "kind":
            continue
        if name not in FILTER_FIELDS[kind]:
            fail(f"a filter of kind {kind} has no '{name}'", span)
        boolean = name in {"count_data", "count_control", "filter_control", "fast_mode"}
        found.append((name, _flag(each, name, span) if boolean else _number(each, name, span)))
    return tuple(found)


def _fields(value: Value, allowed: set[str], what: str, span: Span) -> dict[str, Value]:
    if not is_struct(value):
        fail(f"{what}: expected a struct, got {show(value)} of type {type_of(value)}", span)
    for name in value.data:
        if name not in allowed:
            hint = nearest(name, allowed) or f"it may have: {', '.join(sorted(allowed))}"
            fail(f"{what}: there is no field '{name}'", span, hint)
    return value.data


def _directions(value: Value | None, span: Span) -> tuple[str, ...]:
    """One direction or a tuple of them; none at all if the field is left out."""
    if value is None:
        return ()
    many = list(value.data.values()) if is_struct(value) and is_tuple(value) else [value]
    for each in many:
        if each.type != t.DIRECTION:
            fail(f"expected a direction, got {show(each)} of type {type_of(each)}", span)
    names = tuple(each.data for each in many)
    if len(set(names)) != len(names):
        fail(f"a direction stands twice in {show(value)}", span)
    return names


def _flag(value: Value, name: str, span: Span) -> bool:
    if value.type != t.BOOL:
        fail(f"{name}: expected a bool, got {show(value)} of type {type_of(value)}", span)
    return value.data


def _number(value: Value, name: str, span: Span) -> int:
    if not is_integer(value.type) or value.data < 0:
        fail(f"{name}: expected an integer from 0, got {show(value)}", span)
    return value.data


def _one_of(value: Value, names: tuple[str, ...], what: str, span: Span) -> str:
    """A struct with one field, which is true: the language's way to write a choice."""
    fields = _fields(value, set(names), what, span)
    if len(fields) != 1 or not _flag(next(iter(fields.values())), what, span):
        fail(f"{what}: expected one field that is true, got {show(value)}", span)
    return next(iter(fields))
