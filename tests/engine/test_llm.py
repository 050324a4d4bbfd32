"""`LLM`: batches, slots, seeds, stops, capacity and refusals, on tiny checkpoints and a 2x3 mesh."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.models.support import FIXTURES, expected
from waferllm import LLM, WSE2, SamplingParams
from waferllm.engine.sequence import Output
from waferllm.errors import CapacityError, CheckpointError, InputError
from waferllm.layout import Mesh

PLAIN = FIXTURES / "llama-mha"  # greedy by its authors' word, float32, 128 positions
CHAT = FIXTURES / "qwen2-chat"  # samples; no BOS; chat template
GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    """Four slots, and chunks of 4 tokens, so that prompts take several."""
    jax.config.update("jax_disable_most_optimizations", True)
    model = LLM(PLAIN, mesh="2x3", max_num_seqs=4, chunk=4)
    model.engine(4)
    yield model
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def prompts() -> list[list[int]]:
    """Nine prompts of 1 to 33 tokens: more than there are slots."""
    ids = expected("llama-mha")["prompt"].tolist()
    return [ids[:length] for length in (7, 33, 1, 4, 5, 20, 8, 2, 12)]


def hot(seed: int, **more: Any) -> SamplingParams:
    return SamplingParams(temperature=1.5, max_tokens=8, ignore_eos=True, seed=seed, **more)


def tokens(outputs: Sequence[Output]) -> list[tuple[int, ...]]:
    return [output.token_ids for output in outputs]


def test_a_batch_larger_than_the_slots_gives_what_each_prompt_gives_alone(
    llm: LLM, prompts: list[list[int]]
) -> None:
    """Requests of different lengths join and leave between steps, and do not see each other."""
    lengths = [8, 3, 8, 1, 5, 8, 2, 6, 4]
    params = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for n in lengths]
    together = llm.generate(prompts, params)
    alone = [llm.generate([p], q)[0] for p, q in zip(prompts, params, strict=True)]
    assert tokens(together) == tokens(alone)
    assert [len(output.token_ids) for output in together] == lengths
    assert [list(output.prompt_token_ids) for output in together] == prompts
    said = expected("llama-mha")
    assert list(together[1].token_ids) == said["greedy"][:3].tolist()


def test_the_same_seed_gives_the_same_text_whatever_else_runs(
    llm: LLM, prompts: list[list[int]]
) -> None:
    first = llm.generate(prompts[:1], hot(5))
    assert tokens(llm.generate(prompts[:1], hot(5))) == tokens(first)
    assert tokens(llm.generate(prompts, hot(5)))[0] == first[0].token_ids
    assert tokens(llm.generate(prompts[:1], hot(6))) != tokens(first)


def test_equal_prompts_of_a_batch_differ_though_the_seed_is_one(
    llm: LLM, prompts: list[list[int]]
) -> None:
    assert len(set(tokens(llm.generate([prompts[0]] * 4, hot(5))))) > 1


def test_nothing_is_compiled_after_the_first_batch(llm: LLM, prompts: list[list[int]]) -> None:
    """Prompts, positions, slots and sampling change; shapes do not."""
    llm.generate(prompts[:2], GREEDY)
    compiled: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        del duration
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        llm.generate(prompts, GREEDY)
        llm.generate(prompts[3:4], hot(1, top_k=5, top_p=0.9, min_p=0.01, repetition_penalty=1.1))
        assert not compiled
        jax.jit(lambda x: x * 3.5 + len(compiled))(np.ones(3))
        assert compiled, "the listener hears a compilation"
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_stop_strings_end_the_text_before_them(llm: LLM) -> None:
    whole = llm.generate("a b", GREEDY)[0].text
    middle = whole[len(whole) // 2 :][:2]
    stops = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, stop=["never", middle])
    output = llm.generate("a b", stops)[0]
    assert output.finish_reason == "stop"
    assert output.text == whole[: whole.index(middle)]


def test_stop_tokens_end_the_text_and_are_part_of_the_tokens(llm: LLM) -> None:
    whole = llm.generate("a b", GREEDY)[0].token_ids
    ends = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, stop_token_ids=[whole[3]])
    output = llm.generate("a b", ends)[0]
    assert output.finish_reason == "stop"
    assert output.token_ids == whole[: whole.index(whole[3]) + 1]


def test_events_are_the_text_piece_by_piece(llm: LLM) -> None:
    pieces: list[str] = []
    output = llm.generate("a b", GREEDY, on_event=lambda event: pieces.append(event.text))[0]
    assert "".join(pieces) == output.text
    assert len(pieces) == len(output.token_ids) == 8


def test_a_text_is_one_prompt_and_no_prompts_are_no_outputs(llm: LLM) -> None:
    assert tokens(llm.generate("a b", GREEDY)) == tokens(llm.generate(["a b"], GREEDY))
    assert llm.generate([], GREEDY) == []


def test_what_does_not_fit_is_refused_with_what_would(llm: LLM) -> None:
    def ask(prompt: int, new: int) -> Any:
        return llm.generate([[1] * prompt], SamplingParams(temperature=0, max_tokens=new))

    with pytest.raises(CapacityError, match=r"holds 128 tokens.*at most 98 new tokens"):
        ask(30, 99)
    with pytest.raises(CapacityError, match="Shorten the prompt to at most 123 tokens"):
        ask(200, 5)
    with pytest.raises(CapacityError, match="at most 127 tokens"):
        ask(128, 1)
    assert len(ask(126, 2)[0].token_ids) == 2  # to the last entry


@pytest.mark.parametrize(
    ("kv", "prompt"), [("shift", 1), ("shift", 50), ("concat", 1), ("concat", 50)]
)
def test_what_is_said_to_fit_fits_to_the_last_token(kv: str, prompt: int) -> None:
    """Shift fills all rows, concat the last row only: both hold max_len here, as plans differ."""
    model = LLM(PLAIN, mesh="2x3", kv=kv, max_len=61, chunk=10)
    room = model.capacity(prompt) - prompt
    assert room == 61 - prompt
    if prompt == 50:  # one compilation for each cache is enough
        ids = [1] * prompt
        output = model.generate(
            [ids], SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)
        )
        assert len(output[0].token_ids) == room


def test_the_programs_of_concat_give_each_row_room_for_everything() -> None:
    """That is the price of concat: at equal memory it holds 1/rows as much."""
    shift, concat = (LLM(PLAIN, mesh="4x1", kv=kv).programs()[0] for kv in ("shift", "concat"))
    assert (shift.row_slots, concat.row_slots) == (32, 128)


def test_chat_is_the_template_and_what_follows(llm: LLM) -> None:
    with pytest.raises(InputError, match="no chat template"):
        llm.chat([{"role": "user", "content": "Hi"}])
    model = LLM(CHAT, mesh="1x1")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    answer = model.chat(messages, GREEDY)
    assert list(answer.prompt_token_ids) == model.tokenizer.apply_chat(messages)
    text = model.tokenizer.decode(answer.prompt_token_ids)
    assert "Be brief." in text
    assert "assistant" in text
    assert tokens([answer]) == tokens(model.generate([answer.prompt_token_ids], GREEDY))


def test_an_empty_prompt_is_bos_or_refused(llm: LLM) -> None:
    assert llm.generate("", GREEDY)[0].prompt_token_ids == (1,)
    with pytest.raises(InputError, match="no beginning-of-sequence token"):
        LLM(CHAT).generate("")


def test_defaults_are_those_of_the_checkpoint(llm: LLM) -> None:
    assert llm.sampling_params() == SamplingParams(temperature=0)
    sampled = LLM(CHAT).sampling_params(seed=3, top_p=0.5)
    assert sampled == SamplingParams(temperature=0.7, top_k=20, top_p=0.5, seed=3)
    unasked = llm.generate("a b")[0]
    greedy = SamplingParams(temperature=0, max_tokens=16)
    assert unasked.token_ids == llm.generate("a b", greedy)[0].token_ids


@pytest.mark.parametrize(
    ("family", "stored"),
    [("llama-mha", "float32"), ("llama-odd-f16", "float16"), ("mistral-bf16", "bfloat16")],
)
def test_auto_is_the_dtype_of_the_checkpoint(family: str, stored: str) -> None:
    assert LLM(FIXTURES / family).dtype == "float32"
    automatic = LLM(FIXTURES / family, dtype="auto")
    assert automatic.dtype == stored
    assert automatic.programs()[0].dtype == jax.numpy.dtype(stored)


def test_weights_that_are_not_numbers_are_refused_by_name(tmp_path: Path) -> None:
    path = Path(shutil.copytree(PLAIN, tmp_path / "nan"))
    held = {name: np.array(value) for name, value in load_file(path / "model.safetensors").items()}
    held["model.layers.1.self_attn.k_proj.weight"][2, 1] = np.inf
    save_file(held, path / "model.safetensors")
    broken = LLM(path, mesh="1x1")  # values are looked at when they are needed
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.k_proj.* inf at \[2, 1\]"):
        broken.generate("a b", GREEDY)


def test_the_engine_grows_to_the_batch_and_keeps_its_weights(llm: LLM) -> None:
    model = LLM(PLAIN, mesh="1x1", max_num_seqs=3)
    assert model.engine(1).runner.slots == 1
    placed = model.placed
    assert model.engine(2).runner.slots == 2
    assert model.engine(9) is model.engine(1)
    assert model.engine(9).runner.slots == 3
    assert model.placed is placed
    assert llm.engine(1) is llm.engine(4)


def test_layers_are_counted_as_they_are_placed() -> None:
    seen: list[tuple[int, int]] = []
    model = LLM(PLAIN, mesh="1x1", progress=lambda done, total: seen.append((done, total)))
    assert seen == []
    model.engine()
    assert seen == [(1, 2), (2, 2)]


def test_ids_that_the_model_does_not_have_are_refused(llm: LLM) -> None:
    vocab = llm.checkpoint.config.vocab
    for strange in (vocab, -1):
        with pytest.raises(InputError, match=f"token id {strange} .* 0 to {vocab - 1}"):
            llm.generate([[1, strange]], GREEDY)
    with pytest.raises(InputError, match="use a text or a list of token ids"):
        llm.generate([3], GREEDY)  # pyright: ignore
    with pytest.raises(InputError, match="without tokens"):
        llm.generate([[]], GREEDY)
    with pytest.raises(InputError, match="2 prompts with 1 parameters"):
        llm.generate(["a", "b"], [GREEDY])


def test_a_refused_batch_leaves_the_engine_ready(llm: LLM) -> None:
    before = tokens(llm.generate("a b", GREEDY))
    with pytest.raises(CapacityError):
        llm.generate(["a b", [1] * 300], GREEDY)
    assert tokens(llm.generate("a b", GREEDY)) == before


def test_after_ctrl_c_the_next_batch_is_as_ever(llm: LLM, prompts: list[list[int]]) -> None:
    seen: list[object] = []

    def interrupt(event: object) -> None:
        seen.append(event)
        if len(seen) == 5:
            raise KeyboardInterrupt

    before = tokens(llm.generate(prompts[:3], GREEDY))
    with pytest.raises(KeyboardInterrupt):
        llm.generate(prompts, GREEDY, on_event=interrupt)
    assert tokens(llm.generate(prompts[:3], GREEDY)) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"meshes": "2x2"}, "no option 'meshes'. Did you mean mesh"),
        ({"mesh": "0x2"}, "0x2"),
        ({"mesh": 8}, "mesh 8: use"),
        ({"mesh": (2, 2, 2)}, "use .8x8. or"),
        ({"prefill_mesh": "995x1"}, "994 rows x 750 columns"),
        ({"dtype": "int8"}, "float32, bfloat16, float16"),
        ({"max_num_seqs": 0}, "at least 1"),
        ({"max_len": 0}, "at least 1"),
        ({"chunk": 0}, "at least 1"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises((InputError, CapacityError), match=words):
        LLM(PLAIN, chip=WSE2, **options)


def test_meshes_are_texts_or_pairs() -> None:
    assert LLM(PLAIN, mesh=(2, 3)).settings.mesh == LLM(PLAIN, mesh="2x3").settings.mesh
    assert LLM(PLAIN, mesh=Mesh(2, 3), prefill_mesh="3x2").settings.prefill_mesh == Mesh(3, 2)
