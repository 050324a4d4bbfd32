"""Module instances: a file's names, bound to one set of parameter values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.diagnostics import fail, nearest
from waferllm.csl.parser import parse
from waferllm.csl.places import Global
from waferllm.csl.source import Source, Span, read_source
from waferllm.csl.values import Function, Value

LIBRARY = Path(__file__).parent / "lib"
DIRECTIONS = ("EAST", "WEST", "NORTH", "SOUTH", "RAMP")

PREDECLARED: dict[str, Value] = {
    **{name: Value(t.TYPE, type_) for name, type_ in t.PRIMITIVES.items()},
    **{name: Value(t.DIRECTION, name) for name in DIRECTIONS},
}


@dataclass
class Files:
    """Where modules come from: beside the importer, then the import paths; `<name>` is a library.

    Every file is read and parsed once.
    """

    import_paths: tuple[Path, ...] = ()
    _parsed: dict[Path, s.Module] = field(default_factory=dict)

    def load(self, path: Path) -> s.Module:
        """The tree of a file."""
        found = self._parsed.get(path)
        if found is None:
            found = self._parsed[path] = parse(read_source(path))
        return found

    def resolve(self, name: str, importer: Path, span: Span) -> Path:
        """The file that an import names; raises `CslError` at `span`."""
        if name.startswith("<") and name.endswith(">"):
            return self._library(name[1:-1], span)
        for folder in (importer.parent, *self.import_paths):
            path = _inside(folder, name, span)
            if path.is_file():
                return path
        places = ", ".join(map(str, (importer.parent, *self.import_paths)))
        fail(f"there is no file '{name}'", span, f"looked in {places}")

    def _library(self, name: str, span: Span) -> Path:
        stem = name.removesuffix(".csl")
        for folder in (LIBRARY, *self.import_paths):
            for tail in (f"{stem}.csl", f"{stem}/{stem.rsplit('/', 1)[-1]}.csl"):
                path = _inside(folder, tail, span)
                if path.is_file():
                    return path
        hint = nearest(stem, libraries()) or f"there are: {', '.join(libraries())}"
        fail(f"library <{name}> is not implemented", span, hint)


def _inside(folder: Path, name: str, span: Span) -> Path:
    if "\0" in name:
        fail("a file's name has no zero byte", span)
    return folder / name


def libraries() -> list[str]:
    """Names of the libraries that are implemented."""
    return sorted(str(p.relative_to(LIBRARY).with_suffix("")) for p in LIBRARY.rglob("*.csl"))


class ModuleInstance:
    """The names of one file, with its parameters bound; each `@import_module` makes its own."""

    def __init__(
        self,
        path: Path,
        tree: s.Module,
        params: Mapping[str, Value],
        make: Callable[[Global], Value],
    ) -> None:
        self.path = path
        self.tree = tree
        self.params = params
        self._names: dict[str, Value | Global] = {}
        self._declare(make)

    @property
    def source(self) -> Source:
        return self.tree.span.source

    def _declare(self, make: Callable[[Global], Value]) -> None:
        spans: dict[str, Span] = {}
        for item in self.tree.items:
            if not isinstance(item, (s.VarDecl, s.FnDecl)):
                continue
            if item.name in spans:
                line = spans[item.name].line
                fail(f"'{item.name}' is declared twice; first in line {line}", item.span)
            if item.name in PREDECLARED:
                fail(f"'{item.name}' is a name of the language itself", item.span)
            spans[item.name] = item.span
            if isinstance(item, s.FnDecl):
                self._names[item.name] = Value(t.FUNCTION, Function(item, self))
            else:
                self._names[item.name] = Global(item, self, make)

    def find(self, name: str) -> Value | Global | None:
        """What a name means outside of functions."""
        return self._names.get(name) or PREDECLARED.get(name)

    def member(self, name: str) -> Value | Global | None:
        """What `module.name` means to an importer."""
        return self._names.get(name)

    def globals(self) -> list[Global]:
        """Every `const`, `var` and `param`, in the order of the file."""
        return [each for each in self._names.values() if isinstance(each, Global)]

    def names(self) -> list[str]:
        """Everything the file declares."""
        return list(self._names)

    def check_params(self, span: Span) -> None:
        """Stop if a parameter was given that the file does not declare."""
        declared = [each.decl.name for each in self.globals() if each.decl.kind == "param"]
        for name in self.params:
            if name not in declared:
                hint = nearest(name, declared) or f"it has: {', '.join(declared) or 'none'}"
                fail(f"{self.path.name} has no param '{name}'", span, hint)

    def is_given(self, decl: s.VarDecl) -> bool:
        """Whether a param has a value; one that nothing uses need not have any."""
        return decl.kind != "param" or decl.init is not None or decl.name in self.params

    def __repr__(self) -> str:
        return f"module {self.path.name}"
