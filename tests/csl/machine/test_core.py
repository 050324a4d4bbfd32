"""One PE: hand-counted cycles of scalar code and DSD operations, values beside NumPy, faults."""

import numpy as np
import pytest

from tests.csl.machine.assemble import (
    END,
    code,
    constant,
    dsr,
    in_register,
    machine,
    memory_dsd,
    packed,
    vector,
)
from waferllm.csl.code import Kind, Op, Operand, Target, Task, Vector, operand
from waferllm.csl.machine import Machine, MachineFault

BEFORE, AFTER = 20, 21  # registers with the clock
CLOCK = 5


def timed(rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Rows between two readings of the clock."""
    return [
        (Op.TIME_ENABLE, 0, 0, 1),
        *((Op.TIME, Kind.U64, BEFORE),),
        *rows,
        (Op.TIME, Kind.U64, AFTER),
        END,
    ]


def spent(ran: Machine) -> int:
    """Cycles between the two readings; reading the clock takes CLOCK of them."""
    return int(ran.state.reg[0, AFTER] - ran.state.reg[0, BEFORE])


def run(program: object, arch: str = "wse2") -> Machine:
    made = machine({(0, 0): program}, arch=arch)  # type: ignore[dict-item]
    made.run("quiet")
    return made


def test_integer_instructions_take_a_cycle_each() -> None:
    add = (Op.ADD, Kind.I16, 1, 1, 0)
    ran = run(code(timed([constant(0, 0), *[add] * 10]), constants=[3]))
    assert spent(ran) == CLOCK + 1 + 10
    assert ran.state.reg[0, 1] == 30


def test_integers_wrap_in_their_type() -> None:
    rows = [constant(0, 0), constant(1, 1), (Op.ADD, Kind.I16, 2, 0, 1), END]
    assert run(code(rows, constants=[32767, 2])).state.reg[0, 2] == -32767


@pytest.mark.parametrize("length", [1028, 5124])
@pytest.mark.parametrize("conflict", [False, True])
def test_fmuls_with_loaded_dsrs_takes_the_published_cycles(length: int, conflict: bool) -> None:
    # Published simulator runs: n + 6, and 2n + 6 where both sources lie in the same banks.
    published = {(1028, False): 1034, (5124, False): 5130, (1028, True): 2062, (5124, True): 10254}
    rng = np.random.default_rng(length)
    c, b = (rng.standard_normal(length).astype(np.float32) for _ in range(2))
    at = 2 * length + (0 if conflict else 2)  # 2n is a multiple of 4 words
    memory = np.zeros(at + 2 * length, np.uint16)
    memory[: 2 * length], memory[at:] = c.view(np.uint16), b.view(np.uint16)
    ran = run(
        code(
            timed([vector(Vector.FMULS, dsr(0, 1), dsr(1, 1), dsr(2, 1))]),
            dsds=[memory_dsd()],
            memory=memory,
            dsrs={
                (0, 1): packed(0, length, 0, 2),
                (1, 1): packed(0, length, 0, 2),
                (2, 1): packed(0, length, at, 2),
            },
        )
    )
    assert spent(ran) == published[length, conflict]
    np.testing.assert_array_equal(ran.state.mem[0, : 2 * length].copy().view(np.float32), c * b)


def test_loading_three_descriptors_adds_the_published_overhead() -> None:
    # Published: about n + 34 with the loads inside the timed region.
    length = 1028
    rows = timed([vector(Vector.FMULS, in_register(0), in_register(0), in_register(1))])
    rows = [constant(0, 0), constant(1, 1), *rows]
    constants = [packed(0, length, 0, 2), packed(0, length, 2 * length + 2, 2)]
    ran = run(code(rows, dsds=[memory_dsd()], memory=4 * length + 2, constants=constants))
    assert spent(ran) == pytest.approx(1062, rel=0.03)


@pytest.mark.parametrize(
    ("arch", "op", "words", "per_cycle"),
    [
        ("wse2", Vector.FADDH, 1, 4), ("wse3", Vector.FADDH, 1, 8),
        ("wse2", Vector.FADDS, 2, 2), ("wse3", Vector.FADDS, 2, 4),
        ("wse2", Vector.FMACS, 2, 1), ("wse3", Vector.FMAXH, 1, 8),
        ("wse2", Vector.FMAXH, 1, 1), ("wse3", Vector.FMAXS, 2, 4),
    ],
)  # fmt: skip
def test_widths_are_those_of_the_documentation(
    arch: str, op: Vector, words: int, per_cycle: int
) -> None:
    spans = []
    for length in (64, 64 + 10 * 8):
        sources = [in_register(1), in_register(2)]
        scalars = (operand(Operand.SCALAR, 3),) if op == Vector.FMACS else ()
        rows = [constant(at, at) for at in range(4)]
        rows += timed([vector(op, in_register(0), *sources, *scalars)])
        # Addresses 4 (mod 8) apart would conflict; 2 apart do not.
        constants = [packed(0, length, at, words) for at in (0, 402, 800)] + [0]
        made = code(rows, dsds=[memory_dsd(words)], memory=1200, constants=constants)
        spans.append(spent(run(made, arch)))
    assert spans[1] - spans[0] == 10 * 8 // per_cycle


def test_half_precision_fma_rounds_once() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(64).astype(np.float16) for _ in range(2))
    factor = np.float16(0.333)
    memory = np.concatenate([a, b, np.zeros(2, np.float16)]).view(np.uint16)
    rows = [constant(at, at) for at in range(3)]
    rows += [
        vector(
            Vector.FMACH, in_register(0), in_register(0), in_register(1),
            operand(Operand.SCALAR, 2),
        ),
        END,
    ]  # fmt: skip
    constants = [packed(0, 64, 0, 1), packed(0, 64, 64, 1), int(factor.view(np.uint16))]
    ran = run(code(rows, dsds=[memory_dsd(1)], memory=memory, constants=constants))
    # A product of two f16 is exact in f64, and so is its sum with a third of like size.
    exact = a.astype(np.float64) + b.astype(np.float64) * np.float64(factor)
    np.testing.assert_array_equal(
        ran.state.mem[0, :64].copy().view(np.float16), exact.astype(np.float16)
    )


def test_a_zero_stride_accumulates() -> None:
    values = np.arange(1, 18, dtype=np.float32)
    memory = np.concatenate([np.zeros(1, np.float32), values]).view(np.uint16)
    rows = [constant(0, 0), constant(1, 1)]
    rows += [vector(Vector.FADDS, in_register(0), in_register(0), in_register(1)), END]
    constants = [packed(0, 17, 0, 0), packed(0, 17, 2, 2)]
    ran = run(code(rows, dsds=[memory_dsd()], memory=memory, constants=constants))
    assert ran.state.mem[0, :2].copy().view(np.float32)[0] == 17 * 18 / 2


def test_division_by_zero_says_where() -> None:
    program = code([constant(0, 0), (Op.DIV, Kind.I16, 1, 0, 2), END], constants=[5])
    with pytest.raises(MachineFault, match=r"hand.csl:2, PE \(0, 0\), cycle \d+: division by zero"):
        run(program)


def test_an_address_outside_of_memory_says_where() -> None:
    rows = [constant(0, 0), vector(Vector.MOV32, in_register(0), operand(Operand.SCALAR, 1)), END]
    program = code(rows, dsds=[memory_dsd()], memory=16, constants=[packed(0, 40, 0, 2)])
    with pytest.raises(MachineFault, match=r"hand.csl:2, PE \(0, 0\).*access to word 24"):
        run(program)


def test_a_failed_assertion_shows_its_message() -> None:
    with pytest.raises(MachineFault, match="the sum is off"):
        run(code([(Op.TRAP, 0, 0, 0), END], messages=["the sum is off"]))


def test_a_program_without_end_stops_at_the_limit() -> None:
    made = machine({(0, 0): code([(Op.JUMP, 0, 0, 0)])})
    made.limit = 10_000
    with pytest.raises(MachineFault, match="10,000 cycles"):
        made.run("quiet")


def test_tasks_that_activate_themselves_do_not_starve_one_with_a_higher_id() -> None:
    # Tasks 8 and 9 activate themselves and each other for ever, until task 20 has set a flag in memory.
    flag = [constant(0, 0), (Op.LOAD, Kind.U16, 1, 0, 0)]
    spin = [
        [*flag, (Op.JUMP_IF, Kind.U16, 0, 1, 5 + 6 * at), constant(2, 1 + at),
         (Op.ACTIVATE, 0, 0, 2), END]
        for at in range(2)
    ]  # fmt: skip
    done = [constant(0, 0), constant(1, 3), (Op.STORE, Kind.U16, 1, 0, 0), END]
    made = code(
        [*spin[0], *spin[1], *done],
        constants=[0, 8, 9, 1],
        memory=1,
        tasks={(Target.LOCAL_TASK, 9): Task("b", 6), (Target.LOCAL_TASK, 20): Task("c", 12)},
        activated=(8, 9, 20),
    )
    ran = machine({(0, 0): made})
    ran.limit = 10_000
    ran.run("quiet")
    assert ran.state.mem[0, 0] == 1
