"""A model on JAX devices gives the tokens that it gives on simulated cores."""

import pytest

from tests.models.support import FIXTURES, expected
from waferllm import LLM, SamplingParams

pytestmark = [pytest.mark.devices, pytest.mark.usefixtures("quick_compilation")]

TOKENS = 6


@pytest.mark.parametrize(
    ("family", "mesh", "prefill_mesh", "kv"),
    [
        ("llama-gqa-tied", "2x3", "3x2", "shift"),
        ("qwen3", "3x1", "1x2", "concat"),  # not even as many devices
    ],
)
def test_devices_give_the_tokens_of_simulated_cores(
    family: str, mesh: str, prefill_mesh: str, kv: str
) -> None:
    """Two sequences of different lengths, one with several chunks; transformers' tokens as well."""
    said = expected(family)
    prompts = [said["prompt"].tolist(), said["short_prompt"].tolist()]
    params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)

    def tokens(devices: bool) -> list[tuple[int, ...]]:
        llm = LLM(
            FIXTURES / family,
            mesh=mesh,
            prefill_mesh=prefill_mesh,
            kv=kv,
            chunk=18,
            devices=devices,
        )
        return [output.token_ids for output in llm.generate(prompts, params)]

    got = tokens(devices=True)
    assert got == tokens(devices=False)
    assert [list(ids) for ids in got] == [
        said[k][:TOKENS].tolist() for k in ("greedy", "short_greedy")
    ]
