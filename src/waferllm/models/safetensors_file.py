"""One safetensors file, memory-mapped: the header is checked whole before any tensor is read.

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
then the tensors' bytes. Source: https://github.com/huggingface/safetensors#format
"""

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from waferllm.errors import CheckpointError
from waferllm.models.jsonfile import parse_object

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
HEADER_LIMIT_BYTES = 100_000_000


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in its file: bytes [begin, end) counted from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class TensorFile:
    """A mapped file and what its header says; nothing is copied into memory."""

    path: Path
    entries: Mapping[str, Entry]
    data: NDArray[np.uint8]

    def tensor(self, name: str) -> NDArray[Any]:
        """A read-only view of one tensor in its own dtype. The name must be in `entries`."""
        entry = self.entries[name]
        raw = self.data[entry.begin : entry.end]
        return raw.view(DTYPES[entry.dtype]).reshape(entry.shape)

    def forget(self) -> None:
        """Give the pages read so far back to the system; views stay valid and read them again."""
        mapped = getattr(self.data.base, "obj", None)
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def open_file(path: Path) -> TensorFile:
    """Map a file and read its header.

    Raises CheckpointError for a file that is missing, empty, truncated, longer than its header
    says, or whose header is not what the format demands. A dtype is checked by whoever knows
    which tensors matter.
    """
    try:
        size = path.stat().st_size
        if size < 8:
            raise CheckpointError(
                f"{path} is truncated: it has {size} bytes, a safetensors file has at least 8. "
                "Copy it again."
            )
        with path.open("rb") as file:
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if start > HEADER_LIMIT_BYTES:
        raise CheckpointError(
            f"{path} is not a safetensors file: its header would be {start - 8} bytes long."
        )
    if start > size:
        raise CheckpointError(
            f"{path} is truncated: its header needs {start} bytes, the file has {size}. "
            "Copy it again."
        )
    header = parse_object(data[8:start].tobytes(), f"the header of {path}")
    entries = {
        name: _entry(path, name, value, start)
        for name, value in header.items()
        if name != "__metadata__"
    }
    _check_extent(path, entries, start, size)
    return TensorFile(path, entries, data)


def _entry(path: Path, name: str, value: Any, start: int) -> Entry:
    """One header entry; element size times shape must be its length where the dtype is known."""
    wrong = CheckpointError(f"the header of {path} describes tensor {name} wrongly: {value!r}.")
    try:
        dtype, shape = str(value["dtype"]), tuple(value["shape"])
        begin, end = value["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise wrong from None
    counts = (*shape, begin, end)
    if not all(type(count) is int and count >= 0 for count in counts) or begin > end:
        raise wrong
    if dtype in DTYPES and math.prod(shape) * DTYPES[dtype].itemsize != end - begin:
        raise CheckpointError(
            f"the header of {path} gives tensor {name} {end - begin} bytes, "
            f"but {dtype} of shape {list(shape)} takes {math.prod(shape) * DTYPES[dtype].itemsize}."
        )
    return Entry(dtype, shape, start + begin, start + end)


def _check_extent(path: Path, entries: Mapping[str, Entry], start: int, size: int) -> None:
    """Tensors must cover the file from the header to its end without gap or overlap."""
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise CheckpointError(
                f"the header of {path} places tensor {name} at byte {entry.begin}, "
                f"expected {position}: tensors must follow each other without gap or overlap."
            )
        position = entry.end
    if position > size:
        raise CheckpointError(
            f"{path} is truncated: its tensors need {position} bytes, the file has {size}. "
            "Copy it again."
        )
    if position < size:
        raise CheckpointError(
            f"{path} has {size - position} bytes after its last tensor, expected none. "
            "Copy it again."
        )
