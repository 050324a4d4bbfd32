"""Where the machine's compiled code is kept.

Numba's cache looks only at the file of the function itself, not at those that it calls, so a change in one
file would leave old code in another's cache. Hence a folder for each state of all the sources together.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from numba.core import config

PREFIX = "machine-"


@contextmanager
def cache_of(sources: list[Path], folder: Path) -> Iterator[None]:
    """Functions that are decorated inside keep their code in `folder`, or in Numba's own place if that
    cannot be written. Folders of earlier sources are deleted."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    mine = folder / f"{PREFIX}{digest}"
    before = config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
    try:
        mine.mkdir(parents=True, exist_ok=True)
    except OSError:
        yield
        return
    for other in folder.glob(f"{PREFIX}*"):
        if other != mine:
            shutil.rmtree(other, ignore_errors=True)
    config.CACHE_DIR = str(mine)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        config.CACHE_DIR = before  # pyright: ignore[reportAttributeAccessIssue]
