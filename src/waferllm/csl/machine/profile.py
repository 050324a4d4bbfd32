"""What the machine's cycles depend on: one profile per chip and source of the measurement.

Sources: (A) CSL documentation, appendix on SIMD; (D) SDK 2.10 documentation, DSD page; (H) Luczynski et
al., HPDC 2024, on a CS-2; (S) timings of published WSE-2 simulator runs of `@fmuls` and of a GEMM's inner
loop; (T) data tasks timed on the WSE-3 simulator; (L) link rate and hop latency measured on a CS-3;
(M) MeshGEMM of five sizes on a CS-3: a step of tile t takes 182 + 28.4 t + 3.41 t^2 + 0.235 t^3 cycles
within 2 %, that is 28 for three DSD loads and the loop, 2 t^2 for sending and receiving both tiles by
pairs, 1.4 for each call of `@map` with a preloaded `@fmach`, and 0.235 for each of its elements; (E) a loop
of synchronous `@mov32` of one word, 13.0 cycles each on a CS-3; (R) two readings of the clock one after
the other, 18 cycles on a CS-3; (C) our choice, where nothing is published.
"""

from dataclasses import dataclass

import numpy as np

from waferllm.csl.code import Kind, Op, Vector
from waferllm.errors import InputError

# Elements per cycle (A): WSE-2, WSE-3. What is not listed runs at one.
SIMD_WIDTH = {
    "ADD16 AND16 FABSH FADDH FMACH FMOVH FMULH FNEGH FNORMH FSCALEH FSUBH MOV16 OR16 SUB16 XOR16": (
        4,
        8,
    ),
    "FABSS FADDHS FADDS FMACHS FMOVS FNEGS FNORMS FSCALES FSUBS MOV32": (2, 4),
    "ADDC16 FH2XP16 FMAXH XP162FH": (1, 8),
    "FH2S FMAXS FS2H FS2XP16 SAR16 SLL16 SLR16 XP162FS": (1, 4),
}
# Words that a queue holds (D), by queue number.
INPUT_DEPTH = {"wse2": (6, 6, 4, 4, 2, 2, 2, 2), "wse3": (8, 8, 4, 4, 4, 4, 4, 4)}
OUTPUT_DEPTH = {"wse2": (2, 2, 6, 6, 2, 2, 2, 2), "wse3": (8, 8, 8, 8, 8, 8, 8, 8)}
FLOATS = {Kind.F16, Kind.BF16, Kind.CB16, Kind.F32}
KINDS, OPS = len(Kind), 128


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Cycles of one chip, as its simulator or its silicon counts them."""

    name: str
    arch: str
    hop_cycles: int = 1  # (H); WSE-3 silicon 2 (L)
    ramp_cycles: int = 2  # (H) T_R, each way
    link_period: tuple[int, int] = (1, 1)  # wavelets per cycles; WSE-3 silicon 8 in 9 (L)
    vector_start_cycles: int = 1  # (M)
    time_cycles: int = 5  # (S) n + 6 between two readings of the clock, DSRs preloaded; (R)
    dsd_load_cycles: int = 9  # (S) about 28 for three operands; WSE-3 silicon 5 (E)
    dsr_word_cycles: int = 4  # (S) 22 + 2.02 n of a GEMM's inner loop that sets two addresses
    task_start_cycles: int = 24  # (T) 31 to 32 per wavelet, with a body of two additions to memory
    divide_cycles: int = 50  # comment in the published examples
    float_cycles: int = 2  # (C) scalar float add, multiply, compare, convert
    call_cycles: int = 2  # (C) also jumps that are taken
    math_cycles: int = 60  # (C) square root, exponential, … in software
    load_cycles: int = 1  # (A) memory answers in a cycle
    read_words: int = 16  # a cycle: as many as (A)'s widths need; WSE-3 silicon 8 (M)
    conflict_cycles: int = 2  # (S), (A); WSE-3 silicon 1: (M) shows none in five sizes


def _profiles() -> dict[str, Profile]:
    made = [
        Profile(name="wse2@sim", arch="wse2"),
        Profile(name="wse3@sim", arch="wse3"),
        Profile(name="wse2@silicon", arch="wse2"),
        Profile(
            name="wse3@silicon",
            arch="wse3",
            hop_cycles=2,
            link_period=(8, 9),
            dsd_load_cycles=5,
            read_words=8,
            conflict_cycles=1,
        ),
    ]
    return {each.name: each for each in made}


PROFILES = _profiles()


def find_profile(name: str, arch: str) -> Profile:
    """The profile `sim` or `silicon` of an architecture; raises `InputError`."""
    found = PROFILES.get(name if "@" in name else f"{arch}@{name}")
    if found is None or found.arch != arch:
        known = ", ".join(sorted(each for each in PROFILES if each.startswith(arch)))
        raise InputError(f"got profile {name!r} for {arch}, expected sim or silicon ({known})")
    return found


def instruction_cycles(profile: Profile) -> np.ndarray:
    """Cycles of each scalar instruction: int64[OPS, KINDS]."""
    cycles = np.ones((OPS, KINDS), dtype=np.int64)
    for op in (Op.JUMP, Op.CALL, Op.CALL_AT, Op.RETURN):
        cycles[op] = profile.call_cycles
    cycles[Op.LOAD] = profile.load_cycles
    for op in (Op.DIV, Op.REM):
        cycles[op] = profile.divide_cycles
    cycles[Op.MATH] = profile.math_cycles
    for op in (Op.ADD, Op.SUB, Op.MUL, Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE, Op.CONVERT):
        for kind in FLOATS:
            cycles[op, kind] = profile.float_cycles
    cycles[Op.LOAD_DSR] = profile.dsd_load_cycles
    cycles[Op.SET_DSR] = profile.dsr_word_cycles
    cycles[Op.TIME] = profile.time_cycles
    for op in (Op.LOAD_NEXT, Op.LOOP, Op.END):  # (M) `@map` steps its DSRs and repeats for nothing
        cycles[op] = 0
    return cycles


def simd_widths(profile: Profile) -> np.ndarray:
    """Elements per cycle of each vector operation: int64[64]."""
    widths = np.ones(64, dtype=np.int64)
    for names, pair in SIMD_WIDTH.items():
        for name in names.split():
            widths[Vector[name]] = pair[profile.arch == "wse3"]
    return widths


def operand_bits() -> np.ndarray:
    """Words of destination, src0, src1 and scalar of each vector operation: int64[64, 4]."""
    words = np.ones((64, 4), dtype=np.int64)
    for each in Vector:
        if each.name.endswith("32") or (each.name[0] == "F" and each.name.endswith("S")):
            words[each] = 2
    words[Vector.FADDHS] = (2, 2, 1, 1)
    words[Vector.FMACHS] = (2, 2, 1, 1)
    words[Vector.FH2S] = (2, 1, 1, 1)
    words[Vector.FS2H] = (1, 2, 1, 1)
    words[Vector.FH2XP16] = 1
    words[Vector.FS2XP16] = (1, 2, 1, 1)
    words[Vector.XP162FS] = (2, 1, 1, 1)
    words[Vector.XP162FH] = 1
    words[Vector.FSCALES] = (2, 2, 1, 1)
    words[Vector.FFS] = 1
    return words
