"""A faster way to simulate a loop in which both operands of a product travel round their rings.

At step s core (y, x) multiplies A's block t with B's, t = p(y) + q(x) + s. Simulated literally, every
step copies both operands of all cores and multiplies many small tiles. But over all steps row y meets
every block t of A, and column x every block t of B, exactly once: with A's blocks put back in natural
order, the same products of tiles are one large product, which reads a weight in place. Each core's
products are then added in that product's order, not from its own first block p(y) + q(x) on, which
differs by rounding; loops below `WORTHWHILE_FLOPS` are simulated literally, to the bit.

`rewrite` finds such loops in a program's per-core jaxpr: a scan whose body shifts two carries one ring
position on, along different axes, and adds their product to a third. It knows words, not kernels.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive
from jax.interpreters import batching

from waferllm.fabric.primitives import shift_p
from waferllm.fabric.routes import Ring, ring_order, ring_positions
from waferllm.layout import COLS, ROWS, Mesh

WORTHWHILE_FLOPS = 1 << 24  # below this a loop is simulated literally

circulate_p = Primitive("circulate")
circulate_cols_p = Primitive("circulate_cols")


@dataclass(frozen=True)
class Loop:
    """A recognised loop: which of its carries are A, B and the sum."""

    a: int
    b: int
    c: int


def recognise(eqn: JaxprEqn, mesh: Mesh) -> Loop | None:
    """The loop that this equation is, or None."""
    p = eqn.params
    if eqn.primitive.name != "scan" or mesh.rows != mesh.cols or p["length"] != mesh.rows:
        return None
    body: Jaxpr = p["jaxpr"].jaxpr
    carries = p["num_carry"]
    if p["num_consts"] or carries != 3 or p["reverse"]:
        return None
    maker = {v: e for e in body.eqns for v in e.outvars}
    found: dict[str, int] = {}
    for i, out in enumerate(body.outvars[:carries]):
        made = None if isinstance(out, Literal) else maker.get(out)
        if made is not None and made.primitive is shift_p and made.invars[0] is body.invars[i]:
            if made.params["route"] == Ring(-1) and made.params["span"] is None:
                found[made.params["axis"]] = i
        elif made is not None and made.primitive.name == "add":
            found["sum"] = i
    if set(found) != {ROWS, COLS, "sum"}:
        return None
    loop = Loop(found[COLS], found[ROWS], found["sum"])
    return loop if _multiplies(body, maker, loop) and _large(eqn, loop, mesh) else None


def _multiplies(body: Jaxpr, maker: dict, loop: Loop) -> bool:
    """The sum is c + a b: the body holds nothing but two shifts, that product and that addition."""
    total = maker[body.outvars[loop.c]]
    c, a, b = (body.invars[i] for i in (loop.c, loop.a, loop.b))
    added = [v for v in total.invars if v is not c]
    if (len(body.eqns), len(body.outvars), len(added)) != (4, 3, 1):
        return False
    product = None if isinstance(added[0], Literal) else maker.get(added[0])
    if product is None or product.primitive.name != "dot_general":
        return False
    plain = ((1,), (0,)), ((), ())
    return product.invars == [a, b] and product.params["dimension_numbers"] == plain


def _large(eqn: JaxprEqn, loop: Loop, mesh: Mesh) -> bool:
    (m, k), (_, n) = (cast(ShapedArray, eqn.invars[i].aval).shape for i in (loop.a, loop.b))
    return 2 * m * k * n * mesh.cores * mesh.steps >= WORTHWHILE_FLOPS


def rewrite(
    closed: ClosedJaxpr, mesh: Mesh, skewed: Collection[int]
) -> tuple[Callable[..., tuple[Any, ...]], frozenset[int]]:
    """The per-core function with recognised loops as `circulate`, and the inputs to place unskewed.

    Those are the inputs, among the `skewed`, that a recognised loop reads directly and nothing else
    reads.
    """
    jaxpr = closed.jaxpr
    atoms = [v for e in jaxpr.eqns for v in e.invars] + list(jaxpr.outvars)
    readers = [v for v in atoms if not isinstance(v, Literal)]
    loops = {
        i: loop
        for i, e in enumerate(jaxpr.eqns)
        if (loop := recognise(e, mesh)) and not {e.outvars[loop.a], e.outvars[loop.b]} & {*readers}
    }
    direct = {
        i: at
        for i, loop in loops.items()
        for at, v in enumerate(jaxpr.invars)
        if v is jaxpr.eqns[i].invars[loop.b] and at in skewed and readers.count(v) == 1
    }

    def run(*tiles: Any) -> tuple[Any, ...]:
        env: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        env |= dict(zip(jaxpr.invars, tiles, strict=True))

        def read(v: Any) -> Any:
            return v.val if isinstance(v, Literal) else env[v]

        for i, eqn in enumerate(jaxpr.eqns):
            values = [read(v) for v in eqn.invars]
            if i in loops:
                results = _circulate(values, loops[i], i in direct)
            else:
                params = eqn.primitive.get_bind_params(eqn.params)
                results = eqn.primitive.bind(*values, **params)
                results = results if eqn.primitive.multiple_results else [results]
            env |= dict(zip(eqn.outvars, results, strict=True))
        return tuple(read(v) for v in jaxpr.outvars)

    return run, frozenset(direct.values())


def _circulate(values: Sequence[Any], loop: Loop, plain_b: bool) -> list[Any]:
    a, b, c = (values[i] for i in (loop.a, loop.b, loop.c))
    total = circulate_p.bind(a, b, c, plain_b=plain_b)
    results = list(values[:3])
    results[loop.c] = total
    return results


def products(a: Array, b: Array, c: Array, *, plain_b: bool) -> Array:
    """All cores' loops at once: a (Y, X, m, k), b (Y, X, k, n), c (Y, X, m, n), Y = X = N."""
    side, _, m, k = a.shape
    n = b.shape[-1]
    order, at, every = ring_order(side), ring_positions(side), np.arange(side)
    # Core (y, x) holds the block of the core at ring position p(y) + q(x): put them in natural order.
    held_by = order[(at[None, :] - at[:, None]) % side]  # [other index, natural block] -> core
    lhs = jnp.moveaxis(a[every[:, None], held_by], 1, 2).reshape(side * m, side * k)
    natural = b if plain_b else b[held_by.T, every[None, :]]
    rhs = jnp.moveaxis(natural, 2, 1).reshape(side * k, side * n)
    total = jnp.moveaxis(c, 2, 1).reshape(side * m, side * n)
    total = total + jnp.matmul(lhs, rhs, preferred_element_type=c.dtype)
    return jnp.moveaxis(total.reshape(side, m, side, n), 1, 2)


def _leading(values: Sequence[Array], dims: Sequence[int | None], size: int) -> list[Array]:
    return [
        jnp.broadcast_to(v[None], (size, *v.shape)) if d is None else jnp.moveaxis(v, d, 0)
        for v, d in zip(values, dims, strict=True)
    ]


def _over_cols(axis_data: Any, values: Any, dims: Any, *, plain_b: bool) -> tuple[Array, int]:
    return circulate_cols_p.bind(*_leading(values, dims, axis_data.size), plain_b=plain_b), 0


def _over_rows(axis_data: Any, values: Any, dims: Any, *, plain_b: bool) -> tuple[Array, int]:
    return products(*_leading(values, dims, axis_data.size), plain_b=plain_b), 0


for _prim, _rule in ((circulate_p, _over_cols), (circulate_cols_p, _over_rows)):
    _prim.def_abstract_eval(lambda a, b, c, **_: c)
    batching.fancy_primitive_batchers[_prim] = _rule
