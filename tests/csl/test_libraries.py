"""Library functions while a program runs, against NumPy, closed forms or published constants."""

import math
from pathlib import Path

import numpy as np
import pytest

from tests.csl.running import Board, Grid, compiled, started
from tests.csl.support import number, value
from waferllm.csl import registers
from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder
from waferllm.csl.host.debug import debug_util

POSITIVE = [0.25, 1.0, 2.0, 0.0625, 3.5, 7.0, 0.1, 1.5]
SIGNED = [-2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 2.5, 7.0]
SPECIAL = [np.nan, np.inf, -np.inf, 1.0, -0.0, 0.0, -3.0, 6e4]

# By the number that math_pe.csl gives it: what NumPy says, and the arguments to try.
FUNCTIONS = [
    (np.sqrt, POSITIVE),
    (np.exp, SIGNED),
    (np.log, POSITIVE),
    (np.sin, SIGNED),
    (np.cos, SIGNED),
    (np.tanh, SIGNED),
    (lambda x: 1 / x, POSITIVE),
    (lambda x: 1 / np.sqrt(x), POSITIVE),
    (lambda x: x**1.5, POSITIVE),
    (lambda x: 1 / (1 + np.exp(-x)), SIGNED),
    (np.floor, SIGNED),
    (np.ceil, SIGNED),
    (np.abs, SIGNED),
    (np.sign, SIGNED),
    (lambda x: x * 8, SIGNED),
    (lambda x: np.maximum(x, 1), SIGNED),
    (lambda x: np.minimum(x, 1), SIGNED),
    (np.isnan, SPECIAL),
    (np.isinf, SPECIAL),
    (np.isfinite, SPECIAL),
    (np.signbit, SPECIAL[1:] + SPECIAL[1:2]),
    (lambda x: x * 0, POSITIVE),  # nothing that NumPy writes as a literal is a signaling NaN
]


def test_math_is_numpys_rounded_to_the_type(tmp_path: Path) -> None:
    grid = Grid(tmp_path, "math", width=1, height=1)
    for base, dtype in ((0, np.float32), (100, np.float16)):
        for which, (function, arguments) in enumerate(FUNCTIONS):
            given = np.array(arguments, dtype)
            grid.write("input", given.astype(np.float32))
            grid.go(base + which)
            got = grid.read("output", 8)[0, 0]
            exact = np.asarray(function(given.astype(np.float64)), np.float64).astype(dtype)
            # One unit in the last place: NumPy's own functions are not always correctly rounded.
            np.testing.assert_allclose(
                got, exact.astype(np.float32), rtol=np.finfo(dtype).eps, err_msg=f"{which} {dtype}"
            )


