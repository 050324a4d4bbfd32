"""Every builtin in a program that runs on the machine, against NumPy, Python or a closed form."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.csl.running import Board

Element = Callable[..., np.ndarray]

P = np.array([1, -1, 300, 32767, -32768, 0, 0x0FF0, -1234], np.int16)
Q = np.array([5, -7, -300, 1, -1, 9, 3, 4321], np.int16)
W = np.array([1, -1, 2**31 - 1, -(2**31), 70000, -70000, 0, 65536], np.int32)
V = np.array([9, -9, 1, -1, 70000, 3, 5, -65535], np.int32)
H = np.array([1.5, -2.25, 0.1, 1000, -0.0, 200, -7.125, 0.3333], np.float16)
G = np.array([0.5, 4, -3.1, 2, -0.25, 300, 1e-3, 6], np.float16)
S = np.array([1.5, -2.25, 3.1, 100.7, -0.5, 0, 6e4, -6], np.float32)
T = np.array([0.5, 4, -3.1, 2, -0.25, 1, 1e-3, 6], np.float32)
SCALAR = np.float16(1.25)
U = P.view(np.uint16)
WIDE_H, WIDE_G, WIDE_S = H.astype(np.float64), G.astype(np.float64), S.astype(np.float64)


def bits(count: Callable[[str], int]) -> np.ndarray:
    return np.array([count(f"{int(each):016b}") for each in U], np.int16)


def with_carry() -> np.ndarray:
    """Sums of 16 bits, the carry of each going into the next."""
    sums, carry = [], 0
    for a, b in zip(U.tolist(), Q.view(np.uint16).tolist(), strict=True):
        carry += a + b
        sums.append(carry & 0xFFFF)
        carry >>= 16
    return np.array(sums, np.uint16).view(np.int16)


def truncated(x: np.ndarray) -> np.ndarray:
    """Toward zero, and to the nearest end of the range of i16."""
    return np.clip(np.trunc(x.astype(np.float64)), -(2**15), 2**15 - 1).astype(np.int16)


# The rows of each output of vectors.csl: the builtin, and its elements.
INTS = [
    ("mov16", P), ("add16", P + Q), ("addc16", with_carry()), ("sub16", P - Q), ("mul16", P * Q),
    ("and16", P & Q), ("or16", P | Q), ("xor16", P ^ Q), ("sll16", P << 3),
    ("slr16", (U >> 3).view(np.int16)), ("sar16", P >> 3), ("popcnt", bits(lambda b: b.count("1"))),
    ("clz", bits(lambda b: 16 - len(b.lstrip("0")))),
    ("ctz", bits(lambda b: 16 - len(b.rstrip("0")))),
    ("fh2xp16", truncated(H)), ("fs2xp16", truncated(S)), ("add16", 1000 + P),
]  # fmt: skip
LONGS = [("mov32", W), ("add32", W + V), ("sub32", W - V)]
HALVES = [
    ("fmovh", H), ("faddh", H + G), ("fsubh", H - G), ("fmulh", H * G),
    ("fmach", (WIDE_H + WIDE_G * float(SCALAR)).astype(np.float16)), ("fnegh", -H), ("fabsh", abs(H)),
    ("fmaxh", np.maximum(H, G)), ("fs2h", S.astype(np.float16)), ("xp162fh", P.astype(np.float16)),
    ("fsubh", SCALAR - H), ("fmulh", H * SCALAR),
]  # fmt: skip
SINGLES = [
    ("fmovs", S), ("fadds", S + T), ("fsubs", S - T), ("fmuls", S * T),
    ("fmacs", (WIDE_S + T.astype(np.float64) * 1.5).astype(np.float32)), ("fnegs", -S),
    ("fabss", abs(S)), ("fmaxs", np.maximum(S, T)), ("fh2s", H.astype(np.float32)),
    ("xp162fs", P.astype(np.float32)), ("faddhs", S + H.astype(np.float32)),
    ("fmachs", (WIDE_S + WIDE_H * float(SCALAR)).astype(np.float32)), ("fsubs", np.float32(2) - S),
    ("fmovs", np.full(8, -7.25, np.float32)),
]  # fmt: skip


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_dsd_operations_are_numpys_to_the_bit(arch: str) -> None:
    board = Board("vectors.csl", arch)
    sources = {"i0": P, "i1": Q, "w0": W, "w1": V, "h0": H, "h1": G, "s0": S, "s1": T}
    for name, values in sources.items():
        board.write(name, values)
    board.go("integers")
    board.go("floats", raw(SCALAR))
    for name, rows in (("ints", INTS), ("longs", LONGS), ("halves", HALVES), ("singles", SINGLES)):
        got = board.read(name, rows[0][1].dtype).reshape(-1, 8)
        for (builtin, wanted), row in zip(rows, got, strict=False):
            np.testing.assert_array_equal(row, wanted, err_msg=f"@{builtin} on {arch}")


def raw(value: np.generic) -> int:
    """A float's bits, as a register holds them."""
    return int(value.view(np.uint32 if value.itemsize == 4 else np.uint16))


