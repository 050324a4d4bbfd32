"""The shift cache: which positions each row of cores holds while it fills up."""

import numpy as np

import waferllm as w
from waferllm.kernels.kv_cache import append_shift
from waferllm.layout import Blocks
from waferllm.program import Spec

ROWS, SLOTS = 3, 4  # three rows of cores, room for four entries in each: twelve in all

cache_spec = Spec((1, ROWS * SLOTS, 1), Blocks((None, "y", "x")))
one = Spec((1,), Blocks((None,)), np.int32)
append = w.Program(
    append_shift,
    mesh=(ROWS, 1),
    inputs=[
        cache_spec,
        Spec((1, 1), Blocks((None, "x"))),
        one,
        Spec((1,), Blocks((None,)), np.bool_),
    ],
    outputs=cache_spec,
)
cache = np.full((1, ROWS * SLOTS, 1), -1, np.float32)
for position in range(ROWS * SLOTS):
    entry = np.full((1, 1), position, np.float32)
    cache = w.run(append, cache, entry, np.array([position], np.int32), np.array([True]))
    entries = position + 1

    # With T entries row y holds the next T // rows of them, and one more in the first T % rows rows.
    ends = np.cumsum([entries // ROWS + (y < entries % ROWS) for y in range(ROWS)])
    rows = np.split(np.arange(entries), ends[:-1])
    slots = np.asarray(cache).reshape(ROWS, SLOTS)
    shown = (f"row {y}: {row.tolist()!s:13}" for y, row in enumerate(rows))
    print(f"{entries:2} entries   " + "  ".join(shown))
    for row, held in zip(rows, slots, strict=True):
        assert all(held[t % SLOTS] == t for t in row)  # position t lies in slot t mod 4 of its row
