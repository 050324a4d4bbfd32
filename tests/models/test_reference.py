"""The NumPy decoder over our config, rope and checkpoint reading gives transformers' logits."""

import numpy as np
import pytest

from tests.models.reference import forward, greedy
from tests.models.support import CHECKPOINTS, FIXTURES, expected, stories260k
from waferllm.models.checkpoint import open_checkpoint
from waferllm.models.tokenizer import load_tokenizer


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits_are_those_of_transformers(name: str) -> None:
    told = expected(name)
    logits = forward(open_checkpoint(FIXTURES / name), told["prompt"])
    # Logits reach 15; transformers computed them in float32, and this is float64.
    np.testing.assert_allclose(logits, told["logits"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("prompt", ["prompt", "short_prompt"])
def test_greedy_tokens_are_those_of_transformers(name: str, prompt: str) -> None:
    told = expected(name)
    tokens = told[prompt.replace("prompt", "greedy")]
    found = greedy(open_checkpoint(FIXTURES / name), told[prompt], len(tokens), np.float32)
    assert found == tokens.tolist()


def test_the_shared_checkpoint_begins_its_published_transcript() -> None:
    path = stories260k()
    tokenizer = load_tokenizer(path)
    ids = greedy(open_checkpoint(path), tokenizer.encode(""), 40, np.float32)
    told = (path / "greedy.txt").read_text("utf-8")
    text = tokenizer.decode(ids)
    assert len(text) > 80
    assert told.startswith(text)
