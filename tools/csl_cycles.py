"""Cycles of WaferLLM's own CSL kernels on our machine, beside those published for a CS-3.

    python tools/csl_cycles.py CHECKOUT [--out FILE]

Each run is the checkout's own `run_sim.sh` in a copy, so its product is checked as in `csl conform`; the
same commands are then given to the machine again with both profiles, and the counters are read as the
script reads them. Grids that take too long are extrapolated: with the tile kept, the cycles of
three smaller grids are fitted by a line in the grid's side.
"""

import argparse
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.csl.host import conform
from waferllm.csl.host.arrays import MemcpyDataType
from waferllm.csl.host.commands import JOURNAL, Commands, Journal
from waferllm.csl.host.program import load_program
from waferllm.reports.validate import published

TABLES = ("meshgemm_cs3", "meshgemv_cs3")
SIDES = {"meshgemm": (8, 12, 16), "meshgemv": (30, 60, 90)}
FOLDERS = {"meshgemm": "MeshGEMM", "meshgemv": "MeshGEMV"}
TIMEOUT_S = 1200
WORDS = np.array([1, 1 << 16, 1 << 32])


HEAD = """## Cycles of WaferLLM's kernels

Made by `python tools/csl_cycles.py CHECKOUT --out FILE`. Cycles of one multiplication, from the first PE's
start to the last one's end, as the kernels' own host script counts them.

*published*: measured by others on the chip. *computed*: the kernel on our machine, profile
`wse3@silicon`, on a P x P grid with the tile of the published row. *predicted*: the line through the
computed cycles, at the published P; *error* compares it. *predicted, `sim`*: the same with the profile
of the vendor's simulator. *product*: by how much the result differs at most from the one that the script
computes, relative to its largest entry; MeshGEMM sends an even number of a tile's entries, so that its own
product is wrong where a tile has an odd number of them. Nothing of the machine was fitted to these rows.
"""


@dataclass(frozen=True)
class Run:
    """Cycles of one multiplication: by both profiles, and how far the product is off."""

    sim: float
    silicon: float
    difference: float


def arguments(table: Mapping[str, Any], side: int, tile: int) -> list[str]:
    """What `run_sim.sh` is given for a grid of `side` squared and square tiles."""
    length = str(side * tile)
    if table["kind"] == "gemm":
        return [str(side), length, length, length]
    return [str(side), length, length, str(side // table["group_cores"])]


def measure(checkout: Path, table: Mapping[str, Any], side: int, tile: int) -> Run:
    """Run a kernel as its script does, and again on the machine's silicon profile."""
    with tempfile.TemporaryDirectory(prefix="waferllm-cycles-") as scratch:
        copy = Path(scratch) / "checkout"
        shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git"))
        folder = copy / FOLDERS[table["algorithm"]] / "WSE-3"
        code, output = conform.run_bash(
            folder / "run_sim.sh", arguments(table, side, tile), TIMEOUT_S
        )
        difference = conform.largest_difference(output)
        if code != 0 or difference is None:
            raise SystemExit(f"{folder.parent.name} {side}x{side}, tile {tile}: {output[-400:]}")
        repeats = re.search(r"Repeat count: (\d+)", output)
        assert repeats is not None, output[-400:]
        sim, silicon = (
            replayed(folder / "out", profile) / int(repeats.group(1))
            for profile in ("sim", "silicon")
        )
        return Run(sim, silicon, difference)


def replayed(out: Path, profile: str) -> float:
    """Cycles from the first PE's start to the last one's end, as the script counts them.

    The script's own sum loses the counters' high words under NumPy 2, so it is not read.
    """
    program = load_program(out)
    commands = Commands(program, profile)
    commands.replay(Journal.load(out / JOURNAL))
    width, height = program.meta.rectangle
    pes = np.arange(width * height)
    times = _stamps(commands, "time_memcpy", pes, 2)
    # The reference is a wavelet from the corner; the script takes a cycle for each hop.
    reference = _stamps(commands, "time_ref", pes, 1)[:, 0] - (pes % width + pes // width)
    start, end = times[:, 0] - reference, times[:, 1] - reference
    return float(end.max() - start.min())


def _stamps(commands: Commands, name: str, pes: np.ndarray, count: int) -> np.ndarray:
    """int64[pes, count]: timestamps of three 16-bit words each."""
    elements = -(-3 * count // 2)
    held = commands.read(name, pes, elements, MemcpyDataType.MEMCPY_32BIT)
    words = np.ascontiguousarray(held).view(np.uint16)[:, : 3 * count]
    return words.reshape(len(pes), count, 3).astype(np.int64) @ WORDS


def line_through(points: Sequence[tuple[int, float]], side: int) -> float:
    """What a straight line through some grids' cycles gives for another side."""
    sides, cycles = np.array(points).T
    return float(np.polyval(np.polyfit(sides, cycles, 1), side))


def section(table: Mapping[str, Any], checkout: Path) -> list[str]:
    """A table of published and our cycles."""
    sides = SIDES[table["algorithm"]]
    columns = "".join(f" computed, P={side} |" for side in sides)
    lines = [
        f"### {table['title']}",
        "",
        f"Published: {table['source']}.",
        "",
        f"| size | P | tile | published |{columns} predicted | error | predicted, `sim` | product |",
        "|--:|--:|--:|--:|" + "--:|" * (len(sides) + 4),
    ]
    for row in table["rows"]:
        lines.append(_row(row, table, checkout))
        print(lines[-1], flush=True)
    return [*lines, ""]


def _row(row: Mapping[str, Any], table: Mapping[str, Any], checkout: Path) -> str:
    side, length, cycles = row["side"], row["length"], row["cycles"]
    tile = length // side
    runs = {each: measure(checkout, table, each, tile) for each in SIDES[table["algorithm"]]}
    silicon = line_through([(n, run.silicon) for n, run in runs.items()], side)
    sim = line_through([(n, run.sim) for n, run in runs.items()], side)
    computed = " | ".join(f"{run.silicon:,.0f}" for run in runs.values())
    worst = max(run.difference for run in runs.values())
    return (
        f"| {length:,} | {side} | {tile} | {cycles:,.0f} | {computed} | {silicon:,.0f} | "
        f"{silicon / cycles - 1:+.1%} | {sim:,.0f} | {worst:.2%} |"
    )


def main() -> None:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("checkout", type=Path)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    lines = [HEAD]
    for table in published():
        if table["name"] in TABLES:
            lines += section(table, given.checkout.resolve())
    if given.out:
        given.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
