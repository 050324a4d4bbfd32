"""Arithmetic of a PE, jitted: scalar instructions on registers, and one element of a vector operation.

Longer than most files because it has one branch for each function and operation.
"""

import math

import numpy as np

from waferllm.csl.code import Kind, Math, Op, Vector
from waferllm.csl.machine.floats import (
    F16,
    F32,
    float_to_half,
    from_f32,
    from_float,
    half_to_float,
    to_f32,
    to_float,
)
from waferllm.csl.machine.jit import njit

ADD, SUB, MUL, DIV, REM = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV), int(Op.REM)
AND, OR, XOR, SHL, SHR = int(Op.AND), int(Op.OR), int(Op.XOR), int(Op.SHL), int(Op.SHR)
EQ, NE, LT, LE, GT, GE = (int(x) for x in (Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE))
FIRST_FLOAT, U64, BOOL = int(Kind.F16), int(Kind.U64), int(Kind.BOOL)


@njit(cache=True)
def is_float(kind):
    """Whether registers of this kind hold a float's bits."""
    return FIRST_FLOAT <= kind <= F32


@njit(cache=True)
def wrap(value, kind):
    """An integer as the kind's bits keep it."""
    if kind >= 6:  # 64 bits, bool
        return value
    bits = np.int64(8) << (kind >> 1)
    kept = value & ((np.int64(1) << bits) - 1)
    if kind & 1 == 0 and kept >> (bits - 1):
        return kept - (np.int64(1) << bits)
    return kept


@njit(cache=True, inline="never")
def float_binary(op, kind, a, b):
    """`a op b` on floats' bits; comparisons give 0 or 1."""
    x, y = to_float(a, kind), to_float(b, kind)
    if op == ADD:
        return from_float(x + y, kind)
    if op == SUB:
        return from_float(x - y, kind)
    if op == MUL:
        return from_float(x * y, kind)
    if op == DIV:
        if y == 0.0:
            if x == 0.0 or np.isnan(x):
                return from_float(np.nan, kind)
            return from_float(math.copysign(1.0, x) * math.copysign(np.inf, y), kind)
        return from_float(x / y, kind)
    if op == EQ:
        return np.int64(x == y)
    if op == NE:
        return np.int64(x != y)
    if op == LT:
        return np.int64(x < y)
    if op == LE:
        return np.int64(x <= y)
    if op == GT:
        return np.int64(x > y)
    return np.int64(x >= y)


