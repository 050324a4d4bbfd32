"""Instructions while they are made: blocks in blocks, labels instead of numbers."""

from collections.abc import Iterator
from typing import Any

from waferllm.csl.code import COLUMNS, Op
from waferllm.csl.source import Span

D, A, B = 2, 3, 4  # columns of an instruction
WRITES = frozenset(
    [op for op in Op if Op.ADD <= op <= Op.MATH]
    + [Op.CONST, Op.MOVE, Op.LOAD, Op.LOAD_NEXT, Op.DSD_ADDRESS, Op.DSD_LENGTH, Op.DSD_STRIDE]
    + [Op.DSD_ADVANCE, Op.DSD_PART, Op.TIME, Op.RANDOM, Op.GET_CONFIG]
)
LEAVES = frozenset([Op.JUMP, Op.RETURN, Op.END, Op.TRAP])


class Label:
    """A place in the instructions; `uses` counts the jumps to it."""

    __slots__ = ("at", "uses")

    def __init__(self) -> None:
        self.at = -1
        self.uses = 0


class Instruction:
    """A row of `Code.instructions` before its labels have numbers."""

    __slots__ = ("cells", "span")

    def __init__(self, cells: list[Any], span: Span) -> None:
        self.cells = cells
        self.span = span


class Block:
    """Instructions, labels and blocks, in order."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Instruction | Label | Block] = []

    def flat(self) -> Iterator[Instruction | Label]:
        """All instructions and labels, blocks opened."""
        for each in self.items:
            if isinstance(each, Block):
                yield from each.flat()
            else:
                yield each


def instruction(op: Op, span: Span, **cells: Any) -> Instruction:
    """An instruction; cells are named as in `code`: type, d, a, b, c, e, f, g, h."""
    row: list[Any] = [0] * COLUMNS
    row[0] = op
    for name, value in cells.items():
        row[_CELLS[name]] = value
    return Instruction(row, span)


_CELLS = {
    name: at for at, name in enumerate(("op", "type", "d", "a", "b", "c", "e", "f", "g", "h"))
}
