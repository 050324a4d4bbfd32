"""Times and energies that no placement of a model on a chip beats: rates and the speed of messages.

prefill   all operations at the peak of the whole usable wafer
decode    four products of a layer follow one another, and the output's: each on n cores takes
          its operations at full rate, and its result depends on all n cores. A core hears from
          at most 2 r (r + 1) + 1 cores within r hops, so that n cores lie within no less than r
          hops of the furthest. Of all n that hold the product's weights the best counts.
a token   of many requests: their multiply-adds with weights at the peak of the whole usable wafer,
          and the joules of these, with the static share of that time
"""

import math
from dataclasses import dataclass

from waferllm.plmr.energy import MAC, constant_power_j, static_j
from waferllm.reports.predict import layer_products
from waferllm.tune.options import Work


def light_cone_hops(cores: int) -> int:
    """The least r for which 2 r (r + 1) + 1 cores lie within r hops of some core."""
    return max(0, math.ceil((math.sqrt(max(0, 2 * cores - 1)) - 1) / 2))


def prefill_bound_cycles(work: Work) -> float:
    """Multiply-adds of a prompt through all layers, over the wafer's peak."""
    macs = work.config.layers * work.input_len * sum(layer_products(work.config))
    return macs / _peak_macs_per_cycle(work)


def request_bound_cycles(work: Work) -> float:
    """One request alone, from prompt to last token."""
    return prefill_bound_cycles(work) + (work.output_len - 1) * decode_bound_cycles(work)


@dataclass(frozen=True)
class TokenBound:
    """Of one output token, with its share of the prompt, where requests fill the wafer."""

    seconds: float
    activity_j: float
    constant_power_j: float


def token_bound(work: Work) -> TokenBound:
    """Multiply-adds with the weights only: attention, additions and moves are given away."""
    c, out, layer = work.config, work.output_len, sum(layer_products(work.config))
    macs = c.layers * (work.input_len + out - 1) * layer + out * c.vocab * c.hidden
    seconds = macs / out / _peak_macs_per_cycle(work) / work.chip.clock_hz
    return TokenBound(
        seconds,
        activity_j=macs / out * MAC.value + static_j(seconds, work.chip),
        constant_power_j=constant_power_j(seconds, work.chip),
    )


def _peak_macs_per_cycle(work: Work) -> float:
    return work.chip.cores_total * work.chip.macs_per_cycle[work.dtype]


def decode_bound_cycles(work: Work) -> float:
    """One token through all layers and the output."""
    layer = sum(_product_cycles(work, weights) for weights in layer_products(work.config))
    return work.config.layers * layer + _product_cycles(
        work, work.config.vocab * work.config.hidden
    )


def _product_cycles(work: Work, weights: int) -> float:
    """A vector times so many weights, on the best number of cores that hold them."""
    chip = work.chip
    rate = chip.macs_per_cycle[work.dtype]
    least = math.ceil(weights * work.item_bytes / chip.free_per_core_bytes)
    # weights / (n rate) + sqrt(n / 2) hop: convex in n, its derivative is zero at `best`
    best = (2 * math.sqrt(2) * weights / (rate * chip.hop_cycles)) ** (2 / 3)
    near = {least, chip.cores_total, *(round(best * s) for s in (0.9, 0.95, 1.0, 1.05, 1.1))}
    usable = [min(max(n, least), max(least, chip.cores_total)) for n in near]
    # each term alone bounds the smooth cost from below; half a hop of rounding is given away
    return min(
        weights / (n * rate) + max(0, light_cone_hops(n) - 1) * chip.hop_cycles for n in usable
    )
