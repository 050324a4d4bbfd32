"""What a program is compiled for: architecture, fabric, offsets, number format."""

from dataclasses import dataclass
from typing import Literal

from waferllm.csl import types as t
from waferllm.errors import InputError

Architecture = Literal["wse2", "wse3"]
ROUTABLE_COLORS = 24
QUEUES = 8


@dataclass(frozen=True, kw_only=True)
class Target:
    """`cslc`'s options that a program can see."""

    arch: Architecture = "wse2"
    fabric: tuple[int, int] = (757, 996)
    offsets: tuple[int, int] = (4, 1)
    fp16: t.FloatType = t.F16

    def __post_init__(self) -> None:
        if self.arch not in {"wse2", "wse3"}:
            raise InputError(f"got architecture {self.arch!r}, expected wse2 or wse3")
