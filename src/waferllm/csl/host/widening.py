"""Runs scripts written for NumPy 1, in which shifting a scalar of 16 bits left gives one of 64.

Published host scripts put three words of a clock together as `words[0] + (words[1] << 16) + …`; NumPy 2
keeps 16 bits, and the count is lost without a warning. Shifts of a script, and of modules beside it, are
compiled as calls of `widened`, which keeps them; nothing else of it changes, lines included.
"""

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

NAME = "__waferllm_widened__"


def widened(value: Any, by: Any) -> Any:
    """`value << by` as NumPy 1 gives it."""
    if isinstance(value, np.integer) and isinstance(by, int):
        return np.int64(value) << by
    return value << by


class _Shifts(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.LShift):
            return node
        name = ast.copy_location(ast.Name(NAME, ast.Load()), node)
        return ast.copy_location(ast.Call(name, [node.left, node.right], []), node)


def compiled(source: bytes | str, path: str) -> CodeType:
    """A script's code; raises `SyntaxError` as Python does."""
    return compile(_Shifts().visit(ast.parse(source, path)), path, "exec")


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compiled(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[NAME] = widened
        super().exec_module(module)


class _Beside(MetaPathFinder):
    """Finds the modules in a script's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path or [str(self.folder)], target)
        if found is None or not isinstance(found.loader, SourceFileLoader):
            return None
        origin = Path(found.loader.path)
        if self.folder not in origin.parents:
            return None
        found.loader = _Loader(found.loader.name, found.loader.path)
        return found


def run_script(script: Path) -> None:
    """Run a script as `__main__`, with the modules beside it."""
    sys.meta_path.insert(0, _Beside(script.parent.resolve()))
    main = sys.modules["__main__"]
    main.__dict__.update({"__file__": str(script), NAME: widened})
    exec(compiled(script.read_bytes(), str(script)), main.__dict__)
