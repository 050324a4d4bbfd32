"""What a layout block says, as one value: the rectangle, each PE's code and routes, the exports.

Coordinates are (x, y) inside the rectangle, x to the east and y to the south.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from waferllm.csl import types as t
from waferllm.csl.source import Span
from waferllm.csl.values import Value

Position = tuple[int, int]


@dataclass(frozen=True)
class Switch:
    """Another position of a switch: what it listens to or where it sends; None leaves that alone."""

    rx: tuple[str, ...] | None
    tx: tuple[str, ...] | None


@dataclass(frozen=True)
class ColorConfig:
    """One color at one router. Directions are "EAST", "WEST", "NORTH", "SOUTH" and "RAMP"."""

    rx: tuple[str, ...]
    tx: tuple[str, ...]
    switches: tuple[Switch | None, Switch | None, Switch | None] = (None, None, None)
    current_switch: int = 0
    ring_mode: bool = False
    pop_mode: str = "no_pop"
    color_swap_x: bool = False
    color_swap_y: bool = False
    filter: tuple[tuple[str, int | bool | str], ...] = ()
    teardown: bool = False


@dataclass(frozen=True)
class TileCode:
    """A file and the values of its params; PEs whose two are equal share one."""

    path: Path
    params: Mapping[str, Value] = field(compare=False)
    key: Any = field(repr=False)
    span: Span | None = field(default=None, compare=False, repr=False)  # the first @set_tile_code


@dataclass(frozen=True)
class ExportedName:
    """`@export_name`: what the host may look up, and whether it may write to it."""

    name: str
    type: t.Type
    mutable: bool


@dataclass(frozen=True)
class Layout:
    """Everything that the layout block decided."""

    width: int
    height: int
    tiles: Mapping[Position, TileCode]
    colors: Mapping[Position, Mapping[int, ColorConfig]]
    exports: Mapping[str, ExportedName]
    printed: tuple[str, ...] = ()

    @cached_property
    def codes(self) -> dict[TileCode, list[Position]]:
        """Each distinct code with the PEs that run it."""
        found: dict[TileCode, list[Position]] = {}
        for position, code in self.tiles.items():
            found.setdefault(code, []).append(position)
        return found

    @property
    def routes_total(self) -> int:
        """Colors configured, summed over all PEs."""
        return sum(map(len, self.colors.values()))
