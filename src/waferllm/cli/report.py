"""`waferllm report`: every table and figure of docs/results.md, made anew or checked."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    *,
    out: Annotated[Path, typer.Option(help="Folder that holds results.md.")] = Path("docs"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if the files are not current.")
    ] = False,
) -> None:
    """Regenerate every table and figure, as a page, CSV and PNG."""
    from waferllm.errors import InputError
    from waferllm.reports.book import sheets
    from waferllm.reports.publish import stale, write
    from waferllm.tune.book import whole_sheets

    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, this is a file.")
    if not check:
        (out / "results").mkdir(parents=True, exist_ok=True)  # what cannot be written fails at once
    found = [*sheets(), *whole_sheets()]
    if not check:
        write(out, found)
        typer.echo(f"wrote {len(found)} tables and their figures: {out / 'results.md'}")
        return
    old = stale(out, found)
    if old:
        raise InputError(
            f"{len(old)} files under {out} are not current: {', '.join(old)}. Run waferllm report."
        )
    typer.echo(f"{out / 'results.md'} is current")
