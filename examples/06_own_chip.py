"""A chip of your own, from a file: what would WSE-2 be with twice the memory per core?"""

from pathlib import Path

import waferllm as w
from waferllm.chip import load_chip

mine = load_chip(Path(__file__).parent / "chips" / "my_wafer.toml")
print(
    f"{mine.title}: {mine.sram_per_core_bytes / 1024:.0f} KiB per core, {mine.clock_hz / 1e9} GHz"
)

# A product too large for WSE-2: its tiles, doubled for the shifts, leave no room beside the code.
p = w.Program(w.kernels.mesh_gemm, mesh=(400, 400), shapes=[(20_000, 20_000), (20_000, 20_000)])
costs = {chip.name: w.cost(p, chip) for chip in (w.WSE2, mine)}
for cost in costs.values():
    print(f"\n{cost}")

assert [c.compliance.holds for c in costs.values()] == [False, True]
