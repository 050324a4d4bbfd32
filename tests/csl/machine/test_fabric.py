"""Routers and ramps: hand-counted latencies, published formulas, conservation, order of visits, faults.

Longer than most files because each test comes with the small machine that it runs.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.csl.machine.assemble import (
    END,
    code,
    constant,
    fabric_in,
    fabric_out,
    in_register,
    machine,
    memory_dsd,
    packed,
    route,
    scalar,
    vector,
)
from waferllm.csl.code import Code, Kind, Op, Target, Task, Vector
from waferllm.csl.layout import ColorConfig, Switch
from waferllm.csl.machine import Machine, MachineFault
from waferllm.csl.machine.diagnose import describe_quiet, stuck_wavelets
from waferllm.csl.machine.state import in_routers

RED, BLUE = 3, 5
RAMP_CYCLES = 2  # Luczynski et al., HPDC 2024: T_R


def sender(values: np.ndarray, color: int = RED) -> Code:
    """Sends 32-bit values from memory."""
    rows = [constant(0, 0), constant(1, 1)]
    rows += [vector(Vector.MOV32, in_register(0), in_register(1)), END]
    return code(
        rows,
        dsds=[fabric_out(color), memory_dsd()],
        constants=[packed(0, len(values)), packed(1, len(values), 0, 2)],
        memory=values.astype(np.uint32).view(np.uint16),
        outputs={2: color},
    )


def receiver(count: int, color: int = RED) -> Code:
    """Puts `count` wavelets into memory."""
    rows = [constant(0, 0), constant(1, 1)]
    rows += [vector(Vector.MOV32, in_register(1), in_register(0)), END]
    return code(
        rows,
        dsds=[fabric_in(color), memory_dsd()],
        constants=[packed(0, count), packed(1, count, 0, 2)],
        memory=2 * count,
        inputs={2: color},
    )


def received(ran: Machine, pe: int, count: int) -> np.ndarray:
    return ran.state.mem[pe, : 2 * count].copy().view(np.uint32)


def along_a_row(distance: int, count: int, profile: str = "sim", arch: str = "wse2") -> Machine:
    """The west end sends to the east end."""
    routes = {(x, 0): {RED: route("WEST", "EAST")} for x in range(1, distance)}
    routes[0, 0] = {RED: route("RAMP", "EAST")}
    routes[distance, 0] = {RED: route("WEST", "RAMP")}
    codes = {(0, 0): sender(1 + np.arange(count)), (distance, 0): receiver(count)}
    made = machine(codes, routes, profile=profile, arch=arch)
    made.run("quiet")
    np.testing.assert_array_equal(received(made, distance, count), 1 + np.arange(count))
    return made


def test_a_hop_takes_a_cycle_and_a_wavelet_one_more() -> None:
    first = along_a_row(1, 10).cycle
    assert along_a_row(7, 10).cycle - first == 6
    assert along_a_row(1, 110).cycle - first == 100


def test_wse3_silicon_hops_in_two_cycles_and_sends_eight_wavelets_in_nine() -> None:
    # Measured on a CS-3: hop 2.0 cycles; 9/8 cycle per 32-bit word.
    # All links rest in the same cycle of nine here, which a wavelet may meet.
    one = along_a_row(1, 1, "silicon", "wse3").cycle
    assert along_a_row(21, 1, "silicon", "wse3").cycle - one == pytest.approx(2 * 20, abs=5)
    for distance in (1, 5):
        first = along_a_row(distance, 72, "silicon", "wse3").cycle
        more = along_a_row(distance, 72 + 720, "silicon", "wse3").cycle
        assert more - first == 720 * 9 // 8


def chain_link(length: int, color_in: int | None, color_out: int | None) -> Code:
    """One PE of a chain reduction: what comes plus its own values goes on."""
    out = 0 if color_out is not None else 2
    dsds = [fabric_out(color_out or 0), fabric_in(color_in or 0), memory_dsd()]
    sources = [in_register(1), in_register(2)] if color_in is not None else [in_register(2)]
    op = Vector.FADDS if color_in is not None else Vector.FMOVS
    rows = [constant(at, at) for at in range(3)] + [vector(op, in_register(out), *sources), END]
    return code(
        rows,
        dsds=dsds,
        constants=[packed(0, length), packed(1, length), packed(2, length, 0, 2)],
        memory=np.arange(length, dtype=np.float32).view(np.uint16),
        inputs={} if color_in is None else {2: color_in},
        outputs={} if color_out is None else {2: color_out},
    )


def chain(width: int, length: int) -> Machine:
    """Everybody's sum arrives at the west end."""
    codes, routes = {}, {}
    for x in range(width):
        # Neighbors need different colors, or a router could not tell what comes from what goes.
        incoming, outgoing = (RED, BLUE) if x % 2 else (BLUE, RED)
        has_in, has_out = x < width - 1, x > 0
        codes[x, 0] = chain_link(
            length, incoming if has_in else None, outgoing if has_out else None
        )
        routes[x, 0] = {}
        if has_in:
            routes[x, 0][incoming] = route("EAST", "RAMP")
        if has_out:
            routes[x, 0][outgoing] = route("RAMP", "WEST")
    made = machine(codes, routes)
    made.run("quiet")
    total = made.state.mem[0, : 2 * length].copy().view(np.float32)
    np.testing.assert_array_equal(total, width * np.arange(length, dtype=np.float32))
    return made


