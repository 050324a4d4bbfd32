"""`waferllm predict gemm|gemv|decode|prefill`: time on a wafer, from the programs alone."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from waferllm.chip import Chip
    from waferllm.reports.predict import Groups
    from waferllm.reports.prediction import Prediction

predict_app = typer.Typer(
    name="predict",
    help="Predict cycles, seconds and tokens/s of a product or a model on a chip. Needs no weights.",
    no_args_is_help=True,
)

CHIP = Annotated[
    str, typer.Option(help="Chip, such as wse2 or wse3@silicon, or FILE.toml of your own.")
]
GRID = Annotated[str, typer.Option(help="Rows x columns of cores, or auto.")]
GROUPS = Annotated[
    str, typer.Option(help="Groups of the first reduction phase, auto, or published.")
]
DTYPE = Annotated[str, typer.Option(help="float16, bfloat16 or float32.")]
MODEL = Annotated[
    str, typer.Option(help="Checkpoint directory, config.json, or a public name like llama3-8b.")
]
SCHEDULE = Annotated[
    str, typer.Option(help="published: the layer as its authors timed it; real: as run here.")
]
STYLE = Annotated[
    str | None,
    typer.Option(
        "--software", help="kernel, library or stream; by default what the algorithm was timed in."
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


@predict_app.command()
def gemm(
    *,
    M: Annotated[int, typer.Option("--M", help="Rows of A and C.")],
    K: Annotated[int, typer.Option("--K", help="Columns of A, rows of B.")],
    N: Annotated[int, typer.Option("--N", help="Columns of B and C.")],
    chip: CHIP = "wse2",
    grid: GRID = "auto",
    algorithm: Annotated[
        str, typer.Option(help="meshgemm, cannon, summa or allgather.")
    ] = "meshgemm",
    dtype: DTYPE = "float16",
    software: STYLE = None,
    as_json: JSON = False,
) -> None:
    """A matrix product C[M, N] = A[M, K] B[K, N]."""
    from waferllm.reports.predict import predict_gemm

    made = predict_gemm(
        M, K, N, named_or_file(chip), grid, algorithm=algorithm, dtype=dtype, style=software
    )
    _show(made, as_json)


@predict_app.command()
def gemv(
    *,
    K: Annotated[int, typer.Option("--K", help="Entries of the vector.")],
    N: Annotated[int, typer.Option("--N", help="Entries of the result.")],
    chip: CHIP = "wse2",
    grid: GRID = "auto",
    algorithm: Annotated[str, typer.Option(help="meshgemv, ring or pipeline.")] = "meshgemv",
    groups: GROUPS = "auto",
    dtype: DTYPE = "float16",
    software: STYLE = None,
    as_json: JSON = False,
) -> None:
    """A vector times a matrix, v[K] W[K, N]."""
    from waferllm.reports.predict import predict_gemv

    made = predict_gemv(
        K, N, named_or_file(chip), grid,
        algorithm=algorithm, groups=_groups(groups), dtype=dtype, style=software,
    )  # fmt: skip
    _show(made, as_json)


@predict_app.command()
def decode(
    *,
    model: MODEL = "llama3-8b",
    chip: CHIP = "wse2",
    grid: GRID = "auto",
    context: Annotated[int, typer.Option(help="Tokens in the KV cache.")] = 4096,
    schedule: SCHEDULE = "published",
    groups: GROUPS = "published",
    dtype: DTYPE = "float16",
    as_json: JSON = False,
) -> None:
    """One token of one request through all layers of a model."""
    from waferllm.reports.predict import predict_decode

    _check_positions(model, context, schedule)
    made = predict_decode(
        model, named_or_file(chip), grid,
        context=context, schedule=schedule, groups=_groups(groups), dtype=dtype,
    )  # fmt: skip
    _show(made, as_json)


@predict_app.command()
def prefill(
    *,
    model: MODEL = "llama3-8b",
    chip: CHIP = "wse2",
    grid: GRID = "auto",
    input_len: Annotated[int, typer.Option("--input", help="Tokens of the prompt.")] = 4096,
    schedule: SCHEDULE = "published",
    groups: GROUPS = "published",
    chunk: Annotated[
        str | None,
        typer.Option(help="Tokens at once, or auto: the quickest that fit.  [default: all]"),
    ] = None,
    dtype: DTYPE = "float16",
    as_json: JSON = False,
) -> None:
    """A prompt through all layers of a model."""
    from waferllm.reports.predict import predict_prefill

    _check_positions(model, input_len, schedule)
    made = predict_prefill(
        model, named_or_file(chip), grid,
        input_len=input_len, schedule=schedule, groups=_groups(groups), dtype=dtype,
        chunk=int(chunk) if chunk and chunk.isdigit() else chunk,
    )  # fmt: skip
    _show(made, as_json)


def named_or_file(name: str) -> "Chip":
    """A chip of the catalog, or of a TOML file."""
    from waferllm.chip import chip as named_chip
    from waferllm.chip import load_chip

    return load_chip(name) if name.endswith(".toml") else named_chip(name)


def _check_positions(model: str, tokens: int, schedule: str) -> None:
    """The engine takes no more tokens than a model has positions; the published schedule knows none."""
    from waferllm.models.registry import find_config
    from waferllm.reports.predict import check_positions

    if schedule == "real":
        check_positions(find_config(model), tokens)


def _groups(text: str) -> "Groups":
    from waferllm.errors import InputError

    if text == "published":
        return None
    if text == "auto":
        return text
    if not text.isdigit():
        raise InputError(f"--groups {text}: use a whole number, auto or published.")
    return int(text)


def _show(made: "Prediction", as_json: bool) -> None:
    if as_json:
        typer.echo(jsonlib.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from waferllm.reports.predict_view import render

    Console(highlight=False).print(render(made))