def test_a_signaling_nan_has_its_quiet_bit_clear(tmp_path: Path) -> None:
    grid = Grid(tmp_path, "math", width=1, height=1)
    bits = [0x7F800001, 0x7FC00000, 0xFF800001, 0x7F800000, 0, 0x3F800000, 0xFFFFFFFF, 0x7FBFFFFF]
    grid.write("input", np.array(bits, np.uint32).view(np.float32))
    grid.go(21)
    assert grid.read("output", 8)[0, 0].tolist() == [1, 0, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_collectives_along_both_axes_from_every_kind_of_root(tmp_path: Path, arch: str) -> None:
    width, height, size = 5, 3, 4
    grid = Grid(tmp_path, "collectives", arch, width, height, size)
    most = width * size
    data = np.arange(height * width * most, dtype=np.float32).reshape(height, width, most)
    for axis, length in ((0, width), (1, height)):
        lines = data if axis == 0 else data.transpose(1, 0, 2)  # [line, pe, n]
        for root in range(length):
            for operation in range(4):
                grid.write("input", data)
                grid.write("output", np.full(most, -1, np.float32))
                grid.go(root + 16 * operation + 64 * axis)
                got = grid.read("output", most)
                got = got if axis == 0 else got.transpose(1, 0, 2)
                others = [pe for pe in range(length) if pe != root]
                for line, out in zip(lines, got, strict=True):
                    if operation == 0:
                        assert (out[others, :size] == line[root, :size]).all()
                    elif operation == 1:
                        parts = line[root, : length * size].reshape(length, size)
                        assert (out[:, :size] == parts).all()
                    elif operation == 2:
                        assert (out[root, : length * size] == line[:, :size].ravel()).all()
                        assert (out[others] == -1).all()
                    else:
                        assert (out[root, :size] == line[:, :size].sum(axis=0)).all()


def test_traces_hold_every_type_and_stop_when_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = Grid(tmp_path, "trace")
    grid.go(-3)
    grid.runner.stop()
    debug = debug_util(grid.out)
    for x, y in ((4, 1), (7, 3)):  # the program starts at (4, 1) of the fabric
        *values, when = debug.read_trace(x, y, "all")
        assert values == [True, 200, -5, 60000, -3, 1.5, 4000000000, -70000, -0.25, "text", 7]
        assert 0 < when < 1 << 20
        assert debug.read_trace(x, y, "short") == [1]
        assert debug.read_trace(x, y, "plain") == [99, 100, 101]
    lines = (tmp_path / "sim.log").read_text().splitlines()
    assert len(lines) == 4 * grid.width * grid.height
    texts = {line.split(" ", 1)[1] for line in lines}
    assert texts == {
        "a 42 00AB 0000000000000101",
        f"70000 00000ABC 1.5 -0.25 {9:032b}",
        "42 002A 0000000000101010 42.0 {}",
        *(f"PE({x},{y}): 9" for x in range(4) for y in range(3)),
    }


def test_time_is_the_same_by_every_clock(tmp_path: Path) -> None:
    grid = Grid(tmp_path, "trace", width=1, height=1)
    grid.go(0)
    start, end, elapsed, after_reset, *stopped = grid.read("words", 6, np.uint32)[0, 0]
    assert 100 < end - start <= elapsed  # the stopwatch was started before and stopped after
    assert elapsed - (end - start) < 200
    assert after_reset < 100
    assert after_reset < stopped[0] == stopped[1] < 200


def test_a_pe_knows_its_place_and_changes_its_configuration(tmp_path: Path) -> None:
    grid = Grid(tmp_path, "place", size=300)
    grid.go(5)
    words = grid.read("words", 32, np.uint32)
    for y in range(grid.height):
        for x in range(grid.width):
            assert words[y, x, :4].tolist() == [x, y, x, y]
    out, in_ = registers.OUT, registers.IN
    route = {name: 1 << bit for name, bit in out.items()}
    listen = {name: 1 << bit for name, bit in in_.items()}
    first = words[0, 0].tolist()
    assert first[4] == listen["RAMP"] | route["EAST"]
    assert first[5] == listen["NORTH"] | route["WEST"] | route["RAMP"]
    assert first[6] == first[5] | route["SOUTH"]
    assert first[7] == first[6] ^ route["WEST"]
    assert first[8] == first[7] & ~route["RAMP"]
    assert first[9] == first[8] | 1 << registers.POP
    # Bits as a published example's comments list them: position 1 listens to E, 2 sends to N, 3 is invalid;
    # ring mode; the current position is 2, then 0.
    switch = 0b1101_0011_1001 | 1 << 12
    assert (first[10], first[12], first[13]) == (switch | 2 << 13, switch | 2 << 13, switch)
    assert first[14] & 0b0111_0111_0111 == 0b0101_0101_0101
    assert (first[15], first[16], first[17]) == (1 << 4, 0, 1 << 4)  # task 20: bit 4 of its word
    _random(grid, words)


def _random(grid: Grid, words: np.ndarray) -> None:
    assert words[0, 0, 18] < 32
    assert words[0, 0, 19] == 0
    numbers = grid.read("output", 300)[0, 0].reshape(100, 3)
    assert ((numbers[:, 0] >= 2) & (numbers[:, 0] < 5)).all()
    assert ((numbers[:, 1] >= -1) & (numbers[:, 1] < 1)).all()
    # Means of 100: five standard errors.
    assert abs(numbers[:, 0].mean() - 3.5) < 5 * 3 / math.sqrt(12 * 100)
    assert abs(numbers[:, 1].mean()) < 5 * 2 / math.sqrt(12 * 100)
    assert abs(numbers[:, 2].mean()) < 5 / math.sqrt(100)
    assert 0.5 < numbers[:, 2].std() < 1.5
    grid.go(5)
    again = grid.read("output", 300)[0, 0].reshape(100, 3)
    assert (again == numbers).all()  # the same seed


def test_complex_numbers_memory_and_halves(tmp_path: Path) -> None:
    grid = Grid(tmp_path, "values")
    grid.write("input", np.array([1.5, -2.0, 0.25, 4.0], np.float32))
    grid.go(0x1234)
    a, b = 1.5 - 2j, 0.25 + 4j
    wanted = [z for n in (a + b, a - b, a * b) for z in (n.real, n.imag)]
    out, words = grid.read("output", 14), grid.read("words", 13, np.uint32)
    assert out[2, 3, :7].tolist() == [*wanted, 1.5]
    # Small multiples of a power of two: f16 holds them exactly.
    assert out[2, 3, 10:].tolist() == [2 * a.real, 2 * a.imag, (a * b).real, (a * b).imag]
    # Ten words, 3 + 4 given out: three more fit, four do not; one double word fits, two do not.
    assert words[2, 3, :8].tolist() == [77, 1, 1, 1, 0x1234, 0xDEAD, 7, 0xDEAD1234]
    small = int(np.float16(1.5).view(np.uint16)) << 16 | (-5 & 0xFFFF)
    large = int(np.float32(2.25).view(np.uint32))
    assert words[2, 3, 8:].tolist() == [small, -70000 & 0xFFFFFFFF, 0x89ABCDEF, large, 1]


def test_dsd_operations_by_type_are_numpys(tmp_path: Path) -> None:
    grid = Grid(tmp_path, "dsd_ops", width=1, height=1)
    a = np.array([1.5, -2.25, 3.1, 100.7, -0.5, 0, 7.99, -6], np.float32)
    b = np.array([0.5, 4, -3.1, 2, -0.25, 1, 1e-3, 6], np.float32)
    grid.write("input", np.concatenate([a, b]))
    grid.go(3)
    half = a.astype(np.float16).astype(np.float32)
    wanted = [a, a + b, a - b, a * b, a + b * 3, -a, abs(a), np.maximum(a, b), half, b + half]
    got = grid.read("output", 96)[0, 0].reshape(12, 8)
    np.testing.assert_allclose(got[:10], wanted, rtol=2e-7, atol=1e-6)
    # Whether a conversion to i16 rounds or truncates is not published; both are within one.
    assert (abs(got[10] - a) <= 1).all()
    np.testing.assert_array_equal(got[11], a * 8)


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_a_tally_adds_what_all_pes_count(tmp_path: Path, arch: str) -> None:
    width, height, scale = 4, 3, 7
    total = scale * sum(x + 10 * y for x in range(width) for y in range(height))
    out = compiled(tmp_path, "tally.csl", arch, width=width, height=height, expected=total)
    runner = started(out)
    runner.launch("go", np.int16(scale), nonblock=False)
    got = np.zeros(1, np.uint32)
    runner.memcpy_d2h(
        got, 9, width - 1, 0, 1, 1, 1, streaming=True, order=MemcpyOrder.ROW_MAJOR,
        data_type=MemcpyDataType.MEMCPY_32BIT, nonblock=False,
    )  # fmt: skip
    assert got[0] == total


def test_3d_ffts_and_their_inverses_are_numpys(tmp_path: Path) -> None:
    n, width = 8, 2
    side = n // width
    runner = started(compiled(tmp_path, "fft.csl", "wse3", N=n, width=width))
    rng = np.random.default_rng(1)
    grid = rng.standard_normal((n, n, n, 2)).astype(np.float32)  # [z, y, x, part]
    angle = np.pi * np.arange(n // 2) / (n // 2)
    twiddles = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32).ravel()
    _copy(runner, "twiddle_array", np.tile(twiddles, width * width), n)
    # PE (px, py) holds x of [px side, …), y of [py side, …), all z: as [z][y][x][part].
    count = n * side * side * 2
    real = grid * np.array([1, 0], np.float32)
    spectrum = np.fft.fftn(real[..., 0])
    hermitian = np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)
    backward, ortho = 0, 1
    for name, given, arguments, transform in (
        ("csfftExecC2C", grid, (backward, 0), np.fft.fftn),
        ("csfftExecC2C", grid, (backward, 1), np.fft.ifftn),
        ("csfftExecR2C", real, (ortho,), lambda x: np.fft.fftn(x, norm="ortho")),
        ("csfftExecC2R", hermitian, (backward,), np.fft.ifftn),
    ):
        blocks = given.reshape(n, width, side, width, side, 2).transpose(1, 3, 0, 2, 4, 5)
        _copy(runner, "X", np.ascontiguousarray(blocks).ravel(), count)
        runner.launch(name, *map(np.int16, arguments), nonblock=False)
        held = np.zeros((width, width, count), np.float32)
        runner.memcpy_d2h(
            held, runner.get_id("X"), 0, 0, width, width, count, streaming=False, nonblock=False,
            order=MemcpyOrder.ROW_MAJOR, data_type=MemcpyDataType.MEMCPY_32BIT,
        )  # fmt: skip
        got = held.reshape(width, width, n, side, side, 2).transpose(2, 0, 3, 1, 4, 5)
        got = got.reshape(n, n, n, 2).view(np.float32)
        wanted = transform(given[..., 0] + 1j * given[..., 1])
        scale = abs(wanted).max()
        np.testing.assert_allclose(got[..., 0] / scale, wanted.real / scale, atol=1e-5)
        np.testing.assert_allclose(got[..., 1] / scale, wanted.imag / scale, atol=1e-5)


