"""A report on disk: `results.md`, and for each sheet `results/NAME.csv` and `results/NAME.png`."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from waferllm.reports.book import Sheet, Value
from waferllm.reports.figures import draw

HEAD = """# Results

Made by `waferllm report`; every figure is predicted by this program unless its column says published.
T10, Ladder and Megatron are programs written from what each system assumes of a machine, not the
ports that were measured: nobody outside has seen those. CI checks that this page is current.
"""


def texts(found: Sequence[Sheet]) -> dict[str, str]:
    """The page and the data files, by path under the folder."""
    made = {f"results/{sheet.name}.csv": _csv(sheet) for sheet in found}
    return {"results.md": "\n".join([HEAD, *map(_section, found)]), **made}


def write(folder: Path, found: Sequence[Sheet]) -> None:
    """Write the page, the data and the figures."""
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for name, text in texts(found).items():
        (folder / name).write_text(text, encoding="utf-8")
    for sheet in found:
        if sheet.plot:
            draw(sheet, folder / "results" / f"{sheet.name}.png")


def stale(folder: Path, found: Sequence[Sheet]) -> list[str]:
    """Files that are missing, or whose text is not what would be written; of figures, only missing ones."""
    lost = [
        name for name, text in texts(found).items()
        if not (folder / name).is_file() or (folder / name).read_text("utf-8") != text
    ]  # fmt: skip
    pictures = [f"results/{sheet.name}.png" for sheet in found if sheet.plot]
    return lost + [name for name in pictures if not (folder / name).is_file()]


def _csv(sheet: Sheet) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([sheet.columns, *sheet.rows])
    return out.getvalue()


def _section(sheet: Sheet) -> str:
    lines = [f"## {sheet.title}", "", sheet.note, ""]
    if sheet.plot:
        lines += [f"![{sheet.title}](results/{sheet.name}.png)", ""]
    if sheet.plot != "lines":
        lines += [
            _row(sheet.columns),
            _row(["---"] * len(sheet.columns)),
            *map(_row, sheet.rows),
            "",
        ]
    return "\n".join([*lines, f"Data: [{sheet.name}.csv](results/{sheet.name}.csv)", ""])


def _row(cells: Sequence[Value]) -> str:
    return f"| {' | '.join(f'{c:,}' if isinstance(c, int | float) else c for c in cells)} |"
