"""`cost(program, chip)`: the reading of a program beside a chip's limits, printed as a table."""

from dataclasses import dataclass
from functools import lru_cache

from waferllm.chip import Chip
from waferllm.plmr.compliance import Compliance, check
from waferllm.plmr.walk import Reading, read
from waferllm.program import Program
from waferllm.units import show_bytes, show_count


@dataclass(frozen=True)
class Cost:
    """What PLMR says of one program on one chip. All figures are predicted, none is measured."""

    reading: Reading
    chip: Chip
    compliance: Compliance

    def __str__(self) -> str:
        r, chip = self.reading, self.chip
        routes = (
            f"{show_count(chip.free_routes_per_core)} free" if chip.routes_per_core < 1e9 else "any"
        )
        rows = [
            ("memory per core", show_bytes(r.memory_bytes_per_core),
             f"of {show_bytes(chip.free_per_core_bytes)} beside the code"),
            ("routes per core", show_count(r.routes_per_core), f"of {routes}"),
            ("longest send", f"{show_count(r.longest_send_hops)} hops", ""),
            ("routing stages", show_count(r.stages), f"{show_count(r.exposed_stages)} exposed"),
            ("reductions", show_count(r.reductions), ""),
            ("sent per core", show_bytes(r.sent_bytes_per_core), "by the busiest core"),
            ("moved on the mesh", f"{r.byte_hops_total:.3g}", "bytes x hops"),
            ("operations per core", show_count(r.flops_per_core),
             f"{show_count(r.product_flops_per_core)} in products"),
        ]  # fmt: skip
        left, right = (max(len(row[i]) for row in rows) for i in (0, 1))
        table = [f"  {a:<{left}}  {b:>{right}}  {c}".rstrip() for a, b, c in rows]
        verdicts = [
            f"  {v.letter} {'holds' if v.holds else 'FAILS'}  {v.reason}"
            for v in self.compliance.verdicts
        ]
        title = f"{r.program} on {r.mesh} cores of {chip.name} (predicted)"
        return "\n".join([title, *table, *verdicts])


def cost(program: Program, chip: Chip) -> Cost:
    """What the program asks of the chip; raises `UnsupportedError` if an operation has no rule."""
    reading = reading_of(program)
    return Cost(reading, chip, check(reading, chip))


@lru_cache(maxsize=256)
def reading_of(program: Program) -> Reading:
    """The reading of a program, read once."""
    return read(program)
