"""From logits to a token, on the host: pure functions of the logits, the parameters and a random stream.

The order is vLLM's and transformers': penalties, temperature, top_k, top_p, min_p, then one draw.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float, Shaped

from waferllm.engine.params import SamplingParams
from waferllm.errors import InputError, WaferError

Logits = Float[np.ndarray, "vocab"]


def stream(seed: int, index: int, step: int) -> np.random.Generator:
    """The random numbers of one token: a function of seed, request index and step, of nothing else.

    Philox is counter-based: seed is its key, index and step are the upper words of its counter, so
    streams never overlap and no state is carried from one token to the next.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, step, index]))


def sample(logits: Logits, params: SamplingParams, rng: np.random.Generator) -> int:
    """One token id. Greedy takes the lowest id among equals and leaves `rng` alone.

    Raises WaferError if the largest logit is not a finite number.
    """
    likeliest = _argmax(logits)
    if params.greedy:
        return likeliest
    ids, weights = _weigh(logits, likeliest, params)
    mass = np.cumsum(weights)
    return int(ids[np.searchsorted(mass, rng.random() * mass[-1], side="right")])


def probabilities(logits: Logits, params: SamplingParams) -> Float[np.ndarray, "vocab"]:
    """The distribution that `sample` draws from, float64, summing to 1. Errors as for `sample`."""
    likeliest = _argmax(logits)
    drawn = np.zeros(logits.size)
    if params.greedy:
        drawn[likeliest] = 1.0
        return drawn
    ids, weights = _weigh(logits, likeliest, params)
    drawn[ids] = weights / weights.sum()
    return drawn


def penalise(
    logits: Logits, params: SamplingParams, prompt_ids: Sequence[int], output_ids: Sequence[int]
) -> Logits:
    """Logits after the three penalties; the same array if there are none.

    A checkpoint may have more logits than its tokenizer has ids, not fewer: an id beyond them raises
    InputError.
    """
    if not params.penalised:
        return logits
    logits = logits.astype(np.float32)
    output, counts = np.unique(np.asarray(output_ids, np.int64), return_counts=True)
    seen = np.union1d(np.asarray(prompt_ids, np.int64), output)
    if seen.size and seen[-1] >= logits.size:
        raise InputError(f"token id {seen[-1]} in a prompt for a model of {logits.size} tokens.")
    factor = np.float32(params.repetition_penalty)
    logits[seen] = np.where(logits[seen] > 0, logits[seen] / factor, logits[seen] * factor)
    logits[output] -= params.presence_penalty + params.frequency_penalty * counts
    return logits


def forbid(logits: Logits, ids: Collection[int]) -> Logits:
    """Logits with some tokens made impossible; ids beyond the vocabulary are impossible already."""
    logits = logits.astype(np.float32)
    logits[[token for token in ids if token < logits.size]] = -np.inf
    return logits


def _argmax(logits: Logits) -> int:
    """The first of the largest. NaN is the largest of all to `np.argmax`, so one look finds any."""
    if logits.ndim != 1 or not logits.size:
        raise InputError(f"logits of shape {logits.shape}: one number for each token is expected.")
    at = int(np.argmax(logits))
    largest = logits[at]
    if np.isfinite(largest):
        return at
    if largest == -np.inf:
        raise WaferError(
            "Every token is impossible (all logits are -inf). Forbid fewer tokens: look at "
            "min_tokens and stop_token_ids."
        )
    raise WaferError(
        f"The model gave {largest} for token {at}, where a finite number is expected: its weights are "
        "damaged, or its values overflow this dtype. Try float32."
    )


def _weigh(
    logits: Logits, likeliest: int, params: SamplingParams
) -> tuple[Shaped[np.ndarray, "kept"], Float[np.ndarray, "kept"]]:
    """Ids that the filters keep, ascending, and their weights relative to the likeliest, whose is 1."""
    with np.errstate(over="ignore"):  # a tiny temperature makes everything else impossible
        scaled = (logits - np.float64(logits[likeliest])) / params.temperature
    if 0 < params.top_k < scaled.size:
        kth = np.partition(scaled, -params.top_k)[-params.top_k]
        ids = np.flatnonzero((scaled >= kth) & (scaled > -np.inf))
    else:
        ids = np.flatnonzero(scaled > -np.inf)
    weights = np.exp(scaled[ids])
    keep = weights >= params.min_p
    if params.top_p < 1:
        keep &= _nucleus(weights, params.top_p)
    return ids[keep], weights[keep]


def _nucleus(weights: Float[np.ndarray, "n"], top_p: float) -> Shaped[np.ndarray, "n"]:
    """Which weights are among the fewest, largest first, that reach `top_p` of all of them.

    Among equals the lower id goes first. Values are sorted, not positions: many times as fast.
    """
    descending = np.sort(weights)[::-1]
    mass = np.cumsum(descending)
    count = int(np.searchsorted(mass, top_p * mass[-1], side="left")) + 1
    least = descending[count - 1]
    keep = weights > least
    keep[np.flatnonzero(weights == least)[: count - np.count_nonzero(keep)]] = True
    return keep