def test_each_pe_of_a_chain_adds_two_ramps_a_hop_and_a_cycle_of_work() -> None:
    # Luczynski et al., HPDC 2024: a chain reduction takes B + (2 T_R + 2)(P - 1) cycles.
    short = chain(3, 20).cycle
    assert chain(8, 20).cycle - short == (2 * RAMP_CYCLES + 2) * 5
    assert chain(3, 120).cycle - short == 100


def test_a_multicast_reaches_all_without_extra_cycles() -> None:
    # A broadcast takes B + P + 2 T_R: as long as sending to the last one alone.
    alone = along_a_row(6, 30).cycle
    codes: dict[tuple[int, int], Code] = {(x, 0): receiver(30) for x in range(1, 7)}
    codes[0, 0] = sender(1 + np.arange(30))
    routes = {(x, 0): {RED: route("WEST", "EAST RAMP")} for x in range(1, 6)}
    routes |= {(0, 0): {RED: route("RAMP", "EAST")}, (6, 0): {RED: route("WEST", "RAMP")}}
    made = machine(codes, routes)
    made.run("quiet")
    for pe in range(1, 7):
        np.testing.assert_array_equal(received(made, pe, 30), 1 + np.arange(30))
    assert made.cycle == alone


def torus_like(order: tuple[int, int]) -> Machine:
    """4x3 PEs that send east and south at once, some of them blocked for a while."""
    width, height, count = 4, 3, 40
    codes, routes = {}, {}
    for y in range(height):
        for x in range(width):
            rows = [constant(at, at) for at in range(4)]
            if x < width - 1:
                rows.append(vector(Vector.MOV32, in_register(0), in_register(3), options=0))
            if y < height - 1:
                rows.append(vector(Vector.MOV32, in_register(1), in_register(3), options=1))
            # The sums of what comes from the west and from the north wait for each other.
            if x or y:
                rows.append(vector(Vector.ADD32, in_register(3), in_register(2), in_register(3)))
            rows.append(END)
            color = RED + (x + 1) % 2 if x else BLUE + (y + 1) % 2
            codes[x, y] = code(
                rows,
                dsds=[
                    fabric_out(RED + x % 2, 2), fabric_out(BLUE + y % 2, 3),
                    fabric_in(color, 4), memory_dsd(),
                ],
                options=[{"async": 1, "microthread": 2}, {"async": 1, "microthread": 3}],
                constants=[*(packed(row, count) for row in range(3)), packed(3, count, 0, 2)],
                memory=np.arange(x + 5 * y, x + 5 * y + count, dtype=np.uint32).view(np.uint16),
                inputs={4: color},
                outputs={2: RED + x % 2, 3: BLUE + y % 2},
            )  # fmt: skip
            held: dict[int, ColorConfig] = {}
            if x < width - 1:
                held[RED + x % 2] = route("RAMP", "EAST")
            if y < height - 1:
                held[BLUE + y % 2] = route("RAMP", "SOUTH")
            if x:
                held[RED + (x + 1) % 2] = route("WEST", "RAMP")
            if y:
                held[BLUE + (y + 1) % 2] = route("NORTH", "RAMP")
            routes[x, y] = held
    made = machine(codes, routes)
    made.order = order
    made.run("quiet")
    return made


