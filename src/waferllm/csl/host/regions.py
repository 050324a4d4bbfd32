"""Parts of a program laid out in Python: colors, routes, code regions and their ports.

The vendor's classes of `SdkLayout` (source: SdkLayout API reference, SDK 2.10, and its tutorials).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from waferllm.csl.host.geometry import IntRectangle, IntVector
from waferllm.csl.layout import ColorConfig, Switch
from waferllm.errors import InputError

Place = tuple[int, int]
POSITIONS = 4


class Route(Enum):
    """A direction at a router."""

    RAMP = "RAMP"
    EAST = "EAST"
    WEST = "WEST"
    NORTH = "NORTH"
    SOUTH = "SOUTH"


class Edge(Enum):
    """A side of a code region, and the direction that leads out there."""

    TOP = "NORTH"
    BOTTOM = "SOUTH"
    LEFT = "WEST"
    RIGHT = "EAST"


STEPS = {"NORTH": (0, -1), "SOUTH": (0, 1), "WEST": (-1, 0), "EAST": (1, 0)}
OPPOSITE = {"NORTH": "SOUTH", "SOUTH": "NORTH", "WEST": "EAST", "EAST": "WEST"}


class RoutingPosition:
    """One position of a switch: where wavelets come from and where they go."""

    def __init__(self) -> None:
        self.input: tuple[str, ...] = ()
        self.output: tuple[str, ...] = ()

    def set_input(self, routes: Iterable[Route]) -> "RoutingPosition":
        self.input = tuple(route.value for route in routes)
        return self

    def set_output(self, routes: Iterable[Route]) -> "RoutingPosition":
        self.output = tuple(route.value for route in routes)
        return self

    def add_input(self, route: Route) -> "RoutingPosition":
        self.input += (route.value,)
        return self

    def add_output(self, route: Route) -> "RoutingPosition":
        self.output += (route.value,)
        return self

    def get_input(self) -> list[Route]:
        return [Route(name) for name in self.input]

    def get_output(self) -> list[Route]:
        return [Route(name) for name in self.output]


@dataclass(frozen=True)
class EdgeRouteInfo:
    """Routes that hold on one edge of a region instead."""

    edge: Edge
    routes: tuple[RoutingPosition, ...]


def get_edge_routing(edge: Edge, routes: Iterable[RoutingPosition]) -> EdgeRouteInfo:
    """Routes for `paint_all` that hold on one edge."""
    return EdgeRouteInfo(edge, tuple(routes))


def color_config(positions: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> ColorConfig:
    """A color's configuration from (inputs, outputs) of each switch position."""
    if not 1 <= len(positions) <= POSITIONS:
        raise InputError(f"got {len(positions)} routing positions, expected 1 to {POSITIONS}")
    (rx, tx), *more = positions
    switches = [Switch(a if a != rx else None, b if b != tx else None) for a, b in more]
    padded = (*switches, *[None] * (POSITIONS - 1 - len(switches)))
    return ColorConfig(rx, tx, (padded[0], padded[1], padded[2]))


class Color:
    """A color, with a number of its own if one was given; `region` is the one it belongs to."""

    def __init__(self, name: str, value: int | None = None, region: str = "") -> None:
        self.name = name
        self.value = value
        self.region = region

    def get_global_name(self) -> str:
        return f"{self.region}_{self.name}" if self.region else self.name

    def get_local_param_name(self) -> str:
        return self.name

    def get_value(self) -> int | None:
        return self.value


@dataclass(frozen=True, eq=False)
class PortHandle:
    """Where a region's edge takes wavelets in or sends them out."""

    region: "CodeRegion"
    color: Color
    edge: Edge
    data_size: int
    is_input: bool
    name: str

    def places(self) -> list[Place]:
        """The edge's PEs on the fabric, west to east or north to south."""
        x, y = self.region.origin
        return [(x + px, y + py) for px, py in self.region.edge_places(self.edge)]


