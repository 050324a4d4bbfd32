"""Draw docs/wafer.svg: a wafer, a corner of its mesh, and the interleaved ring along its lines.

Counts and the order of the ring are read from the package; run `python tools/draw_wafer.py`.
"""

from pathlib import Path

from waferllm import WSE2
from waferllm.fabric.routes import Ring, hops, ring_order, ring_positions

N = 5
CELL, GAP = 58, 42
LEFT, TOP = 470, 118
INK, MUTED, A_INK, B_INK, CORE = "#1f2430", "#6b7280", "#1d6fb8", "#c2571a", "#eef1f6"


def text(
    x: float, y: float, words: str, *, size: int = 14, ink: str = INK, at: str = "middle"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}" text-anchor="{at}">'
        f"{words}</text>"
    )


def centre(core: int) -> float:
    """Along a line of cores, from the first one's left edge."""
    return core * (CELL + GAP) + CELL / 2


def arc(core: int, onwards: int, *, along_x: bool) -> str:
    """One edge of the ring: rightward edges bow to one side of the line, leftward ones to the other."""
    far = onwards > core
    start, end = centre(core) + (9 if far else -9), centre(onwards) + (-9 if far else 9)
    bow = 30 if abs(onwards - core) == 2 else 16
    near, side = (0, -bow) if far else (CELL, CELL + bow)
    points = ((start, near), (start, side), (end, side), (end, near))
    if along_x:
        d = [(LEFT + u, TOP + v) for u, v in points]
    else:
        d = [(LEFT + v, TOP + u) for u, v in points]
    (ax, ay), (bx, by), (cx, cy), (ex, ey) = d
    name = "a" if along_x else "b"
    ink = A_INK if along_x else B_INK
    return (
        f'<path d="M{ax:.1f},{ay:.1f} C{bx:.1f},{by:.1f} {cx:.1f},{cy:.1f} {ex:.1f},{ey:.1f}" '
        f'fill="none" stroke="{ink}" stroke-width="2.2" marker-end="url(#{name})"/>'
    )


def wafer() -> list[str]:
    x, y, side, lines = 60, 170, 260, 26
    step = side / lines
    grid = "".join(
        f"M{x + i * step:.1f},{y} v{side} M{x},{y + i * step:.1f} h{side} "
        for i in range(lines + 1)
    )
    corner, right = 2 * step, x + side
    return [
        f'<circle cx="{x + side / 2}" cy="{y + side / 2}" r="{side * 0.705:.1f}" fill="#f7f8fa" '
        f'stroke="{MUTED}"/>',
        f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="white"/>',
        f'<path d="{grid}" stroke="#c5cad3" stroke-width="0.8"/>',
        f'<rect x="{right - corner}" y="{y}" width="{corner}" height="{corner}" fill="none" stroke="{INK}" '
        'stroke-width="2"/>',
        f'<path d="M{right},{y} L{LEFT - 52},{TOP - 44} M{right},{y + corner} '
        f'L{LEFT - 52},{TOP + N * (CELL + GAP) - GAP + 44}" stroke="{MUTED}" stroke-dasharray="4 4"/>',
        text(
            x + side / 2,
            y + side + 92,
            f"{WSE2.title}: {WSE2.grid_rows} rows x {WSE2.grid_cols} columns",
        ),
        text(
            x + side / 2,
            y + side + 112,
            f"of cores for a program, {WSE2.sram_per_core_bytes // 1024} KiB each (published)",
        ),
    ]


def mesh() -> list[str]:
    order, position = ring_order(N), ring_positions(N)
    drawn = []
    for row in range(N):
        for col in range(N):
            x, y = LEFT + centre(col) - CELL / 2, TOP + centre(row) - CELL / 2
            drawn.append(
                f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" rx="6" fill="{CORE}" '
                f'stroke="{MUTED}"/>'
            )
            drawn.append(text(x + CELL / 2, y + CELL / 2 + 5, f"{row},{col}", ink=MUTED))
            if col < N - 1:
                drawn.append(f'<path d="M{x + CELL},{y + CELL / 2} h{GAP}" stroke="#c5cad3"/>')
            if row < N - 1:
                drawn.append(f'<path d="M{x + CELL / 2},{y + CELL} v{GAP}" stroke="#c5cad3"/>')
    for i in range(N):
        core, onwards = int(order[i]), int(order[(i + 1) % N])
        drawn.append(arc(core, onwards, along_x=True))
        drawn.append(arc(core, onwards, along_x=False))
    ring = " → ".join(str(int(c)) for c in [*order, order[0]])
    middle = LEFT + (N * (CELL + GAP) - GAP) / 2
    below = TOP + N * (CELL + GAP) - GAP
    assert list(position[order]) == list(range(N))
    return [
        *drawn,
        text(middle, TOP - 62, f"interleaved ring along a line of {N} cores: {ring}", size=16),
        text(
            middle,
            TOP - 42,
            f"no edge is longer than {hops(Ring(), N)} hops, for any number of cores",
            ink=MUTED,
        ),
        text(middle, below + 62, "tiles of A circulate along every row,", ink=A_INK),
        text(middle, below + 82, "tiles of B along every column,", ink=B_INK),
        text(middle, below + 102, "C stays: MeshGEMM"),
    ]


def arrow_head(name: str, ink: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{ink}"/></marker>'
    )


def main() -> None:
    width, height = 980, 720
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" '
        'aria-label="A wafer of cores, and the interleaved ring on rows and columns of its mesh">',
        f"<defs>{arrow_head('a', A_INK)}{arrow_head('b', B_INK)}</defs>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *wafer(),
        *mesh(),
        "</svg>",
    ]
    target = Path(__file__).parents[1] / "docs" / "wafer.svg"
    target.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote {target.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
