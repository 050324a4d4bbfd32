"""What a PE executes: instructions, operands and tables. The lowering writes it, the machine runs it.

A `Code` is one PE program (one `layout.TileCode`) as flat arrays, shared by every PE that runs it.

Memory is counted in 16-bit words, as the hardware's addresses are. `f16 bf16 cb16 i16 u16 bool i8 u8`,
enums up to 16 bits, pointers and identifiers take one word, 32-bit types two, 64-bit types and DSDs
four; low word first. Arrays are row-major, structs field after field.

Registers are 64-bit and belong to one PE. Functions do not recurse, hence every function has its own
registers, given out when it is lowered, and a call is: move the arguments, `CALL`, move the result.
A register holds an integer in its type's range (signed types negative as Python's), a float as the
raw bits of its type (16 or 32 of them), a bool as 0 or 1, a pointer as a word address, a function
pointer as an instruction number, and a DSD packed into 64 bits:

    bits  0-15   word address (memory kinds), else 0
    bits 16-31   length: elements of a mem1d or circbuf, wavelets of a fabric DSD
    bits 32-47   stride in words, signed (mem1d and circbuf)
    bits 48-63   row of `Code.dsds`, which says the rest

An instruction is a row of ten int32: `op, type, d, a, b, c, e, f, g, h`. What is not said below is 0.
`d` is the register written, `a` and `b` registers read. `type` is a `Kind`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

COLUMNS = 10
SRAM_WORDS = 24_576  # 48 KiB
NONE = -1


class Kind(IntEnum):
    """How a register's bits are read. `words()` of each: 1 for 8 and 16 bits, 2 for 32, 4 for 64."""

    I8 = 0
    U8 = 1
    I16 = 2
    U16 = 3
    I32 = 4
    U32 = 5
    I64 = 6
    U64 = 7
    F16 = 8
    BF16 = 9
    CB16 = 10
    F32 = 11
    BOOL = 12


class Op(IntEnum):
    """Instructions of the main thread."""

    # Values
    CONST = 0  # d = constants[a]
    MOVE = 1  # d = a
    LOAD = 2  # d = memory[register a + immediate b], as `type`
    STORE = 3  # memory[register a + immediate b] = register d, as `type`
    COPY = 4  # b words (immediate) from the address in register a to the one in register d
    LOAD_NEXT = 5  # as LOAD, then register a += register c: `@map` stepping a DSD
    STORE_NEXT = 6
    ADD = 10  # d = a op b in `type`; integers wrap, floats round to nearest even
    SUB = 11
    MUL = 12
    DIV = 13  # integers toward zero; by zero is a fault
    REM = 14
    AND = 15
    OR = 16
    XOR = 17
    SHL = 18
    SHR = 19  # arithmetic for signed types
    NEG = 20  # d = op a
    NOT = 21  # bitwise
    LNOT = 22  # bool
    EQ = 23  # d = a op b as bool, compared in `type`
    NE = 24
    LT = 25
    LE = 26
    GT = 27
    GE = 28
    CONVERT = 29  # d = a of kind b as `type`: `@as`; floats go to integers toward zero
    MATH = 30  # d = function c (a `Math`) of a (and b) in `type`
    # Control
    JUMP = 40  # to instruction a
    JUMP_IF = 41  # to instruction b if register a is not 0
    JUMP_UNLESS = 42
    CALL = 43  # instruction a; the return address goes into register d
    CALL_AT = 44  # as CALL, to the instruction number in register a
    RETURN = 45  # to the instruction number in register a
    END = 46  # of a task: the scheduler picks the next one
    LOOP = 48  # register a -= 1; to instruction b unless it is 0
    TRAP = 47  # a failed `@assert` or an impossible place: message a of `Code.messages`
    # Vectors: d = result register or NONE (bool: whether a FIFO operation ran to its end);
    #   type = the `Vector`; a, b, c, e = operands (see `operand`): destination, src0, src1, scalar;
    #   f = row of `Code.options` or NONE; g = register with the `.index`, or NONE
    VECTOR = 60
    LOAD_DSR = 61  # operand a (a DSR) = DSD in register b, with options row f or NONE
    SET_DSR = 68  # the address (c = 0) or length (c = 1) of operand a (a DSR) := register b
    # DSDs in registers
    DSD_ADDRESS = 62  # d = DSD a with its address := register b (`@set_dsd_base_addr`)
    DSD_LENGTH = 63  # d = DSD a with its length := register b
    DSD_STRIDE = 64  # d = DSD a with its stride := register b times the element's words
    DSD_ADVANCE = 65  # d = DSD a with its address += register b times immediate c words
    # d = of DSD a: 0 its address, 1 its length, 2 its stride in words if elements have c words
    DSD_PART = 67  # b says which
    FIFO_LENGTH = 66  # of FIFO a := register b; c = 0: read length, 1: write length
    # Tasks and queues; `type` is a `Target`, the id is register a
    ACTIVATE = 70
    BLOCK = 71
    UNBLOCK = 72
    # Once input (c = 0) or output queue (c = 1) of register a is empty, the teardown task is activated
    QUEUE_FLUSH = 73
    # The rest of the PE
    TIME = 80  # d = the 48-bit timestamp counter
    TIME_ENABLE = 81  # on (a = 1) or off (a = 0): immediate
    RANDOM = 82  # d = the next 16 bits of the active generator (`@random16`)
    SET_RANDOM = 83  # active generator := register a
    GET_CONFIG = 84  # d = configuration word at register a; addresses: registers.py
    SET_CONFIG = 85  # configuration word at register a := register b
    # Row a of `Code.messages`, {} standing for registers b, c, e, f; their kinds are the bytes of g,
    # the first lowest (255: none)
    PRINT = 86
    HOST_READY = 87  # `unblock_cmd_stream`: this PE is ready for the host's next command


