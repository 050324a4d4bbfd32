"""A laid-out program decided: where everything lies, each color's number, each path between ports."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from waferllm.csl import types as t
from waferllm.csl.compile import evaluate_tile
from waferllm.csl.host.program import Program, Stream, assemble
from waferllm.csl.host.regions import (
    OPPOSITE,
    STEPS,
    CodeRegion,
    Color,
    Edge,
    Place,
    PortHandle,
    color_config,
)
from waferllm.csl.layout import ColorConfig, Layout, TileCode
from waferllm.csl.modules import LIBRARY, Files
from waferllm.csl.target import ROUTABLE_COLORS, Target
from waferllm.csl.values import Value, freeze, integer
from waferllm.errors import CapacityError, InputError

EMPTY = LIBRARY / "empty.csl"
RELAYS = {True: LIBRARY / "sdklayout" / "input.csl", False: LIBRARY / "sdklayout" / "output.csl"}
BORDER = 2  # PEs to the east and south: one that paths lead over, one for streams' places
Streams = Mapping[str, tuple[PortHandle, Place | None]]


class Fabric:
    """The regions, connections and streams of one `SdkLayout`, with every place and color decided."""

    def __init__(
        self,
        regions: Sequence[CodeRegion],
        connections: Sequence[tuple[PortHandle, PortHandle]],
        streams: Streams,
    ) -> None:
        self.regions, self.streams = regions, streams
        self.owner: dict[Place, CodeRegion] = {}
        for region in regions:
            self._claim(region)
        self._relays: dict[str, tuple[CodeRegion, Color]] = {}
        self._connections = list(connections)
        self.size = self._size()
        for name, (port, place) in streams.items():
            self._relay(name, port, place)
        self.numbers = self._number_colors()
        self.routes: dict[Place, dict[int, ColorConfig]] = {}
        self._paint_regions()
        for tx, rx in self._connections:
            self._connect(tx, rx)

    def _claim(self, region: CodeRegion) -> None:
        for px, py in region.places():
            place = (region.origin[0] + px, region.origin[1] + py)
            if place in self.owner or min(place) < 0:
                other = (
                    self.owner[place].name
                    if place in self.owner
                    else "nothing: it is off the fabric"
                )
                raise InputError(
                    f"region {region.name!r} lies at {place}, where there is {other!r}"
                )
            self.owner[place] = region

    def _size(self) -> tuple[int, int]:
        """Room for all regions, a border around them, and streams' places."""
        places = [*self.owner, *(at for _, at in self.streams.values() if at is not None)]
        return max(x for x, _ in places) + 1 + BORDER, max(y for _, y in places) + 1 + BORDER

    # --- Streams -----------------------------------------------------------------------------

    def _relay(self, name: str, port: PortHandle, place: Place | None) -> None:
        """A PE that passes wavelets between the host and a port."""
        made = CodeRegion(RELAYS[port.is_input], f"{name}_io", 1, 1)
        made.place(*(place or self._free_place(port)))
        self._claim(made)
        host, color = Color("host", region=made.name), Color("port", region=made.name)
        made.set_param_all("size", port.data_size)
        made.set_param_all(host)
        made.set_param_all(color)
        # The edge does not matter to a single PE: the path leaves wherever it is shortest.
        near = PortHandle(made, color, Edge.RIGHT, port.data_size, not port.is_input, made.name)
        self._connections.append((near, port) if port.is_input else (port, near))
        self._relays[name] = (made, host)

    def _free_place(self, port: PortHandle) -> Place:
        start = _step(port.places()[0], port.edge.value)
        # PEs before a port stay free: paths to it, and to others beside it, lead over them.
        doors = {
            _step(place, each.edge.value)
            for region in self.regions
            for each in region.ports.values()
            for place in each.places()
        }
        for place in self._reachable(start):
            if place not in doors:
                return place
        raise InputError(
            f"got port {port.name} at the edge of the fabric or between regions, expected a free PE "
            f"at {start} for its stream"
        )

    def _reachable(self, start: Place) -> Iterable[Place]:
        seen, queue = {start}, deque([start] if self._free(start) else [])
        while queue:
            place = queue.popleft()
            yield place
            for side in STEPS:
                after = _step(place, side)
                if after not in seen and self._free(after):
                    seen.add(after)
                    queue.append(after)

    def _free(self, place: Place) -> bool:
        inside = 0 <= place[0] < self.size[0] and 0 <= place[1] < self.size[1]
        return inside and place not in self.owner

    # --- Colors ------------------------------------------------------------------------------

    def _number_colors(self) -> dict[Color, int]:
        """A number for each color; connected ports' colors have the same."""
        colors = dict.fromkeys(
            color
            for region in self.owner.values()
            for color in (
                *(c for _, c in region.routes),
                *(
                    v
                    for held in region.params.values()
                    for v in held.values()
                    if isinstance(v, Color)
                ),
            )
        )
        leader = {color: color for color in colors}

        def find(color: Color) -> Color:
            while leader[color] is not color:
                color = leader[color]
            return color

        for tx, rx in self._connections:
            leader[find(rx.color)] = find(tx.color)
        groups: dict[Color, list[Color]] = {}
        for color in colors:
            groups.setdefault(find(color), []).append(color)
        return _assign(list(groups.values()))

    # --- Routes ------------------------------------------------------------------------------

    def _paint_regions(self) -> None:
        for region in dict.fromkeys(self.owner.values()):
            for (place, color), config in region.routes.items():
                at = (region.origin[0] + place[0], region.origin[1] + place[1])
                self._set(at, self.numbers[color], config)

    def _set(self, place: Place, color: int, config: ColorConfig) -> None:
        held = self.routes.setdefault(place, {})
        if held.get(color, config) != config:
            raise InputError(f"color {color} is routed in two ways at {place}")
        held[color] = config

    def _connect(self, tx: PortHandle, rx: PortHandle) -> None:
        color = self.numbers[tx.color]
        for start, goal in zip(tx.places(), rx.places(), strict=True):
            self._lead(start, goal, tx, rx, color)

    def _lead(self, start: Place, goal: Place, tx: PortHandle, rx: PortHandle, color: int) -> None:
        """Route one color from a PE's edge to another PE's edge."""
        first = {tx.edge.value} if tx.name in tx.region.ports else set(STEPS)
        last = {rx.edge.value} if rx.name in rx.region.ports else set(STEPS)
        path = self._path(start, goal, first, last, color)
        if path is None:
            raise InputError(
                f"found no free way for color {color} from {tx.name} at {start} to {rx.name} at {goal}; "
                "expected free PEs between them"
            )
        sides = [_side(a, b) for a, b in pairwise(path)]
        if tx.name not in tx.region.ports:
            self._set(start, color, color_config([(("RAMP",), (sides[0],))]))
        for place, before, after in zip(path[1:-1], sides, sides[1:], strict=False):
            self._set(place, color, color_config([((OPPOSITE[before],), (after,))]))
        if rx.name not in rx.region.ports:
            self._set(goal, color, color_config([((OPPOSITE[sides[-1]],), ("RAMP",))]))

    def _path(
        self, start: Place, goal: Place, first: set[str], last: set[str], color: int
    ) -> list[Place] | None:
        """A shortest path over free PEs that do not route the color yet; None if there is none."""
        came: dict[Place, Place] = {start: start}
        queue = deque([start])
        while queue:
            place = queue.popleft()
            for side in first if place == start else STEPS:
                after = _step(place, side)
                if after == goal and OPPOSITE[side] in last:
                    return [*_back(came, place), goal]
                if (
                    after not in came
                    and self._free(after)
                    and color not in self.routes.get(after, {})
                ):
                    came[after] = place
                    queue.append(after)
        return None

    # --- The program -------------------------------------------------------------------------

    def program(self, target: Target, files: Files) -> Program:
        """All of it, compiled."""
        shared: dict[TileCode, TileCode] = {}
        width, height = self.size
        tiles = {
            (x, y): shared.setdefault(code, code)
            for y in range(height)
            for x in range(width)
            for code in [self._code((x, y))]
        }
        layout = Layout(width, height, tiles, self.routes, {})
        made = {
            code: evaluate_tile(code, (width, height), target=target, files=files)
            for code in layout.codes
        }
        hosts = {name: self.numbers[host] for name, (_, host) in self._relays.items()}
        inputs = {name for name, (port, _) in self.streams.items() if port.is_input}
        return assemble(
            layout,
            made,
            {},
            target=target,
            host_in=frozenset(hosts[name] for name in inputs),
            host_out=frozenset(hosts[name] for name in hosts.keys() - inputs),
            streams={
                name: Stream(color=hosts[name], pe=self._pe(region.origin), is_input=name in inputs)
                for name, (region, _) in self._relays.items()
            },
            symbols=self._symbols(),
        )

    def _code(self, place: Place) -> TileCode:
        region = self.owner.get(place)
        if region is None:
            return TileCode(EMPTY, {}, ())
        local = (place[0] - region.origin[0], place[1] - region.origin[1])
        params = {
            name: Value(t.COLOR, self.numbers[value])
            if isinstance(value, Color)
            else integer(int(value))
            for name, value in sorted(region.params.get(local, {}).items())
        }
        key = tuple((name, freeze(each)) for name, each in params.items())
        return TileCode(region.source.resolve(), params, key)

    def _pe(self, place: Place) -> int:
        return place[1] * self.size[0] + place[0]

    def _symbols(self) -> dict[str, Any]:
        """First values that regions were given: "pe:name" -> the words."""
        return {
            f"{self._pe((region.origin[0] + px, region.origin[1] + py))}:{name}": rows[at].copy()
            for region in self.regions
            for name, rows in region.symbols.items()
            for at, (px, py) in enumerate(region.places())
        }


def _assign(groups: list[list[Color]]) -> dict[Color, int]:
    """The number that a group's color was given, or the lowest that no color was."""
    given = {color.value for group in groups for color in group if color.value is not None}
    free = iter(number for number in range(ROUTABLE_COLORS) if number not in given)
    found: dict[Color, int] = {}
    for group in groups:
        values = {color.value for color in group if color.value is not None}
        if len(values) > 1:
            names = ", ".join(color.get_global_name() for color in group)
            raise InputError(
                f"connected ports have colors {sorted(values)}, expected one number: {names}"
            )
        number = values.pop() if values else next(free, None)
        if number is None:
            raise CapacityError(
                f"got {len(groups)} colors, expected at most {ROUTABLE_COLORS}: a chip has no more"
            )
        found |= dict.fromkeys(group, number)
    return found


def _step(place: Place, side: str) -> Place:
    dx, dy = STEPS[side]
    return place[0] + dx, place[1] + dy


def _side(a: Place, b: Place) -> str:
    return next(side for side in STEPS if _step(a, side) == b)


def _back(came: dict[Place, Place], place: Place) -> list[Place]:
    path = [place]
    while came[path[-1]] != path[-1]:
        path.append(came[path[-1]])
    return path[::-1]