def live(ran: Machine, name: str) -> np.ndarray:
    """An array of the state; of the routers' buffers only what is held there."""
    array: np.ndarray = getattr(ran.state, name)
    if name != "buffer":
        return array
    held = in_routers(ran.state).transpose(2, 1, 0)[..., None]
    return np.where(np.arange(array.shape[-1]) < held, array, 0)


@pytest.mark.parametrize("order", [(11, 11), (5, 7), (3, 5)])
def test_the_order_of_visits_does_not_matter(order: tuple[int, int]) -> None:
    straight, other = torus_like((0, 1)), torus_like(order)
    scratch = {"moves", "to_host", "prints", "events"}
    for name in set(straight.state._fields) - scratch:
        np.testing.assert_array_equal(live(straight, name), live(other, name), err_msg=name)
    assert straight.counters()["compute"].min() > 0


def test_wavelets_are_kept_while_nobody_reads_and_the_deadlock_is_told() -> None:
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}
    made = machine({(0, 0): sender(np.arange(100)), (1, 0): code([END], inputs={2: RED})}, routes)
    made.run("quiet")
    in_depth, out_depth, routers = (
        4,
        6,
        2 * 2,
    )  # queue 2 of a WSE-2; two places in each of two routers
    sent = in_depth + routers + out_depth
    assert int(made.state.out_count.sum()) == out_depth
    assert sum(count for _, _, _, count in stuck_wavelets(made)) == in_depth + routers
    left = int(made.state.threads[0, 8, 2])
    assert 100 - left == sent
    # What the sender gave to its router is what routers and the input queue hold.
    assert int(made.state.link_use[4, 0]) == in_depth + routers


def test_a_deadlock_names_the_pe_and_the_color() -> None:
    made = machine(
        {(0, 0): code([END]), (1, 0): receiver(5)}, {(1, 0): {RED: route("WEST", "RAMP")}}
    )
    made.state.ready[1] = 0
    with pytest.raises(
        MachineFault, match=rf"PE \(1, 0\).*for wavelets of color {RED}.*hand.csl:3"
    ):
        made.run()


def test_two_routes_that_deliver_one_color_at_once_are_a_fault() -> None:
    codes = {(0, 0): sender(np.arange(9)), (2, 0): sender(np.arange(9)), (1, 0): receiver(18)}
    routes = {
        (0, 0): {RED: route("RAMP", "EAST")},
        (2, 0): {RED: route("RAMP", "WEST")},
        (1, 0): {RED: route("WEST EAST", "RAMP")},
    }
    with pytest.raises(MachineFault, match=rf"PE \(1, 0\).*two routes deliver color {RED}"):
        machine(codes, routes).run("quiet")


def commands(*opcodes: int) -> int:
    """A control wavelet's bits: opcodes from bit 22 on, three bits each, the core's filter set in each."""
    word = 1 << 16
    for at, opcode in enumerate(opcodes):
        word |= opcode << (22 + 3 * at) | 1 << (24 + 3 * at)
    return word


ADVANCE, RESET, TEARDOWN = 1, 2, 3


