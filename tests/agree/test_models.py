"""Every model family against `transformers`, on several meshes, with both KV caches.

Each fixture holds what transformers computed for it (tests/fixtures/README.md). A default run takes
every family once, the meshes and caches rotating over the families so that each mesh serves decode and
prefill, with both caches; the whole product is marked slow.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pytest

from tests.models.support import CHECKPOINTS, FIXTURES, expected, stories260k
from waferllm import LLM, SamplingParams
from waferllm.cli.app import main

GREEDY = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
MESHES = ("3x4", "5x3", "1x4", "4x1", "2x2", "8x8")

# Largest error of a logit, relative to the largest logit. Both sides round every product once and
# disagree on the order of sums, so an error is a few tens of unit roundoffs (2^-24, 2^-8, 2^-11): about
# 2e-6, 4 % and 0.5 % were seen. Float32 gets 2e-5, still a thousandth of the smallest margin (0.02 of
# logits up to 12) by which the fixtures' greedy tokens win: a wrong mask or position moves far more.
TOLERANCE = {"float32": 2e-5, "bfloat16": 0.1, "float16": 0.0125}


@dataclass(frozen=True)
class Case:
    """A family, the meshes of decode and prefill, the cache, and the prompt tokens per step."""

    family: str
    mesh: str
    prefill_mesh: str
    kv: str
    chunk: int

    def __str__(self) -> str:
        return f"{self.family}-{self.mesh}-after-{self.prefill_mesh}-{self.kv}-{self.chunk}"

    def open(self, dtype: str = "float32") -> LLM:
        return LLM(
            FIXTURES / self.family,
            mesh=self.mesh,
            prefill_mesh=self.prefill_mesh,
            kv=self.kv,
            chunk=self.chunk,
            dtype=dtype,
        )


# The prompts have 33 and 7 tokens. Odd and even families, so that both a first chunk of a prompt, a
# broken last one, and a prompt shorter than a chunk occur with either cache.
COVER = [
    Case("codellama", "3x4", "5x3", "shift", 16),
    Case("llama-bias", "5x3", "3x4", "concat", 10),
    Case("llama-gqa-tied", "1x4", "1x4", "shift", 7),
    Case("llama-mha", "4x1", "4x1", "concat", 12),
    Case("llama-mqa", "8x8", "8x8", "concat", 16),
    Case("llama-odd-f16", "3x4", "3x4", "shift", 40),
    Case("llama-rope-linear", "2x2", "2x2", "concat", 11),
    Case("llama-rope-yarn", "4x1", "1x4", "shift", 9),
    Case("llama-sharded", "2x2", "8x8", "shift", 64),
    Case("llama3-rope", "5x3", "5x3", "concat", 33),
    Case("mistral-bf16", "1x4", "1x4", "concat", 13),
    Case("mistral-window", "3x4", "3x4", "concat", 6),
    Case("qwen2-chat", "5x3", "4x1", "shift", 16),
    Case("qwen2-window", "8x8", "2x2", "shift", 10),
    Case("qwen3", "4x1", "4x1", "shift", 8),
    Case("qwen3-window", "2x2", "3x4", "concat", 5),
]
EVERY = [
    Case(family, mesh, prefill_mesh, kv, 16)
    for family, mesh, prefill_mesh, kv in product(CHECKPOINTS, MESHES, MESHES, ("shift", "concat"))
]


def last_logits(llm: LLM, prompt: np.ndarray) -> np.ndarray:
    """Logits after a prompt, straight from the runner: chunk by chunk, as the engine prefills."""
    runner = llm.engine(1).runner
    logits = None
    for start in range(0, prompt.size, runner.chunk):
        part = prompt[start : start + runner.chunk]
        ids = np.zeros(runner.chunk, np.int32)
        ids[: part.size] = part
        end = start + part.size
        logits = runner.prefill(0, ids, start, part.size, end == prompt.size)
    runner.release(0)
    assert logits is not None
    return logits


def agrees(case: Case, dtype: str = "float32") -> None:
    """The logits after the prompt, and in float32 both greedy continuations, are transformers'."""
    said, llm = expected(case.family), case.open(dtype)
    logits, true = last_logits(llm, said["prompt"]), said["logits"][-1]
    assert logits.shape == true.shape
    error = np.abs(logits - true).max() / np.abs(true).max()
    assert error < TOLERANCE[dtype], f"relative error {error:.2e} in {dtype}"
    if dtype != "float32":
        return
    for prompt, greedy in (("prompt", "greedy"), ("short_prompt", "short_greedy")):
        output = llm.generate([said[prompt].tolist()], GREEDY)[0]
        assert list(output.token_ids) == said[greedy].tolist()


def test_the_default_run_leaves_out_no_family_mesh_or_cache() -> None:
    assert sorted(case.family for case in COVER) == CHECKPOINTS
    for kv in ("shift", "concat"):
        assert {case.mesh for case in COVER if case.kv == kv} == set(MESHES)
        assert {case.prefill_mesh for case in COVER if case.kv == kv} == set(MESHES)
    assert {case.kv for case in COVER if case.mesh != case.prefill_mesh} == {"shift", "concat"}


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("case", COVER, ids=str)
def test_a_family_gives_the_logits_and_tokens_of_transformers(case: Case) -> None:
    agrees(case)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        (Case("mistral-bf16", "3x4", "3x4", "shift", 16), "bfloat16"),
        (Case("llama-odd-f16", "5x3", "5x3", "shift", 40), "float16"),
    ],
    ids=str,
)
def test_a_16_bit_model_stays_near_its_float32_logits(case: Case, dtype: str) -> None:
    agrees(case, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_any_family_on_any_meshes_with_any_cache(case: Case) -> None:
    agrees(case)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", COVER, ids=str)
def test_any_family_in_16_bits(case: Case, dtype: str) -> None:
    agrees(case, dtype)


@cache
def transcript() -> str:
    return (stories260k() / "greedy.txt").read_text("utf-8").removesuffix("\n")


# The author's program ran 256 positions; the first is BOS.
PUBLISHED_TOKENS = 255


def tells_the_story(mesh: str, kv: str) -> None:
    llm = LLM(stories260k(), mesh=mesh, kv=kv)
    params = SamplingParams(temperature=0, max_tokens=PUBLISHED_TOKENS, ignore_eos=True)
    assert llm.generate([""], params)[0].text == transcript()


def test_stories260k_tells_the_story_its_author_published() -> None:
    tells_the_story("8x8", "shift")


@pytest.mark.slow
@pytest.mark.parametrize(("mesh", "kv"), [("8x8", "concat"), ("3x4", "shift"), ("3x4", "concat")])
def test_stories260k_tells_it_on_other_meshes_with_either_cache(mesh: str, kv: str) -> None:
    tells_the_story(mesh, kv)


def test_the_command_line_tells_the_same_story(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(stories260k())
    options = ("--mesh", "3x4", "--kv", "concat", "--temperature", "0", "--json")
    with pytest.raises(SystemExit) as stop:
        main(["generate", "", "--model", path, "--max-tokens", str(PUBLISHED_TOKENS), *options])
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["text"] == transcript()
