"""The command line: `waferllm COMMAND`. Heavy imports wait until a command needs them."""

from waferllm.cli.app import main

__all__ = ["main"]
