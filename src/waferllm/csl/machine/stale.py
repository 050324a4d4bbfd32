"""Numba's cache of compiled code looks only at the file of the function itself, not at those that it
calls. So whenever any file of this folder has changed, the folder's cache is emptied before it is read."""

import contextlib
import hashlib
from pathlib import Path

STAMP = "sources.sha256"


def forget_stale_code(folder: Path) -> None:
    """Delete compiled code in `folder` if the sources are not those it was made from."""
    digest = hashlib.sha256()
    for path in (*sorted(folder.glob("*.py")), folder.parent / "code.py"):
        digest.update(path.read_bytes())
    cache = folder / "__pycache__"
    stamp = cache / STAMP
    with contextlib.suppress(OSError):  # a read-only installation has no cache here
        if stamp.is_file() and stamp.read_text() == digest.hexdigest():
            return
        for path in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
            path.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        stamp.write_text(digest.hexdigest())
