"""Cycles that one core computes for an operation of a reading: the chip's rates, and issuing it.

A core of the wafers has one vector unit that streams from its SRAM. A product runs as vector
multiply-adds over the rows of the result, one instruction for each pair (k, n):

    for k:  load descriptors                    map
        for n:  C[:, n] += A[:, k] * B[k, n]    vector + m elements

and a vector times a matrix as one map of k instructions over its n columns. An element takes as
long as the slowest of the multiply-add unit (stretched, as its operands meet in the SRAM's banks),
reading two operands and writing one. Anything else is one instruction: issue + elements. Where a core
multiplies faster than it adds (`macs_per_cycle` above `elements_per_cycle`) it has a matrix unit,
and a product takes its operations over the rate, but not less than its operands take to load.
"""

import math
from collections.abc import Iterable

import numpy as np

from waferllm.chip import Chip
from waferllm.plmr.constants import Software
from waferllm.plmr.rules import MOVES
from waferllm.plmr.walk import Op

#: Operations that go element by element through a routine, and how many such steps each takes:
#: a sigmoid is an exponential and a division, an inverse root a root and a division.
SCALAR_STEPS = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log1p": 1, "div": 1, "rem": 1, "sqrt": 1, "cbrt": 1,
    "sin": 1, "cos": 1, "tan": 2, "tanh": 2, "logistic": 2, "rsqrt": 2, "pow": 2, "erf": 2,
    "atan2": 2,
}  # fmt: skip
PRODUCT = "dot_general"


def op_cycles(op: Op, chip: Chip, software: Software) -> float:
    """Cycles of one call of an operation."""
    if op.primitive == PRODUCT:
        return _product_cycles(op, chip, software)
    elements = math.prod(op.shape)
    if op.primitive in SCALAR_STEPS:
        return elements * SCALAR_STEPS[op.primitive] * software.scalar_cycles
    operands = 1 if op.primitive in MOVES else 2
    rate = chip.elements_per_cycle[_rate_type(op.dtype, chip)]
    setup = software.issue_cycles if elements > 1 else 0.0  # one number is a register's
    return setup + elements * _element_cycles(op.dtype, rate, operands, chip)


def ops_cycles(ops: Iterable[Op], chip: Chip, software: Software) -> float:
    """Cycles of one trip of these operations."""
    return sum(op.calls * op_cycles(op, chip, software) for op in ops)


def accumulated(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """The operations without additions that a product does as it accumulates.

    An addition over as many elements as a product of the same stretch gives is that product's
    accumulation: a multiply-add adds to what is there.
    """
    results = [
        math.prod(op.shape[:3]) for op in ops if op.primitive == PRODUCT for _ in range(op.calls)
    ]
    kept = []
    for op in ops:
        free = 0
        if op.primitive == "add":
            while free < op.calls and math.prod(op.shape) in results:
                results.remove(math.prod(op.shape))
                free += 1
        if free < op.calls:
            kept.append(Op(op.primitive, op.dtype, op.shape, op.caller, op.calls - free))
    return tuple(kept)


def _product_cycles(op: Op, chip: Chip, software: Software) -> float:
    batch, m, n, k = op.shape
    kind = _rate_type(op.dtype, chip)
    rate = chip.macs_per_cycle[kind]
    if rate > chip.elements_per_cycle[kind]:
        loaded = (m * k + k * n) * np.dtype(op.dtype).itemsize / chip.sram_read_bytes_per_cycle
        return batch * (software.map_cycles + max(m * n * k / rate, loaded))
    each = max(software.bank_factor / rate, _element_cycles(op.dtype, rate, 2, chip))
    if 1 in (m, n):
        return batch * (software.map_cycles + k * (software.vector_cycles + m * n * each))
    return batch * k * (software.map_cycles + n * (software.vector_cycles + m * each))


def _element_cycles(dtype: str, rate: float, operands: int, chip: Chip) -> float:
    item = np.dtype(dtype).itemsize
    reading = operands * item / chip.sram_read_bytes_per_cycle
    return max(1 / rate, reading, item / chip.sram_write_bytes_per_cycle)


def _rate_type(dtype: str, chip: Chip) -> str:
    """The type whose rate applies: integers and truth values move like floats of their width."""
    known = chip.elements_per_cycle.known
    if dtype in known or dtype.startswith(("float", "bfloat")):
        return dtype
    same = [name for name in known if np.dtype(name).itemsize == np.dtype(dtype).itemsize]
    return same[0] if same else next(iter(known))
