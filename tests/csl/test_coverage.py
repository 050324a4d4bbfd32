"""Every builtin and library function is in a program that a test runs; a new one without fails here."""

import pytest

from tests.csl import usage
from tests.csl.support import PROGRAMS, refused
from waferllm.csl.target import Target


def test_every_builtin_is_in_a_program() -> None:
    assert usage.builtins() - usage.used_builtins() == set()


def test_every_library_function_is_in_a_program_or_says_that_it_is_not_implemented() -> None:
    assert usage.library_functions() - usage.used_functions() == usage.REFUSED


def test_every_program_is_in_a_test() -> None:
    tests = "".join(path.read_text() for path in PROGRAMS.parent.rglob("*.py"))
    tests += "".join(
        path.read_text() for path in usage.programs()
    )  # a PE's code, named by a layout
    assert [path.name for path in usage.programs() if f'{path.name}"' not in tests] == []


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("time.get_perf_cntr(&words, 0)", "the performance counter"),
        ("tile.exceptions.set_exception_mask(0)", "stopping at floating-point exceptions"),
        ("tile.filters.set_state(0, tile.filters.counter_filter_state.PASS)", "state of a filter"),
        ("_ = tile.filters.get_state(0)", "state of a filter"),
        ("_ = @get_symbol_value(i16, 1)", "@get_symbol_value"),
        ("_ = @get_tensor_ptr(1)", "@get_tensor_ptr"),
    ],
)
def test_what_is_not_implemented_says_so_by_name(call: str, named: str) -> None:
    text = f"""const time = @import_module("<time>"); const tile = @import_module("<tile_config>");
    var words = @zeros([3]u16); fn go() void {{ {call}; }} comptime {{ @export_symbol(go); }}"""
    said = refused(text, target=Target(arch="wse3"))
    assert ": unsupported: " in said
    assert f"{named} is not implemented" in said
