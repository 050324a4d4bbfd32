"""From a layout file and its parameters to a `Layout`; and how `--params` values are read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.builtins_layout import LayoutBuilder
from waferllm.csl.diagnostics import CslError, fail
from waferllm.csl.evaluate import LOOP_BUDGET, Evaluator
from waferllm.csl.layout import Layout, TileCode
from waferllm.csl.modules import Files, ModuleInstance
from waferllm.csl.places import Scope
from waferllm.csl.target import ROUTABLE_COLORS, Target
from waferllm.csl.tile import Tile, TileBuilder
from waferllm.csl.values import Value, boolean, integer
from waferllm.errors import InputError

FOR_PE = "while the code that a PE gets here was evaluated"


def evaluate_layout(
    path: Path,
    params: Mapping[str, Value] | None = None,
    *,
    target: Target | None = None,
    import_paths: Sequence[Path] = (),
    files: Files | None = None,
    loop_budget: int = LOOP_BUDGET,
) -> Layout:
    """Evaluate a file's layout block; raises `CslError` with the first thing that is wrong."""
    files = files or Files(tuple(import_paths))
    ev = Evaluator(target or Target(), files, loop_budget)
    ev.collector = builder = LayoutBuilder(params=params or {})
    tree = files.load(path)
    blocks = [item for item in tree.items if isinstance(item, s.LayoutBlock)]
    if len(blocks) != 1:
        count = "no layout block" if not blocks else f"{len(blocks)} layout blocks"
        fail(f"{path.name} has {count}", (blocks or [tree])[-1].span, "a program has exactly one")
    block = blocks[0]

    def work() -> ModuleInstance:
        module = ev.instantiate(path, params or {}, tree.span, _is_code_too(block, path.name))
        ev.value(block.body, Scope(None, module))
        return module

    ev.guarded(work, block.span)
    return builder.finish(block.span, ev.printed)


def _is_code_too(block: s.LayoutBlock, name: str) -> bool:
    """Whether a PE runs the layout's own file: its comptime blocks are then the PE's."""
    calls = (each for each in s.walk(block.body) if isinstance(each, s.Builtin))
    placed = [each.args for each in calls if each.name == "set_tile_code"]
    named = (args[2] for args in placed if len(args) > 2)
    return any(len(args) == 2 for args in placed) or any(
        isinstance(each, s.String) and each.value == name.encode() for each in named
    )


def evaluate_tile(
    code: TileCode,
    rectangle: tuple[int, int],
    *,
    target: Target | None = None,
    files: Files | None = None,
    loop_budget: int = LOOP_BUDGET,
) -> Tile:
    """Evaluate one PE's globals and comptime blocks; function bodies are left alone."""
    files = files or Files()
    ev = Evaluator(target or Target(), files, loop_budget)
    ev.collector = builder = TileBuilder(rectangle)
    span = files.load(code.path).span

    def work() -> ModuleInstance:
        module = ev.instantiate(code.path, code.params, span)
        for each in builder.modules:
            for place in filter(lambda g: g.module.is_given(g.decl), each.globals()):
                place.get()
        return module

    try:
        return builder.finish(ev.guarded(work, span), ev.printed)
    except CslError as error:
        raise error if code.span is None else error.noting(FOR_PE, code.span) from None


def read_params(text: str) -> dict[str, Value]:
    """`"P:4,name:true"` as values: integers, floats, true and false; raises `InputError`."""
    found: dict[str, Value] = {}
    for each in filter(None, text.split(",")):
        name, colon, value = (part.strip() for part in each.partition(":"))
        if not colon or not name.isidentifier() or not value:
            raise InputError(f"got --params {each!r}, expected name:value")
        if name in found:
            raise InputError(f"got --params {name} twice, expected each name once")
        found[name] = _read_value(value)
    return found


def read_colors(text: str) -> dict[str, Value]:
    """`--colors`' `"rx:3,tx:4"` as colors; raises `InputError`."""
    found = read_params(text)
    for name, value in found.items():
        if value.type != t.COMPTIME_INT or not 0 <= value.data < ROUTABLE_COLORS:
            raise InputError(
                f"got --colors {name}:{value.data}, expected 0 to {ROUTABLE_COLORS - 1}"
            )
    return {name: Value(t.COLOR, value.data) for name, value in found.items()}


def _read_value(text: str) -> Value:
    if text in {"true", "false"}:
        return boolean(text == "true")
    try:
        return integer(int(text, 0))
    except ValueError:
        pass
    try:
        return Value(t.COMPTIME_FLOAT, float(text))
    except ValueError:
        raise InputError(
            f"got --params value {text!r}, expected an integer, a float, true or false"
        ) from None
