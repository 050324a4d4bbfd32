"""Ctrl-C: at once while there is nothing to keep, at the next token once there is.

Nothing is raised from a signal handler: the exception may surface inside JAX, which loses those that meet
its garbage collector's callback, and may crash at exit when a compilation was broken off.
"""

import os
import signal
from types import FrameType, TracebackType
from typing import NoReturn

INTERRUPTED = 130
_SHOW_CURSOR = b"\x1b[?25h"


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process where it stands; where it is ignored, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR + b"\n")  # a progress bar hides it
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)


class Patience:
    """Inside, the first Ctrl-C after a token is remembered until the next; a second one does not wait."""

    def __init__(self) -> None:
        self.heard = False
        self._tokens = False

    def token(self) -> None:
        """To be called after each token. Raises KeyboardInterrupt if Ctrl-C was heard."""
        self._tokens = True
        if self.heard:
            raise KeyboardInterrupt

    def __enter__(self) -> "Patience":
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.heard or not self._tokens:
            _leave(number, frame)
        self.heard = True
