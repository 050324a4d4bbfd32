"""`waferllm validate`: every published row beside our prediction, with its error."""

import json as jsonlib
from typing import Annotated

import typer


def validate(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Compare every published measurement with our prediction; fitted and checked rows apart."""
    from waferllm.reports.validate import validate as compare

    made = compare()
    if as_json:
        typer.echo(jsonlib.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from waferllm.reports.predict_view import render_validation

    Console(highlight=False).print(render_validation(made))
