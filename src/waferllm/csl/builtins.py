"""The table of builtins that have a value at compile time, and the names of those that have none."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A builtin: how many arguments, and what runs it.

    `run(evaluator, node, args)`; a lazy one gets the scope instead of the arguments' values.
    """

    run: Callable[..., Any]
    least: int
    most: int
    lazy: bool


BUILTINS: dict[str, Entry] = {}
UNLIMITED = 1 << 30


def builtin(
    name: str, least: int, most: int | None = None, lazy: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function into the table."""

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        BUILTINS[name] = Entry(run, least, least if most is None else most, lazy)
        return run

    return enter


RUNTIME = frozenset(
    """mov16 mov32 add16 addc16 sub16 mul16 add32 sub32 and16 or16 xor16 sll16 slr16 sar16
    popcnt clz ctz fmovh fmovs faddh fadds faddhs fsubh fsubs fmulh fmuls fmach fmacs fmachs
    fnegh fnegs fabsh fabss fmaxh fmaxs fscaleh fscales fnormh fnorms fh2s fs2h fh2xp16 fs2xp16
    xp162fh xp162fs dfilt map random16 set_active_prng get_config_unchecked set_config_unchecked
    queue_flush ptrcast has_exported_tensors""".split()
)
# Documented, and not implemented: programs that use them are told so by name.
MISSING = frozenset(
    "get_symbol_id get_symbol_value get_tensor_ptr get_filter_id bind_rotating_tasks".split()
)

# The modules below enter their builtins when they are imported.
from waferllm.csl import (  # noqa: E402
    builtins_dsd,  # noqa: F401
    builtins_json,  # noqa: F401
    builtins_layout,  # noqa: F401
    builtins_library,  # noqa: F401
    builtins_tile,  # noqa: F401
    builtins_values,  # noqa: F401
)
