"""Run a program: every entry goes to the core that owns it and comes back to its place, padding aside."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.agree.meshes import MESHES, device_mesh, same_bits
from tests.agree.words import walk
from waferllm.errors import InputError
from waferllm.fabric import allreduce, index
from waferllm.kernels.gemm import mesh_gemm
from waferllm.layout import Blocks, Mesh, RingSkewed
from waferllm.program import Program, Spec, run

LAYOUTS = [
    Blocks(("y", "x")),
    Blocks(("x", "y")),
    Blocks(("y", None)),
    Blocks((None, "y")),
    Blocks(("x", None)),
    Blocks((None, "x")),
    Blocks((None, None)),
    Blocks((None, "y", "x")),
    Blocks(("x", None, "y")),
    Blocks(("y", "x", None), (2, 1, 3)),
    Blocks(("y",)),
    Blocks(("x",)),
    Blocks(()),
]
PRIMES = (7, 11, 5)


def show(mesh: tuple[int, int]) -> str:
    return f"{mesh[0]}x{mesh[1]}"


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """Every entry differs from every other, and from padding."""
    return np.arange(1, 1 + np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def owner(layout: Blocks, mesh: tuple[int, int], at: tuple[int, ...]) -> float:
    """10 y + x of the core that holds the entry at this index; 0 for an axis that replicates it."""
    sides, core = dict(zip("yx", mesh, strict=True)), {"y": 0, "x": 0}
    grain = layout.grain or (1,) * len(at)
    for i, axis, length, g in zip(at, layout.axes, PRIMES, grain, strict=False):
        if axis is not None:
            share = 1
            while share * sides[axis] < length or share * sides[axis] % g:
                share += 1
            core[axis] = i // share
    return 10 * core["y"] + core["x"]


def _name_owner(tile: jax.Array, layout: Blocks) -> jax.Array:
    """Every core writes its number over its tile, leaving out axes along which it is not alone."""
    y, x = (index(a) if a in layout.axes else 0 for a in "yx")
    return jnp.zeros_like(tile) + 10 * y + x


def _layouts_program(
    mesh: tuple[int, int], layouts: list[Blocks] = LAYOUTS
) -> tuple[Program, list[np.ndarray]]:
    specs = [Spec(PRIMES[: len(lay.axes)], lay) for lay in layouts]

    def core(*tiles: jax.Array) -> tuple[Any, Any]:
        return list(tiles), [_name_owner(t, s.layout) for t, s in zip(tiles, specs, strict=True)]

    program = Program(core, mesh=mesh, inputs=specs, outputs=(specs, specs))
    return program, [numbered(s.shape) for s in specs]


@pytest.mark.parametrize("mesh", MESHES, ids=show)
def test_arrays_that_no_mesh_divides_lie_where_their_layout_says_and_come_back_whole(
    mesh: tuple[int, int],
) -> None:
    program, arrays = _layouts_program(mesh)
    back, owners = run(program, *arrays)
    for layout, array, same, named in zip(LAYOUTS, arrays, back, owners, strict=True):
        assert same_bits(same, array), layout
        expected = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            expected[at] = owner(layout, mesh, at)
        np.testing.assert_array_equal(named, expected, err_msg=str(layout))


@pytest.mark.devices
def test_devices_hold_the_same_tiles() -> None:
    program, arrays = _layouts_program((3, 4), LAYOUTS[1::3])
    simulated = run(program, *arrays)
    devices = run(program, *arrays, devices=device_mesh((3, 4)))
    for a, b in zip(jax.tree.leaves(simulated), jax.tree.leaves(devices), strict=True):
        assert same_bits(a, b)


def test_padding_is_zero_on_the_cores() -> None:
    """A sum over everything that any core holds is the sum of the array, whatever the mesh."""
    spec = Spec((7, 11), Blocks(("y", "x")))

    def core(tile: jax.Array) -> jax.Array:
        return allreduce(allreduce(jnp.sum(tile), "x"), "y")

    program = Program(core, mesh=(5, 3), inputs=[spec], outputs=Spec((), Blocks(())))
    assert float(run(program, numbered((7, 11)))) == 77 * 78 / 2


def test_an_array_cut_over_columns_then_rows_is_transposed_on_the_mesh() -> None:
    """Blocks(("x", "y")): the first dimension goes along x. Turning every tile transposes the array."""
    program = Program(
        lambda tile: tile.T,
        mesh=(3, 4),
        inputs=[Spec((8, 9), Blocks(("x", "y")))],
        outputs=Spec((9, 8), Blocks(("y", "x"))),
        name="transpose",
    )
    a = numbered((8, 9))
    np.testing.assert_array_equal(run(program, a), a.T)


def test_an_output_that_every_core_has_is_returned_once() -> None:
    program = Program(
        lambda a: (allreduce(jnp.max(a), "x", op="max"), jnp.sum(a, 0)),
        mesh=(5, 3),
        inputs=[Spec((7, 11), Blocks((None, "x")))],
        outputs=(Spec((), Blocks(())), Spec((11,), Blocks(("x",)))),
        name="replicated",
    )
    a = numbered((7, 11))
    top, sums = run(program, a)
    assert top.shape == ()
    assert float(top) == 77
    np.testing.assert_array_equal(sums, a.sum(0))


def test_an_output_that_is_replicated_comes_from_the_first_core() -> None:
    """The program promises that the cores agree; where they do not, core (0, 0) speaks."""
    program = Program(
        lambda a: a * 0 + 10 * index("y") + index("x") + 5,
        mesh=(3, 4),
        inputs=[Spec((2,), Blocks((None,)))],
        outputs=Spec((2,), Blocks((None,))),
        name="disagree",
    )
    np.testing.assert_array_equal(run(program, numbered((2,))), [5, 5])


def skewed(b: np.ndarray, mesh: Mesh) -> np.ndarray:
    """RingSkewed by an explicit loop: core (y, x) is dealt its k-blocks one by one."""
    rows, cols, steps = mesh.rows, mesh.cols, mesh.steps
    *_, k, n = b.shape
    k_padded, n_padded = -(-k // steps) * steps, -(-n // cols) * cols
    whole = np.zeros((*b.shape[:-2], k_padded, n_padded), b.dtype)
    whole[..., :k, :n] = b
    high, wide = k_padded // steps, n_padded // cols
    placed = np.zeros_like(whole)
    row_ring, col_ring = walk(rows), walk(cols)
    for y in range(rows):
        for x in range(cols):
            for i in range(steps // rows):
                # Sub-block i is used at step i first, together with block p + q + i of A's column ring.
                t = row_ring.index(y) * (steps // rows) + col_ring.index(x) * (steps // cols)
                t = (t + i) % steps
                core, sub = col_ring[t // (steps // cols)], t % (steps // cols)
                block = core * (steps // cols) + sub
                at = y * (steps // rows) + i
                cut = slice(x * wide, (x + 1) * wide)
                tile = whole[..., block * high : (block + 1) * high, cut]
                placed[..., at * high : (at + 1) * high, cut] = tile
    return placed


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3), (4, 4), (1, 4), (4, 1)], ids=show)
def test_a_ring_skewed_array_is_dealt_as_the_loop_deals_it(mesh: tuple[int, int]) -> None:
    spec = Spec((2, 13, 7), RingSkewed())
    k, n = RingSkewed().padded((2, 13, 7), Mesh.of(mesh))[1:]
    program = Program(lambda b: b, mesh=mesh, inputs=[spec], name="deal",
                      outputs=Spec((2, k, n), Blocks((None, "y", "x"))))  # fmt: skip
    b = numbered((2, 13, 7))
    np.testing.assert_array_equal(run(program, b), skewed(b, Mesh.of(mesh)))
    if mesh == (3, 4):
        np.testing.assert_array_equal(run(program, b, devices=device_mesh(mesh)), run(program, b))


def test_arguments_and_results_may_be_nested() -> None:
    line = Spec((7,), Blocks(("y",)))
    program = Program(
        lambda a, more: {"sum": a + more["b"] + more["c"][0], "parts": (a, more["b"])},
        mesh=(3, 4),
        inputs=(line, {"b": line, "c": [line]}),
        outputs={"sum": line, "parts": (line, line)},
        name="nested",
    )
    a = numbered((7,))
    result = run(program, a, {"b": 10 * a, "c": [100 * a]})
    np.testing.assert_array_equal(result["sum"], 111 * a)
    np.testing.assert_array_equal(result["parts"][1], 10 * a)


def test_a_program_is_compiled_once_for_each_way_to_run_it() -> None:
    traced = []

    def core(a: jax.Array) -> jax.Array:
        traced.append(a.shape)
        return a + 1

    spec = Spec((7, 11), Blocks(("y", "x")))
    program = Program(core, mesh=(3, 4), inputs=[spec], outputs=spec)
    for _ in range(3):
        run(program, numbered((7, 11)))
    simulated = len(traced)
    for _ in range(3):
        run(program, numbered((7, 11)), devices=device_mesh((3, 4)))
    assert set(traced) == {(3, 3)}
    assert simulated <= 2
    assert len(traced) <= simulated + 2


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ([np.zeros((7, 13), np.float32)], r"mesh_gemm takes 2 arrays, got 1"),
        (
            [np.zeros((7, 13), np.float32), np.zeros((13, 12), np.float32)],
            r"array 1: got float32\[13, 12\], expected float32\[13, 11\]",
        ),
        (
            [np.zeros((13, 7), np.float32), np.zeros((13, 11), np.float32)],
            r"array 0: got float32\[13, 7\], expected float32\[7, 13\]",
        ),
        (
            [np.zeros((7, 13), np.float64), np.zeros((13, 11), np.float32)],
            r"array 0: got float64\[7, 13\], expected float32\[7, 13\]",
        ),
        (
            [np.zeros((7, 13), np.float32), np.zeros((13, 11), np.int32)],
            r"array 1: got int32\[13, 11\], expected float32\[13, 11\]",
        ),
    ],
)
def test_arrays_of_another_number_shape_or_dtype_are_refused(
    arrays: list[np.ndarray], says: str
) -> None:
    program = Program(mesh_gemm, mesh=(3, 4), shapes=[(7, 13), (13, 11)])
    with pytest.raises(InputError, match=says):
        run(program, *arrays)


@pytest.mark.parametrize("axes", [("y", "x"), ("rows", "cols")])
def test_a_device_mesh_of_another_size_or_with_other_axes_is_refused(axes: tuple[str, str]) -> None:
    program = Program(mesh_gemm, mesh=(3, 4), shapes=[(7, 13), (13, 11)])
    side = (4, 3) if axes == ("y", "x") else (3, 4)
    devices = jax.sharding.Mesh(np.asarray(jax.devices()[:12]).reshape(side), axes)
    with pytest.raises(InputError, match=r"made for a 3x4 mesh.*axes y=3, x=4"):
        run(program, np.zeros((7, 13), np.float32), np.zeros((13, 11), np.float32), devices=devices)


def test_arguments_of_another_structure_are_refused() -> None:
    line = Spec((7,), Blocks(("y",)))
    program = Program(lambda d: d["a"] - d["b"], mesh=(3, 4), inputs=({"a": line, "b": line},),
                      outputs=line, name="named")  # fmt: skip
    with pytest.raises(InputError):
        run(program, {"b": numbered((7,)), "c": numbered((7,))})


def test_a_core_whose_result_is_not_what_its_spec_says_is_refused() -> None:
    line = Spec((9,), Blocks(("y",)))
    program = Program(lambda a: a[:2], mesh=(3, 4), inputs=[line], outputs=line, name="short")
    with pytest.raises(InputError):
        run(program, numbered((9,)))


def test_a_core_whose_result_has_another_dtype_is_refused() -> None:
    line = Spec((9,), Blocks(("y",)))
    program = Program(lambda a: a.astype(jnp.float16), mesh=(3, 4), inputs=[line], outputs=line,
                      name="half")  # fmt: skip
    with pytest.raises(InputError):
        run(program, numbered((9,)))