@njit(cache=True, inline="never")
def _divide(op, kind, a, b):
    if kind == U64:
        x, y = np.uint64(a), np.uint64(b)
        return np.int64(x // y) if op == DIV else np.int64(x % y)
    quotient = abs(a) // abs(b)
    if (a < 0) != (b < 0):
        quotient = -quotient
    return wrap(quotient, kind) if op == DIV else wrap(a - quotient * b, kind)


@njit(cache=True)
def binary(op, kind, a, b):
    """`a op b` on registers; the caller has made sure that an integer divisor is not 0."""
    if is_float(kind):
        return float_binary(op, kind, a, b)
    if op == ADD:
        return wrap(a + b, kind)
    if op == SUB:
        return wrap(a - b, kind)
    if op == MUL:
        return wrap(a * b, kind)
    if op == AND:
        return a & b
    if op == OR:
        return a | b
    if op == XOR:
        return wrap(a ^ b, kind)
    if op == SHL:
        return wrap(a << b, kind) if b < 64 else np.int64(0)
    if op == SHR:
        if kind == U64:
            return np.int64(np.uint64(a) >> np.uint64(b)) if b < 64 else np.int64(0)
        return a >> min(b, np.int64(63))
    if op == EQ:
        return np.int64(a == b)
    if op == NE:
        return np.int64(a != b)
    if op == DIV or op == REM:
        return _divide(op, kind, a, b)
    if kind == U64:
        a, b = a ^ np.int64(-(2**63)), b ^ np.int64(-(2**63))
    if op == LT:
        return np.int64(a < b)
    if op == LE:
        return np.int64(a <= b)
    if op == GT:
        return np.int64(a > b)
    return np.int64(a >= b)


@njit(cache=True, inline="never")
def convert(value, have, wanted):
    """`@as`: floats go to integers toward zero, integers keep their low bits."""
    if is_float(have):
        number = to_float(value, have)
        if is_float(wanted):
            return from_float(number, wanted)
        if wanted == BOOL:
            return np.int64(number != 0.0)
        if np.isnan(number):
            return np.int64(0)
        number = min(max(number, -9.2e18), 9.2e18)
        return wrap(np.int64(number), wanted)
    if wanted == BOOL:
        return np.int64(value != 0)
    if is_float(wanted):
        if have == U64:
            return from_float(np.float64(np.uint64(value)), wanted)
        return from_float(np.float64(value), wanted)
    return wrap(value, wanted)


# --- Functions -------------------------------------------------------------------------------

SQRT, EXP, LOG, SIN, COS, TAN = (
    int(x) for x in (Math.SQRT, Math.EXP, Math.LOG, Math.SIN, Math.COS, Math.TAN)
)
TANH, SINH, COSH, ASIN, ACOS, ATAN = (
    int(x) for x in (Math.TANH, Math.SINH, Math.COSH, Math.ASIN, Math.ACOS, Math.ATAN)
)
FLOOR, CEIL, ABS, INV, INV_SQRT, POW = (
    int(x) for x in (Math.FLOOR, Math.CEIL, Math.ABS, Math.INV, Math.INV_SQRT, Math.POW)
)
ATAN2, MIN, MAX, EXP2, LOG2, LOG10 = (
    int(x) for x in (Math.ATAN2, Math.MIN, Math.MAX, Math.EXP2, Math.LOG2, Math.LOG10)
)
SIGN, ROUND, TRUNC, FMOD, SCALE, SIGMOID = (
    int(x) for x in (Math.SIGN, Math.ROUND, Math.TRUNC, Math.FMOD, Math.SCALE, Math.SIGMOID)
)
POPCOUNT, CLZ, CTZ = int(Math.POPCOUNT), int(Math.CLZ), int(Math.CTZ)
IS_NAN, IS_INF, IS_FINITE, SIGNBIT = (
    int(x) for x in (Math.IS_NAN, Math.IS_INF, Math.IS_FINITE, Math.SIGNBIT)
)


@njit(cache=True, inline="never")
def _function(which, x, y):
    if which == SQRT:
        return math.sqrt(x) if x >= 0.0 else np.nan
    if which == EXP:
        return np.exp(x)
    if which == LOG:
        return np.log(x) if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
    if which == SIN:
        return np.sin(x)
    if which == COS:
        return np.cos(x)
    if which == TAN:
        return np.tan(x)
    if which == TANH:
        return np.tanh(x)
    if which == SINH:
        return np.sinh(x)
    if which == COSH:
        return np.cosh(x)
    if which == ASIN:
        return np.arcsin(x)
    if which == ACOS:
        return np.arccos(x)
    if which == ATAN:
        return np.arctan(x)
    if which == FLOOR:
        return np.floor(x)
    if which == CEIL:
        return np.ceil(x)
    if which == ABS:
        return abs(x)
    if which == INV:
        return 1.0 / x if x != 0.0 else math.copysign(np.inf, x)
    if which == INV_SQRT:
        return 1.0 / math.sqrt(x) if x > 0.0 else (np.inf if x == 0.0 else np.nan)
    if which == POW:
        return np.power(x, y)
    if which == ATAN2:
        return math.atan2(x, y)
    if which == MIN:
        return min(x, y)
    if which == MAX:
        return max(x, y)
    if which == EXP2:
        return np.exp2(x)
    if which == LOG2:
        return np.log2(x) if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
    if which == LOG10:
        return np.log10(x) if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
    if which == SIGN:
        return np.sign(x)
    if which == ROUND:
        return np.round(x)
    if which == TRUNC:
        return np.trunc(x)
    if which == FMOD:
        return np.fmod(x, y) if y != 0.0 else np.nan
    if which == SCALE:
        return x * 2.0**y
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=True)
def count_ones(value):
    """Bits that are 1."""
    count = np.int64(0)
    while value:
        value &= value - 1
        count += 1
    return count


@njit(cache=True)
def bit_length(value):
    """Position of the highest 1, counted from 1; 0 for 0. `value` is not negative."""
    count = np.int64(0)
    while value:
        value >>= 1
        count += 1
    return count


