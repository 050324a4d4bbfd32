"""One program, many readings: a core function with its mesh and layouts, and ways to run it."""

from waferllm.program.program import Kernel, Program, Spec
from waferllm.program.run import run

__all__ = ["Kernel", "Program", "Spec", "run"]