@dataclass(eq=False)
class CodeRegion:
    """A rectangle of PEs that run one file. Places given to its methods are inside of it."""

    source: Path
    name: str
    width: int
    height: int
    origin: Place = (0, 0)
    params: dict[Place, dict[str, int | Color]] = field(default_factory=dict)
    routes: dict[tuple[Place, Color], ColorConfig] = field(default_factory=dict)
    symbols: dict[str, np.ndarray] = field(default_factory=dict)
    ports: dict[str, PortHandle] = field(default_factory=dict)

    def place(self, x: int, y: int) -> None:
        """Put the region's upper left PE at (x, y)."""
        self.origin = (x, y)

    def places(self) -> list[Place]:
        return [(x, y) for y in range(self.height) for x in range(self.width)]

    def edge_places(self, edge: Edge) -> list[Place]:
        """The PEs of one edge."""
        if edge in {Edge.LEFT, Edge.RIGHT}:
            x = 0 if edge == Edge.LEFT else self.width - 1
            return [(x, y) for y in range(self.height)]
        y = 0 if edge == Edge.TOP else self.height - 1
        return [(x, y) for x in range(self.width)]

    def color(self, name: str, value: int | None = None) -> Color:
        """A new color of this region."""
        return Color(name, value, self.name)

    # --- Parameters --------------------------------------------------------------------------

    def set_param(
        self, coord: IntVector, name: str | Color, value: int | Color | None = None
    ) -> None:
        """Give a parameter to one PE; a color alone goes to the parameter of its name."""
        self._set_params([(coord.x, coord.y)], name, value)

    def set_param_all(self, name: str | Color, value: int | Color | None = None) -> None:
        """Give a parameter to every PE."""
        self._set_params(self.places(), name, value)

    def set_param_range(
        self, rect: IntRectangle, name: str | Color, value: int | Color | None = None
    ) -> None:
        """Give a parameter to the PEs of a rectangle."""
        self._set_params(rect.places(), name, value)

    def _set_params(
        self, places: Iterable[Place], name: str | Color, value: int | Color | None
    ) -> None:
        key = name.name if isinstance(name, Color) else name
        held = name if isinstance(name, Color) else value
        if held is None or (isinstance(name, Color) and value is not None):
            raise InputError(
                f"got parameter {key!r}, expected a name and a value, or a color alone"
            )
        for place in places:
            self.params.setdefault(self._inside(place), {})[key] = held

    def set_symbol_all(self, symbol: str, data: np.ndarray, width: int, height: int) -> None:
        """Spread a height x width array over the region's PEs, block by block."""
        if width % self.width or height % self.height or data.size != width * height:
            raise InputError(
                f"got {data.size} elements as {height}x{width} for {symbol!r}, expected an array that "
                f"divides evenly over {self.name}'s {self.height}x{self.width} PEs"
            )
        self.symbols[symbol] = (
            data.reshape(self.height, height // self.height, self.width, width // self.width)
            .transpose(0, 2, 1, 3)
            .reshape(self.height * self.width, -1)
        )

    # --- Routes ------------------------------------------------------------------------------

    def paint(self, coord: IntVector, color: Color, routes: Iterable[RoutingPosition]) -> None:
        """Set a color's routes on one PE."""
        self._paint([(coord.x, coord.y)], color, routes)

    def paint_all(
        self,
        color: Color,
        routes: Iterable[RoutingPosition],
        edge_routes: Iterable[EdgeRouteInfo] = (),
    ) -> None:
        """Set a color's routes on every PE, with others on some edges."""
        self._paint(self.places(), color, routes)
        for each in edge_routes:
            self._paint(self.edge_places(each.edge), color, each.routes)

    def paint_range(
        self, rect: IntRectangle, color: Color, routes: Iterable[RoutingPosition]
    ) -> None:
        """Set a color's routes on the PEs of a rectangle."""
        self._paint(rect.places(), color, routes)

    def _paint(
        self,
        places: Iterable[Place],
        color: Color,
        routes: Iterable[RoutingPosition],
        sides: Callable[[RoutingPosition], tuple[tuple[str, ...], tuple[str, ...]]] = (
            lambda position: (position.input, position.output)
        ),
    ) -> None:
        config = color_config([sides(position) for position in routes])
        for place in places:
            self.routes[self._inside(place), color] = config

    def _inside(self, place: Place) -> Place:
        if not (0 <= place[0] < self.width and 0 <= place[1] < self.height):
            raise InputError(
                f"got PE {place} of region {self.name!r}, expected one of its {self.width}x{self.height}"
            )
        return place

    # --- Ports -------------------------------------------------------------------------------

    def create_input_port(
        self,
        color: Color,
        edge: Edge,
        routes: Iterable[RoutingPosition],
        data_size: int,
        prefix: str = "",
    ) -> PortHandle:
        """Take a color in over an edge; the routes say where to, the edge where from."""
        self._paint(self.edge_places(edge), color, routes, lambda p: ((edge.value,), p.output))
        return self._port(color, edge, data_size, prefix, is_input=True)

    def create_output_port(
        self,
        color: Color,
        edge: Edge,
        routes: Iterable[RoutingPosition],
        data_size: int,
        prefix: str = "",
    ) -> PortHandle:
        """Send a color out over an edge; the routes say where from, the edge where to."""
        self._paint(self.edge_places(edge), color, routes, lambda p: (p.input, (edge.value,)))
        return self._port(color, edge, data_size, prefix, is_input=False)

    def _port(
        self, color: Color, edge: Edge, data_size: int, prefix: str, *, is_input: bool
    ) -> PortHandle:
        name = f"{prefix}{self.name}_{color.name}"
        if name in self.ports:
            raise InputError(f"got port {name!r} twice, expected a prefix that tells them apart")
        made = PortHandle(self, color, edge, data_size, is_input, name)
        self.ports[name] = made
        return made
