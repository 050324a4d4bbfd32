"""`report`: tables of docs/results as data; `tune.book` adds those of whole models.

A `Sheet` is one table: its rows are computed here from programs, and each column says whose figures
it holds. Figures are drawn from the same rows (`figures`), so that data and picture cannot differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from waferllm.chip import chip as named_chip
from waferllm.layout import Mesh
from waferllm.models.compared import DECODERS, PREFILLERS, decode_program, prefill_program
from waferllm.models.registry import find_config
from waferllm.plmr import check
from waferllm.plmr.costing import reading_of
from waferllm.plmr.time import CAUSES, time
from waferllm.reports.algorithms import GEMMS, GEMVS
from waferllm.reports.compare import GPU_MODEL, GPU_TABLE
from waferllm.reports.plan import plan
from waferllm.reports.predict import predict_gemm, predict_gemv
from waferllm.reports.timed import gemm_program, gemv_program
from waferllm.reports.validate import published, validate

CHIP = "wse2"
SIDES = (180, 240, 300, 360, 420, 480, 540, 600, 660, 720)
PREFILL_SIDES, DECODE_SIDES = (480, 600, 720), (420, 540, 660)
GEMM_LENGTH, GEMV_LENGTH = 4320, 8640
TOKENS = 4096
MODELS = ("llama3-8b", "llama2-13b")
CAPACITIES = (
    ("llama3-8b", 360), ("mistral-7b", 360), ("qwen2-7b", 360), ("qwen3-8b", 360), ("llama2-13b", 375),
)  # fmt: skip
SYSTEMS = ("waferllm", "t10", "ladder", "megatron")

Value = str | float | int


@dataclass(frozen=True)
class Sheet:
    """One table: `note` says where its figures come from, `plot` how it is drawn (see `figures`)."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    plot: str | None = None


def sheets() -> Iterator[Sheet]:
    """These tables, in the order of the page."""
    yield _products("gemm", f"{GEMM_LENGTH} x {GEMM_LENGTH} x {GEMM_LENGTH} product", tuple(GEMMS))
    yield _products(
        "gemv", f"{GEMV_LENGTH} vector by {GEMV_LENGTH} x {GEMV_LENGTH} matrix", tuple(GEMVS)
    )
    for phase in ("prefill", "decode"):
        for model in MODELS:
            yield _rates(phase, model)
    yield _capacity()
    for phase in ("prefill", "decode"):
        yield _breakdown(phase)
    yield _compliance()
    yield _validation()


def _products(kind: str, what: str, algorithms: Sequence[str]) -> Sheet:
    def cycles(algorithm: str, side: int) -> float:
        if kind == "gemm":
            n = GEMM_LENGTH
            return predict_gemm(n, n, n, CHIP, (side, side), algorithm=algorithm).cycles
        n = GEMV_LENGTH
        return predict_gemv(n, n, CHIP, (side, side), algorithm=algorithm).cycles

    rows = tuple(
        (algorithm, side, round(cycles(algorithm, side)))
        for algorithm in algorithms
        for side in SIDES
    )
    return Sheet(
        kind, f"{kind.upper()} against grid size: {what}, fp16, {CHIP}",
        "Cycles predicted, each algorithm in the software it was timed in.",
        ("algorithm", "side", "cycles (predicted)"), rows, "lines",
    )  # fmt: skip


def _rates(phase: str, model: str) -> Sheet:
    """Tokens/s of each system and side, ours beside what was published of the same."""
    config, chip = find_config(model), named_chip(CHIP)
    prefill = phase == "prefill"
    make, sides = (prefill_program, PREFILL_SIDES) if prefill else (decode_program, DECODE_SIDES)
    rows: list[tuple[Value, ...]] = []
    for system in SYSTEMS:
        for side in sides:
            seconds = time(make(system, config, Mesh(side, side), TOKENS), chip).seconds
            rate = (TOKENS if prefill else 1) / seconds / config.layers
            rows.append(
                (system, f"{side}x{side}", round(rate, 2), _known(system, phase, side, model))
            )
    if model == GPU_MODEL:
        gpus = next(one for one in published() if one["name"] == GPU_TABLE)["rows"]
        rows += [("SGLang", f"{r['gpus']} A100", "", r[f"{phase}_tokens_per_s"]) for r in gpus]
    return Sheet(
        f"{phase}_{model}", f"{phase.capitalize()} of {model}, {TOKENS:,} tokens, {CHIP}",
        "Tokens/s of one request. Published: WaferLLM, OSDI'25; empty where not at hand.",
        ("system", "cores", "tokens/s (predicted)", "tokens/s (published)"), tuple(rows), "bars",
    )  # fmt: skip