class Math(IntEnum):
    """Functions of one register (two where said); computed in f64, rounded to the type."""

    SQRT = 0
    EXP = 1
    LOG = 2
    SIN = 3
    COS = 4
    TAN = 5
    TANH = 6
    SINH = 7
    COSH = 8
    ASIN = 9
    ACOS = 10
    ATAN = 11
    FLOOR = 12
    CEIL = 13
    ABS = 14
    INV = 15  # 1 / a
    INV_SQRT = 16
    POW = 17  # a ** b
    ATAN2 = 18
    MIN = 19  # of a and b
    MAX = 20
    EXP2 = 21
    LOG2 = 22
    LOG10 = 23
    SIGN = 24
    ROUND = 25
    TRUNC = 26
    FMOD = 27
    POPCOUNT = 28
    CLZ = 29
    CTZ = 30
    IS_NAN = 31
    IS_INF = 32
    IS_FINITE = 33
    SIGNBIT = 34
    SCALE = 35  # a * 2**b, b in the same type
    SIGMOID = 36  # 1 / (1 + exp(-a))


class Vector(IntEnum):
    """DSD operations, by the builtin's name. Elements are as wide as the name says."""

    MOV16 = 0
    MOV32 = 1
    ADD16 = 2
    ADDC16 = 3
    SUB16 = 4
    SUBC16 = 5
    MUL16 = 6
    ADD32 = 7
    SUB32 = 8
    AND16 = 9
    OR16 = 10
    XOR16 = 11
    SLL16 = 12
    SLR16 = 13
    SAR16 = 14
    POPCNT = 15
    CLZ = 16
    CTZ = 17
    FMOVH = 20
    FMOVS = 21
    FADDH = 22
    FADDS = 23
    FADDHS = 24
    FSUBH = 25
    FSUBS = 26
    FMULH = 27
    FMULS = 28
    FMACH = 29
    FMACS = 30
    FMACHS = 31
    FNEGH = 32
    FNEGS = 33
    FABSH = 34
    FABSS = 35
    FMAXH = 36
    FMAXS = 37
    FSCALEH = 38
    FSCALES = 39
    FNORMH = 40
    FNORMS = 41
    FH2S = 42
    FS2H = 43
    FH2XP16 = 44
    FS2XP16 = 45
    XP162FH = 46
    XP162FS = 47
    DFILT = 48
    FFS = 49


class Target(IntEnum):
    """What `ACTIVATE`, `BLOCK`, `UNBLOCK` and an option's `unblock` name."""

    LOCAL_TASK = 0
    DATA_TASK = 1
    CONTROL_TASK = 2
    COLOR = 3
    INPUT_QUEUE = 4
    MICROTHREAD = 5


class Operand(IntEnum):
    """Kinds of a vector's operand."""

    NONE = 0
    DSD = 1  # the packed DSD in a register
    DSR = 2  # file << 8 | number; files: 0 dest, 1 src0, 2 src1
    SCALAR = 3  # a register with one element
    POINTER = 4  # a register with the address of one element


def operand(kind: Operand, payload: int = 0) -> int:
    """An operand as an instruction holds it: the kind in bits 24 and up, the payload below."""
    return kind << 24 | payload


