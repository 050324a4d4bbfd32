"""Shortcuts that the tests of the CSL front end share."""

from pathlib import Path

import pytest

from waferllm.csl import syntax as s
from waferllm.csl.code import Code
from waferllm.csl.compile import evaluate_tile
from waferllm.csl.diagnostics import CslError
from waferllm.csl.evaluate import Evaluator
from waferllm.csl.layout import TileCode
from waferllm.csl.lowering import lower
from waferllm.csl.modules import Files, ModuleInstance
from waferllm.csl.parser import parse
from waferllm.csl.places import Global
from waferllm.csl.source import Source, Span
from waferllm.csl.target import Target
from waferllm.csl.values import Value

PROGRAMS = Path(__file__).parent / "programs"


def tree(text: str) -> s.Module:
    return parse(Source("test.csl", text))


def expression(text: str) -> s.Node:
    item = tree(f"const it = {text};").items[0]
    assert isinstance(item, s.VarDecl)
    assert item.init is not None
    return item.init


def statements(text: str) -> tuple[s.Node, ...]:
    item = tree(f"fn f() void {{ {text} }}").items[0]
    assert isinstance(item, s.FnDecl)
    assert item.body is not None
    return item.body.body


def message(text: str) -> str:
    """What the parser says about a program that is wrong."""
    with pytest.raises(CslError) as caught:
        tree(text)
    return str(caught.value)


class MemoryFiles(Files):
    """Modules from a dict instead of a disk."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def load(self, path: Path) -> s.Module:
        if str(path) in self._texts:
            return parse(Source(str(path), self._texts[str(path)]))
        return super().load(path)

    def resolve(self, name: str, importer: Path, span: Span) -> Path:
        return Path(name) if name in self._texts else super().resolve(name, importer, span)


def instance(
    text: str,
    params: dict[str, Value] | None = None,
    target: Target | None = None,
    **modules: str,
) -> ModuleInstance:
    """The module of a text, evaluated; `modules` are importable as `name.csl`."""
    files = MemoryFiles({"main.csl": text, **{f"{k}.csl": v for k, v in modules.items()}})
    ev = Evaluator(target or Target(), files, loop_budget=100_000)
    span = files.load(Path("main.csl")).span
    module: ModuleInstance = ev.guarded(
        lambda: ev.instantiate(Path("main.csl"), params or {}, span), span
    )
    for each in module.globals():
        ev.guarded(each.get, span)
    return module


def value(text: str, before: str = "", **options: object) -> Value:
    """What `const it = text;` is after the declarations in `before`."""
    module = instance(f"{before}\nconst it = {text};", **options)  # type: ignore[arg-type]
    found = module.find("it")
    assert isinstance(found, Global)
    return found.get()


def wrong(text: str, before: str = "", **options: object) -> str:
    """What evaluation says about an expression that is wrong."""
    with pytest.raises(CslError) as caught:
        value(text, before, **options)
    return str(caught.value)


def number(text: str, before: str = "") -> float:
    return value(text, before).data


def lowered(
    text: str,
    params: dict[str, Value] | None = None,
    target: Target | None = None,
    **modules: str,
) -> Code:
    """The code of a PE program; `modules` are importable as `name.csl`."""
    files = MemoryFiles({"main.csl": text, **{f"{k}.csl": v for k, v in modules.items()}})
    target = target or Target()
    code = TileCode(Path("main.csl"), params or {}, None)
    return lower(evaluate_tile(code, (4, 3), target=target, files=files), target)


def refused(text: str, **options: object) -> str:
    """What lowering says about a program that is wrong."""
    with pytest.raises(CslError) as caught:
        lowered(text, **options)  # type: ignore[arg-type]
    return str(caught.value)
