"""RMSNorm and softmax over a dimension that is cut over cores, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels.numbers import noise
from waferllm.kernels.gemv import TREE, AllReduce
from waferllm.kernels.norm import masked_softmax, rms_norm
from waferllm.layout import Blocks
from waferllm.program import Program, Spec, run

WIDTH, EPS = 13, 1e-3


def reference_norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    x = x.astype(float)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * weight.astype(float)


@pytest.mark.parametrize("mesh", [(3, 4), (5, 3), (1, 4)])
def test_rms_norm_is_the_same_however_the_dimension_lies(mesh: tuple[int, int]) -> None:
    """13 entries over rows, over columns or whole; padding does not count towards the mean."""

    def core(over_y, over_x, whole):
        return tuple(
            rms_norm(x, w, axis, width=WIDTH, eps=EPS, combine=combine)
            for (x, w), axis, combine in (
                (over_y, "y", TREE), (over_x, "x", AllReduce("ring")), (whole, None, TREE)
            )
        )  # fmt: skip

    axes = ("y", "x", None)
    rows = [Spec((4, WIDTH), Blocks((None, a))) for a in axes]
    pairs = [(row, Spec((WIDTH,), Blocks((a,)))) for row, a in zip(rows, axes, strict=True)]
    program = Program(core, mesh=mesh, inputs=pairs, outputs=tuple(rows))
    x, weight = noise((4, WIDTH)), noise((WIDTH,))
    x[1] = 0  # eps keeps a row of zeros at zero
    x[2] *= 1e-3  # where eps matters
    x[3] *= 1e4
    for got in run(program, *[(x, weight)] * 3):
        np.testing.assert_allclose(got, reference_norm(x, weight), rtol=1e-5, atol=0)


def test_a_narrow_row_is_normalised_in_float32_and_returned_in_its_own_dtype() -> None:
    """300^2 overflows float16: the squares must be taken in float32."""
    spec, weight = Spec((4, WIDTH), Blocks((None, "x")), jnp.float16), np.ones(WIDTH, np.float16)
    program = Program(
        lambda x, w: rms_norm(x, w, "x", width=WIDTH, eps=EPS, combine=TREE),
        mesh=(3, 4), inputs=(spec, Spec((WIDTH,), Blocks(("x",)), jnp.float16)), outputs=spec,
        name="norm",
    )  # fmt: skip
    x = (300 * np.sign(noise((4, WIDTH)))).astype(np.float16)
    got = run(program, x, weight)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, np.sign(x))


@pytest.mark.parametrize("way", ["meshgemv", "ring"])
def test_softmax_is_exact_for_wide_scores_and_for_rows_with_nothing_to_keep(way: str) -> None:
    """Scores of +-10000 overflow exp unless the maximum is taken off; masked ones must not set it."""

    def core(scores: jax.Array, keep: jax.Array) -> tuple[jax.Array, jax.Array]:
        return masked_softmax(scores, keep, "x", combine=AllReduce(way))

    rows = 6
    spec = Spec((rows, WIDTH), Blocks(("y", "x")))
    program = Program(
        core, mesh=(3, 4), outputs=(spec, Spec((rows,), Blocks(("y",)))),
        inputs=(spec, Spec((rows, WIDTH), Blocks(("y", "x")), jnp.bool_)),
    )  # fmt: skip
    scores, keep = noise((rows, WIDTH)), np.ones((rows, WIDTH), bool)
    scores[1] *= 1e4
    scores[2] -= 1e4  # all far below zero: the padding's zeros must not be the maximum
    keep[3] = False
    keep[4, 4:] = False  # three of four cores keep nothing
    scores[4, 4:] = 1e4
    keep[5] = np.arange(WIDTH) == 7
    numerators, totals = (np.asarray(r) for r in run(program, scores, keep))
    assert np.all(np.isfinite(numerators))
    assert np.all(np.isfinite(totals))
    got = numerators / totals[:, None]
    wide = np.where(keep, scores.astype(float), -np.inf)
    for row in (0, 1, 2, 4, 5):
        exact = np.exp(wide[row] - wide[row].max())
        np.testing.assert_allclose(got[row], exact / exact.sum(), rtol=1e-5, atol=1e-30)
    assert not np.any(got[3])
    assert totals[3] == 1  # so that dividing by it is safe
