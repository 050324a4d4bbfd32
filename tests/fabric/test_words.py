"""Every fabric word on simulated cores holds what plain NumPy says it means, on unequal meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.agree.meshes import MESHES, on_cores
from tests.agree.words import VALUE, WORDS, meant, simulated, tree_root
from waferllm.errors import InputError
from waferllm.fabric import (
    Ring,
    Step,
    Tree,
    allgather,
    allreduce,
    broadcast,
    index,
    pipeline_allreduce,
    reduce,
    ring_allreduce,
    rotate,
    shift,
)

SPOKEN = {
    "shift": lambda x, a: shift(x, a, Ring()),
    "rotate": lambda x, a: rotate(x, a, 1),
    "reduce": lambda x, a: reduce(x, a),
    "broadcast": lambda x, a: broadcast(x, a, 1),
    "allreduce": lambda x, a: allreduce(x, a),
    "pipeline_allreduce": lambda x, a: pipeline_allreduce(x, a),
    "ring_allreduce": lambda x, a: ring_allreduce(x, a),
    "allgather": lambda x, a: allgather(x, a),
}


def whole_numbers(mesh: tuple[int, int], dtype: str) -> np.ndarray:
    """Whole numbers of both signs, so small that every sum is exact in every dtype."""
    numbers = np.random.default_rng(7).integers(-15, 16, (*mesh, *VALUE))
    return np.asarray(numbers, jnp.dtype(dtype))


def show(mesh: tuple[int, int]) -> str:
    return f"{mesh[0]}x{mesh[1]}"


@pytest.mark.parametrize("mesh", MESHES, ids=show)
@pytest.mark.parametrize("name", [n for n in WORDS if n != "places"])
def test_a_word_does_what_it_means_on_every_line_and_leaves_other_cores_alone(
    name: str, mesh: tuple[int, int]
) -> None:
    x = whole_numbers(mesh, "float32")
    expected = meant(name, mesh, x)
    for cut, got in simulated(mesh)(x)[name].items():
        np.testing.assert_array_equal(got, expected[cut], err_msg=f"{name} along {cut}")


@pytest.mark.parametrize("mesh", MESHES, ids=show)
def test_a_core_knows_its_place_on_the_line_and_on_the_ring(mesh: tuple[int, int]) -> None:
    x = whole_numbers(mesh, "float32")
    expected = meant("places", mesh, x)
    for cut, got in simulated(mesh)(x)["places"].items():
        axis, _, span = cut.partition(" by ")
        whole = mesh["yx".index(axis)] // int(span or 1) * int(span or 1)
        lines = np.moveaxis(np.asarray(got), "yx".index(axis), 0)[:whole]
        answer = np.moveaxis(expected[cut], "yx".index(axis), 0)[:whole]
        np.testing.assert_array_equal(lines, answer, err_msg=cut)


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "int32", pytest.param("float16", marks=pytest.mark.slow)]
)
def test_words_keep_the_dtype_and_are_exact_where_sums_are(dtype: str) -> None:
    names = ["shift step", "rotate by line", "reduce", "reduce to line's own, max",
             "broadcast from line's own", "allreduce", "ring allreduce"]  # fmt: skip

    def core(x: jax.Array) -> dict[str, jax.Array]:
        return {name: WORDS[name].say(x, "y", index("x"), None) for name in names}

    x = whole_numbers((5, 3), dtype)
    for name, got in on_cores(core)(x).items():
        assert got.dtype == x.dtype
        expected = meant(name, (5, 3), x.astype(np.float64))["y"]
        np.testing.assert_array_equal(np.asarray(got, np.float64), expected, err_msg=name)


def test_a_value_that_is_the_same_on_every_core_counts_once_for_each() -> None:
    """Under vmap such a value has no core dimension; every word must still treat it as one per core."""

    def core(x: jax.Array) -> dict[str, jax.Array]:
        same, turn = jnp.array([2.0, 3.0]), index("y") + 1
        return {
            "step": x * 0 + shift(same, "x", Step(1)),
            "rotate": x * 0 + rotate(same, "x", turn),
            "reduce": x * 0 + reduce(same, "x", Tree(())),
            "reduce to": x * 0 + reduce(same, "x", root=turn),
            "broadcast": x * 0 + broadcast(same, "x", turn),
            "allreduce": x * 0 + allreduce(allreduce(same, "x"), "y"),
            "ring": x * 0 + ring_allreduce(same, "y"),
            "ring max": x * 0 + ring_allreduce(same * (index("y") - 4), "y", op="max"),
        }

    got = on_cores(core)(np.zeros((3, 4, 2), np.float32))
    same = np.array([2.0, 3.0])
    weight = {name: np.ones((3, 4)) for name in got}
    weight["step"][:, 0] = 0
    weight["reduce"][:, tree_root(4)] = 4
    weight["reduce to"][[0, 1, 2], [1, 2, 3]] = 4
    weight["allreduce"] *= 12
    weight["ring"] *= 3
    weight["ring max"] *= -2  # all negative: the zeros that pad the chunks must not win
    for name, value in got.items():
        np.testing.assert_array_equal(value, weight[name][..., None] * same, err_msg=name)


def test_words_work_inside_loops() -> None:
    """Once round the ring, and once round the wrapped line, everything is back where it was."""

    def core(x: jax.Array) -> tuple[jax.Array, ...]:
        def turn(held: tuple, _: None) -> tuple[tuple, jax.Array]:
            ring, line, spread = held
            moved = shift(ring, "x", Ring()), shift(line, "y", Step(1, wrap=True))
            return (*moved, allreduce(spread, "x", op="max")), moved[0]

        (ring, line, spread), seen = lax.scan(turn, (x, x, x), None, length=12)
        return ring, line, spread, seen

    x = whole_numbers((3, 4), "float32")
    ring, line, spread, seen = on_cores(core)(x)  # 12 turns: 3 times round x, 4 times round y
    np.testing.assert_array_equal(ring, x)
    np.testing.assert_array_equal(line, x)
    np.testing.assert_array_equal(spread, np.broadcast_to(x.max(1, keepdims=True), x.shape))
    visited = np.sort(np.asarray(seen)[:, :, :4], axis=2)  # every core saw every value of its line
    np.testing.assert_array_equal(visited, np.broadcast_to(np.sort(x, 1)[:, None], visited.shape))


def test_an_inner_batch_speaks_as_its_members_would_one_by_one() -> None:
    """A `vmap` without a name inside a core: its members may even differ in count or root."""
    batch, turns = 3, np.array([1, -1, 2])

    def one(v: jax.Array, turn: jax.Array) -> tuple[jax.Array, ...]:
        return (
            allreduce(v, "x"), shift(v, "y", Ring()), broadcast(v, "x", 2), allgather(v, "y"),
            rotate(v, "x", turn), reduce(v, "x", root=turn % 4), broadcast(v, "y", turn % 3),
        )  # fmt: skip

    def core(v: jax.Array) -> tuple:
        return jax.vmap(one)(v, turns), [one(v[i], turns[i]) for i in range(batch)]

    x = np.random.default_rng(1).integers(-9, 9, (3, 4, batch, 2)).astype(np.float32)
    together, apart = on_cores(core)(x)
    for word, got in enumerate(together):
        expected = np.stack([np.asarray(member[word]) for member in apart], axis=2)
        np.testing.assert_array_equal(got, expected)


def test_an_inner_batch_of_roots_alone_gives_an_answer_for_each_root() -> None:
    roots = np.array([3, 0])
    x = whole_numbers((3, 4), "float32")
    got = on_cores(lambda v: jax.vmap(lambda r: broadcast(v, "x", r))(roots))(x)
    expected = np.broadcast_to(x[:, None, roots], (3, 4, 2, 5))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("word", SPOKEN)
def test_a_line_of_one_core_changes_nothing(word: str) -> None:
    x = whole_numbers((4, 1), "float32")
    got = np.asarray(on_cores(lambda v: SPOKEN[word](v, "x") if word != "broadcast"
                              else broadcast(v, "x", 0))(x))  # fmt: skip
    np.testing.assert_array_equal(got.reshape(x.shape), x)


@pytest.mark.parametrize(
    "core", [reduce, allreduce, pipeline_allreduce, ring_allreduce], ids=lambda f: f.__name__
)
def test_an_unknown_operation_is_refused_with_those_there_are(core) -> None:
    with pytest.raises(InputError, match=r"'min'.*sum, max"):
        on_cores(lambda x: core(x, "x", op="min"))(np.zeros((3, 4)))


@pytest.mark.parametrize("span", [0, -1, 5])
@pytest.mark.parametrize("word", [lambda x, s: shift(x, "x", Ring(), span=s),
                                  lambda x, s: allreduce(x, "x", span=s)])  # fmt: skip
def test_a_span_that_the_axis_does_not_have_is_refused(word, span: int) -> None:
    with pytest.raises(InputError, match=f"span of {span} cores on an axis of 4: use 1 to 4"):
        on_cores(lambda x: word(x, span))(np.zeros((3, 4)))


@pytest.mark.parametrize("root", [-1, 4])
@pytest.mark.parametrize("word", [lambda x, r: reduce(x, "x", root=r), lambda x, r: broadcast(x, "x", r)],
                         ids=["reduce", "broadcast"])  # fmt: skip
def test_a_root_that_is_not_on_the_line_is_refused(word, root: int) -> None:
    with pytest.raises(InputError, match=f"root {root} on a line of 4 cores along 'x': use 0 to 3"):
        on_cores(lambda x: word(x, root))(np.zeros((3, 4)))


def test_outside_a_mesh_a_word_says_where_it_belongs() -> None:
    with pytest.raises(InputError, match=r"no mesh axis 'x' here.*Program and run"):
        shift(jnp.zeros(3), "x", Ring())


@pytest.mark.parametrize(
    "core",
    [
        lambda x: rotate(x, "x", index("x")),
        lambda x: reduce(x, "x", root=index("x")),
        lambda x: broadcast(x, "x", index("x")),
    ],
    ids=["rotate", "reduce", "broadcast"],
)
def test_the_cores_of_a_line_must_agree_on_count_and_root(core) -> None:
    with pytest.raises(InputError, match="differs between the cores of axis 'x'"):
        on_cores(core)(np.zeros((3, 4)))


@pytest.mark.parametrize("groups", [(1,), (3, 0)])
def test_a_tree_of_groups_that_reduce_nothing_is_refused(groups: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="fewer than 2 cores reduces nothing"):
        Tree(groups)