def _known(system: str, phase: str, side: int, model: str) -> Value:
    """The published rate of a system on WSE-2, or nothing."""
    for table in published():
        same = (table.get("model"), table.get("kind"), table.get("chip")) == (model, phase, CHIP)
        if same and table.get("system", "waferllm") == system:
            for row in table["rows"]:
                if row["side"] == side:
                    return row.get("tokens_per_s", "")
    return ""


def _capacity() -> Sheet:
    rows = []
    for model, side in CAPACITIES:
        made = plan(model, CHIP, f"{side}x{side}", f"{side}x{side}")
        rows.append(
            (model, f"{side}x{side}", made.kv_capacity["concat"], made.kv_capacity["shift"])
        )
    return Sheet(
        "kv_capacity", f"KV capacity by cache policy, {CHIP}",
        "Tokens of one sequence, predicted by `plan` with true heads and padding. 0: the model does not fit.",
        ("model", "decode grid", "concat (predicted)", "shift (predicted)"), tuple(rows), "grouped",
    )  # fmt: skip


def _breakdown(phase: str) -> Sheet:
    config, chip = find_config("llama3-8b"), named_chip(CHIP)
    prefill = phase == "prefill"
    make, side = (prefill_program, 600) if prefill else (decode_program, 420)
    rows = []
    for system in PREFILLERS if prefill else DECODERS:
        made = time(make(system, config, Mesh(side, side), TOKENS), chip)
        rows.append((system, *(round(made.causes[cause]) for cause in CAUSES)))
    return Sheet(
        f"breakdown_{phase}", f"Where one {phase} layer's cycles go: llama3-8b on {side}x{side}, {CHIP}",
        "Cycles predicted, by cause; they add up to the layer's.",
        ("system", *(f"{cause} (predicted)" for cause in CAUSES)), tuple(rows), "stacked",
    )  # fmt: skip


def _compliance() -> Sheet:
    chip, mesh = named_chip(CHIP), Mesh(600, 600)
    named = [(n, partial(gemm_program, n, 4200, 4200, 4200, mesh, "float16")) for n in GEMMS]
    named += [(n, partial(gemv_program, n, 4200, 4200, mesh, None, "float16")) for n in GEMVS]
    config = find_config("llama3-8b")
    named += [
        (f"{n} prefill", partial(prefill_program, n, config, mesh, TOKENS)) for n in PREFILLERS
    ]
    rows = []
    for name, make in named:
        reading = reading_of(make())
        verdict = check(reading, chip)
        letters = ["holds" if verdict[letter].holds else "fails" for letter in "PLMR"]
        rows.append((name, *letters, reading.routes_per_core, reading.longest_send_hops))
    return Sheet(
        "plmr", f"PLMR compliance on {mesh} cores of {CHIP}",
        "Predicted from the programs: 4200-long products, and one layer of llama3-8b by system, "
        "Megatron on one row. P is judged on the cores a program is given.",
        ("algorithm", *"PLMR", "routes per core", "longest send, hops"), tuple(rows), "matrix",
    )  # fmt: skip


def _validation() -> Sheet:
    said = {"fit": "fitted", "check": "checked", "port": "port"}
    rows = tuple(
        (row.table, row.label, said[row.use], round(row.measured_cycles), round(row.predicted_cycles),
         round(100 * row.error, 1))
        for row in validate().rows
    )  # fmt: skip
    return Sheet(
        "validation", "Predicted against published",
        "Cycles. Fitted rows determined constants, checked rows none; ports are of unseen code.",
        ("table", "row", "use", "measured (published)", "predicted", "error, %"), rows, "scatter",
    )  # fmt: skip
