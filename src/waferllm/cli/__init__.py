"""The command line: `waferllm COMMAND`. Heavy imports wait until a command needs them."""

from collections.abc import Sequence

from waferllm.cli.interrupt import leave_at_once

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """The command `waferllm`. Ctrl-C ends it in one word from here on, even while commands are imported."""
    if argv is None:
        leave_at_once()
    from waferllm.cli import app

    app.main(argv)
