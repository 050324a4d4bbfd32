"""Every fabric word beside what it means, written for one line of cores in plain NumPy.

A `Word` says something along an axis; `means` takes what the cores of one line held, (n, *value), and
the line's number, and gives what each of them holds afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from tests.agree.meshes import on_cores, on_devices
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
    ring_core,
    ring_index,
    rotate,
    shift,
    size,
)

Line = np.ndarray  # (n, *value)


@dataclass(frozen=True)
class Word:
    """`say(x, axis, line, span)` for one core; `line` is the (traced) number of the core's line."""

    say: Callable[[Array, str, Array, int | None], Array]
    means: Callable[[Line, int], Line]
    keeps: Callable[[np.ndarray, int], np.ndarray] = lambda own, _: own  # cores that no line has


def interleave(n: int) -> tuple[list[int], list[int]]:
    """INTERLEAVE of the paper: whom each of `n` cores sends to and receives from."""
    if n < 3:
        other = [(i + 1) % n for i in range(n)]
        return other, other
    send = [min(i + 2, n - 1) if i % 2 == 0 else max(i - 2, 0) for i in range(n)]
    recv = [max(i - 2, 0) if i % 2 == 0 else min(i + 2, n - 1) for i in range(n)]
    recv[0], recv[n - 1] = 1, n - 2 if n % 2 == 0 else recv[n - 1]
    if n % 2:
        send[n - 1] = n - 2
    return send, recv


def walk(n: int) -> list[int]:
    """Cores in the order of the ring, found by following the paper's `send` from core 0."""
    send, order = interleave(n)[0], [0]
    while len(order) < n:
        order.append(send[order[-1]])
    return order


def _ring_turned(v: Line, count: int) -> Line:
    order, out = walk(len(v)), np.empty_like(v)
    for position, core in enumerate(order):
        out[order[(position + count) % len(v)]] = v[core]
    return out


def _stepped(v: Line, by: int) -> Line:
    out = np.zeros_like(v)
    for i in range(len(v)):
        if 0 <= i + by < len(v):
            out[i + by] = v[i]
    return out


def _only(v: Line, root: int, total: np.ndarray) -> Line:
    out = v.copy()
    out[root] = total
    return out


def _all(v: Line, value: np.ndarray) -> Line:
    return np.stack([value] * len(v))