def switched(
    sent: list[tuple[int, int]],
    counts: tuple[int, ...],
    configs: dict[tuple[int, int], ColorConfig],
) -> Machine:
    """PE 0 sends (value, control) one after another; PEs 1 on receive so many wavelets."""
    rows, constants = [], [packed(0, 1), packed(1, 1)]
    rows += [constant(0, 0), constant(1, 1)]
    for value, control in sent:
        constants.append(value)
        rows.append(constant(2, len(constants) - 1))
        rows.append(vector(Vector.MOV32, in_register(control), scalar(2)))
    program = code(
        [*rows, END],
        dsds=[fabric_out(RED), fabric_out(RED, control=1)],
        constants=constants,
        outputs={2: RED},
    )
    codes = {(0, 0): program} | {(at, 0): receiver(n) for at, n in enumerate(counts, 1)}
    made = machine(codes, {place: {RED: config} for place, config in configs.items()})
    made.run("quiet")
    return made


def advancing(*later: str, ring: bool = False, pop: str = "no_pop") -> ColorConfig:
    """From the west to the ramp first, then to the ports named."""
    positions = [Switch(None, (each,)) for each in later]
    padded = (*positions, *[None] * (3 - len(positions)))
    return route("WEST", "RAMP", switches=padded, ring_mode=ring, pop_mode=pop)


def test_a_switch_advances_after_the_command_has_passed() -> None:
    sent = [(10, 0), (11, 0), (commands(ADVANCE), 1), (20, 0), (21, 0)]
    configs = {(0, 0): route("RAMP", "EAST"), (1, 0): advancing("EAST")}
    made = switched(sent, (2, 2), configs | {(2, 0): route("WEST", "RAMP")})
    assert received(made, 1, 2).tolist() == [10, 11]
    assert received(made, 2, 2).tolist() == [20, 21]


def test_a_ring_of_positions_starts_again() -> None:
    sent = [(10, 0), (commands(ADVANCE), 1), (20, 0), (commands(ADVANCE), 1), (30, 0)]
    configs = {(0, 0): route("RAMP", "EAST"), (1, 0): advancing("EAST", ring=True)}
    made = switched(sent, (2, 1), configs | {(2, 0): route("WEST", "RAMP")})
    assert received(made, 1, 2).tolist() == [10, 30]
    assert received(made, 2, 1).tolist() == [20]


def test_without_a_ring_the_last_position_stays_until_a_reset() -> None:
    step = (commands(ADVANCE), 1)
    sent = [(10, 0), step, (20, 0), step, (21, 0), (commands(RESET), 1), (30, 0)]
    configs = {(0, 0): route("RAMP", "EAST"), (1, 0): advancing("EAST")}
    made = switched(sent, (2, 2), configs | {(2, 0): route("WEST", "RAMP")})
    assert received(made, 1, 2).tolist() == [10, 30]
    assert received(made, 2, 2).tolist() == [20, 21]


def test_without_popping_one_command_moves_every_switch_it_passes() -> None:
    # Both switches listen to the west; the second sends to the ramp, later nowhere that matters.
    through = route("WEST", "EAST", switches=(Switch(None, ("RAMP",)), None, None))
    sent = [(10, 0), (commands(ADVANCE), 1), (20, 0)]
    made = switched(
        sent, (1, 1), {(0, 0): route("RAMP", "EAST"), (1, 0): through, (2, 0): advancing("EAST")}
    )
    assert received(made, 2, 1).tolist() == [10]
    assert received(made, 1, 1).tolist() == [20]
    assert made.state.position[[1, 2], RED].tolist() == [1, 1]


def test_popping_leaves_the_next_command_to_the_next_router() -> None:
    through = route(
        "WEST", "EAST", switches=(Switch(None, ("RAMP",)), None, None), pop_mode="always_pop"
    )
    sent = [(10, 0), (commands(ADVANCE, 0), 1), (20, 0)]
    made = switched(
        sent, (1, 1), {(0, 0): route("RAMP", "EAST"), (1, 0): through, (2, 0): advancing("EAST")}
    )
    assert made.state.position[[1, 2], RED].tolist() == [1, 0]


