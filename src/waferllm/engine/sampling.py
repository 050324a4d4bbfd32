"""From logits to a token, on the host: pure functions of logits, parameters and a random stream.

The order is vLLM's and transformers': penalties, temperature, top_k, top_p, min_p, then one draw.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float, Int

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

    A model may have more logits than its tokenizer has ids, not fewer: an id beyond them raises
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
        f"The model gave {largest} for token {at}, where a finite number is expected: its weights "
        "are damaged, or its values overflow this dtype. Try float32."
    )


def _weigh(
    logits: Logits, likeliest: int, params: SamplingParams
) -> tuple[Int[np.ndarray, "kept"], Float[np.ndarray, "kept"]]:
    """Ids, ascending, and their weights: 1 for the likeliest, 0 for what a filter took out."""
    largest, ids = np.float64(logits[likeliest]), np.arange(logits.size)
    if 0 < params.top_k < logits.size:
        kth = np.partition(logits, -params.top_k)[-params.top_k]
        ids = np.flatnonzero(logits >= kth)
        logits = logits[ids]
    weights = np.subtract(logits, largest, dtype=np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature makes everything else impossible
        weights /= params.temperature
    np.exp(weights, out=weights)
    if params.top_p < 1:
        _keep_nucleus(weights, params.top_p)
    if params.min_p > 0:
        weights[weights < params.min_p] = 0
    return ids, weights


def _keep_nucleus(weights: Float[np.ndarray, "n"], top_p: float) -> None:
    """Zero all but the fewest weights, largest first, that reach `top_p` of all of them.

    Among equals the lower id goes first. Values are sorted, not positions, and not those of the
    tail, which together cannot weigh more than 1 - `top_p` of all: many times as fast.
    """
    total = weights.sum()
    tail = (1 - top_p) * total / weights.size * (1 - 1e-9)
    descending = np.sort(weights[weights >= tail])[::-1]
    reached = np.searchsorted(np.cumsum(descending), top_p * total, side="left")
    count = min(int(reached) + 1, descending.size)
    least = descending[count - 1]
    equals = np.flatnonzero(weights == least)
    above = np.count_nonzero(weights > least)
    weights[weights < least] = 0
    weights[equals[count - above :]] = 0
