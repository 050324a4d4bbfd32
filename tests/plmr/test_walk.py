"""The walk counts what closed forms say: nothing here is a previous run's output."""

import math

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from waferllm.errors import UnsupportedError
from waferllm.fabric import Ring, Step, Tree, allreduce, reduce, rotate, shift
from waferllm.kernels import gemm, gemv
from waferllm.layout import COLS, ROWS, Blocks, Mesh
from waferllm.plmr import Cover, Reading, read
from waferllm.program import Program, Spec

F32 = 4
FULL_WAFER = (994, 750)


def reading(core, mesh=(3, 4), shapes=((8, 8),), dtype=jnp.float32) -> Reading:
    """The reading of a core function whose arguments every core holds whole."""
    specs = [Spec(s, Blocks((None,) * len(s)), dtype) for s in shapes]
    return read(Program(core, mesh=mesh, inputs=specs, name="test"))


def words(r: Reading) -> dict[str, int]:
    return {t.word.says: t.calls for t in r.words}


@pytest.mark.parametrize("n", [3, 5, 8, 600])
def test_mesh_gemm_on_a_square_mesh_is_n_steps_of_two_hops(n):
    m, k, p = 4, 3, 2  # one core's tiles: A is m x k, B k x p
    r = read(Program(gemm.mesh_gemm, mesh=(n, n), shapes=[(m * n, k * n), (k * n, p * n)]))
    a, b, c = (F32 * x for x in (m * k, k * p, m * p))
    assert r.product_flops_per_core == 2 * m * k * p * n
    assert r.other_flops_per_core == m * p * n  # C += A B, n times
    assert r.longest_send_hops == 2
    assert words(r) == {"rotate x ring": 1, "shift x ring-1": n, "shift y ring-1": n}
    assert r.sent_bytes_per_core == n * (a + b) + (n // 2) * a  # the steps, and A's alignment
    assert r.exposed_stages == n // 2
    assert r.stages == 2 * n + n // 2
    assert r.memory_bytes_per_core == 2 * a + 2 * b + c
    assert r.arguments_bytes_per_core == a + b


@pytest.mark.parametrize("n", [4, 9, 64])
def test_a_ring_takes_three_routes_and_alignment_three_more_the_other_way(n):
    r = read(Program(gemm.mesh_gemm, mesh=(n, n), shapes=[(n, n), (n, n)]))
    assert {w.says: routes for w, routes in r.channels.items()} == {
        "shift x ring-1": 3,
        "shift y ring-1": 3,
        "shift x ring": 3,
    }
    assert r.routes_per_core == 9


def test_mesh_gemm_on_an_unequal_mesh_moves_only_the_blocks_that_it_uses():
    rows, cols = 5, 3
    steps = math.lcm(rows, cols)
    r = read(Program(gemm.mesh_gemm, mesh=(rows, cols), shapes=[(30, 30), (30, 30)]))
    m, k_a, k_b, n = 30 // rows, 30 // cols, 30 // rows, 30 // cols
    assert r.product_flops_per_core == 2 * m * (30 // steps) * n * steps
    a, b = m * k_a, k_b * n  # tiles; a block is one of steps / cols, or steps / rows
    block_a, block_b = a * cols // steps, b * rows // steps
    alignment = cols // 2 * a + a  # tiles half round the ring, one more for blocks in between
    assert r.sent_bytes_per_core == F32 * (steps * (block_a + block_b) + alignment)
    # The arguments, A aligned, a copy of each tile in the loop, two buffers for each block, and C.
    assert r.memory_bytes_per_core == F32 * (3 * a + 2 * b + 2 * (block_a + block_b) + m * n)


def test_cannon_sends_around_the_line_and_mesh_gemm_does_not():
    n = 7
    r = read(Program(gemm.cannon, mesh=(n, n), shapes=[(n, n), (n, n)]))
    assert r.longest_send_hops == n - 1
    assert r.exposed_stages == 2 * (n - 1)  # the skew; the steps run beside the products


def test_summa_takes_a_route_for_every_root():
    rows, cols = 5, 3
    r = read(Program(gemm.summa, mesh=(rows, cols), shapes=[(30, 30), (30, 30)]))
    assert r.routes_per_core == rows + cols
    assert {s.overlap.cover for p in r.phases for s in p.words} == {Cover.LOOP}


def test_allgather_gemm_holds_a_row_of_a_and_a_column_of_b():
    n = 6
    r = read(Program(gemm.allgather_gemm, mesh=(n, n), shapes=[(2 * n, 3 * n), (3 * n, n)]))
    a, b, c = F32 * 2 * 3, F32 * 3, F32 * 2
    assert r.memory_bytes_per_core == (a + b) * (n + 1) + c
    assert {g.tiles for g in r.gathered} == {n}


@pytest.mark.parametrize(("n", "group"), [(9, 3), (10, 4), (600, 24), (7, 3)])
def test_a_tree_has_the_stages_of_its_deepest_chains(n, group):
    tree = Tree((group,))

    def core(x):
        return reduce(x, ROWS, tree)

    r = reading(core, mesh=(n, 4), shapes=((6,),))
    groups = math.ceil(n / group)
    last = n - group * (groups - 1)

    def deepest(size):
        return max(size // 2, size - 1 - size // 2)

    assert r.stages == max(deepest(group), deepest(last)) + deepest(groups)
    assert r.reductions == 1
    assert r.byte_hops_total == 6 * F32 * 4 * links(n, group)


def links(n, group):
    """Links that the partial sums cross: by hand, chain by chain."""
    cores = [list(range(n))[i : i + group] for i in range(0, n, group)]
    inside = sum(g[-1] - g[0] for g in cores)
    roots = [g[len(g) // 2] for g in cores]
    return inside + roots[-1] - roots[0]


def test_pipeline_crosses_every_core_and_the_ring_twice():
    n = 11
    shapes = [(22,), (22, 12)]
    pipeline = read(Program(gemv.pipeline_gemv, mesh=(n, 4), shapes=shapes))
    ring = read(Program(gemv.ring_gemv, mesh=(n, 4), shapes=shapes))
    assert pipeline.exposed_stages == n - 1
    assert ring.exposed_stages == 2 * (n - 1)
    assert ring.longest_send_hops == 2
    assert ring.reductions == 0


def test_equal_patterns_share_their_routes_and_others_add():
    def once(x):
        return shift(x, COLS, Step(1))

    def twice(x):
        return shift(shift(x, COLS, Step(1)), COLS, Step(1))

    def both(x):
        return shift(shift(x, COLS, Step(1)), ROWS, Step(1))

    routes = [reading(core, mesh=(5, 5)).routes_per_core for core in (once, twice, both)]
    assert routes == [2, 2, 4]  # one path in, one path out, on each axis


def test_nested_loops_multiply():
    def inner(x, _):
        return shift(x, COLS, Ring()), None

    def outer(x, _):
        return lax.scan(inner, x, None, length=5)[0], None

    def core(x):
        return lax.scan(outer, x, None, length=7)[0]

    r = reading(core)
    assert words(r) == {"shift x ring": 35}
    (phase,) = r.phases
    assert (phase.loops, phase.times, phase.trips) == ((7, 5), 35, 5)


def test_a_jitted_function_counts_at_every_call():
    @jax.jit
    def twice(x):
        return jax.nn.silu(x) + x

    def core(x):
        return twice(twice(x))

    r = reading(core)
    assert r.other_flops_per_core == 2 * 3 * 64  # logistic, times, plus


def test_operations_count_by_closed_form():
    def core(a, b):
        return jnp.einsum("bij,bjk->bik", a, b)

    r = reading(core, shapes=((3, 4, 5), (3, 5, 6)))
    assert r.flops_per_core == 2 * 3 * 4 * 5 * 6


def test_an_operation_without_a_rule_is_named():
    def core(x):
        return lax.sort(x)

    with pytest.raises(UnsupportedError, match="'sort'"):
        reading(core)


def test_jax_reduce_is_not_mistaken_for_ours():
    def core(x):
        return lax.reduce_p.bind(
            x, jnp.float32(0), computation=None, jaxpr=jax.make_jaxpr(lax.add)(1.0, 1.0),
            dimensions=(0,), out_sharding=None,
        )  # fmt: skip

    with pytest.raises((UnsupportedError, TypeError)):
        reading(core)


@pytest.mark.parametrize("bad", ["while", "cond"])
def test_what_depends_on_data_has_no_cost(bad):
    def turns(x):
        return lax.while_loop(lambda v: v[0, 0] < 3, lambda v: v + 1, x)

    def chooses(x):
        return lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x)

    with pytest.raises(UnsupportedError, match=f"'{bad}'"):
        reading(turns if bad == "while" else chooses)


def test_elementwise_writes_over_what_dies():
    def dies(x):
        return jnp.exp(jnp.sin(x * 2))

    def lives(x):
        y = x * 2
        return jnp.exp(y) + y

    assert reading(dies).temporaries_bytes_per_core == 0  # x itself is written over
    assert reading(lives).temporaries_bytes_per_core == 8 * 8 * F32  # y over x, exp(y) beside


def test_masks_from_counters_take_no_memory_and_no_operations():
    def core(x):
        row = lax.axis_index(ROWS) * 8 + jnp.arange(8)
        return jnp.where(row[:, None] >= jnp.arange(8)[None, :], x, jnp.float32(-1))

    r = reading(core)
    assert r.temporaries_bytes_per_core == 0
    assert r.flops_per_core == 0


def test_a_cache_updated_in_a_loop_is_held_once():
    def core(cache, x):
        def put(held, at):
            return lax.dynamic_update_slice_in_dim(held, x, at, 0), None

        return lax.scan(put, cache, jnp.arange(5))[0]

    r = reading(core, shapes=((100, 8), (1, 8)))
    assert r.temporaries_bytes_per_core == 0


def test_stacked_results_are_whole():
    def core(x):
        return lax.scan(lambda c, _: (c, jnp.sin(c)), x, None, length=9)[1]

    assert reading(core).temporaries_bytes_per_core == 9 * 64 * F32


def test_rotation_needs_a_second_buffer():
    def core(x):
        return rotate(x, COLS, lax.axis_index(ROWS))

    r = reading(core, mesh=(3, 7))
    assert r.temporaries_bytes_per_core == 64 * F32
    assert r.stages == 3
    assert r.byte_hops_total == 3 * 64 * F32 * 3 * ring_links(7)


def ring_links(n):
    """One ring shift on a line: each of n-1 links is crossed by about two of n messages."""
    return 2 * (n - 1)


def test_a_word_that_waits_for_the_product_is_exposed_unless_the_next_trip_does_not_need_it():
    def core(x):
        def trip(held, _):
            a, total = held
            product = a @ a
            return (a, total + allreduce(product, COLS)), None

        return lax.scan(trip, (x, x), None, length=4)[0][1]

    def chained(x):
        def trip(a, _):
            return allreduce(a @ a, COLS), None

        return lax.scan(trip, x, None, length=4)[0]

    covers = [
        {s.overlap.cover for p in reading(c).phases for s in p.words} for c in (core, chained)
    ]
    assert covers == [{Cover.LOOP}, {Cover.NONE}]


@pytest.mark.parametrize("kernel", [gemm.mesh_gemm, gemm.summa, gemm.allgather_gemm])
def test_a_walk_visits_as_much_on_a_whole_wafer_as_on_a_small_mesh(kernel):
    visited = [
        read(Program(kernel, mesh=mesh, shapes=[(64, 64), (64, 64)])).equations
        for mesh in ((5, 3), FULL_WAFER)
    ]
    assert visited[0] == visited[1]


def test_padding_and_copies_are_not_useful():
    padded = Program(gemm.mesh_gemm, mesh=(8, 8), shapes=[(5, 8), (8, 5)])
    assert read(padded).useful_share == 5 / 8
    mesh = Mesh(4, 5)
    one_axis = Spec((20, 20), Blocks((ROWS, None)))
    copied = Program(lambda w: w, mesh=mesh, inputs=[one_axis], outputs=one_axis, name="copies")
    assert read(copied).useful_share == 1 / mesh.cols


def test_operations_name_the_kernel_that_asked_for_them():
    from waferllm.kernels.norm import rms_norm

    def core(x, w):
        x = rms_norm(x, w, COLS, width=32, eps=1e-6, combine=gemv.TREE)
        return gemm.mesh_gemm_core(x, x)

    r = reading(core, mesh=(4, 4), shapes=((8, 8), (8,)))
    assert {s.caller for p in r.phases for s in p.words} == {"rms_norm", "mesh_gemm_core"}
