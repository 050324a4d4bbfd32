"""`waferllm plan`: where a model would lie on a chip, and what PLMR says of it, without weights."""

import json as jsonlib
from typing import Annotated

import typer


def plan(
    *,
    model: Annotated[
        str,
        typer.Option(help="Checkpoint directory, config.json, or a public name like llama3-8b."),
    ] = "llama3-8b",
    chip: Annotated[str, typer.Option(help="Name of a chip, or FILE.toml of your own.")] = "wse2",
    prefill_grid: Annotated[str, typer.Option(help="Rows x columns of prefill.")] = "660x660",
    decode_grid: Annotated[str, typer.Option(help="Rows x columns of decode.")] = "360x360",
    input_len: Annotated[int, typer.Option("--input", help="Prompt tokens.")] = 4096,
    output_len: Annotated[int, typer.Option("--output", help="Tokens to generate.")] = 4096,
    gemm: Annotated[str, typer.Option(help="meshgemm, cannon, summa or allgather.")] = "meshgemm",
    gemv: Annotated[str, typer.Option(help="meshgemv, ring or pipeline.")] = "meshgemv",
    kv: Annotated[str, typer.Option(help="shift or concat.")] = "shift",
    dtype: Annotated[str, typer.Option(help="float16, bfloat16 or float32.")] = "float16",
    batch: Annotated[int, typer.Option(help="Sequences that decode together.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Plan a model on a chip: memory, KV capacity, routes, hops, PLMR. Needs no weights."""
    from waferllm.chip import chip as named_chip
    from waferllm.chip import load_chip
    from waferllm.layout import Mesh
    from waferllm.reports.plan import plan as make_plan

    found = load_chip(chip) if chip.endswith(".toml") else named_chip(chip)
    made = make_plan(
        model,
        found,
        Mesh.parse(prefill_grid),
        Mesh.parse(decode_grid),
        input_len,
        output_len,
        kv=kv,
        gemm=gemm,
        gemv=gemv,
        dtype=dtype,
        batch=batch,
    )
    if as_json:
        typer.echo(jsonlib.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from waferllm.reports.plan_view import render

    Console(highlight=False).print(render(made))
