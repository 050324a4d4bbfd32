"""Whose code an operation stands in: the first function that a program's core calls outside its
file.

A decoder layer calls `rms_norm`, `mesh_gemm_core`, `prefill_attention`: these names group its
figures. They come from where the operation was traced, so nothing here lists kernels.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax

import waferllm.fabric

_SKIPPED = tuple(str(Path(str(m.__file__)).parent) for m in (jax, waferllm.fabric))


class Callers:
    """Names the caller of each operation of one program."""

    def __init__(self, core: Callable[..., Any]) -> None:
        while isinstance(core, partial):
            core = core.func
        code = getattr(core, "__code__", None)
        self.file = getattr(code, "co_filename", "")
        self.name = getattr(core, "__name__", "core")

    def of(self, source: Any) -> str:
        """The caller of an operation with this source information; the core itself if nothing else.

        JAX keeps a few frames only: where the core is out of sight, the outermost in sight is
        named.
        """
        frames = getattr(getattr(source, "traceback", None), "frames", ())
        inside = ""
        for frame in frames:  # innermost first
            if frame.file_name == self.file and _function(frame) == self.name:
                break
            if frame.file_name != self.file and not frame.file_name.startswith(_SKIPPED):
                inside = _function(frame)
        return inside or self.name


def _function(frame: Any) -> str:
    """`prefill_layer` for `prefill_layer.<locals>.norm`, `AllReduce` for its `__call__`."""
    name = frame.function_name.partition(".<locals>")[0]
    return name.removesuffix(".__call__")