class DsdKind(IntEnum):
    MEM1D = 0
    MEM4D = 1
    CIRCBUF = 2
    FABIN = 3
    FABOUT = 4
    FIFO = 5


class Priority(IntEnum):
    DEFAULT = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


class SimdMode(IntEnum):
    """Wavelets and elements of a 16-bit operation on a fabric DSD."""

    NONE = 0  # one element a wavelet
    SIMD_32 = 1  # two elements a wavelet
    SIMD_64 = 2  # two wavelets at once, else wait
    SIMD_32_OR_64 = 3


# Columns of `Code.dsds`. Memory kinds use RANK … STRIDE (mem4d: innermost first; STRIDE in words, with
# the reset of inner dimensions in it), fabric kinds QUEUE … , `FIFO_ROW` is the row of `Code.fifos`.
DSD_COLUMNS = (
    "kind", "element_words", "rank", "extent0", "extent1", "extent2", "extent3",
    "stride0", "stride1", "stride2", "stride3", "wrap_address", "wrap_words",
    "queue", "color", "control", "control_transform", "advance_switch", "index_offset",
    "priority", "simd", "zero", "fifo",
)  # fmt: skip

# Columns of `Code.options`; NONE where not given. `unblock_kind` and `control_unblock_kind` are `Target`s.
OPTION_COLUMNS = (
    "async", "activate", "unblock_kind", "unblock", "control_terminate", "control_activate",
    "control_unblock_kind", "control_unblock", "microthread", "priority", "save_address", "single_step",
)  # fmt: skip

# Columns of `Code.fifos`: where the buffer is, and what is activated after a push or a pop; actions
# are 0 test_or_suspend, 1 terminate, 2 suspend, 3 fault.
FIFO_COLUMNS = (
    "address", "words", "element_words", "activate_push", "activate_pop", "empty_action", "full_action",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """Where a task starts; a data or control task's arguments: (register, `Kind`) for each."""

    name: str
    entry: int
    params: tuple[tuple[int, int], ...] = ()


_DOUBLE, _QUAD = {Kind.I32, Kind.U32, Kind.F32}, {Kind.I64, Kind.U64}


@dataclass(frozen=True)
class HostVariable:
    """An exported variable. `pointed` is where an exported pointer points at the start."""

    name: str
    kind: Kind
    address: int
    count: int
    pointed: int | None = None

    @property
    def words(self) -> int:
        """16-bit words that the host may read or write."""
        return self.count * (4 if self.kind in _QUAD else 2 if self.kind in _DOUBLE else 1)


@dataclass(frozen=True)
class HostFunction:
    """An exported function: `entry` runs it and ends as a task does; params as in `Task`."""

    name: str
    entry: int
    params: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class MemoryRow:
    """One line of the memory map: a variable, or the estimate of the program's text."""

    name: str
    address: int
    words: int
    where: str


@dataclass(frozen=True)
class Code:
    """One PE's program. Arrays are int32 unless said; see the columns above."""

    name: str
    instructions: np.ndarray  # [n, COLUMNS]
    lines: np.ndarray  # [n, 2]: row of `files`, line
    files: tuple[str, ...]
    constants: np.ndarray  # int64
    registers: int
    memory: np.ndarray  # uint16: the first values of all variables, from address 0
    memory_map: tuple[MemoryRow, ...]
    messages: tuple[str, ...]
    dsds: np.ndarray  # [*, len(DSD_COLUMNS)]
    options: np.ndarray  # [*, len(OPTION_COLUMNS)]
    fifos: np.ndarray  # [*, len(FIFO_COLUMNS)]
    dsrs: Mapping[tuple[int, int], tuple[int, int]]  # (file, number) -> (packed DSD, options row)
    tasks: Mapping[
        tuple[int, int], Task
    ]  # (`Target` LOCAL, DATA or CONTROL, id); WSE-2 DATA: color
    teardown: Mapping[int, Task]  # by color
    activated: frozenset[int]
    blocked: frozenset[tuple[int, int]]  # (`Target`, id)
    inputs: Mapping[int, tuple[int, int]]  # input queue -> (color, `Priority`)
    outputs: Mapping[int, tuple[int, int]]  # output queue -> (color, `Priority`)
    config: Mapping[int, int]  # configuration words set before the start
    variables: Mapping[str, HostVariable]
    functions: Mapping[str, HostFunction]
    printed: tuple[str, ...] = ()  # by `@comptime_print` in functions
