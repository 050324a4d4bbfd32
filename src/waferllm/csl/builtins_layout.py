"""Builtins of the layout block; they add to a `LayoutBuilder`, which becomes a `Layout`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_number, as_struct, as_text, as_type
from waferllm.csl.builtins import builtin
from waferllm.csl.color_config import ConfigReader
from waferllm.csl.diagnostics import CslError, Diagnostic, fail
from waferllm.csl.layout import ColorConfig, ExportedName, Layout, Position, TileCode
from waferllm.csl.source import Span
from waferllm.csl.values import VOID, Value, freeze, show, type_of

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator

LARGEST_SIDE = 1 << 12


@dataclass
class LayoutBuilder:
    """A layout while its block is evaluated."""

    rectangle: tuple[int, int] | None = None
    tiles: dict[Position, TileCode] = field(default_factory=dict)
    colors: dict[Position, dict[int, ColorConfig]] = field(default_factory=dict)
    exports: dict[str, ExportedName] = field(default_factory=dict)
    params: Mapping[str, Value] = field(default_factory=dict)  # of the layout's own file
    reader: ConfigReader = field(default_factory=ConfigReader)
    _codes: dict[TileCode, TileCode] = field(default_factory=dict)
    _places: dict[tuple[Position, int | None], Span] = field(default_factory=dict)

    def shared(self, code: TileCode) -> TileCode:
        """The one object that stands for all equal codes."""
        return self._codes.setdefault(code, code)

    def once(self, position: Position, color: int | None, what: str, span: Span) -> None:
        """Stop if this PE's code, or this color at it, was set before."""
        first = self._places.setdefault((position, color), span)
        if color in self.colors.get(position, {}) or (color is None and position in self.tiles):
            note = (("it was set here before", first),)
            raise CslError(Diagnostic(f"{what} is set twice", span, notes=note))

    def finish(self, span: Span, printed: list[str]) -> Layout:
        """The finished layout; stops if a PE has no code."""
        if self.rectangle is None:
            fail("the layout block never calls @set_rectangle", span)
        width, height = self.rectangle
        for y in range(height):
            for x in range(width):
                if (x, y) not in self.tiles:
                    hint = f"@set_tile_code({x}, {y}, …)"
                    fail(f"PE ({x}, {y}) of the {width}x{height} rectangle has no code", span, hint)
        return Layout(width, height, self.tiles, self.colors, self.exports, tuple(printed))


def _builder(ev: "Evaluator", node: s.Builtin) -> LayoutBuilder:
    if not isinstance(ev.collector, LayoutBuilder):
        fail(f"@{node.name} belongs in a layout block", node.span)
    return ev.collector


def _position(
    ev: "Evaluator", node: s.Builtin, args: list[Value]
) -> tuple[LayoutBuilder, Position]:
    builder = _builder(ev, node)
    if builder.rectangle is None:
        fail(f"@{node.name} before @set_rectangle", node.span)
    x, y = (as_number(a, n.span) for a, n in zip(args[:2], node.args[:2], strict=True))
    width, height = builder.rectangle
    if not (0 <= x < width and 0 <= y < height):
        hint = f"x runs from 0 to {width - 1}, y from 0 to {height - 1}"
        fail(f"PE ({x}, {y}) is outside of the {width}x{height} rectangle", node.span, hint)
    return builder, (x, y)


@builtin("set_rectangle", 2)
def _set_rectangle(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder = _builder(ev, node)
    if builder.rectangle is not None:
        fail("@set_rectangle is called twice", node.span)
    width, height = (as_number(a, n.span) for a, n in zip(args, node.args, strict=True))
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        fail(f"a rectangle of {width}x{height} PEs", node.span)
    builder.rectangle = (width, height)
    return VOID


@builtin("set_tile_code", 2, 4)
def _set_tile_code(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder, position = _position(ev, node, args)
    builder.once(position, None, f"the code of PE {position}", node.span)
    importer = Path(node.span.source.name)
    if len(args) == 2:  # this file, with the params that it has here
        path, params = importer, dict(builder.params)
    else:
        path = ev.files.resolve(as_text(args[2], node.args[2].span), importer, node.args[2].span)
        params = as_struct(args[3], node.args[3].span) if len(args) > 3 else {}
    key = tuple((name, freeze(each)) for name, each in sorted(params.items()))
    builder.tiles[position] = builder.shared(TileCode(path, params, key, node.span))
    return VOID


@builtin("set_color_config", 4)
def _set_color_config(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder, position = _position(ev, node, args)
    color = args[2]
    if color.type != t.COLOR:
        hint = "@get_color(3) makes a color"
        fail(
            f"expected a color, got {show(color)} of type {type_of(color)}", node.args[2].span, hint
        )
    builder.once(position, color.data, f"color {color.data} of PE {position}", node.span)
    config = builder.reader.read(args[3], node.args[3].span)
    builder.colors.setdefault(position, {})[color.data] = config
    return VOID


@builtin("export_name", 2, 3)
def _export_name(ev: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    builder = _builder(ev, node)
    name = as_text(args[0], node.args[0].span)
    type_ = as_type(args[1], node.args[1].span)
    mutable = False
    if len(args) > 2:
        if args[2].type != t.BOOL:
            fail(f"expected a bool, got {show(args[2])}", node.args[2].span)
        mutable = args[2].data
    if name in builder.exports:
        fail(f"'{name}' is exported twice", node.span)
    builder.exports[name] = ExportedName(name, type_, mutable)
    return VOID
