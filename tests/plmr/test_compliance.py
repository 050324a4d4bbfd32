"""The verdicts come out as the paper's table, from the walk alone, on small and large meshes."""

import math

import pytest

from waferllm.chip import BLACKHOLE, DOJO_TILE, WSE2, WSE3
from waferllm.fabric import Tree, allreduce, broadcast
from waferllm.kernels import gemm, gemv
from waferllm.layout import COLS, ROWS, Blocks
from waferllm.plmr import cost
from waferllm.plmr.compliance import stage_budget
from waferllm.program import Program, Spec

GEMMS = {
    gemm.allgather_gemm: "LMR",
    gemm.summa: "LR",
    gemm.cannon: "L",
    gemm.mesh_gemm: "",
}
GEMVS = {gemv.pipeline_gemv: "L", gemv.ring_gemv: "L", gemv.mesh_gemv: ""}


def tiles(kernel, mesh, tile=4):
    """A program of `tile` x `tile` blocks on every core of a square mesh."""
    n = mesh[0] * tile
    first = (n, n) if kernel in GEMMS else (n,)
    return Program(kernel, mesh=mesh, shapes=[first, (n, n)])


@pytest.mark.parametrize("chip", [WSE2, WSE3], ids=lambda chip: chip.name)
@pytest.mark.parametrize("n", [8, 64, 600])
@pytest.mark.parametrize(
    ("kernel", "violates"),
    [*GEMMS.items(), *GEMVS.items()],
    ids=lambda k: getattr(k, "__name__", k),
)
def test_the_papers_table(kernel, violates, n, chip):
    assert cost(tiles(kernel, (n, n)), chip).compliance.violates == violates


@pytest.mark.parametrize(
    "groups", [(240, 15), (300, 15), (360, 18), (420, 20), (600, 24), (720, 24)]
)
def test_the_authors_groups_comply(groups):
    cores, group = groups

    def core(x):
        return allreduce(x, ROWS, Tree((group,)))

    spec = Spec((4,), Blocks((None,)))
    program = Program(core, mesh=(cores, 3), inputs=[spec], outputs=spec, name="allreduce")
    assert cost(program, WSE2).compliance["L"].holds
    assert group // 2 + cores // group // 2 <= stage_budget(cores)


def test_groups_far_from_balanced_do_not_comply():
    def core(x):
        return allreduce(x, ROWS, Tree((2,)))

    spec = Spec((4,), Blocks((None,)))
    program = Program(core, mesh=(600, 3), inputs=[spec], outputs=spec, name="allreduce")
    verdict = cost(program, WSE2).compliance["L"]
    assert not verdict.holds
    assert "151 routing stages" in verdict.reason  # one in the pairs, 150 in the chain of 300 roots


def test_a_multicast_on_every_trip_crosses_the_line_too_often():
    from jax import lax

    def core(x):
        return lax.scan(lambda c, _: (broadcast(c + 1, COLS, 2), None), x, None, length=5)[0]

    spec = Spec((4,), Blocks((COLS,)))
    program = Program(core, mesh=(3, 9), inputs=[spec], outputs=spec, name="again")
    verdict = cost(program, WSE2).compliance["L"]
    assert not verdict.holds
    assert "6 hops on each of 5 trips" in verdict.reason


def test_what_does_not_fit_is_said_with_both_figures():
    need = 5 * 200 * 200 * 4  # 2A + 2B + C in float32
    verdict = cost(tiles(gemm.mesh_gemm, (3, 3), tile=200), WSE2).compliance["M"]
    assert not verdict.holds
    assert f"{need / 1024:.1f} KiB" in verdict.reason
    assert f"{WSE2.free_per_core_bytes / 1024:.1f} KiB" in verdict.reason


def test_a_mesh_larger_than_the_chip_fails_p_and_one_turned_does_not():
    assert not cost(tiles(gemv.mesh_gemv, (995, 700)), WSE2).compliance["P"].holds
    turned = Program(gemv.mesh_gemv, mesh=(750, 994), shapes=[(7500,), (7500, 9940)])
    verdict = cost(turned, WSE2).compliance["P"]
    assert verdict.holds
    assert "turned" in verdict.reason


def test_sides_without_a_common_divisor_are_mostly_padding():
    program = Program(gemm.mesh_gemm, mesh=(994, 750), shapes=[(4096, 4096), (4096, 4096)])
    assert math.lcm(994, 750) > 90 * 4096
    assert "P" in cost(program, WSE2).compliance.violates


@pytest.mark.parametrize("chip", [BLACKHOLE, DOJO_TILE], ids=lambda chip: chip.name)
def test_routes_do_not_bind_where_packets_carry_their_destination(chip):
    assert cost(tiles(gemm.summa, (8, 8)), chip).compliance.violates == "L"


def test_a_cost_prints_as_a_table_of_at_most_100_columns():
    text = str(cost(tiles(gemm.mesh_gemm, (600, 600)), WSE2))
    assert "9  of 21 free" in text
    assert "predicted" in text
    assert all(f"  {letter} holds  " in text for letter in "PLMR")
    assert max(map(len, text.splitlines())) <= 140
