"""Where global arrays lie: padding and tiles by brute force, the ring skew by following the algorithm."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agree.meshes import MESHES
from tests.agree.words import walk
from waferllm.errors import InputError
from waferllm.layout import Blocks, Mesh, RingSkewed, skew_index

SIDES = st.integers(1, 9)


def least(length: int, *divisors: int) -> int:
    """The smallest length, from this one up, that all of these divide."""
    while any(length % d for d in divisors):
        length += 1
    return length


@given(rows=SIDES, cols=SIDES, m=st.integers(0, 60), n=st.integers(0, 60), grain=st.integers(1, 8))
def test_padding_is_the_least_that_tiles_and_nothing_is_truncated(
    rows: int, cols: int, m: int, n: int, grain: int
) -> None:
    mesh = Mesh(rows, cols)
    plain, turned = Blocks(("y", "x")), Blocks(("x", "y"), (1, grain))
    assert plain.padded((m, n), mesh) == (least(m, rows), least(n, cols))
    assert turned.padded((m, n), mesh) == (least(m, cols), least(n, rows, grain))
    assert turned.tile((m, n), mesh) == (least(m, cols) // cols, least(n, rows, grain) // rows)
    assert Blocks((None, "x")).padded((m, n), mesh) == (m, least(n, cols))
    assert Blocks((None, None)).tile((m, n), mesh) == (m, n)


@given(rows=SIDES, cols=SIDES, k=st.integers(1, 60), n=st.integers(1, 60))
def test_a_skewed_operand_is_cut_into_whole_k_blocks(rows: int, cols: int, k: int, n: int) -> None:
    mesh, layout = Mesh(rows, cols), RingSkewed()
    k_padded, n_padded = least(k, rows, cols), least(n, cols)
    assert mesh.steps == least(max(rows, cols), rows, cols) == math.lcm(rows, cols)
    assert layout.padded((2, k, n), mesh) == (2, k_padded, n_padded)
    assert layout.tile((2, k, n), mesh) == (2, k_padded // rows, n_padded // cols)


@pytest.mark.parametrize("mesh", [*MESHES, (4, 4), (5, 5), (6, 3), (4, 6)])
def test_every_column_holds_every_k_block_once(mesh: tuple[int, int]) -> None:
    index = skew_index(Mesh.of(mesh))
    steps = math.lcm(*mesh)
    assert index.shape == (mesh[0], steps // mesh[0], mesh[1])
    for column in range(mesh[1]):
        assert sorted(index[:, :, column].ravel().tolist()) == list(range(steps))


@pytest.mark.parametrize("mesh", [*MESHES, (4, 4), (5, 5), (6, 3), (4, 6)])
def test_following_both_operands_round_their_rings_every_core_multiplies_matching_blocks(
    mesh: tuple[int, int],
) -> None:
    """MeshGEMM in plain lists: A's blocks as aligned, B's as skewed; used blocks go to a neighbour."""
    rows, cols = mesh
    steps = math.lcm(rows, cols)
    per_row, per_col = steps // rows, steps // cols
    row_ring, col_ring = walk(rows), walk(cols)
    index = skew_index(Mesh.of(mesh))

    def natural(block: int) -> int:
        """Where block number `block` of A's column ring lies in K."""
        return col_ring[block // per_col % cols] * per_col + block % per_col

    starts = {(y, x): row_ring.index(y) * per_row + col_ring.index(x) * per_col
              for y in range(rows) for x in range(cols)}  # fmt: skip
    a = {core: [natural(first + i) for i in range(per_col)] for core, first in starts.items()}
    b = {(y, x): index[y, :, x].tolist() for y, x in starts}
    met = {core: [] for core in starts}
    for step in range(steps):
        i, j = step % per_col, step % per_row
        for core in starts:
            assert a[core][i] == b[core][j]
            met[core].append(a[core][i])
        sent_a = {core: a[core][i] for core in starts}
        sent_b = {core: b[core][j] for core in starts}
        for y, x in starts:
            a[y, x][i] = sent_a[y, col_ring[(col_ring.index(x) + 1) % cols]]
            b[y, x][j] = sent_b[row_ring[(row_ring.index(y) + 1) % rows], x]
    assert all(sorted(blocks) == list(range(steps)) for blocks in met.values())


@pytest.mark.parametrize("n", [3, 4, 5])
def test_on_a_square_mesh_the_skew_is_cannons_by_ring_position(n: int) -> None:
    order = walk(n)
    for p, y in enumerate(order):
        for q, x in enumerate(order):
            assert skew_index(Mesh(n, n))[y, 0, x] == order[(p + q) % n]


def test_a_mesh_reads_as_rows_by_columns() -> None:
    mesh = Mesh.parse(" 3 X4")
    assert (mesh.rows, mesh.cols, mesh.cores, str(mesh)) == (3, 4, 12, "3x4")
    assert (mesh.side("y"), mesh.side("x")) == (3, 4)
    assert Mesh.of((3, 4)) == Mesh.of(mesh) == mesh


@pytest.mark.parametrize("text", ["", "8", "x", "8x", "8x-1", "8x8x8", "8.5x8", "axb"])
def test_text_that_is_no_mesh_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="ROWSxCOLUMNS in whole numbers, such as 8x8"):
        Mesh.parse(text)


@pytest.mark.parametrize("text", ["0x0", "0x8", "8x0"])
def test_a_mesh_without_cores_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="both sides must be at least 1"):
        Mesh.parse(text)


def test_a_layout_of_another_rank_is_refused() -> None:
    with pytest.raises(InputError, match=r"layout of 2 dimensions .* array of shape \(3, 4, 5\)"):
        Blocks(("y", "x")).padded((3, 4, 5), Mesh(3, 4))