@njit(cache=True, inline="never")
def math_function(which, kind, a, b):
    """`MATH`: a function of registers."""
    if not is_float(kind):
        bits = np.int64(8) << (min(kind, 7) >> 1)
        raw = a & ((np.int64(1) << bits) - 1) if bits < 64 else a
        if which == POPCOUNT:
            return count_ones(raw)
        if which == CLZ:
            return bits - bit_length(raw)
        if which == CTZ:
            return bits if raw == 0 else bit_length(raw & -raw) - 1
        if which == MIN:
            return min(a, b)
        if which == MAX:
            return max(a, b)
        if which == SIGN:
            return np.int64(a > 0) - np.int64(a < 0)
        return wrap(abs(a), kind)
    x = to_float(a, kind)
    if which == IS_NAN:
        return np.int64(np.isnan(x))
    if which == IS_INF:
        return np.int64(np.isinf(x))
    if which == IS_FINITE:
        return np.int64(np.isfinite(x))
    if which == SIGNBIT:
        return np.int64(math.copysign(1.0, x) < 0.0)
    return from_float(_function(which, x, to_float(b, kind)), kind)


# --- Vectors ---------------------------------------------------------------------------------

V = {each.name: int(each) for each in Vector}
MOV16, MOV32, POPCNT, VCLZ, VCTZ, FFS = (
    V[n] for n in ("MOV16", "MOV32", "POPCNT", "CLZ", "CTZ", "FFS")
)
ADD16, ADDC16, SUB16, SUBC16, MUL16, ADD32, SUB32 = (
    V[n] for n in ("ADD16", "ADDC16", "SUB16", "SUBC16", "MUL16", "ADD32", "SUB32")
)
AND16, OR16, XOR16, SLL16, SLR16, SAR16 = (
    V[n] for n in ("AND16", "OR16", "XOR16", "SLL16", "SLR16", "SAR16")
)
FMOVH, FMOVS, FADDH, FADDS, FADDHS, FSUBH, FSUBS = (
    V[n] for n in ("FMOVH", "FMOVS", "FADDH", "FADDS", "FADDHS", "FSUBH", "FSUBS")
)
FMULH, FMULS, FMACH, FMACS, FMACHS = (V[n] for n in ("FMULH", "FMULS", "FMACH", "FMACS", "FMACHS"))
FNEGH, FNEGS, FABSH, FABSS, FMAXH, FMAXS = (
    V[n] for n in ("FNEGH", "FNEGS", "FABSH", "FABSS", "FMAXH", "FMAXS")
)
FSCALEH, FSCALES, FNORMH, FNORMS, FH2S, FS2H = (
    V[n] for n in ("FSCALEH", "FSCALES", "FNORMH", "FNORMS", "FH2S", "FS2H")
)
FH2XP16, FS2XP16, XP162FH, XP162FS, DFILT = (
    V[n] for n in ("FH2XP16", "FS2XP16", "XP162FH", "XP162FS", "DFILT")
)


@njit(cache=True)
def _signed16(value):
    value &= 0xFFFF
    return value - 0x10000 if value & 0x8000 else value


@njit(cache=True, inline="never")
def _normalized(a, kind):
    """`@fnorm`: the significand in [0.5, 1) with its sign."""
    x = to_float(a, kind)
    if x == 0.0 or not np.isfinite(x):
        return a
    fraction, _ = math.frexp(x)
    return from_float(fraction, kind)


@njit(cache=True, inline="never")
def _element_integer(op, a, b, carry):
    """16- and 32-bit integers: (bits, carry)."""
    x, y = a & 0xFFFF, b & 0xFFFF
    if op == ADD16:
        return (x + y) & 0xFFFF, (x + y) >> 16
    if op == ADDC16:
        return (x + y + carry) & 0xFFFF, (x + y + carry) >> 16
    if op == SUB16:
        return (x - y) & 0xFFFF, np.int64(x >= y)
    if op == SUBC16:
        return (x - y - 1 + carry) & 0xFFFF, np.int64(x >= y + 1 - carry)
    if op == MUL16:
        return (x * y) & 0xFFFF, carry
    if op == ADD32:
        return (a + b) & 0xFFFFFFFF, carry
    if op == SUB32:
        return (a - b) & 0xFFFFFFFF, carry
    if op == AND16:
        return x & y, carry
    if op == OR16:
        return x | y, carry
    if op == XOR16:
        return x ^ y, carry
    if op == SLL16:
        return (x << y) & 0xFFFF if y < 16 else np.int64(0), carry
    if op == SLR16:
        return x >> y if y < 16 else np.int64(0), carry
    if op == SAR16:
        return (_signed16(x) >> min(y, np.int64(15))) & 0xFFFF, carry
    if op == POPCNT:
        return count_ones(x), carry
    if op == VCLZ:
        return 16 - bit_length(x), carry
    return (np.int64(16) if x == 0 else bit_length(x & -x) - 1), carry


