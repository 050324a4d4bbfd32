"""Programs assembled by hand: a few rows of instructions for each PE, and routes between them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from waferllm.csl.code import (
    COLUMNS,
    DSD_COLUMNS,
    FIFO_COLUMNS,
    NONE,
    OPTION_COLUMNS,
    Code,
    DsdKind,
    Kind,
    Op,
    Operand,
    Priority,
    Target,
    Task,
    Vector,
    operand,
)
from waferllm.csl.layout import ColorConfig, Layout, TileCode
from waferllm.csl.machine import Image, Machine, link
from waferllm.csl.target import Target as Chip

MAIN_TASK = 8
Row = tuple[int, ...]


def table(rows: Sequence[Mapping[str, int]], columns: tuple[str, ...], rest: int) -> np.ndarray:
    """Rows of named columns; what is not named is `rest`."""
    made = np.full((len(rows), len(columns)), rest, np.int32)
    for at, row in enumerate(rows):
        for name, value in row.items():
            made[at, columns.index(name)] = value
    return made


def code(
    rows: Sequence[Row],
    *,
    constants: Sequence[int] = (),
    dsds: Sequence[Mapping[str, int]] = (),
    options: Sequence[Mapping[str, int]] = (),
    memory: np.ndarray | int = 0,
    tasks: Mapping[tuple[int, int], Task] | None = None,
    activated: Sequence[int] = (MAIN_TASK,),
    teardown: Mapping[int, Task] | None = None,
    inputs: Mapping[int, int] | None = None,
    outputs: Mapping[int, int] | None = None,
    dsrs: Mapping[tuple[int, int], int] | None = None,
    messages: Sequence[str] = (),
) -> Code:
    """A PE's program; its main task starts with the first row. `memory` is words or their number."""
    instructions = np.zeros((len(rows), COLUMNS), np.int32)
    for at, row in enumerate(rows):
        instructions[at, : len(row)] = row
    words = np.zeros(memory, np.uint16) if isinstance(memory, int) else memory
    return Code(
        name="hand.csl",
        instructions=instructions,
        lines=np.stack([np.zeros(len(rows), np.int32), 1 + np.arange(len(rows))], axis=1),
        files=("hand.csl",),
        constants=np.array(constants, np.int64),
        registers=32,
        memory=words,
        memory_map=(),
        messages=tuple(messages),
        dsds=table([_dsd(each) for each in dsds], DSD_COLUMNS, 0),
        options=table([{"async": 0} | dict(each) for each in options], OPTION_COLUMNS, NONE),
        fifos=np.zeros((0, len(FIFO_COLUMNS)), np.int32),
        dsrs={key: (packed, NONE) for key, packed in (dsrs or {}).items()},
        tasks={(Target.LOCAL_TASK, MAIN_TASK): Task("main", 0)} | dict(tasks or {}),
        teardown=teardown or {},
        activated=frozenset(activated),
        blocked=frozenset(),
        inputs={q: (c, Priority.DEFAULT) for q, c in (inputs or {}).items()},
        outputs={q: (c, Priority.DEFAULT) for q, c in (outputs or {}).items()},
        config={},
        variables={},
        functions={},
    )


def _dsd(given: Mapping[str, int]) -> dict[str, int]:
    return {"queue": NONE, "color": NONE, "fifo": NONE, "element_words": 2} | dict(given)


def fabric_in(color: int, queue: int = 2, **more: int) -> dict[str, int]:
    """A DSD that receives."""
    return {"kind": DsdKind.FABIN, "queue": queue, "color": color} | more


def fabric_out(color: int, queue: int = 2, **more: int) -> dict[str, int]:
    """A DSD that sends."""
    return {"kind": DsdKind.FABOUT, "queue": queue, "color": color} | more


def memory_dsd(words: int = 2) -> dict[str, int]:
    """A DSD over memory with elements of as many words."""
    return {"kind": DsdKind.MEM1D, "element_words": words}


def packed(row: int, length: int, address: int = 0, stride: int = 0) -> int:
    """A DSD as a register holds it, as a signed number; the stride is in words."""
    return address | length << 16 | (stride & 0xFFFF) << 32 | row << 48


def constant(register: int, row: int) -> Row:
    """register := constants[row]."""
    return (Op.CONST, Kind.U64, register, row)


def vector(
    op: Vector,
    destination: int,
    first: int = 0,
    second: int = 0,
    scalar: int = 0,
    options: int = NONE,
) -> Row:
    """A vector operation on operands."""
    return (Op.VECTOR, op, NONE, destination, first, second, scalar, options, NONE)


def in_register(register: int) -> int:
    """The DSD that a register holds."""
    return operand(Operand.DSD, register)


def scalar(register: int) -> int:
    """One element that a register holds."""
    return operand(Operand.SCALAR, register)


def dsr(file: int, number: int) -> int:
    """What a DSR holds."""
    return operand(Operand.DSR, file << 8 | number)


END = (Op.END, 0)


def route(rx: str, tx: str, **more: object) -> ColorConfig:
    """A color's route: names of ports with blanks between."""
    return ColorConfig(tuple(rx.split()), tuple(tx.split()), **more)  # type: ignore[arg-type]


def machine(
    codes: Mapping[tuple[int, int], Code],
    routes: Mapping[tuple[int, int], Mapping[int, ColorConfig]] | None = None,
    *,
    profile: str = "sim",
    arch: str = "wse2",
    host_in: frozenset[int] = frozenset(),
    host_out: frozenset[int] = frozenset(),
    events: int = 0,
) -> Machine:
    """The PEs of a rectangle with these codes by (x, y); where none is given nothing runs."""
    width, height = (1 + max(each[axis] for each in codes) for axis in (0, 1))
    idle = code([END], activated=())
    tiles: dict[tuple[int, int], TileCode] = {}
    by_tile: dict[TileCode, Code] = {}
    known: dict[int, TileCode] = {}
    for y in range(height):
        for x in range(width):
            each = codes.get((x, y), idle)
            tile = known.setdefault(id(each), TileCode(_PATH, {}, id(each)))
            tiles[x, y], by_tile[tile] = tile, each
    layout = Layout(width, height, tiles, routes or {}, {})
    image: Image = link(
        layout,
        {tile: _NO_TILE for tile in by_tile},  # type: ignore[misc]
        by_tile,
        Chip(arch="wse3" if arch == "wse3" else "wse2"),
        host_in=host_in,
        host_out=host_out,
    )
    return Machine(image, profile, events=events)


class _NoTile:
    """A tile that sets no routes of its own."""

    colors: Mapping[int, ColorConfig] = {}


_NO_TILE = _NoTile()
_PATH = Path("hand.csl")