def _copy(runner: object, name: str, data: np.ndarray, count: int) -> None:
    runner.memcpy_h2d(  # type: ignore[attr-defined]
        runner.get_id(name), data, 0, 0, 2, 2, count, streaming=False, nonblock=False,  # type: ignore[attr-defined]
        order=MemcpyOrder.ROW_MAJOR, data_type=MemcpyDataType.MEMCPY_32BIT,
    )  # fmt: skip


# --- Values at compile time -------------------------------------------------------------------


def _member(library: str, text: str) -> float:
    return number(
        f"it.{text}".replace("it.", "lib.", 1), f'const lib = @import_module("<{library}>");'
    )


def test_control_wavelets_have_the_published_bits() -> None:
    # 0x9df9249 is the teardown wavelet in a comment of the vendor's allreduce example.
    switches = 'const lib = @import_module("<memcpy/memcpy_switches>");'
    assert number("lib.ctrl(lib.teardown_cmd_1())", switches) == 0x9DF9249
    control = 'const lib = @import_module("<control>");'
    pair = "[2]lib.opcode{ lib.opcode.TEARDOWN, lib.opcode.NOP }, [2]bool{ true, true }, true, {}"
    assert number(f"lib.encode_payload(2, {pair})", control) == 0x9DF9249
    one = "lib.encode_single_payload(lib.opcode.SWITCH_RST, false, @get_control_task_id(40), 0xabc)"
    assert number(one, control) == 40 << 16 | 2 << 22 | 0xABC
    assert number("lib.encode_control_task_payload(@get_control_task_id(40))", control) == 40 << 16