@njit(cache=True, inline="never")
def _element_half(op, h, a, b, c):
    """Operations that have a 16-bit float in them; `h` is its kind."""
    if op == FNEGH:
        return a ^ 0x8000
    if op == FABSH:
        return a & 0x7FFF
    if op == FNORMH:
        return _normalized(a, h)
    if op == FADDHS:
        return from_f32(to_f32(a) + np.float32(to_float(b, h)))
    if op == FMACHS:
        product = to_float(b, h) * to_float(c, h)
        return from_float(np.float64(to_f32(a)) + product, F32)
    if op == FS2H:
        return from_float(np.float64(to_f32(a)), h)
    if op == XP162FH:
        return from_float(np.float64(_signed16(a)), h)
    x = to_float(a, h)
    if op == FH2S:
        return from_float(x, F32)
    if op == FH2XP16:
        return np.int64(min(max(x, -32768.0), 32767.0)) & 0xFFFF if x == x else np.int64(0)
    if op == FSCALEH:
        return from_float(x * 2.0 ** _signed16(b), h)
    y = to_float(b, h)
    if op == FADDH:
        return from_float(x + y, h)
    if op == FSUBH:
        return from_float(x - y, h)
    if op == FMULH:
        return from_float(x * y, h)
    if op == FMAXH:
        return a if x >= y or y != y else b
    return from_float(x + y * to_float(c, h), h)


@njit(cache=True)
def element(op, h, a, b, c, carry):
    """One element of a vector operation: (result's bits, carry)."""
    # The two that kernels consist of come first and without a call: half the time of an element.
    if op == FMACH and h == F16:
        return float_to_half(half_to_float(a) + half_to_float(b) * half_to_float(c)), carry
    if op == FADDH and h == F16:
        return float_to_half(half_to_float(a) + half_to_float(b)), carry
    if op == FMACS:
        # The product is exact in f64; the sum is rounded to f64 and then to f32.
        product = np.float64(to_f32(b)) * np.float64(to_f32(c))
        return from_float(np.float64(to_f32(a)) + product, F32), carry
    if op == FADDS:
        return from_f32(to_f32(a) + to_f32(b)), carry
    if op == FMULS:
        return from_f32(to_f32(a) * to_f32(b)), carry
    if op == MOV32 or op == FMOVS:
        return a & 0xFFFFFFFF, carry
    if op == MOV16 or op == FMOVH:
        return a & 0xFFFF, carry
    if op == FSUBS:
        return from_f32(to_f32(a) - to_f32(b)), carry
    if op == FMAXS:
        x, y = to_f32(a), to_f32(b)
        return (a if x >= y or y != y else b) & 0xFFFFFFFF, carry
    if op == FNEGS:
        return (a ^ 0x80000000) & 0xFFFFFFFF, carry
    if op == FABSS:
        return a & 0x7FFFFFFF, carry
    if op == FSCALES:
        return from_f32(np.float32(np.float64(to_f32(a)) * 2.0 ** _signed16(b))), carry
    if op == FNORMS:
        return _normalized(a, F32), carry
    if op == FS2XP16:
        x = np.float64(to_f32(a))
        return (np.int64(min(max(x, -32768.0), 32767.0)) & 0xFFFF if x == x else np.int64(0)), carry
    if op == XP162FS:
        return from_f32(np.float32(_signed16(a))), carry
    if op < FMOVH or op == FFS:
        return _element_integer(op, a, b, carry)
    return _element_half(op, h, a, b, c), carry
