"""What the software on a core costs, in cycles: the constants that no data sheet gives.

A `Chip` says what the hardware does: rates, hops, ramps, links. What is left is the code around it,
and that is here, fitted to published measurements by `tools/calibrate.py` and shared by every
kernel, size and chip. A `Software` is a style of code; a measurement was made with one of them.

    kernel    the authors' CSL: descriptors in registers, one vector instruction per @map call
    library   the vendor's collectives and its example loops: descriptors set in every turn
    stream    bare asynchronous streams without tasks, as in HPDC'24's reductions
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from waferllm.chip.facts import nearest
from waferllm.errors import InputError


@dataclass(frozen=True)
class Constant:
    """One fitted number: what it is, and the rows of `reports/published.toml` that determine it."""

    name: str
    value: float
    unit: str
    says: str
    rows: tuple[str, ...]


def _cycles(name: str, value: float, says: str, *rows: str) -> Constant:
    return Constant(name, value, "cycles", says, rows)


BANK = Constant(
    "bank", 2.4, "cycles per cycle",
    "a multiply-add over SRAM operands beside its rate: its two reads and its write meet in banks",
    ("meshgemm_cs3", "meshgemv_cs3", "prefill_wse2"),
)  # fmt: skip
MAP = _cycles("map", 46.0, "a @map entered, its descriptors loaded and moved on", "meshgemm_cs3")
ISSUE = _cycles(
    "issue", 13.4, "one instruction with fresh descriptors, or one phase of a word",
    "meshgemv_cs3", "decode_wse2", "multicast_cs3",
)  # fmt: skip
TASK = _cycles(
    "task", 56.0, "an asynchronous send and receive: started, and its task woken", "meshgemm_cs3"
)
STAGE = _cycles(
    "stage", 5.7, "a core adds and passes on, beside 2 ramps + 1", "meshgemv_cs3", "pipeline_cs3"
)
SCALAR = _cycles(
    "scalar", 64.0, "one element through exp, a division or a root", "decode_wse2", "decode_cs3"
)
LAUNCH = _cycles(
    "launch", 562.0, "one call into the vendor's collectives", "pipeline_cs3", "summa_cs3"
)
LOOP = _cycles(
    "loop", 30.8, "one vector instruction in the turn of a scalar loop, without @map", "summa_cs3"
)

CONSTANTS = (BANK, MAP, ISSUE, TASK, STAGE, SCALAR, LAUNCH, LOOP)
#: Not fitted: a core issues at most one instruction per cycle, and @map comes down to that.
MAPPED_CYCLES = 1.0


@dataclass(frozen=True)
class Software:
    """Cycles that a style of code adds to what the chip's hardware takes.

    `vector_cycles` issues each instruction of a product, `map_cycles` begins each run of them;
    `issue_cycles` begins any other instruction, and one phase of a word that a core waits for;
    `task_cycles` one that runs beside products; `stage_cycles` is paid by every core that adds and
    passes on; `launch_cycles` by every call of a word. `bank_factor` stretches multiply-adds.
    """

    name: str
    bank_factor: float
    vector_cycles: float
    map_cycles: float
    issue_cycles: float
    task_cycles: float
    stage_cycles: float
    scalar_cycles: float
    launch_cycles: float


def softwares(values: Mapping[str, float] | None = None) -> dict[str, Software]:
    """The styles of code by name, from the fitted constants or from `values` by constant name."""
    c = {constant.name: constant.value for constant in CONSTANTS} | dict(values or {})
    kernel = Software(
        name="kernel",
        bank_factor=c["bank"],
        vector_cycles=MAPPED_CYCLES,
        map_cycles=c["map"],
        issue_cycles=c["issue"],
        task_cycles=c["task"],
        stage_cycles=c["stage"],
        scalar_cycles=c["scalar"],
        launch_cycles=0.0,
    )
    library = replace(
        kernel,
        name="library",
        vector_cycles=c["loop"],
        map_cycles=0.0,
        launch_cycles=c["launch"],
    )
    stream = replace(kernel, name="stream", stage_cycles=0.0)
    return {one.name: one for one in (kernel, library, stream)}


SOFTWARE: Mapping[str, Software] = softwares()
KERNEL, LIBRARY, STREAM = SOFTWARE["kernel"], SOFTWARE["library"], SOFTWARE["stream"]


def software(name: str) -> Software:
    """The style of code of a name; raises `InputError` with the nearest for an unknown one."""
    if name not in SOFTWARE:
        raise InputError(f"Unknown software {name!r}. {nearest(name, SOFTWARE)}")
    return SOFTWARE[name]


def constants_json() -> list[dict[str, object]]:
    """The fitted constants, each with its unit, meaning and rows."""
    return [{f.name: getattr(one, f.name) for f in fields(Constant)} for one in CONSTANTS]
