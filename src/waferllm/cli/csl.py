"""`waferllm csl`: check CSL programs, show their trees, evaluate their layouts; compile and run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waferllm.cli.csl_host import compile_, conform, env, run
from waferllm.errors import InputError
from waferllm.units import show_bytes

if TYPE_CHECKING:
    from waferllm.csl.layout import Layout, Position
    from waferllm.csl.tile import Tile

MISTAKE = 2

csl_app = typer.Typer(
    name="csl",
    help="CSL, the language of Cerebras' wafers: check it, show it, compile it, run it.",
    no_args_is_help=True,
)
csl_app.command()(env)
csl_app.command(
    name="compile",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(compile_)
csl_app.command()(run)
csl_app.command()(conform)


@csl_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="CSL files.")],
) -> None:
    """Parse files and report what is wrong with each; exit code 2 if anything is."""
    from waferllm.csl.diagnostics import CslError
    from waferllm.csl.parser import parse
    from waferllm.csl.source import read_source

    wrong = 0
    for path in files:
        try:
            parse(read_source(path))
        except CslError as error:
            wrong += 1
            typer.secho(str(error), fg=typer.colors.RED, err=True)
    typer.echo(f"{len(files) - wrong} of {len(files)} file(s) parse")
    if wrong:
        raise typer.Exit(MISTAKE)


@csl_app.command()
def ast(
    file: Annotated[Path, typer.Argument(help="A CSL file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    as_csl: Annotated[
        bool, typer.Option("--csl", help="Print CSL again, one layout for all.")
    ] = False,
) -> None:
    """Print a file's syntax tree."""
    from waferllm.csl import show
    from waferllm.csl.parser import parse
    from waferllm.csl.source import read_source

    if as_json and as_csl:
        raise InputError("got both --json and --csl, expected at most one of them")
    tree = parse(read_source(file))
    show.shallow_enough(tree)
    if as_json:
        typer.echo(json.dumps(show.as_json(tree), indent=1))
    elif as_csl:
        typer.echo(show.csl(tree), nl=False)
    else:
        for line in show.outline(tree):
            typer.echo(line)


@csl_app.command()
def layout(
    file: Annotated[Path, typer.Argument(help="The CSL file with the layout block.")],
    params: Annotated[list[str] | None, typer.Option("--params", help="name:value,…")] = None,
    colors: Annotated[list[str] | None, typer.Option("--colors", help="name:number,…")] = None,
    arch: Annotated[str, typer.Option("--arch", help="wse2 or wse3.")] = "wse2",
    import_path: Annotated[list[Path] | None, typer.Option("--import-path")] = None,
    tiles: Annotated[bool, typer.Option("--tiles", help="Evaluate each PE's code too.")] = False,
) -> None:
    """Evaluate a layout block: which PE runs what, and which routes it sets."""
    from waferllm.csl.compile import evaluate_layout, evaluate_tile, read_colors, read_params
    from waferllm.csl.modules import Files
    from waferllm.csl.target import Target

    if arch not in {"wse2", "wse3"}:
        raise InputError(f"got --arch {arch!r}, expected wse2 or wse3")
    bound = {}
    for text in params or []:
        bound |= read_params(text)
    for text in colors or []:
        bound |= read_colors(text)
    target = Target(arch="wse3" if arch == "wse3" else "wse2")
    files = Files(tuple(import_path or []))
    found = evaluate_layout(file, bound, target=target, files=files)
    _show_layout(found)
    if not tiles:
        return
    for code, positions in found.codes.items():
        rectangle = (found.width, found.height)
        _show_tile(positions, evaluate_tile(code, rectangle, target=target, files=files))


def _show_layout(found: "Layout") -> None:
    for line in found.printed:
        typer.echo(line)
    typer.echo(
        f"{found.width}x{found.height} PEs, {len(found.codes)} distinct codes, "
        f"{found.routes_total} colors configured, {len(found.exports)} names exported"
    )
    for code, positions in found.codes.items():
        typer.echo(f"  {code.path.name}: {len(positions)} PE(s), first {positions[0]}")
    for each in found.exports.values():
        typer.echo(f"  {each.name}: {each.type}{', mutable' if each.mutable else ''}")


def _show_tile(positions: "list[Position]", tile: "Tile") -> None:
    """One distinct code: who runs it, how much memory its variables take, what it binds."""
    for line in tile.printed:
        typer.echo(line)
    tasks = ", ".join(f"{task.decl.name} = {kind} {n}" for (kind, n), task in tile.tasks.items())
    typer.echo(
        f"{tile.module.path.name} at {positions[0]} and {len(positions) - 1} more: "
        f"{show_bytes(tile.data_bytes)} of variables; tasks: {tasks or 'none'}; "
        f"symbols: {', '.join(tile.symbols) or 'none'}"
    )