def test_addresses_are_those_of_the_machine() -> None:
    before = 'const lib = @import_module("<tile_config/addresses>");'
    for name in (
        "X", "Y", "TEARDOWN_PENDING", "TASK_PRIORITY", "MAIN_PRIORITY", "INPUT_STATUS", "OUTPUT_STATUS",
        "EXCEPTION_MASK", "CONTROL_MASK", "INPUT_FLUSHED", "OUTPUT_FLUSHED", "FILTER", "PERFORMANCE",
        "RANDOM",
    ):  # fmt: skip
        assert number(f"lib.{name}", before) == getattr(registers, name)
    assert number("lib.COLOR", before) == registers.COLOR["wse2"]
    assert number("lib.SWITCH", before) == registers.SWITCH["wse2"]
    bits = 'const lib = @import_module("<tile_config/color_config>");'
    for side, bit in registers.OUT.items():
        assert number(f"@get_int(lib.fabric_io.TX_{side})", bits) == bit
        assert number(f"lib.direction_bits({side}, 0)", bits) == 1 << bit
    for side, bit in registers.IN.items():
        assert number(f"@get_int(lib.fabric_io.RX_{side})", bits) == bit


def test_types_strings_and_math_at_compile_time() -> None:
    assert [_member("types", f"bit_size_of({t})") for t in ("u8", "f16", "i32", "u64")] == [
        8,
        16,
        32,
        64,
    ]
    assert _member("types", "word_size_of(f32)") == 2
    assert _member("types", "is_signed(f16)") is True
    assert _member("types", "is_unsigned_int(i16)") is False
    assert _member("types", "is_dsd(fabin_dsd)") is True
    text = value('lib.fmt("a{d}b{s}{{", .{ -17, "xy" })', 'const lib = @import_module("<string>");')
    assert text.data == b"a-17bxy{"
    assert _member("math", "tanh(@as(f32, 0.5))") == pytest.approx(math.tanh(0.5), rel=1e-7)
    assert _member("math", "fscale(@as(f16, 1.5), 3)") == 12
    assert _member("math", "floor_f16(-1.5)") == -2


