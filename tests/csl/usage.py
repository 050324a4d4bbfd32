"""Which builtins and library functions our test programs use, read from their syntax trees."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.csl.support import PROGRAMS
from waferllm.csl import syntax as s
from waferllm.csl.builtins import BUILTINS, RUNTIME
from waferllm.csl.lowering.builtins import TABLE
from waferllm.csl.lowering.vectors import VECTORS
from waferllm.csl.modules import LIBRARY, Files
from waferllm.csl.parser import parse
from waferllm.csl.source import read_source

# Functions that refuse to compile, by name; test_coverage.py checks that.
REFUSED = {
    ("time", "get_perf_cntr"),
    ("tile_config/exceptions", "set_exception_mask"),
    ("tile_config/filters", "set_state"),
    ("tile_config/filters", "get_state"),
}
# Libraries that `SdkLayout` itself puts on PEs.
OF_LAYOUTS = ("sdklayout/input", "sdklayout/output")
# Programs that are parsed or laid out by tests, and never run.
NOT_RUN = {"forms.csl", "ring.csl", "ring_pe.csl"}
Member = tuple[str, str]  # a library's name, and a function of it


def builtins() -> set[str]:
    """Every builtin that programs may call."""
    every = {*BUILTINS, *RUNTIME, *TABLE, *VECTORS}
    return {name for name in every if not name.startswith("__")}


def programs() -> list[Path]:
    """The programs that tests run."""
    return sorted(each for each in PROGRAMS.glob("*.csl") if each.name not in NOT_RUN)


def used_builtins() -> set[str]:
    """Builtins that these programs call."""
    return {
        node.name
        for path in programs()
        for node in s.walk(_tree(path).items)
        if isinstance(node, s.Builtin)
    }


def library_functions() -> set[Member]:
    """Every function of a library."""
    return {
        (_name(path), item.name)
        for path in LIBRARY.rglob("*.csl")
        for item in _tree(path).items
        if isinstance(item, s.FnDecl)
    }


def used_functions() -> set[Member]:
    """Functions that these programs name, and those that the bodies of such functions name."""
    waiting = [each for path in programs() for each in _named(path, _tree(path).items)]
    waiting += [each for path in programs() for each in _imported(path)]
    waiting += [each for name in OF_LAYOUTS for each in _runs(LIBRARY / f"{name}.csl")]
    found: set[Member] = set()
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        path = LIBRARY / f"{each[0]}.csl"
        for item in _tree(path).items:
            if isinstance(item, s.FnDecl) and item.name == each[1]:
                waiting += _named(path, (item,))
    return found


def _imported(path: Path) -> Iterator[Member]:
    """What runs in a library that is imported, or in one that such a library puts on a PE."""
    for library in _modules(path).values():
        yield from _runs(library)
        yield from _imported(library)
        for node in s.walk(_tree(library).items):
            if isinstance(node, s.Builtin) and node.name == "set_tile_code":
                assert isinstance(node.args[2], s.String)
                tile = library.parent / node.args[2].value.decode()
                yield from _runs(tile)
                yield from _launched(tile)


def _runs(library: Path) -> Iterator[Member]:
    """A library's tasks, and what its constants and comptime blocks name."""
    items = _tree(library).items
    yield from _named(library, tuple(each for each in items if not isinstance(each, s.FnDecl)))
    for each in items:
        if isinstance(each, s.FnDecl) and each.kind == "task":
            yield _name(library), each.name


def _launched(tile: Path) -> Iterator[Member]:
    """Functions that a host script of ours launches by name."""
    scripts = "".join(each.read_text() for each in PROGRAMS.parent.glob("test_*.py"))
    for item in _tree(tile).items:
        if isinstance(item, s.FnDecl) and f'"{item.name}"' in scripts:
            yield _name(tile), item.name


def _named(path: Path, nodes: tuple[s.Node, ...]) -> Iterator[Member]:
    own = {item.name for item in _tree(path).items if isinstance(item, s.FnDecl)}
    # A module that is handed to a function may be any that the file imports.
    modules = {
        each.name
        for each in s.walk(nodes)
        if isinstance(each, s.FnParam)
        and isinstance(each.type, s.Name)
        and each.type.id == "imported_module"
    }
    # To export a function is not to run it.
    exported = {
        id(arg)
        for each in s.walk(nodes)
        if isinstance(each, s.Builtin) and each.name == "export_symbol"
        for arg in each.args
    }
    for node in s.walk(nodes):
        if id(node) in exported and LIBRARY in path.parents:
            continue
        if isinstance(node, s.Field):
            library = _library(path, node.base)
            if library is not None:
                yield _name(library), node.name
            elif isinstance(node.base, s.Name) and node.base.id in modules:
                for each in _modules(path).values():
                    yield _name(each), node.name
        elif isinstance(node, s.Name) and node.id in own and LIBRARY in path.parents:
            yield _name(path), node.id


def _library(path: Path, node: s.Node) -> Path | None:
    """The library that `alias` or `alias.member` stands for in a file."""
    return _of(_modules(path), node)


def _of(known: dict[str, Path], node: s.Node) -> Path | None:
    if isinstance(node, s.Name):
        return known.get(node.id)
    if isinstance(node, s.Field):
        library = _of(known, node.base)
        return None if library is None else _modules(library).get(node.name)
    return None


@cache
def _modules(path: Path) -> dict[str, Path]:
    """Libraries by the names that a file gives to them."""
    found: dict[str, Path] = {}
    for item in _tree(path).items:
        if isinstance(item, s.VarDecl):
            # `const color_config = tile_config.color_config;`
            library = _of(found, item.init) if isinstance(item.init, s.Field) else None
            for node in s.walk((item.init,)):
                if isinstance(node, s.Builtin) and node.name == "import_module":
                    library = _imports(node, path)
            if library is not None:
                found[item.name] = library
    return found


def _imports(node: s.Builtin, path: Path) -> Path | None:
    name = node.args[0]
    if not isinstance(name, s.String) or not name.value.startswith(b"<"):
        return None
    return Files().resolve(name.value.decode(), path, node.span)


def _name(path: Path) -> str:
    return str(path.relative_to(LIBRARY).with_suffix(""))


@cache
def _tree(path: Path) -> s.Module:
    return parse(read_source(path))
