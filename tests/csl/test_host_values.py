"""What the host converts: tensors, 16-bit data, arguments, timestamps, traces, command lines."""

import numpy as np
import pytest

from waferllm.csl.code import Kind
from waferllm.csl.host import conform, cslc, sdk_utils
from waferllm.csl.host.arguments import register_bits
from waferllm.csl.host.arrays import (
    MemcpyDataType,
    MemcpyOrder,
    by_pe,
    flat_u32,
    from_words,
    to_flat,
    to_words,
)
from waferllm.errors import InputError

SHAPE = (3, 4, 5)


@pytest.mark.parametrize("order", MemcpyOrder)
def test_a_tensor_goes_to_its_pes_in_either_order(order: MemcpyOrder) -> None:
    # Element n of PE (x, y) says so: 100 y + 10 x + n.
    h, w, n = np.indices(SHAPE)
    tensor = (100 * h + 10 * w + n).astype(np.uint32)
    # Row-major is the C order; column-major has the row as its fastest index, the element as its slowest.
    flat = tensor.ravel() if order == MemcpyOrder.ROW_MAJOR else tensor.T.ravel()
    rows = by_pe(flat, SHAPE, order)
    for y in range(3):
        for x in range(4):
            assert rows[y * 4 + x].tolist() == [100 * y + 10 * x + n for n in range(5)]
    assert (to_flat(rows, SHAPE, order) == flat).all()


def test_words_have_the_low_half_first_and_16_bit_elements_only_that() -> None:
    elements = np.array([[0x12345678, 0xFFFF0001]], dtype=np.uint32)
    wide = to_words(elements, MemcpyDataType.MEMCPY_32BIT)
    assert wide.tolist() == [[0x5678, 0x1234, 0x0001, 0xFFFF]]
    assert (from_words(wide, MemcpyDataType.MEMCPY_32BIT) == elements).all()
    narrow = to_words(elements, MemcpyDataType.MEMCPY_16BIT)
    assert narrow.tolist() == [[0x5678, 0x0001]]
    assert from_words(narrow, MemcpyDataType.MEMCPY_16BIT).tolist() == [[0x5678, 1]]


def test_results_are_written_through_to_the_callers_array() -> None:
    held = np.zeros((2, 3), dtype=np.float32)
    flat_u32(held, 6, "copy")[:] = np.arange(6, dtype=np.float32).view(np.uint32)
    assert held.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros(6, np.float16), "got elements of type float16, expected 32-bit ones"),
        (np.zeros(7, np.float32), "got 7 elements, expected 6"),
        (np.zeros((6, 2), np.float32)[:, 0], "got an array with gaps"),
        ([0.0] * 6, "got elements of type list"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(array: np.ndarray, told: str) -> None:
    with pytest.raises(InputError, match=told):
        flat_u32(array, 6, "copy")


def test_a_view_sees_the_low_bits_of_each_element_and_writes_them() -> None:
    held = np.full((2, 3), 0xABCD0000, dtype=np.uint32)
    sdk_utils.memcpy_view(held, np.float16)[1, 2] = 1.5
    assert held[1, 2] == 0xABCD3E00  # 1.5 = 1.1 (binary): exponent 15, fraction 0x200
    assert sdk_utils.memcpy_view(held, np.dtype(np.uint8)).shape == (2, 3)
    assert sdk_utils.memcpy_view(held.view(np.float32), np.float32).base is not None
    with pytest.raises(InputError, match="expected 32-bit elements"):
        sdk_utils.memcpy_view(np.zeros(2, np.float64), np.float16)


def test_16_bit_data_gets_zeros_or_its_index_in_the_high_half() -> None:
    data = np.array([[1.5, -1.5], [0.0, 2.0]], dtype=np.float16)
    assert sdk_utils.input_array_to_u32(data, None, 2).tolist() == [0x3E00, 0xBE00, 0, 0x4000]
    indexed = sdk_utils.input_array_to_u32(data, 1, 2).tolist()
    assert indexed == [0x3E00, 0x1BE00, 0, 0x14000]


def test_cycles_are_the_difference_of_two_48_bit_counters() -> None:
    start, end = 0xFFFF_FFFF_FFF0, 0x1_0000_0010 + (5 << 40)
    words = [n >> shift & 0xFFFF for n in (start, end) for shift in (0, 16, 32)]
    packed = np.array(words, dtype=np.uint16).view(np.float32)
    assert sdk_utils.calculate_cycles(packed) == end - start


@pytest.mark.parametrize(
    ("value", "kind", "bits"),
    [
        (np.int16(-3), Kind.I16, -3),
        (7, Kind.U32, 7),
        (np.float32(1.0), Kind.F32, 0x3F800000),
        (np.float16(-2.0), Kind.F16, 0xC000),
        (0.5, Kind.F32, 0x3F000000),
        (True, Kind.BOOL, 1),
    ],
)
def test_an_argument_becomes_a_registers_bits(value: object, kind: Kind, bits: int) -> None:
    assert register_bits(value, kind, "launch('f')") == bits


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.int32(3), Kind.I16), (70000, Kind.U16), (-1, Kind.U16), (1.5, Kind.I16), ("x", Kind.F32)],
)
def test_an_argument_of_another_type_is_refused(value: object, kind: Kind) -> None:
    with pytest.raises(InputError, match=r"launch\('f'\): got .* expected a"):
        register_bits(value, kind, "launch('f')")