COMPASS = ["NORTH", "EAST", "SOUTH", "WEST"]  # clockwise


def _turns(at: int) -> int:
    """The digits of library.csl's `turns`."""
    across = (at + 2) % 4
    turned = [(at + 1) % 4, (at - 1) % 4, across]
    turned += [across if at % 2 == 0 else at, across if at % 2 else at]
    return int("".join(map(str, turned)))


def _sizes(bits: int) -> int:
    words, align = -(-bits // 16), 1 if bits == 8 else 2
    return bits | bits // 8 << 8 | words << 12 | align << 16 | 1 << 20


def _command(*opcodes: int, no_core: int = 31) -> int:
    """A control wavelet: two bits of opcode and one that keeps it from the core, from bit 22 on."""
    word, bits = no_core << 16, []
    for each in (*opcodes, *[0] * (8 - len(opcodes))):
        bits += [each & 1, each >> 1, 1]
    places = [*range(22, 30), *range(16)]  # the ninth bit is the lowest of the word
    return word | sum(bit << place for bit, place in zip(bits, places, strict=True))


def test_types_texts_directions_and_commands_are_as_documented() -> None:
    board = Board("library.csl")
    board.go("go", 0xABC, int(np.float32(-12).view(np.uint32)))
    out = board.read("out", np.uint32).tolist()
    integer, signed = 1 | 64, 2 | 32 | 64  # the bits of library.csl's `flags`
    half, single = 4 | 8 | 32 | 64, 8 | 16 | 32 | 64
    assert out[:8] == [integer, signed, half | 16, half, single, 128, 256, 0]
    assert out[8:12] == [_sizes(bits) for bits in (8, 16, 32, 64)]
    assert out[12:14] == [3, 0xBC00]
    assert bytes(out[14:22]) == b"a-17305{"
    assert out[22:27] == [*map(_turns, range(4)), 44444]
    assert out[27:29] == [40 << 16, 31 << 16 | 1 << 22 | 1 << 24 | 0xABC]
    advance, reset, teardown = 1, 2, 3
    assert out[29:36] == [
        _command(teardown),
        _command(advance), _command(advance, advance),
        _command(reset), _command(reset, reset),
        _command(teardown), _command(teardown, teardown),
    ]  # fmt: skip
    assert board.read("norm", np.float32)[0] == -0.75  # -12 = -0.75 * 2**4
