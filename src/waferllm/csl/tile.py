"""What one PE's code says before it runs, as one value: tasks, queues, routes, symbols, memory.

`Tile` is the boundary to the machine: everything in it is known; what remains is the bodies of the
functions that `tasks` and `symbols` reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waferllm.csl import types as t
from waferllm.csl.layout import ColorConfig
from waferllm.csl.modules import ModuleInstance
from waferllm.csl.places import Global
from waferllm.csl.source import Span
from waferllm.csl.values import Dsr, Function, Value


@dataclass(frozen=True)
class Queue:
    """`@initialize_queue`: None where the program left it to the hardware's default."""

    color: int | None = None
    priority: str | None = None
    ctrl_table_id: int = 0


@dataclass(frozen=True)
class Symbol:
    """`@export_symbol`: a global or a function under the name that the host uses."""

    name: str
    what: Global | Function


@dataclass(frozen=True)
class LoadedDsr:
    """What a DSR holds when the program starts: a DSD, and the options of `@load_to_dsr`."""

    dsd: Value
    options: Mapping[str, Value]


@dataclass(frozen=True)
class Tile:
    """One PE's code with its params bound. Task keys are (id type's name, number)."""

    module: ModuleInstance
    modules: tuple[ModuleInstance, ...]
    rectangle: tuple[int, int]
    tasks: Mapping[tuple[str, int], Function]
    activated: frozenset[int]
    blocked: frozenset[tuple[str, int]]
    queues: Mapping[tuple[str, int], Queue]
    colors: Mapping[int, ColorConfig]
    symbols: Mapping[str, Symbol]
    color_spans: Mapping[int, Span]  # of each @set_local_color_config
    registers: Mapping[int, int]
    teardown: Mapping[int, Function]
    flushed: Mapping[tuple[str, int], Function]  # by the queue that was flushed
    dsrs: Mapping[Dsr, LoadedDsr]
    rpc: Value | None
    printed: tuple[str, ...] = ()

    def variables(self) -> list[Global]:
        """Every global that takes memory: a `var`, or a `const` array."""
        return [
            each
            for module in self.modules
            for each in module.globals()
            if each.decl.kind != "param"
            and each.decl.storage != "extern"
            and t.size_bytes(each.get().type) is not None
            and (each.decl.kind == "var" or isinstance(each.get().type, t.ArrayType))
        ]

    @property
    def data_bytes(self) -> int:
        """Bytes of all variables, without alignment; code and stack come on top."""
        return sum(t.size_bytes(each.get().type) or 0 for each in self.variables())


@dataclass
class TileBuilder:
    """A tile while its comptime blocks are evaluated."""

    rectangle: tuple[int, int]
    modules: list[ModuleInstance] = field(default_factory=list)
    tasks: dict[tuple[str, int], Function] = field(default_factory=dict)
    activated: set[int] = field(default_factory=set)
    blocked: set[tuple[str, int]] = field(default_factory=set)
    queues: dict[tuple[str, int], Queue] = field(default_factory=dict)
    colors: dict[int, ColorConfig] = field(default_factory=dict)
    symbols: dict[str, Symbol] = field(default_factory=dict)
    color_spans: dict[int, Span] = field(default_factory=dict)
    registers: dict[int, int] = field(default_factory=dict)
    teardown: dict[int, Function] = field(default_factory=dict)
    flushed: dict[tuple[str, int], Function] = field(default_factory=dict)
    dsrs: dict[Dsr, LoadedDsr] = field(default_factory=dict)
    rpc: Value | None = None

    def finish(self, module: ModuleInstance, printed: list[str]) -> Tile:
        """The finished tile."""
        return Tile(
            module,
            tuple(self.modules),
            self.rectangle,
            self.tasks,
            frozenset(self.activated),
            frozenset(self.blocked),
            self.queues,
            self.colors,
            self.symbols,
            self.color_spans,
            self.registers,
            self.teardown,
            self.flushed,
            self.dsrs,
            self.rpc,
            tuple(printed),
        )