def test_the_options_of_published_command_files_are_understood() -> None:
    given = (
        "./src/layout.csl --arch wse3 --fabric-dims=12,7 --fabric-offsets=4,1 --params=w:5,h:3 "
        "--params=C:0 --colors=x:1,y:2 -o=out --memcpy --channels 1 --width-west-buf=0 "
        "--width-east-buf=0 --import-path ../lib --max-inlined-iterations=100000 --verbose"
    )
    options = cslc.parser().parse_args(given.split())
    target = cslc.target_of(options)
    assert (target.arch, target.fabric, target.offsets) == ("wse3", (12, 7), (4, 1))
    params = {name: value.data for name, value in cslc.params_of(options).items()}
    assert params == {"w": 5, "h": 3, "C": 0, "x": 1, "y": 2}
    assert str(options.out) == "out"
    assert [str(path) for path in options.import_path] == ["../lib"]


def test_an_unknown_option_and_a_fabric_too_small_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        cslc.main(["a.csl", "--no-such-option"])
    assert left.value.code == 2
    assert "unrecognized arguments: --no-such-option" in capsys.readouterr().err
    target = cslc.target_of(cslc.parser().parse_args(["a.csl", "--fabric-dims=10,5"]))
    cslc.check_fits((3, 3), target)
    with pytest.raises(InputError, match="expected at least 11"):
        cslc.check_fits((4, 3), target)


def test_a_script_is_judged_by_its_exit_code_its_checks_and_what_it_prints() -> None:
    asserts = "np.testing.assert_allclose(a, b)"
    assert conform.judge(0, "SUCCESS!", asserts, 9) == (conform.PASSES, "")
    assert conform.judge(0, "done", "print(1)", 9) == (conform.RUNS, "its script checks nothing")
    assert conform.judge(None, "", asserts, 9) == (conform.FAILS, "still running after 9 s")
    told = "a.csl:3:1: error: inline assembly is not implemented"
    assert conform.judge(1, f"{told}\n   3 | asm", asserts, 9) == (conform.UNSUPPORTED, told)
    failed = "Traceback\nAssertionError: no\n"
    assert conform.judge(1, failed, asserts, 9) == (conform.FAILS, "AssertionError: no")


def test_printed_results_are_compared_relative_to_the_largest() -> None:
    text = (
        "Expected result:\n[[ 1.0 -4.0 ... 2.5]]\nActual result:\n[[ 1.0 -3.9 ... 2.5]]\n\nP: 8\n"
    )
    assert conform.largest_difference(text) == pytest.approx(0.1 / 4)
    assert conform.judge(0, text, "", 9)[0] == conform.FAILS
    assert conform.judge(0, text.replace("-3.9", "-3.99"), "", 9)[0] == conform.AGREES
    assert conform.judge(0, text.replace("-3.9", "nan"), "", 9)[0] == conform.FAILS
