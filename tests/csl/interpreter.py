"""A slow, obvious definition of the instruction set: one PE, without a fabric, in plain Python.

It has no cycles. Floats are computed in f64 and rounded once, which is exact for one operation.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from waferllm.csl import types as t
from waferllm.csl.code import (
    DSD_COLUMNS,
    NONE,
    OPTION_COLUMNS,
    SRAM_WORDS,
    Code,
    DsdKind,
    Kind,
    Math,
    Op,
    Operand,
    Target,
    Vector,
)
from waferllm.csl.numbers import bits_float, float_bits, round_float

FLOATS = {Kind.F16: t.F16, Kind.BF16: t.BF16, Kind.CB16: t.CB16, Kind.F32: t.F32}
INTEGERS = {Kind[name.upper()]: type_ for name, type_ in t.INTEGERS.items()}
INTEGERS[Kind.BOOL] = t.U16
WORDS = {Kind.I32: 2, Kind.U32: 2, Kind.F32: 2, Kind.I64: 4, Kind.U64: 4}
DSD_OPS = (Op.DSD_ADDRESS, Op.DSD_LENGTH, Op.DSD_STRIDE, Op.DSD_ADVANCE)
LONGEST_RUN = 2_000_000


class Trap(Exception):
    """The program stopped itself."""


def as_number(bits: int, kind: Kind) -> float:
    """What a register's bits mean."""
    return bits_float(bits, FLOATS[kind]) if kind in FLOATS else bits


def as_bits(number: float, kind: Kind) -> int:
    """A number as a register holds it: rounded, or wrapped."""
    if kind in FLOATS:
        return float_bits(round_float(float(number), FLOATS[kind]), FLOATS[kind])
    return INTEGERS[kind].wrap(int(number))


def _divide(a: float, b: float, kind: Kind) -> float:
    if kind in FLOATS:
        return a / b if b else math.copysign(math.inf, a) * math.copysign(1, b) if a else math.nan
    if b == 0:
        raise Trap("division by zero")
    quotient = abs(int(a)) // abs(int(b))
    return quotient if (a < 0) == (b < 0) else -quotient


