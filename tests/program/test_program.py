"""A program is what one core executes: its jaxpr shows every word, and its size knows no mesh."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Jaxpr

from waferllm.errors import InputError
from waferllm.fabric import Ring, Step
from waferllm.kernels.gemm import allgather_gemm, cannon, mesh_gemm, summa
from waferllm.kernels.gemv import mesh_gemv, ring_gemv
from waferllm.layout import Blocks, Mesh, RingSkewed
from waferllm.program import Program

WORDS = {"shift", "rotate", "reduce", "reduce_to", "broadcast", "broadcast_from"}


def equations(jaxpr: Jaxpr) -> list[Any]:
    """Every equation, those inside loops and calls among them, in order."""
    found = []
    for eqn in jaxpr.eqns:
        found.append(eqn)
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if isinstance(inner, Jaxpr):
                found += equations(inner)
    return found


def names(program: Program) -> Counter[str]:
    return Counter(e.primitive.name for e in equations(program.jaxpr.jaxpr))


def scans(program: Program) -> list[Any]:
    return [e for e in equations(program.jaxpr.jaxpr) if e.primitive.name == "scan"]


def test_mesh_gemm_aligns_once_then_shifts_both_operands_and_multiplies_in_each_of_n_steps() -> (
    None
):
    program = Program(mesh_gemm, mesh=(5, 5), shapes=[(10, 15), (15, 20)])
    outer = [e.primitive.name for e in program.jaxpr.jaxpr.eqns]
    assert outer.count("rotate") == outer.count("scan") == 1
    assert outer.index("rotate") < outer.index("scan")
    (loop,) = scans(program)
    assert loop.params["length"] == 5
    body = equations(loop.params["jaxpr"].jaxpr)
    said = [(e.params["axis"], e.params["route"]) for e in body if e.primitive.name == "shift"]
    assert sorted(said) == [("x", Ring(-1)), ("y", Ring(-1))]
    (product,) = [e for e in body if e.primitive.name == "dot_general"]
    assert [v.aval.shape for v in product.invars] == [(2, 3), (3, 4)]
    assert {n: c for n, c in names(program).items() if n in WORDS} == {"rotate": 1, "shift": 2}


def test_a_mesh_that_is_not_square_takes_as_many_steps_as_both_sides_divide() -> None:
    (loop,) = scans(Program(mesh_gemm, mesh=(4, 6), shapes=[(8, 24), (24, 12)]))
    assert loop.params["length"] == 12
    (product,) = [
        e for e in equations(loop.params["jaxpr"].jaxpr) if e.primitive.name == "dot_general"
    ]
    assert [v.aval.shape for v in product.invars] == [(2, 2), (2, 2)]  # K = 24 in 12 blocks


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (cannon, {"shift": 4}),  # two that skew, two that circulate
        (summa, {"broadcast_from": 2}),
        (allgather_gemm, {"broadcast_from": 2}),
        (mesh_gemv, {"reduce": 1, "broadcast": 1}),
        (ring_gemv, {"shift": 2}),  # reduce-scatter, then allgather
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_a_kernel_says_the_words_of_its_algorithm_and_no_others(kernel, words: dict) -> None:
    shapes = [(15,), (15, 20)] if "broadcast" in words or words == {"shift": 2} else None
    program = Program(kernel, mesh=(5, 5), shapes=shapes or [(10, 15), (15, 20)])
    assert {n: c for n, c in names(program).items() if n in WORDS} == words


def test_cannon_is_the_one_that_needs_a_wrap_around_edge() -> None:
    program = Program(cannon, mesh=(5, 5), shapes=[(10, 15), (15, 20)])
    routes = {e.params["route"] for e in equations(program.jaxpr.jaxpr) if "route" in e.params}
    assert routes == {Step(-1, wrap=True)}


@pytest.mark.parametrize("kernel", [mesh_gemm, summa, mesh_gemv, ring_gemv],
                         ids=lambda k: k.__name__)  # fmt: skip
def test_a_whole_wafer_is_traced_as_one_small_core(kernel) -> None:
    """750 x 994 cores: as many equations as on 3 x 4, and no array that grows with the mesh."""
    vector = kernel in (mesh_gemv, ring_gemv)

    def traced(mesh: tuple[int, int]) -> Program:
        k = 3 * Mesh.of(mesh).steps
        a = (k,) if vector else (2 * mesh[0], k)
        return Program(kernel, mesh=mesh, shapes=[a, (k, 5 * mesh[1])])

    small, wafer = traced((3, 4)), traced((750, 994))
    assert names(small) == names(wafer)
    for program in (small, wafer):
        assert sum(np.size(c) for c in program.jaxpr.consts) == 0
    largest = max(
        v.aval.size
        for e in equations(wafer.jaxpr.jaxpr) for v in (*e.invars, *e.outvars)
    )  # fmt: skip
    tiles = [np.prod(s.layout.tile(s.shape, wafer.mesh)) for s in wafer.inputs]
    assert largest <= max(*tiles, wafer.mesh.steps, 2 * 994)


def test_layouts_shapes_and_name_come_from_the_kernel() -> None:
    program = Program(mesh_gemm, mesh=(3, 4), shapes=[(7, 13), (13, 11)], dtype=jnp.bfloat16)
    a, b = program.inputs
    assert (a.shape, b.shape, program.outputs.shape) == ((7, 13), (13, 11), (7, 11))
    assert isinstance(a.layout, Blocks)
    assert isinstance(b.layout, RingSkewed)
    assert {s.dtype for s in (a, b, program.outputs)} == {jnp.bfloat16}
    assert (a.tile(program.mesh).shape, b.tile(program.mesh).shape) == ((3, 6), (8, 3))  # K = 24
    assert repr(program) == "Program(mesh_gemm, mesh=3x4, inputs=[(7, 13), (13, 11)])"
    assert Program(mesh_gemm, mesh=(3, 4), shapes=[(7, 13), (13, 11)], name="up").name == "up"


def test_inside_another_core_function_a_kernel_is_its_core_function() -> None:
    def core(a: jax.Array, b: jax.Array) -> jax.Array:
        return mesh_gemm(a, b) + 1

    alone = Program(mesh_gemm, mesh=(5, 5), shapes=[(10, 15), (15, 20)])
    inside = Program(core, mesh=(5, 5), inputs=alone.inputs, outputs=alone.outputs)
    assert names(inside) - names(alone) == Counter({"add": 1})


@pytest.mark.parametrize(
    ("kernel", "shapes", "says"),
    [
        (mesh_gemm, [(7, 13)], "takes 2 arrays but 1 shapes were given"),
        (
            mesh_gemm,
            [(7, 13), (12, 11)],
            r"a\[7, 13\] times b\[12, 11\]: a has 13 columns and b 12",
        ),
        (
            mesh_gemv,
            [(13,), (12, 11)],
            r"v\[13\] times w\[12, 11\]: v has 13 entries and w 12 rows",
        ),
    ],
)
def test_shapes_that_do_not_fit_together_are_refused(kernel, shapes: list, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Program(kernel, mesh=(3, 4), shapes=shapes)


def test_cannon_on_a_mesh_that_is_not_square_points_to_mesh_gemm() -> None:
    program = Program(cannon, mesh=(3, 4), shapes=[(7, 13), (13, 11)])
    with pytest.raises(InputError, match=r"Cannon needs a square mesh, got 3x4\. Use mesh_gemm"):
        _ = program.jaxpr


@pytest.mark.parametrize("mesh", [(0, 4), (4, 0), (-1, 3)])
def test_a_program_needs_a_core(mesh: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="both sides must be at least 1"):
        Program(mesh_gemm, mesh=mesh, shapes=[(7, 13), (13, 11)])