def tree_root(n: int, *groups: int) -> int:
    """The middle core's middle core: groups of consecutive survivors, phase after phase."""
    cores = list(range(n))
    for group in (*groups, n):
        cores = [
            (part := cores[i : i + group])[len(part) // 2] for i in range(0, len(cores), group)
        ]
    return cores[0]


WORDS: dict[str, Word] = {
    "shift ring": Word(
        lambda x, a, _, s: shift(x, a, Ring(), span=s),
        lambda v, _: v[interleave(len(v))[1]] if len(v) > 1 else v,
    ),
    "shift ring back": Word(
        lambda x, a, _, s: shift(x, a, Ring(-1), span=s),
        lambda v, _: v[interleave(len(v))[0]] if len(v) > 1 else v,
    ),
    "shift step": Word(
        lambda x, a, _, s: shift(x, a, Step(1), span=s), lambda v, _: _stepped(v, 1)
    ),
    "shift two steps back": Word(
        lambda x, a, _, s: shift(x, a, Step(-2), span=s), lambda v, _: _stepped(v, -2)
    ),
    "shift wrapped": Word(
        lambda x, a, _, s: shift(x, a, Step(-1, wrap=True), span=s), lambda v, _: np.roll(v, -1, 0)
    ),
    "rotate": Word(lambda x, a, _, s: rotate(x, a, 2, span=s), lambda v, _: _ring_turned(v, 2)),
    "rotate by line": Word(
        lambda x, a, line, s: rotate(x, a, 2 * line - 3, span=s),
        lambda v, line: _ring_turned(v, 2 * line - 3),
    ),
    "reduce": Word(
        lambda x, a, _, s: reduce(x, a, Tree((2,)), span=s),
        lambda v, _: _only(v, tree_root(len(v), 2), v.sum(0)),
    ),
    "reduce max, deep": Word(
        lambda x, a, _, s: reduce(x, a, Tree((2, 2)), op="max", span=s),
        lambda v, _: _only(v, tree_root(len(v), 2, 2), v.max(0)),
    ),
    "reduce to": Word(
        lambda x, a, _, s: reduce(x, a, root=0, span=s), lambda v, _: _only(v, 0, v.sum(0))
    ),
    "reduce to line's own, max": Word(
        lambda x, a, line, s: reduce(x, a, root=(line + 1) % size(a, s), op="max", span=s),
        lambda v, line: _only(v, (line + 1) % len(v), v.max(0)),
    ),
    "broadcast": Word(
        lambda x, a, _, s: broadcast(x, a, size(a, s) - 1, span=s), lambda v, _: _all(v, v[-1])
    ),
    "broadcast from line's own": Word(
        lambda x, a, line, s: broadcast(x, a, (line + 1) % size(a, s), span=s),
        lambda v, line: _all(v, v[(line + 1) % len(v)]),
    ),
    "allreduce": Word(lambda x, a, _, s: allreduce(x, a, span=s), lambda v, _: _all(v, v.sum(0))),
    "allreduce max": Word(
        lambda x, a, _, s: allreduce(x, a, Tree(()), op="max", span=s),
        lambda v, _: _all(v, v.max(0)),
    ),
    "pipeline allreduce": Word(
        lambda x, a, _, s: pipeline_allreduce(x, a, span=s), lambda v, _: _all(v, v.sum(0))
    ),
    "ring allreduce": Word(
        lambda x, a, _, s: ring_allreduce(x, a, span=s), lambda v, _: _all(v, v.sum(0))
    ),
    "allgather": Word(
        lambda x, a, _, s: allgather(x, a, span=s),
        lambda v, _: _all(v, v),
        lambda own, n: np.stack([own] * n),
    ),
    "places": Word(
        lambda x, a, _, s: x * 0 + jnp.stack(_places(a, s)).astype(x.dtype),
        lambda v, _: v * 0 + np.array([_place_row(i, len(v)) for i in range(len(v))], v.dtype),
        lambda own, _: own,
    ),
}


def _places(axis: str, span: int | None) -> list[Array]:
    here, n = ring_index(axis, span), size(axis, span)
    return [index(axis, span), here, ring_core(here, n), jnp.asarray(n), here * 0]


def _place_row(core: int, n: int) -> list[int]:
    return [core, walk(n).index(core), core, n, 0]


VALUE = (5,)  # one core's value; 5 is no multiple of any line, so ring_allreduce must pad


CUTS: dict[tuple[int, int], list[tuple[str, int | None]]] = {
    (3, 4): [("x", None), ("x", 3)],
    (5, 3): [("y", None), ("y", 2)],
    (1, 4): [("x", None), ("x", 2)],
    (4, 1): [("y", None)],
}  # whole lines both ways, spans that divide a line and spans that leave a core over


def say_everything(mesh: tuple[int, int]) -> Callable[[Array], dict[str, dict[str, Array]]]:
    """One core's answers for every word and every cut of the mesh."""
    other = {"y": "x", "x": "y"}

    def core(x: Array) -> dict[str, dict[str, Any]]:
        return {
            name: {
                _key(axis, span): word.say(x, axis, index(other[axis]), span)
                for axis, span in CUTS[mesh]
            }
            for name, word in WORDS.items()
        }

    return core


def _key(axis: str, span: int | None) -> str:
    return axis if span is None else f"{axis} by {span}"


@cache
def simulated(mesh: tuple[int, int]) -> Callable[[np.ndarray], dict[str, dict[str, Array]]]:
    """All words on simulated cores, compiled once for all tests that ask."""
    return on_cores(say_everything(mesh))


@cache
def emulated(mesh: tuple[int, int]) -> Callable[[np.ndarray], dict[str, dict[str, Array]]]:
    """All words on devices, compiled once for all tests that ask."""
    return on_devices(say_everything(mesh), mesh)


def meant(name: str, mesh: tuple[int, int], x: np.ndarray) -> dict[str, np.ndarray]:
    """What every core must hold afterwards, line by line."""
    return {_key(axis, span): _one_axis(WORDS[name], x, axis, span) for axis, span in CUTS[mesh]}


def _one_axis(word: Word, x: np.ndarray, axis: str, span: int | None) -> np.ndarray:
    if axis == "y":
        return np.swapaxes(_one_axis(word, np.swapaxes(x, 0, 1), "x", span), 0, 1)
    return np.stack([_one_line(word, line, number, span) for number, line in enumerate(x)])


def _one_line(word: Word, line: Line, number: int, span: int | None) -> Line:
    n = span or len(line)
    whole = len(line) // n * n
    parts = [word.means(line[i : i + n], number) for i in range(0, whole, n)]
    rest = [word.keeps(own, n)[None] for own in line[whole:]]
    return np.concatenate([*parts, *rest])
