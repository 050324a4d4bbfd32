"""Where the fixtures are, and what transformers said of them."""

import json
from pathlib import Path

import numpy as np
import pytest

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SHARED = Path(__file__).resolve().parents[3] / "shared"
CHECKPOINTS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.npz"))
TOKENIZERS = sorted(path.name for path in (FIXTURES / "tokenizers").iterdir())


def expected(name: str) -> dict[str, np.ndarray]:
    """Arrays of a checkpoint's `expected.npz`; see tests/fixtures/README.md."""
    with np.load(FIXTURES / name / "expected.npz") as arrays:
        return dict(arrays)


def expected_texts(name: str) -> dict:
    """What transformers' AutoTokenizer made of TEXTS and CHAT with one of the tokenizers."""
    return json.loads((FIXTURES / "tokenizers" / name / "expected.json").read_text("utf-8"))


def stories260k() -> Path:
    """The real checkpoint of the shared data; the test is skipped where there is none."""
    path = SHARED / "data" / "stories260K"
    if not path.exists():
        pytest.skip(f"{path} is not here: the shared data is not part of the repository")
    return path
