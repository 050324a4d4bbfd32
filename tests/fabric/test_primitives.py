"""What the fabric words need from JAX: these tests fail first, and say so, when its registry moves.

`waferllm.fabric.primitives` registers batching rules in `jax.interpreters.batching`, which is not a
stable interface. If a test here fails after an upgrade of JAX, mend that file and nothing else.
"""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive
from jax.interpreters import batching

from tests.agree.meshes import on_cores
from waferllm.fabric import Ring, Step, Tree, broadcast, index, reduce, rotate, shift
from waferllm.fabric import primitives as p

MOVED = "JAX's batching registry moved: mend waferllm/fabric/primitives.py"
PRIMITIVES = [p.shift_p, p.rotate_p, p.reduce_p, p.reduce_to_p, p.broadcast_p, p.broadcast_from_p]


def test_the_pinned_jax_is_the_one_whose_registry_we_know() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    pins = [d for d in pyproject["project"]["dependencies"] if d.startswith("jax==")]
    assert pins == [f"jax=={jax.__version__}"], MOVED


def test_jax_hands_a_batching_rule_the_axis_the_values_and_their_dimensions() -> None:
    """The contract that the fabric relies on, tried with a primitive that is not ours."""
    calls = []
    toy = Primitive("toy")
    toy.def_abstract_eval(lambda x, **_: x)

    def rule(axis_data, values, dims, **params):
        calls.append((axis_data.name, axis_data.size, dims, params))
        return toy.bind(*values, **params), dims[0]

    assert isinstance(batching.fancy_primitive_batchers, dict), MOVED
    batching.fancy_primitive_batchers[toy] = rule

    def core(x):
        return jax.vmap(lambda v: toy.bind(v, knob=7), in_axes=1, out_axes=1)(x)

    over_x = jax.vmap(core, in_axes=1, axis_name="x")
    jax.make_jaxpr(jax.vmap(over_x, axis_name="y"))(np.zeros((3, 2, 4, 6)))
    (inner, *sizes), named = calls[0], calls[1:]
    assert inner not in ("x", "y"), MOVED  # an anonymous vmap has a name of its own
    assert sizes == [6, (1,), {"knob": 7}], MOVED
    assert [call[:2] for call in named] == [("x", 4), ("y", 3)], MOVED


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=str)
def test_every_word_is_registered_where_jax_looks(primitive: Primitive) -> None:
    assert primitive in batching.fancy_primitive_batchers, MOVED


def _speak(x: jax.Array) -> jax.Array:
    x = shift(x, "x", Ring()) + shift(x, "y", Step(1))
    x = rotate(x, "x", index("y"))
    x = reduce(x, "x", Tree((2,))) + reduce(x, "y", root=index("x") % 3)
    return broadcast(x, "y", 1) + broadcast(x, "x", index("y"))


def test_traced_for_one_core_words_stay_visible_with_their_patterns() -> None:
    closed = jax.make_jaxpr(_speak, axis_env=[("y", 3), ("x", 4)])(jnp.zeros((2, 5)))
    said = [e for e in closed.jaxpr.eqns if e.primitive in PRIMITIVES]
    assert [e.primitive.name for e in said] == [
        "shift", "shift", "rotate", "reduce", "reduce_to", "broadcast", "broadcast_from"
    ]  # fmt: skip
    keys = ("axis", "route", "tree", "op", "root", "most")
    patterns = [{k: v for k, v in e.params.items() if k in keys} for e in said]
    assert patterns == [
        {"axis": "x", "route": Ring(1)},
        {"axis": "y", "route": Step(1)},
        {"axis": "x", "most": 2},
        {"axis": "x", "tree": Tree((2,)), "op": "sum"},
        {"axis": "y", "op": "sum"},
        {"axis": "y", "root": 1},
        {"axis": "x"},
    ]
    assert all(e.outvars[0].aval.shape == (2, 5) for e in said)


def test_under_vmap_no_word_is_left_over() -> None:
    """The simulation is plain arithmetic: a word that survived would have met the wrong rule."""
    cores = jax.vmap(jax.vmap(_speak, axis_name="x"), axis_name="y")
    names = {e.primitive.name for e in jax.make_jaxpr(cores)(np.zeros((3, 4, 2, 5))).jaxpr.eqns}
    assert not names & {primitive.name for primitive in PRIMITIVES}, MOVED


def test_axes_may_be_mapped_in_either_order() -> None:
    """Rows outside or columns outside: a word minds the name of an axis, not its depth."""
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    cols_outside = jax.jit(
        jax.vmap(jax.vmap(_speak, axis_name="y"), in_axes=1, out_axes=1, axis_name="x")
    )(x)
    rows_outside = on_cores(_speak)(x)
    np.testing.assert_array_equal(rows_outside, cols_outside)


def test_the_cores_may_lie_in_any_dimension_of_an_array() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 2, 5)).astype(np.float32)
    first = on_cores(_speak)(x)
    last = jax.jit(
        jax.vmap(
            jax.vmap(_speak, in_axes=1, out_axes=2, axis_name="x"),
            in_axes=3, out_axes=0, axis_name="y",
        )
    )(np.transpose(x, (2, 1, 3, 0)))  # fmt: skip
    np.testing.assert_array_equal(first, np.transpose(last, (0, 3, 1, 2)))