def test_teardown_suspends_a_color_until_its_handler_opens_it_again() -> None:
    torn = route("WEST", "RAMP", teardown=False)
    sent = [(10, 0), (commands(TEARDOWN), 1), (20, 0)]
    closed = switched(sent, (2,), {(0, 0): route("RAMP", "EAST"), (1, 0): torn})
    assert received(closed, 1, 2).tolist() == [10, 0]
    # The handler clears bit 14 of the color's configuration word (0x7F20 + color on a WSE-2).
    rows = [constant(0, 0), constant(1, 1)]
    rows += [vector(Vector.MOV32, in_register(1), in_register(0), options=0), END]
    handler = len(rows)
    rows += [constant(2, 2), (Op.GET_CONFIG, Kind.U16, 3, 2), constant(4, 3)]
    rows += [(Op.AND, Kind.U16, 3, 3, 4), (Op.SET_CONFIG, Kind.U16, 0, 2, 3), END]
    opened = code(
        rows,
        dsds=[fabric_in(RED), memory_dsd()],
        constants=[packed(0, 2), packed(1, 2, 0, 2), 0x7F20 + RED, 0xFFFF ^ 1 << 14],
        options=[{"async": 1}],
        memory=4,
        inputs={2: RED},
        teardown={RED: Task("reopen", handler)},
    )
    program = [constant(0, 0), constant(1, 1)]
    for at in range(3):
        program += [constant(2, 2 + at), vector(Vector.MOV32, in_register(sent[at][1]), scalar(2))]
    west = code(
        [*program, END],
        dsds=[fabric_out(RED), fabric_out(RED, control=1)],
        constants=[packed(0, 1), packed(1, 1), *(value for value, _ in sent)],
        outputs={2: RED},
    )
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: torn}}
    # The sender's own router is torn down as well and opens again in the same way.
    west_rows = west.instructions.tolist()[:-1]
    west_handler = len(west_rows) + 1
    west_rows += [END, constant(5, 5), (Op.GET_CONFIG, Kind.U16, 6, 5), constant(7, 6)]
    west_rows += [(Op.AND, Kind.U16, 6, 6, 7), (Op.SET_CONFIG, Kind.U16, 0, 5, 6), END]
    west = code(
        west_rows,
        dsds=[fabric_out(RED), fabric_out(RED, control=1)],
        constants=[
            packed(0, 1),
            packed(1, 1),
            *(v for v, _ in sent),
            0x7F20 + RED,
            0xFFFF ^ 1 << 14,
        ],
        outputs={2: RED},
        teardown={RED: Task("reopen", west_handler)},
    )
    made = machine({(0, 0): west, (1, 0): opened}, routes)
    made.run("quiet")
    assert received(made, 1, 2).tolist() == [10, 20]


def test_a_counter_filter_lets_a_window_of_each_period_pass() -> None:
    # Counts up with every data wavelet, wraps after limit1, passes while not above max_counter.
    config = route(
        "WEST", "RAMP",
        filter=(("kind", "counter"), ("count_data", 1), ("init_counter", 0), ("limit1", 4),
                ("max_counter", 1)),
    )  # fmt: skip
    expected = [value for value in range(20) if value % 5 <= 1]
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: config}}
    made = machine({(0, 0): sender(np.arange(20)), (1, 0): receiver(len(expected))}, routes)
    made.run("quiet")
    assert received(made, 1, len(expected)).tolist() == expected
    assert not stuck_wavelets(made)


