"""Shardings: how a model is cut over the chips of a system, one at a time or all that are possible."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from waferllm.errors import CapacityError, InputError
from waferllm.explore.shapes import Shape

#: 1 to 4096 in steps of sqrt(2), whole.
BATCHES = tuple(sorted({round(2 ** (n / 2)) for n in range(25)}))
MAY_BE_ZERO = ("prefill_chips", "cool_flash")
_PREFILL_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """tensor x pipeline x context parallel chips make a replica, of which there are `dp`.

    Experts lie whole on `ep` chips of the replicas' tp x cp x dp, or are cut like the rest for ep = 1.
    `prefill_chips` are taken out for prompts alone (disaggregation). `batch` counts requests in flight
    in one replica. With `cool_flash` = 1 flash holds no more weights than heat allows.
    """

    tp: int = 1
    pp: int = 1
    cp: int = 1
    dp: int = 1
    ep: int = 1
    prefill_chips: int = 0
    batch: int = 1
    cool_flash: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in MAY_BE_ZERO else 1
            if not isinstance(value, int) or value < least:
                raise InputError(f"sharding {field.name} = {value}: expected at least {least}.")

    @property
    def chips(self) -> int:
        """Accelerators that work."""
        return self.tp * self.pp * self.cp * self.dp + self.prefill_chips

    def values(self) -> dict[str, float]:
        """Plain values, as the evaluation takes them."""
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        named = (
            ("TP", self.tp),
            ("PP", self.pp),
            ("CP", self.cp),
            ("DP", self.dp),
            ("EP", self.ep),
        )
        text = " ".join(f"{name}{count}" for name, count in named if count > 1) or "1 chip"
        if self.prefill_chips:
            text += f" + {self.prefill_chips} for prefill"
        if self.cool_flash:
            text += ", flash by heat"
        return text


def check(sharding: Sharding, shape: Shape, chips: int) -> None:
    """Raises InputError in one sentence where a model or system cannot be cut so."""
    if sharding.chips > chips:
        raise InputError(f"sharding {sharding} takes {sharding.chips} chips; there are {chips}.")
    for what, count in (("hidden size", shape.hidden), ("attention heads", shape.heads)):
        if count % sharding.tp:
            raise InputError(
                f"tp = {sharding.tp} does not divide the {count} of {shape.name}'s {what}; "
                "choose a divisor of it."
            )
    if sharding.pp > shape.layers:
        raise InputError(f"pp = {sharding.pp}: {shape.name} has only {shape.layers} layers.")
    if sharding.ep > 1:
        group = sharding.tp * sharding.cp * sharding.dp
        if not shape.experts:
            raise InputError(f"ep = {sharding.ep}: {shape.name} has no experts; use ep = 1.")
        if sharding.ep % sharding.tp or group % sharding.ep or sharding.ep > shape.experts:
            raise InputError(
                f"ep = {sharding.ep}: expected a multiple of tp = {sharding.tp} that divides "
                f"tp x cp x dp = {group}, no more than {shape.experts} experts."
            )
        if sharding.prefill_chips // sharding.pp % sharding.ep:
            raise InputError(
                f"prefill_chips = {sharding.prefill_chips}: in each of {sharding.pp} stage(s) expected "
                f"a multiple of ep = {sharding.ep}, for prefill needs all experts too."
            )
    replica = sharding.tp * sharding.pp * sharding.cp
    if sharding.prefill_chips % replica:
        raise InputError(
            f"prefill_chips = {sharding.prefill_chips}: expected a multiple of the {replica} "
            "chips of one replica."
        )


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0]


def _cuts(shape: Shape, chips: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(tp, pp, cp, used, prefill) for all chips, or for the largest count that divides well."""
    for used in {chips, 1 << (chips.bit_length() - 1)}:
        for tp in _divisors(used):
            if tp > 64 or shape.hidden % tp or shape.heads % tp:
                continue
            for pp in _divisors(used // tp):
                if pp > shape.layers:
                    continue
                for cp in _divisors(used // tp // pp):
                    if cp <= 16:
                        yield tp, pp, cp, used, 0
                        yield from _apart(tp, pp, cp, used)


def _apart(tp: int, pp: int, cp: int, used: int) -> Iterator[tuple[int, int, int, int, int]]:
    replica = tp * pp * cp
    replicas = used // replica
    for count in sorted({round(share * replicas) for share in _PREFILL_SHARES}):
        if 0 < count < replicas:
            yield tp, pp, cp, used, count * replica


def shardings(shape: Shape, chips: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Every sharding that is tried, one row of (tp, pp, cp, dp, ep, prefill_chips) each."""
    rows = []
    for tp, pp, cp, used, apart in _cuts(shape, chips):
        dp = (used - apart) // (tp * pp * cp)
        group = tp * cp * dp
        experts = [1]
        if shape.experts:
            experts += [
                n for n in _divisors(group)
                if n > 1 and n % tp == 0 and n <= shape.experts and apart // pp % n == 0
            ]  # fmt: skip
        rows += [(tp, pp, cp, dp, ep, apart) for ep in experts]
    if not rows:
        raise CapacityError(f"{shape.name} cannot be cut over {chips} chips.")
    return np.unique(np.array(rows, dtype=float), axis=0)


def grid(
    shape: Shape, chips: int, batches: tuple[int, ...], *, flash: bool = False
) -> dict[str, Any]:
    """All shardings times all batches, and with flash both ways to fill it, as flat arrays by name."""
    rows = shardings(shape, chips)
    names = ("tp", "pp", "cp", "dp", "ep", "prefill_chips")
    made = {name: np.repeat(rows[:, n], len(batches)) for n, name in enumerate(names)}
    made["batch"] = np.tile(np.array(batches, dtype=float), len(rows))
    ways = 1 + flash
    made = {name: np.tile(values, ways) for name, values in made.items()}
    return made | {"cool_flash": np.repeat(np.arange(ways, dtype=float), len(rows) * len(batches))}