ARITHMETIC: dict[int, Callable[[float, float], float]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.AND: lambda a, b: int(a) & int(b),
    Op.OR: lambda a, b: int(a) | int(b),
    Op.XOR: lambda a, b: int(a) ^ int(b),
    Op.SHL: lambda a, b: int(a) << int(b),
    Op.SHR: lambda a, b: int(a) >> int(b),
}
COMPARE: dict[int, Callable[[float, float], bool]] = {
    Op.EQ: lambda a, b: a == b,
    Op.NE: lambda a, b: a != b,
    Op.LT: lambda a, b: a < b,
    Op.LE: lambda a, b: a <= b,
    Op.GT: lambda a, b: a > b,
    Op.GE: lambda a, b: a >= b,
}
MATH: dict[int, Callable[..., float]] = {
    Math.SQRT: math.sqrt, Math.EXP: math.exp, Math.LOG: math.log, Math.SIN: math.sin,
    Math.COS: math.cos, Math.TANH: math.tanh, Math.INV: lambda a: 1 / a, Math.POW: math.pow,
    Math.INV_SQRT: lambda a: 1 / math.sqrt(a), Math.SCALE: lambda a, b: math.ldexp(a, int(b)),
    Math.SIGMOID: lambda a: 1 / (1 + math.exp(-a)),
}  # fmt: skip
# Kinds of destination and sources, and the element's value from those of the sources.
_I, _H, _S, _W = Kind.I16, Kind.F16, Kind.F32, Kind.U32
VECTORS: dict[int, tuple[tuple[Kind, ...], Callable[..., float]]] = {
    Vector.MOV16: ((Kind.U16, Kind.U16), lambda a: a),
    Vector.MOV32: ((_W, _W), lambda a: a),
    Vector.ADD16: ((_I, _I, _I), lambda a, b: a + b),
    Vector.SUB16: ((_I, _I, _I), lambda a, b: a - b),
    Vector.AND16: ((Kind.U16,) * 3, lambda a, b: a & b),
    Vector.OR16: ((Kind.U16,) * 3, lambda a, b: a | b),
    Vector.XOR16: ((Kind.U16,) * 3, lambda a, b: a ^ b),
    Vector.SLL16: ((Kind.U16,) * 3, lambda a, b: a << b),
    Vector.SLR16: ((Kind.U16,) * 3, lambda a, b: a >> b),
    Vector.FMOVH: ((_H, _H), lambda a: a),
    Vector.FMOVS: ((_S, _S), lambda a: a),
    Vector.FADDH: ((_H, _H, _H), lambda a, b: a + b),
    Vector.FADDS: ((_S, _S, _S), lambda a, b: a + b),
    Vector.FADDHS: ((_S, _S, _H), lambda a, b: a + b),
    Vector.FSUBH: ((_H, _H, _H), lambda a, b: a - b),
    Vector.FSUBS: ((_S, _S, _S), lambda a, b: a - b),
    Vector.FMULH: ((_H, _H, _H), lambda a, b: a * b),
    Vector.FMULS: ((_S, _S, _S), lambda a, b: a * b),
    Vector.FMACH: ((_H, _H, _H, _H), lambda a, b, c: a + b * c),
    Vector.FMACS: ((_S, _S, _S, _S), lambda a, b, c: a + b * c),
    Vector.FMAXH: ((_H, _H, _H), max),
    Vector.FMAXS: ((_S, _S, _S), max),
    Vector.FNEGH: ((_H, _H), lambda a: -a),
    Vector.FNEGS: ((_S, _S), lambda a: -a),
    Vector.FABSH: ((_H, _H), abs),
    Vector.FABSS: ((_S, _S), abs),
    Vector.FH2S: ((_S, _H), lambda a: a),
    Vector.FS2H: ((_H, _S), lambda a: a),
    Vector.FH2XP16: ((_I, _H), int),
    Vector.FS2XP16: ((_I, _S), int),
    Vector.XP162FH: ((_H, _I), float),
    Vector.XP162FS: ((_S, _I), float),
}


