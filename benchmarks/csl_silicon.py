"""Cycles of WaferLLM's own CSL programs on the machine beside counts published from a CS-3.

    python benchmarks/csl_silicon.py CHECKOUT [--largest 240]

CHECKOUT is a clone of MeshInfra/WaferLLM, whose scripts run unmodified in copies. MeshGEMV runs at its
published sizes on grids up to `--largest`. MeshGEMM's published grids have 130,000 PEs and more: each of
its P steps is the same, so a line through runs with the same tile on small grids is continued to the
published one. Both profiles of the machine are shown; nothing is fitted to these counts. Prints Markdown.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

from waferllm.csl.host.conform import environment
from waferllm.csl.host.cs_python import PROFILE_VARIABLE

MEAN = re.compile(r"^Mean cycle count: ([0-9.]+)", re.MULTILINE)
GROUP_CORES = 15
SMALL = (8, 16)
PROFILES = ("sim", "silicon")


def cycles(checkout: Path, module: str, arguments: list[int], profile: str) -> float:
    """The mean count that a module's script prints."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "module"
        shutil.copytree(checkout / module, copy)
        done = subprocess.run(
            ["bash", "run_sim.sh", *map(str, arguments)],
            cwd=copy, env=environment() | {PROFILE_VARIABLE: profile},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = MEAN.search(done.stdout)
    if not found:
        raise SystemExit(f"{module} {arguments} printed no count:\n{done.stdout}{done.stderr}")
    return float(found[1])


def published(kind: str) -> list[dict]:
    """Rows of a published table of the authors' programs on a CS-3."""
    tables = tomllib.loads((files("waferllm.reports") / "published.toml").read_text())["table"]
    return next(table["rows"] for table in tables if table["name"] == kind)


def gemv(checkout: Path, largest: int) -> Iterator[tuple[str, float, list[float], str]]:
    for row in published("meshgemv_cs3"):
        size, side = row["length"], row["side"]
        if side <= largest:
            asked = [side, size, size, side // GROUP_CORES]
            made = [cycles(checkout, "MeshGEMV/WSE-3", asked, p) for p in PROFILES]
            yield f"MeshGEMV {size}, P={side}", row["mean"], made, "run"


def gemm(checkout: Path) -> Iterator[tuple[str, float, list[float], str]]:
    for row in published("meshgemm_cs3"):
        size, side = row["length"], row["side"]
        tile = size // side
        made = []
        for profile in PROFILES:
            counts = [
                cycles(checkout, "MeshGEMM/WSE-3", [p, *[p * tile] * 3], profile) for p in SMALL
            ]
            slope, start = np.polyfit(SMALL, counts, 1)
            made.append(slope * side + start)
        yield (
            f"MeshGEMM {size}, P={side}",
            row["mean"],
            made,
            f"from P={', '.join(map(str, SMALL))}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--largest", type=int, default=240)
    given = parser.parse_args()
    print("| program | published, CS-3 | here, sim | here, silicon | errors | how |")
    print("|---|--:|--:|--:|--:|---|")
    for rows in (gemv(given.checkout, given.largest), gemm(given.checkout)):
        for name, measured, made, how in rows:
            errors = " / ".join(f"{one / measured - 1:+.0%}" for one in made)
            counts = " | ".join(f"{one:,.0f}" for one in (measured, *made))
            print(f"| {name} | {counts} | {errors} | {how} |", flush=True)


if __name__ == "__main__":
    main()