def test_a_range_filter_looks_at_the_index_in_the_high_half() -> None:
    config = route("WEST", "RAMP", filter=(("kind", "range"), ("min_idx", 3), ("max_idx", 5)))
    sent = np.arange(12) << 16 | 7
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: config}}
    made = machine({(0, 0): sender(sent), (1, 0): receiver(3)}, routes)
    made.run("quiet")
    assert (received(made, 1, 3) >> 16).tolist() == [3, 4, 5]
    assert not stuck_wavelets(made)


def test_a_data_task_runs_once_for_each_wavelet() -> None:
    rows = [END, (Op.ADD, Kind.U32, 5, 5, 4), END]
    adder = code(
        rows,
        tasks={(Target.DATA_TASK, RED): Task("add", 1, ((4, Kind.U32),))},
        inputs={2: RED},
    )
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}
    made = machine({(0, 0): sender(np.arange(1, 31)), (1, 0): adder}, routes)
    made.run("quiet")
    assert made.state.reg[1, 5] == 30 * 31 // 2


def test_the_host_streams_in_and_out() -> None:
    rows = [constant(0, 0), constant(1, 1)]
    rows += [vector(Vector.MOV32, in_register(0), in_register(1)), END]
    echo = code(
        rows,
        dsds=[fabric_out(BLUE), fabric_in(RED)],
        constants=[packed(0, 50), packed(1, 50)],
        inputs={2: RED},
        outputs={2: BLUE},
    )
    made = machine(
        {(0, 0): echo, (1, 0): echo},
        {(x, 0): {BLUE: route("RAMP", "RAMP")} for x in range(2)},
        host_in=frozenset({RED}),
        host_out=frozenset({BLUE}),
    )
    words = np.arange(100, dtype=np.uint32).reshape(2, 50)
    made.inject(RED, np.arange(2), words)
    np.testing.assert_array_equal(made.drain(BLUE, np.arange(2), 50), words)


def test_a_wavelet_of_a_simd_operation_carries_two_halves() -> None:
    values = np.arange(100, 140, dtype=np.uint16)
    rows = [constant(0, 0), constant(1, 1)]
    west = code(
        [*rows, vector(Vector.MOV16, in_register(0), in_register(1)), END],
        dsds=[fabric_out(RED, simd=1, element_words=1), memory_dsd(1)],
        constants=[packed(0, 40), packed(1, 40, 0, 1)],
        memory=values,
        outputs={2: RED},
    )
    east = code(
        [*rows, vector(Vector.MOV16, in_register(1), in_register(0)), END],
        dsds=[fabric_in(RED, simd=1, element_words=1), memory_dsd(1)],
        constants=[packed(0, 40), packed(1, 40, 0, 1)],
        memory=40,
        inputs={2: RED},
    )
    routes = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}
    made = machine({(0, 0): west, (1, 0): east}, routes)
    made.run("quiet")
    np.testing.assert_array_equal(made.state.mem[1, :40], values)
    assert made.state.link_use[4, 0] == 20


def sends_then_sets_the_route(count: int, instructions_between: int, word: int) -> Code:
    """Sends, then makes the color's route `word` (WSE-2)."""
    rows = [constant(0, 0), constant(1, 1), vector(Vector.MOV32, in_register(0), in_register(1))]
    rows += [constant(2, 2)] * instructions_between
    rows += [constant(2, 2), constant(3, 3), (Op.SET_CONFIG, Kind.U16, 0, 2, 3), END]
    return code(
        rows,
        dsds=[fabric_out(RED), memory_dsd()],
        constants=[packed(0, count), packed(1, count, 0, 2), 0x7F20 + RED, word],
        memory=(1 + np.arange(count)).astype(np.uint32).view(np.uint16),
        outputs={2: RED},
    )


def late_receiver(count: int, instructions: int) -> Code:
    """Receives after a while."""
    made = receiver(count)
    idle = np.repeat(made.instructions[:1], instructions, axis=0)
    rows = np.concatenate([idle, made.instructions])
    return replace(made, instructions=rows, lines=np.ones((len(rows), 2), np.int32))