class Pe:
    """One processing element: memory, registers, DSRs, tasks."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.memory = [*map(int, code.memory), *[0] * (SRAM_WORDS - len(code.memory))]
        self.registers = [0] * code.registers
        self.dsrs = {key: packed for key, (packed, _) in code.dsrs.items()}
        self.saves: set[tuple[int, int]] = set()
        self.active = set(code.activated)
        self.blocked = {number for target, number in code.blocked if target == Target.LOCAL_TASK}
        self.config = dict(code.config)
        self.printed: list[tuple[str, tuple[int, ...]]] = []
        self.ready = 0
        self.steps = 0

    # --- From outside ------------------------------------------------------------------------

    def call(self, name: str, *args: int) -> None:
        """Run an exported function, then the tasks that it activated."""
        function = self.code.functions[name]
        for (register, kind), value in zip(function.params, args, strict=True):
            self.registers[register] = as_bits(value, Kind(kind))
        self.run(function.entry)
        self.run_tasks()

    def run_tasks(self) -> None:
        """Run tasks until none is active and unblocked."""
        while ready := sorted(self.active - self.blocked):
            self.active.discard(ready[0])
            self.run(self.code.tasks[Target.LOCAL_TASK, ready[0]].entry)

    def read(self, name: str) -> list[float]:
        """The values of an exported variable, or of what an exported pointer points at."""
        variable = self.code.variables[name]
        at = variable.address
        if variable.pointed is not None:
            at = self.memory[at]
        words = WORDS.get(variable.kind, 1)
        return [
            as_number(self.load(at + each * words, variable.kind), variable.kind)
            for each in range(variable.count)
        ]

    # --- Memory ------------------------------------------------------------------------------

    def load(self, at: int, kind: Kind) -> int:
        bits = sum(self.memory[at + n] << 16 * n for n in range(WORDS.get(kind, 1)))
        return bits if kind in FLOATS else INTEGERS[kind].wrap(bits)

    def store(self, at: int, bits: int, kind: Kind) -> None:
        for n in range(WORDS.get(kind, 1)):
            self.memory[at + n] = bits >> 16 * n & 0xFFFF

    # --- Instructions --------------------------------------------------------------------------

    def run(self, entry: int) -> None:
        """Run from an instruction to the end of the task."""
        at: int | None = entry
        while at is not None:
            self.steps += 1
            if self.steps > LONGEST_RUN:
                raise Trap("runs too long")
            at = self.step(at)

    def step(self, at: int) -> int | None:
        """Run one instruction; the number of the next, None at the end."""
        op, kind, d, a, b, c, *_ = map(int, self.code.instructions[at])
        reg = self.registers
        if op in ARITHMETIC or op in COMPARE or op in {Op.DIV, Op.REM}:
            reg[d] = self.arithmetic(op, Kind(kind), reg[a], reg[b])
        elif op in {Op.JUMP, Op.JUMP_IF, Op.JUMP_UNLESS}:
            if op == Op.JUMP:
                return a
            return b if bool(reg[a]) == (op == Op.JUMP_IF) else at + 1
        elif op == Op.LOOP:
            reg[a] -= 1
            return b if reg[a] else at + 1
        elif op in {Op.CALL, Op.CALL_AT}:
            reg[d] = at + 1
            return a if op == Op.CALL else reg[a]
        elif op == Op.RETURN:
            return reg[a]
        elif op == Op.END:
            return None
        elif op == Op.TRAP:
            raise Trap(self.code.messages[a])
        elif op == Op.VECTOR:
            self.vector(self.code.instructions[at])
        else:
            self.simple(op, kind, d, a, b, c, self.code.instructions[at])
        return at + 1

    def arithmetic(self, op: int, kind: Kind, a: int, b: int) -> int:
        x, y = as_number(a, kind), as_number(b, kind)
        if op in COMPARE:
            return int(COMPARE[op](x, y))
        if op == Op.DIV:
            return as_bits(_divide(x, y, kind), kind)
        if op == Op.REM:
            return as_bits(x - _divide(x, y, kind) * y, kind)
        return as_bits(ARITHMETIC[op](x, y), kind)

    def simple(self, op: int, kind: int, d: int, a: int, b: int, c: int, row: np.ndarray) -> None:
        """Everything that goes on to the next instruction and is no arithmetic."""
        if op in VALUES:
            self.registers[d] = VALUES[op](self, kind, a, b, c)
        else:
            EFFECTS[op](self, kind, d, a, b, row)
        if op in {Op.LOAD_NEXT, Op.STORE_NEXT}:
            self.registers[a] = self.registers[a] + self.registers[c] & 0xFFFF

    def copy(self, to: int, start: int, words: int) -> None:
        self.memory[to : to + words] = self.memory[start : start + words]

    def load_dsr(self, cell: int, packed: int, row: int) -> None:
        key = (cell >> 8 & 0xFF, cell & 0xFF)
        self.dsrs[key] = packed
        self.saves.discard(key)
        if row != NONE and self.code.options[row][OPTION_COLUMNS.index("save_address")] == 1:
            self.saves.add(key)

    def maths(self, function: int, kind: Kind, *registers: int) -> int:
        given = [as_number(self.registers[each], kind) for each in registers]
        count = 2 if function in {Math.POW, Math.SCALE} else 1
        return as_bits(MATH[function](*given[:count]), kind)

    def print(self, row: np.ndarray) -> None:
        values = tuple(self.registers[each] for each in row[4:8])
        self.printed.append((self.code.messages[row[3]], values))

    # --- DSDs --------------------------------------------------------------------------------

    def changed(self, op: int, packed: int, by: int, words: int) -> int:
        fields = [packed >> 16 * n & 0xFFFF for n in range(4)]
        if op == Op.DSD_ADDRESS:
            fields[0] = by & 0xFFFF
        elif op == Op.DSD_LENGTH:
            fields[1] = by & 0xFFFF
        elif op == Op.DSD_STRIDE:
            size = int(self.code.dsds[fields[3]][DSD_COLUMNS.index("element_words")])
            fields[2] = by * size & 0xFFFF
        else:
            fields[0] = fields[0] + by * words & 0xFFFF
        return INTEGERS[Kind.I64].wrap(sum(each << 16 * n for n, each in enumerate(fields)))

    def part(self, packed: int, which: int, words: int) -> int:
        """A DSD's address, length, or stride for elements of so many words."""
        address, length, stride, row = (packed >> 16 * n & 0xFFFF for n in range(4))
        size = int(self.code.dsds[row][DSD_COLUMNS.index("element_words")])
        signed = stride - ((stride & 0x8000) << 1)
        return (address, length, signed // size * words & 0xFFFF)[which]

    def addresses(self, packed: int, words: int) -> list[int]:
        """Where each element of so many words lies; a DSD does not know what it describes."""
        address, length, stride, row = (packed >> 16 * n & 0xFFFF for n in range(4))
        stride -= (stride & 0x8000) << 1
        info = dict(zip(DSD_COLUMNS, map(int, self.code.dsds[row]), strict=True))
        stride = stride // info["element_words"] * words
        if info["kind"] == DsdKind.MEM1D:
            return [(address + n * stride) & 0xFFFF for n in range(length)]
        if info["kind"] == DsdKind.CIRCBUF:
            start, size = info["wrap_address"], info["wrap_words"]
            return [start + (address - start + n * stride) % size for n in range(length)]
        if info["kind"] != DsdKind.MEM4D:
            raise NotImplementedError(DsdKind(info["kind"]))
        return self.box(address, info)

    def box(self, address: int, info: dict[str, int]) -> list[int]:
        extents = [info[f"extent{n}"] for n in range(info["rank"])]
        strides = [info[f"stride{n}"] for n in range(info["rank"])]
        found, counts = [], [0] * info["rank"]
        for _ in range(math.prod(extents)):
            found.append(address)
            for n, extent in enumerate(extents):
                address += strides[n] if counts[n] + 1 < extent or n + 1 == len(extents) else 0
                counts[n] += 1
                if counts[n] < extent:
                    break
                counts[n] = 0
        return found

    def vector(self, row: Sequence[int]) -> None:
        """A DSD operation on memory, scalars and pointers."""
        op, d = int(row[1]), int(row[2])
        kinds, function = VECTORS[op]
        cells = [int(row[n]) for n in (3, 4, 5, 6)][: len(kinds)]
        sides = [self.operand(cell, kind) for cell, kind in zip(cells, kinds, strict=True)]
        lengths = [len(side) for side in sides if side is not None]
        count = min(lengths) if lengths else 1
        for n in range(count):
            given = []
            for cell, kind, side in zip(cells[1:], kinds[1:], sides[1:], strict=True):
                given.append(as_number(self.element(cell, kind, side, n), kind))
            self.put(cells[0], kinds[0], sides[0], n, as_bits(function(*given), kinds[0]))
        if d != NONE:
            self.registers[d] = 1
        self.after(cells)

    def operand(self, cell: int, kind: Kind) -> list[int] | None:
        """The addresses of an operand; None for one address or a scalar."""
        form, payload = Operand(cell >> 24), cell & 0xFFFFFF
        if form == Operand.DSD:
            return self.addresses(self.registers[payload], WORDS.get(kind, 1))
        if form == Operand.DSR:
            return self.addresses(self.dsrs[payload >> 8, payload & 0xFF], WORDS.get(kind, 1))
        assert form in {Operand.SCALAR, Operand.POINTER}, kind
        return None

    def element(self, cell: int, kind: Kind, side: list[int] | None, n: int) -> int:
        register = self.registers[cell & 0xFFFFFF] if side is None else 0
        if isinstance(side, list):
            return self.load(side[n], kind)
        if Operand(cell >> 24) == Operand.POINTER:
            return self.load(register, kind)
        return register if kind in FLOATS else INTEGERS[kind].wrap(register)

    def put(self, cell: int, kind: Kind, side: list[int] | None, n: int, bits: int) -> None:
        at = side[n] if isinstance(side, list) else self.registers[cell & 0xFFFFFF]
        self.store(at, bits, kind)

    def after(self, cells: list[int]) -> None:
        """DSRs that were loaded with `save_address` go on where they ended."""
        for cell in cells:
            key = (cell >> 8 & 0xFF, cell & 0xFF)
            if Operand(cell >> 24) == Operand.DSR and key in self.saves:
                packed = self.dsrs[key]
                length, stride = packed >> 16 & 0xFFFF, packed >> 32 & 0xFFFF
                stride -= (stride & 0x8000) << 1
                self.dsrs[key] = self.changed(Op.DSD_ADVANCE, packed, length * stride, 1)


def _changed(op: int) -> Callable[..., int]:
    return lambda pe, _, a, b, c: pe.changed(op, pe.registers[a], pe.registers[b], c)


# What an instruction writes into register d, from (PE, type, a, b, c) …
VALUES: dict[int, Callable[..., int]] = {
    Op.CONST: lambda pe, _, a, b, c: int(pe.code.constants[a]),
    Op.MOVE: lambda pe, _, a, b, c: pe.registers[a],
    Op.LOAD: lambda pe, kind, a, b, c: pe.load(pe.registers[a] + b, Kind(kind)),
    Op.LOAD_NEXT: lambda pe, kind, a, b, c: pe.load(pe.registers[a], Kind(kind)),
    Op.DSD_PART: lambda pe, _, a, b, c: pe.part(pe.registers[a], b, c),
    Op.NEG: lambda pe, kind, a, b, c: as_bits(-as_number(pe.registers[a], kind), kind),
    Op.NOT: lambda pe, kind, a, b, c: as_bits(~pe.registers[a], kind),
    Op.LNOT: lambda pe, kind, a, b, c: int(not pe.registers[a]),
    Op.CONVERT: lambda pe, kind, a, b, c: as_bits(as_number(pe.registers[a], b), kind),
    Op.MATH: lambda pe, kind, a, b, c: pe.maths(c, kind, a, b),
    Op.GET_CONFIG: lambda pe, kind, a, b, c: pe.config.get(pe.registers[a], 0),
    Op.TIME: lambda pe, kind, a, b, c: pe.steps,
    **{op: _changed(op) for op in DSD_OPS},
}
# … and what the others do, from (PE, type, d, a, b, row).
EFFECTS: dict[int, Callable[..., None]] = {
    Op.STORE: lambda pe, kind, d, a, b, _: pe.store(pe.registers[a] + b, pe.registers[d], kind),
    Op.STORE_NEXT: lambda pe, kind, d, a, b, _: pe.store(pe.registers[a], pe.registers[d], kind),
    Op.COPY: lambda pe, kind, d, a, b, _: pe.copy(pe.registers[d], pe.registers[a], b),
    Op.LOAD_DSR: lambda pe, kind, d, a, b, row: pe.load_dsr(a, pe.registers[b], row[7]),
    Op.ACTIVATE: lambda pe, kind, d, a, b, _: pe.active.add(pe.registers[a]),
    Op.BLOCK: lambda pe, kind, d, a, b, _: pe.blocked.add(pe.registers[a]),
    Op.UNBLOCK: lambda pe, kind, d, a, b, _: pe.blocked.discard(pe.registers[a]),
    Op.SET_CONFIG: lambda pe, kind, d, a, b, _: pe.config.update(
        {pe.registers[a]: pe.registers[b]}
    ),
    Op.HOST_READY: lambda pe, *_: setattr(pe, "ready", pe.ready + 1),
    Op.PRINT: lambda pe, kind, d, a, b, row: pe.print(row),
    Op.TIME_ENABLE: lambda *_: None,
}
