"""Where a global array lies on the mesh: which dimension is cut over which axis, and in what order.

The mesh has `Y` rows along axis "y" and `X` columns along axis "x". A global array is padded with
zeros until it tiles, then every core holds one tile of equal shape:

    Blocks("y", "x") of A[M, K]          Blocks("y", None): rows cut over y, replicated along x
        x ->
      y  A00 A01 A02                     RingSkewed(): MeshGEMM's right operand, k-blocks already
      |  A10 A11 A12                     where the first step needs them
      v  A20 A21 A22
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from waferllm.errors import InputError
from waferllm.fabric.routes import ring_order, ring_positions

ROWS, COLS = "y", "x"
AXES = (ROWS, COLS)


@dataclass(frozen=True)
class Mesh:
    """A rectangle of cores: `rows` along y by `cols` along x."""

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if type(self.rows) is not int or type(self.cols) is not int:
            raise InputError(
                f"mesh {self.rows!r} x {self.cols!r}: both sides must be whole numbers."
            )
        if self.rows < 1 or self.cols < 1:
            raise InputError(
                f"mesh {self.rows}x{self.cols}: both sides must be at least 1, as in 8x8 (rows x columns)."
            )

    @classmethod
    def of(cls, mesh: "Mesh | tuple[int, int]") -> "Mesh":
        return mesh if isinstance(mesh, Mesh) else cls(*mesh)

    @classmethod
    def parse(cls, text: str) -> "Mesh":
        """`"8x4"`: 8 rows, 4 columns."""
        rows, cross, cols = text.lower().partition("x")
        if not (cross and rows.strip().isdecimal() and cols.strip().isdecimal()):
            raise InputError(f"mesh '{text}': expected ROWSxCOLUMNS in whole numbers, such as 8x8.")
        return cls(int(rows), int(cols))

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols}"

    @property
    def cores(self) -> int:
        return self.rows * self.cols

    @property
    def steps(self) -> int:
        """k-blocks, and so steps, of MeshGEMM: the sides themselves when square, else their lcm."""
        return math.lcm(self.rows, self.cols)

    def side(self, axis: str) -> int:
        return {ROWS: self.rows, COLS: self.cols}[axis]


@dataclass(frozen=True)
class Blocks:
    """Contiguous blocks: dimension d is cut over mesh axis `axes[d]`, or replicated where it is None.

    `grain[d]` further divides the dimension: its padded length is a multiple of it and of the axis.
    """

    axes: tuple[str | None, ...]
    grain: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        named = [a for a in self.axes if a is not None]
        if len(set(named)) < len(named) or not set(named) <= {*AXES}:
            raise InputError(f"layout over {self.axes}: each of 'y' and 'x' may cut one dimension.")

    def padded(self, shape: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
        """The global shape after padding so that it tiles the mesh."""
        if len(shape) != len(self.axes):
            raise InputError(
                f"a layout of {len(self.axes)} dimensions {self.axes} for an array of shape {shape}."
            )
        grain = self.grain or (1,) * len(shape)
        cut = (mesh.side(a) if a else 1 for a in self.axes)
        return tuple(
            -(-s // (u := math.lcm(c, g))) * u for s, c, g in zip(shape, cut, grain, strict=True)
        )

    def tile(self, shape: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
        """One core's share of an array of this (padded or unpadded) global shape."""
        padded = self.padded(shape, mesh)
        return tuple(
            s // (mesh.side(a) if a else 1) for s, a in zip(padded, self.axes, strict=True)
        )


@dataclass(frozen=True)
class RingSkewed:
    """The right operand of MeshGEMM, placed in the order in which its first step needs it.

    A[M, K] lies in blocks over ("y", "x"); B[K, N] is cut into `mesh.steps` k-blocks. Core (y, x) starts
    with the steps/rows k-blocks from p(y) steps/rows + q(x) steps/cols on, in the order of their use; p
    and q are ring positions.
    Leading dimensions are replicated.
    """

    def padded(self, shape: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
        lead = (None,) * (len(shape) - 2)
        ones = (1,) * (len(shape) - 2)
        return Blocks((*lead, ROWS, COLS), (*ones, mesh.steps, 1)).padded(shape, mesh)

    def tile(self, shape: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
        *lead, k, n = self.padded(shape, mesh)
        return (*lead, k // mesh.rows, n // mesh.cols)


@dataclass(frozen=True)
class RingColumns:
    """The result of dist-GEMM-T, C[M, N]: rows in blocks over y, columns over x in the row ring's order."""

    def padded(self, shape: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
        return Blocks((ROWS, COLS), (1, mesh.steps)).padded(shape, mesh)

    def tile(self, shape: tuple[int, ...], mesh: Mesh) -> tuple[int, ...]:
        m, n = self.padded(shape, mesh)
        return m // mesh.rows, n // mesh.cols


Layout = Blocks | RingSkewed | RingColumns


@lru_cache(maxsize=64)
def column_index(mesh: Mesh) -> np.ndarray:
    """For each natural block of `RingColumns`' columns, where it is placed. Shape (steps,)."""
    per_row, per_col = mesh.steps // mesh.rows, mesh.steps // mesh.cols
    block = np.arange(mesh.steps)
    numbered = ring_positions(mesh.rows)[block // per_row] * per_row + block % per_row
    return ring_order(mesh.cols)[numbered // per_col] * per_col + numbered % per_col


@lru_cache(maxsize=64)
def skew_index(mesh: Mesh) -> np.ndarray:
    """For core row y, sub-block i and column x, the natural k-block that starts there: block p + q + i.

    k-blocks are numbered along A's column ring; shape (rows, steps/rows, cols).
    """
    per_row, per_col = mesh.steps // mesh.rows, mesh.steps // mesh.cols
    p = ring_positions(mesh.rows)[:, None, None]
    q = ring_positions(mesh.cols)[None, None, :]
    i = np.arange(per_row)[None, :, None]
    block = (p * per_row + q * per_col + i) % mesh.steps
    return ring_order(mesh.cols)[block // per_col] * per_col + block % per_col
