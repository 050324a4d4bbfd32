"""From a layout file to what a machine loads, and the folder in which that is kept."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.csl import types as t
from waferllm.csl.code import Code
from waferllm.csl.compile import evaluate_layout, evaluate_tile
from waferllm.csl.diagnostics import fail
from waferllm.csl.layout import Layout, TileCode
from waferllm.csl.lowering import lower
from waferllm.csl.machine import Image, link, load_image
from waferllm.csl.modules import LIBRARY, Files
from waferllm.csl.target import Target
from waferllm.csl.tile import Tile
from waferllm.csl.values import Value
from waferllm.errors import InputError

META = "out.json"
IMAGE = "image"
SYMBOLS = "symbols.npz"
MEMCPY = LIBRARY / "memcpy" / "memcpy.csl"
STREAMS = range(1, 5)

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A host stream of an `SdkLayout` program: the PE it ends at, and its color there."""

    color: int
    pe: int
    is_input: bool


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a host script may ask of a compiled program; `out.json` in its folder.

    `params` and `colors` are as text, which is how scripts of the vendor's tools read them.
    """

    arch: str
    params: Mapping[str, str]
    colors: Mapping[str, str]
    fabric: tuple[int, int]
    offsets: tuple[int, int]
    rectangle: tuple[int, int]
    exports: Mapping[str, bool]  # name -> whether the host may write to it
    streams: Mapping[str, Stream]

    def symbol(self, name: str) -> int:
        """The number of an exported name; raises `InputError` if there is none."""
        names = list(self.exports)
        if name not in names:
            raise InputError(
                f"got symbol {name!r}, expected one that the layout exports with @export_name: "
                f"{', '.join(names) or 'it exports none'}"
            )
        return names.index(name)


@dataclass(frozen=True)
class Program:
    """A compiled program: what the host knows of it, and what the machine loads."""

    meta: Meta
    image: Image
    symbols: dict[str, Any]  # "pe:name" -> an array: a variable's first value, given by the host

    def save(self, folder: Path) -> None:
        """Write `out.json` and the image into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / META).write_text(json.dumps(asdict(self.meta), indent=1) + "\n")
        if self.symbols:
            np.savez(folder / SYMBOLS, **self.symbols)
        self.image.save(folder / IMAGE)


def load_meta(folder: Path) -> Meta:
    """A folder's `out.json`; raises `InputError` if it was not written by `cslc`."""
    try:
        held: dict[str, Any] = json.loads((folder / META).read_text())
        for name in ("fabric", "offsets", "rectangle"):
            held[name] = tuple(held[name])
        held["streams"] = {name: Stream(**each) for name, each in held["streams"].items()}
        return Meta(**held)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"got {folder}, expected a folder that cslc wrote ({META}: {error}); "
            f"compile with cslc -o {folder}"
        ) from None


def load_program(folder: Path) -> Program:
    """What `Program.save` wrote."""
    symbols: dict[str, Any] = {}
    if (folder / SYMBOLS).exists():
        with np.load(folder / SYMBOLS) as held:
            symbols = {name: held[name] for name in held.files}
    return Program(load_meta(folder), load_image(folder / IMAGE), symbols)


def symbol_words(code: Code, name: str) -> tuple[int, int]:
    """Address and length in words of a variable, exported or not; raises `InputError`."""
    exported = code.variables.get(name)
    if exported is not None and exported.pointed is None:
        return exported.address, exported.words
    for row in code.memory_map:
        if row.name == name:
            return row.address, row.words
    known = ", ".join([*code.variables, *(row.name for row in code.memory_map)])
    raise InputError(f"got symbol {name!r}, expected a variable of {code.name}: {known or 'none'}")


def build(
    path: Path,
    params: Mapping[str, Value],
    *,
    target: Target,
    import_paths: Sequence[Path] = (),
    printed: Progress = print,
    progress: Progress = lambda _: None,
) -> Program:
    """Compile a layout file; raises `CslError` with the first thing that is wrong.

    `printed` gets what the program says with `@comptime_print`, `progress` what is being compiled.
    """
    files = Files(tuple(import_paths))
    layout = evaluate_layout(path, params, target=target, files=files)
    rectangle = (layout.width, layout.height)
    tiles = {
        code: evaluate_tile(code, rectangle, target=target, files=files) for code in layout.codes
    }
    for line in (*layout.printed, *(line for tile in tiles.values() for line in tile.printed)):
        printed(line)
    program = assemble(layout, tiles, params, target=target, progress=progress)
    for line in (line for code in program.image.codes for line in code.printed):
        printed(line)
    return program


def assemble(
    layout: Layout,
    tiles: Mapping[TileCode, Tile],
    params: Mapping[str, Value],
    *,
    target: Target,
    host_in: frozenset[int] = frozenset(),
    host_out: frozenset[int] = frozenset(),
    streams: Mapping[str, Stream] | None = None,
    symbols: dict[str, Any] | None = None,
    progress: Progress = lambda _: None,
) -> Program:
    """Lower each distinct code once and link all to an image."""
    codes: dict[TileCode, Code] = {}
    _check_colors(layout, tiles)
    for at, (code, tile) in enumerate(tiles.items()):
        progress(f"[{at + 1}/{len(tiles)}] {code.path.name}: {len(layout.codes[code])} PE(s)")
        codes[code] = lower(tile, target)
    image = link(
        layout,
        tiles,
        codes,
        target,
        host_in=host_in | stream_colors(tiles.values(), "MEMCPYH2D"),
        host_out=host_out | stream_colors(tiles.values(), "MEMCPYD2H"),
    )
    meta = Meta(
        arch=target.arch,
        params={n: str(v.data) for n, v in params.items() if v.type != t.COLOR},
        colors={n: str(v.data) for n, v in params.items() if v.type == t.COLOR},
        fabric=target.fabric,
        offsets=target.offsets,
        rectangle=(layout.width, layout.height),
        exports={each.name: each.mutable for each in layout.exports.values()},
        streams=streams or {},
    )
    return Program(meta, image, symbols or {})


def _check_colors(layout: Layout, tiles: Mapping[TileCode, Tile]) -> None:
    """Stop if a PE's code configures a color that the layout has configured for that PE."""
    for (x, y), code in layout.tiles.items():
        local = tiles[code].color_spans
        for color in local.keys() & layout.colors.get((x, y), {}).keys():
            text = f"color {color} of PE ({x}, {y}) is configured by the layout, too"
            fail(text, local[color], "one of @set_color_config and @set_local_color_config")


def stream_colors(tiles: Iterable[Tile], prefix: str) -> frozenset[int]:
    """The colors that tiles' imports of <memcpy/memcpy> have for streams of one direction."""
    given = (
        module.params[f"{prefix}_{at}"]
        for tile in tiles
        for module in tile.modules
        if module.path == MEMCPY
        for at in STREAMS
        if f"{prefix}_{at}" in module.params
    )
    return frozenset(value.data for value in given if isinstance(value.data, int))
