"""`report`: tables of whole models as `tune` places them, beside other systems and published GPUs."""

from collections.abc import Iterator
from functools import lru_cache

from waferllm.chip import chip as named_chip
from waferllm.plmr.energy import constant_power_j, static_j
from waferllm.reports.book import CHIP, TOKENS, Sheet, Value
from waferllm.reports.compare import GPU_MODEL, GPU_TABLE, PREDICTED, System, compare
from waferllm.reports.validate import published
from waferllm.tune.search import Placed, tune

LENGTHS = ((2048, 128), (2048, 2048), (4096, 128), (4096, 4096))
#: An A100 as WaferLLM (OSDI'25) counts it: the power of 37.5 is that of a WSE-2 system.
GPU_W = 400.0
WHOLE = "WaferLLM, whole model"


def whole_sheets() -> Iterator[Sheet]:
    """One request from end to end, and its energy."""
    yield _end_to_end()
    yield _energy()


@lru_cache(maxsize=8)
def _placed(tokens_in: int, tokens_out: int) -> Placed:
    """The quickest placement for one request."""
    return tune(GPU_MODEL, CHIP, tokens_in, tokens_out, top=1).best[0]


def _compared(tokens_in: int, tokens_out: int) -> list[System]:
    made = compare(GPU_MODEL, CHIP, input_len=tokens_in, output_len=tokens_out)
    return [one for one in made.systems if one.origin == PREDICTED and one.name[0] != " "]


def _end_to_end() -> Sheet:
    rows: list[tuple[Value, ...]] = []
    for lengths in LENGTHS:
        said = "/".join(map(str, lengths))
        rows += [
            (one.name.split(" (")[0], said, round(one.seconds or 0.0, 4))
            for one in _compared(*lengths)
        ]
        rows.append((WHOLE, said, round(_placed(*lengths).latency_s, 4)))
    return Sheet(
        "end_to_end", f"{GPU_MODEL} end to end, one request, {CHIP}",
        "Seconds predicted. Systems as they were compared: one layer times the layers, prefill on 600x600, "
        "decode on 360x360 at the mean context. The whole model is the quickest placement of waferllm "
        "tune, with embedding, output, moves between regions, re-layout, and memory for all of it.",
        ("system", "tokens in/out", "seconds (predicted)"), tuple(rows), "clusters",
    )  # fmt: skip


def _energy() -> Sheet:
    """Joules of SGLang on GPUs over the wafer's, for a token of one request."""
    chip, made = named_chip(CHIP), _placed(TOKENS, TOKENS)
    layers = _compared(TOKENS, TOKENS)[0]
    token_s = {"prefill": made.ttft_s / TOKENS, "decode": made.tpot_s}
    dynamic = {"prefill": made.prefill.dynamic_j / TOKENS, "decode": made.decode.dynamic_j}
    rows = []
    for phase, seconds in token_s.items():
        for row in next(one for one in published() if one["name"] == GPU_TABLE)["rows"]:
            gpu_s = 1 / row[f"{phase}_tokens_per_s"]
            gpu_j = row["gpus"] * GPU_W * gpu_s
            layers_s = 1 / getattr(layers, f"{phase}_tokens_per_s")
            rows.append((
                phase, f"{row['gpus']} A100", _three(gpu_s / layers_s), _three(gpu_s / seconds),
                _three(gpu_j / constant_power_j(layers_s, chip)),
                _three(gpu_j / constant_power_j(seconds, chip)),
                _three(gpu_j / (dynamic[phase] + static_j(seconds, chip))),
            ))  # fmt: skip
    return Sheet(
        "energy", f"SGLang on GPUs over WaferLLM on {CHIP}, time and energy: {GPU_MODEL}",
        f"Tokens of one request, {TOKENS:,} in and out. SGLang's rates are published, at {GPU_W:.0f} W "
        "an A100; the wafer's predicted: layers only, as published (600x600 and 360x360), and the whole "
        "model as placed for the least latency. Energy at constant system power, and by activity "
        "(assumptions: waferllm tune). Above 1 the wafer is better.",
        (
            "phase", "GPUs", "time, layers only (predicted)", "time, whole model (predicted)",
            "energy, layers only, constant power (predicted)",
            "energy, whole model, constant power (predicted)",
            "energy, whole model, by activity (predicted)",
        ),
        tuple(rows), "grouped",
    )  # fmt: skip


def _three(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")