def test_operations_on_single_values_and_into_pointers() -> None:
    board = Board("vectors.csl")
    board.write("i0", P)
    board.write("s0", S)
    half, single, by = np.float16(-3.5), np.float32(0.3), -2
    board.go("singly", raw(half), raw(single), by)
    for name, value, dtype in (("h", half, np.float16), ("s", single, np.float32)):
        norm = board.read(f"norm_{name}", dtype)[0]
        assert 0.5 <= abs(norm) < 1
        assert np.log2(value / norm) % 1 == 0
        assert board.read(f"scale_{name}", dtype)[0] == value * 2.0**by
    total = np.float32(0)
    for each in S:  # one after another, rounding each time
        total += each
    assert board.read("sum", np.float32)[0] == total
    assert board.read("last")[0] == P[-1]


def lfsr(state: int) -> int:
    """128 steps of x^23 + x^18 + 1."""
    for _ in range(128):
        state = (state << 1 | (state >> 22 ^ state >> 17) & 1) & 0xFFFFFFFF
    return state


def test_builtins_without_dsds_have_the_documented_values() -> None:
    board = Board("language.csl")
    x, n = np.float32(2.75), 11
    board.go("go", raw(x), n)
    first = lfsr(0xDEADBEEF)
    wanted = [
        raw(np.float16(x)), 3 * 5 * 7, 7, 3, 1, 2, 9, 2, 1,  # types
        5, ord("e"), ord("Z"), 0,  # texts
        n + 3, 1, 1, 16, -3 + 60 & 0xFFFF, 7 + 1 + 20, 4, 1,  # structs
        3, n, 2, sum(range(3, n, 2)),  # ranges
        0x1234, 2,  # bytes
        first & 0xFFFF, lfsr(first) & 0xFFFF,  # randoms
    ]  # fmt: skip
    assert board.read("out", np.uint16)[: len(wanted)].tolist() == wanted
    assert board.program.image.codes[0].printed == ("dimensions [3]u32{3, 5, 7}",)


def test_dsds_change_and_registers_hold_them() -> None:
    board = Board("descriptors.csl")
    source, other = np.arange(1, 13, dtype=np.int16), np.arange(100, 112, dtype=np.int16)
    board.write("source", source)
    board.go("change", 5, 2)
    changed = np.zeros((3, 12), np.int16)
    changed[:, :5] = source[:5], source[:10:2], other[:5]
    np.testing.assert_array_equal(board.read("changed").reshape(3, 12), changed)
    board.go("registers")
    assert board.read("circular").tolist() == [11, 12, 8, 9, 10]  # round and round in five places
    assert board.read("boxed").tolist() == [10, 12, 20, 22]
    assert board.read("turned").tolist() == [101, 102, 103, 0, 0]
    board.go("maps", raw(np.float32(0.5)))
    squares = source.astype(np.float32) ** 2
    mapped = np.stack([squares, source * np.float32(0.5), squares])
    mapped[2, 7:] = 0
    np.testing.assert_array_equal(board.read("mapped", np.float32).reshape(3, 12), mapped)
    assert board.read("total", np.float32)[0] == source[:4].sum()


def test_a_fifo_keeps_the_order_and_says_when_it_is_full_or_empty() -> None:
    board = Board("descriptors.csl")
    board.write("source", np.arange(1, 13, dtype=np.int16))
    board.go("fifos")
    assert board.read("flags", np.uint16).tolist() == [1, 1, 1, 0, 1, 0]
    assert board.read("popped").tolist() == [1, 2, 3, 4, 5, *range(100, 107)]