EASTWARD = {(0, 0): {RED: route("RAMP", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}


def test_a_route_changes_in_the_cycle_of_its_instruction_and_not_before() -> None:
    # Six wavelets are sent, sixty instructions pass, the route is taken away: all six have left by then,
    # as long as instructions that change routers are not carried out ahead of their time.
    made = sends_then_sets_the_route(6, 60, 0)
    ran = machine({(0, 0): made, (1, 0): receiver(6)}, EASTWARD)
    ran.run("quiet")
    assert ran.state.tx[0, RED, 0] == 0
    np.testing.assert_array_equal(received(ran, 1, 6), 1 + np.arange(6))


@pytest.mark.parametrize("instructions", [1, 300])
def test_what_was_sent_before_a_change_of_route_leaves_by_the_old_one(instructions: int) -> None:
    # Both routers and queues hold all fourteen while the receiver is busy elsewhere.
    made = sends_then_sets_the_route(14, 0, 0)
    ran = machine({(0, 0): made, (1, 0): late_receiver(14, instructions)}, EASTWARD)
    ran.run("quiet")
    assert ran.state.tx[0, RED, 0] == 0
    np.testing.assert_array_equal(received(ran, 1, 14), 1 + np.arange(14))


def test_a_route_that_takes_nothing_from_the_core_changes_at_once() -> None:
    eastward = 1 << 9 | 1 << 1  # from the ramp to the east
    routes = {(0, 0): {RED: route("NORTH", "EAST")}, (1, 0): {RED: route("WEST", "RAMP")}}
    made = sends_then_sets_the_route(6, 0, eastward)
    ran = machine({(0, 0): made, (1, 0): receiver(6)}, routes)
    ran.run("quiet")
    np.testing.assert_array_equal(received(ran, 1, 6), 1 + np.arange(6))


def test_a_route_that_can_never_change_is_part_of_the_diagnosis() -> None:
    ran = machine({(0, 0): sends_then_sets_the_route(14, 0, 0), (1, 0): code([END])}, EASTWARD)
    ran.run("quiet")
    assert "waits to change a color's route" in describe_quiet(ran, "nobody receives", [0])


def twice(first: int, second: int, dsds: list[dict[str, int]]) -> Code:
    """Two operations at once with memory, with the options rows that they name (-1: synchronous)."""
    sends = dsds[0]["kind"] == fabric_out(RED)["kind"]
    operands = (in_register(0), in_register(1)) if sends else (in_register(1), in_register(0))
    rows = [constant(0, 0), constant(1, 1)]
    rows += [vector(Vector.MOV32, *operands, options=each) for each in (first, second)]
    return code(
        [*rows, END],
        dsds=[*dsds, memory_dsd()],
        options=[{"async": 1, "microthread": 4}, {"async": 1, "microthread": 5}],
        constants=[packed(0, 40), packed(1, 40, 0, 2)],
        memory=80,
        inputs={2: RED},
        outputs={2: RED},
    )


@pytest.mark.parametrize(
    ("first", "second", "dsd", "shared"),
    [
        (0, 0, fabric_out(RED), "microthread 4"),
        (0, 1, fabric_out(RED), "output queue 2"),
        (0, -1, fabric_out(RED), "output queue 2"),
        (0, 1, fabric_in(RED), f"color {RED}'s input queue"),
        (0, -1, fabric_in(RED), f"color {RED}'s input queue"),
    ],
)
def test_two_operations_on_one_microthread_or_queue_are_a_fault(
    first: int, second: int, dsd: dict[str, int], shared: str
) -> None:
    # Documentation: no two concurrent DSD operations may share an output or input queue or a microthread.
    ran = machine(
        {(1, 0): twice(first, second, [dsd])}, {(1, 0): {RED: route("RAMP", "WEST")}}, arch="wse3"
    )
    with pytest.raises(MachineFault, match=rf"hand.csl:4, PE \(1, 0\).*{shared}, .*hand.csl:3"):
        ran.run("quiet")
