"""`waferllm generate`: text, a report with labels, or one JSON object with the documented keys."""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, Ran
from tests.models.support import FIXTURES
from waferllm import LLM, SamplingParams
from waferllm.models.tokenizer import load_tokenizer

pytestmark = pytest.mark.usefixtures("compiled")

PLAIN = FIXTURES / "llama-mha"  # begins with BOS, one end token, greedy
CHAT = FIXTURES / "qwen2-chat"  # no BOS, chat template, samples by default
FEW = ("--mesh", "1x1", "--max-tokens", "5", "--ignore-eos")


@pytest.fixture
def generate(command: Command) -> Command:
    def run(*arguments: str, model: Path = PLAIN) -> Ran:
        ran = command("generate", "--model", str(model), *FEW, *arguments)
        assert ran.code == 0, ran.err
        assert ran.err == ""  # progress is for a terminal
        return ran

    return run


def greedy(prompt: str | list[int], model: Path = PLAIN, tokens: int = 5) -> str:
    """What the library says, which tests/agree compares with transformers."""
    params = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
    return LLM(model, mesh="1x1").generate([prompt], params)[0].text


def only(ran: Ran) -> dict[str, Any]:
    """Standard output is one line, which is one JSON object."""
    assert ran.out.count("\n") == 1
    return json.loads(ran.out, parse_constant=pytest.fail)


def test_text_follows_its_prompt_and_the_report_follows_the_text(generate: Command) -> None:
    text, report = generate("a b").out.split("\n\n", maxsplit=1)
    assert text == f"a b{greedy('a b')}"
    first, second, head, *rows = report.splitlines()
    assert first.startswith("computed here: 5 tokens in ")
    assert "tokens/s" in first
    assert "1x1 simulated cores" in second
    assert head.split()[:3] == ["predicted", "on", "wse2"]
    named = "SRAM per core|longest hop|routes per core|moved per core|reductions per layer|PLMR"
    assert [row[:22].strip() for row in rows] == named.split("|")
    assert "48.0 KiB" in rows[0]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_report_fits_the_terminal(
    generate: Command, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    meshes = ("--mesh", "2x3", "--prefill-mesh", "3x2")
    report = generate("a b", *meshes).out.split("\n\n")[1].splitlines()
    assert max(map(len, report)) < 80
    assert len(report) == 9  # two lines of what ran, seven of table: nothing wrapped
    assert "2x3 simulated cores (prefill: 3x2)" in report[1]


def test_quiet_is_the_text_alone(generate: Command) -> None:
    assert generate("a b", "--quiet").out == f"a b{greedy('a b')}\n"


def test_json_has_exactly_the_documented_keys(generate: Command) -> None:
    data = only(generate("a b", "--json"))
    keys = "text prompt_tokens output_tokens finish_reason mesh execution plmr"
    assert list(data) == keys.split()
    assert data["text"] == greedy("a b")
    assert data["prompt_tokens"] == load_tokenizer(PLAIN).encode("a b")
    assert len(data["output_tokens"]) == 5
    assert data["finish_reason"] == "length"
    assert data["mesh"] == "1x1"
    assert list(data["execution"]) == ["wall_s", "ttft_s", "tokens_per_s"]
    run = data["execution"]
    assert 0 < run["ttft_s"] < run["wall_s"]
    assert run["tokens_per_s"] == pytest.approx(5 / run["wall_s"])
    assert list(data["plmr"]) == ["chip", "prefill", "decode"]
    assert data["plmr"]["chip"] == "wse2"
    assert data["plmr"]["decode"]["label"] == "predicted"
    assert data["plmr"]["prefill"]["sram_limit_bytes"] == 48 * 1024


def test_several_prompts_run_as_one_batch_and_keep_their_order(generate: Command) -> None:
    text = generate("a b", "").out
    assert text.startswith(f"[1] a b{greedy('a b')}\n[2] {greedy('')}\n")
    data = only(generate("a b", "c", "--json"))
    assert list(data) == ["outputs", "mesh", "execution", "plmr"]
    one = {"text", "prompt_tokens", "output_tokens", "finish_reason"}
    assert [set(output) for output in data["outputs"]] == [one, one]
    assert [output["text"] for output in data["outputs"]] == [greedy("a b"), greedy("c")]


def test_a_prompt_file_is_one_prompt_without_its_last_newline(
    generate: Command, tmp_path: Path
) -> None:
    (tmp_path / "1").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "2").write_bytes(b"c\r\n")
    files = ("--prompt-file", str(tmp_path / "1"), "--prompt-file", str(tmp_path / "2"))
    outputs = only(generate(*files, "--json"))["outputs"]
    encode = load_tokenizer(PLAIN).encode
    assert [output["prompt_tokens"] for output in outputs] == [encode("a\nb"), encode("c")]


def test_standard_input_is_a_prompt(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, "é b\n".encode())
    assert only(generate("--json"))["prompt_tokens"] == load_tokenizer(PLAIN).encode("é b")


def test_nothing_on_standard_input_is_bos_alone(
    generate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe_in(monkeypatch, b"")
    assert only(generate("--json"))["prompt_tokens"] == [1]


def pipe_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_an_empty_prompt_is_bos_alone(generate: Command) -> None:
    assert only(generate("", "--json"))["prompt_tokens"] == [1]


def test_chat_wraps_the_prompt_in_the_template_and_prints_the_answer(generate: Command) -> None:
    ask = ("Hello", "--chat", "--temperature", "0")
    data = only(generate(*ask, "--json", model=CHAT))
    tokenizer = load_tokenizer(CHAT)
    assert data["prompt_tokens"] == tokenizer.apply_chat([{"role": "user", "content": "Hello"}])
    assert data["text"] == greedy(data["prompt_tokens"], CHAT)
    assert generate(*ask, "-q", model=CHAT).out == f"{data['text']}\n"


@pytest.mark.parametrize("kv", ["shift", "concat"])
def test_meshes_and_caches_do_not_change_the_text(generate: Command, kv: str) -> None:
    meshes = ("--mesh", "2x3", "--prefill-mesh", "3x2")
    data = only(generate("a b", *meshes, "--kv", kv, "--json"))
    assert data["mesh"] == "2x3"
    assert data["text"] == greedy("a b")


def test_dtype_is_what_the_report_counts_bytes_of(generate: Command) -> None:
    def memory(*dtype: str) -> int:
        return only(generate("a b", *dtype, "--json"))["plmr"]["decode"]["sram_per_core_bytes"]

    assert memory() == memory("--dtype", "float32") == memory("--dtype", "auto")
    assert memory("--dtype", "bfloat16") < memory()


def test_the_same_seed_gives_the_same_text_and_another_does_not(generate: Command) -> None:
    def text(seed: str) -> str:
        hot = ("--temperature", "2", "--max-tokens", "20", "--seed", seed)
        return only(generate("a b", *hot, "--json"))["text"]

    assert text("3") == text("3") != text("4")


def test_sampling_is_by_default_as_the_checkpoints_authors_say(
    generate: Command, tmp_path: Path
) -> None:
    hot = Path(shutil.copytree(PLAIN, tmp_path / "hot"))
    (hot / "generation_config.json").write_text('{"do_sample": true, "temperature": 3.0}')
    assert only(generate("a b", "--json", "--seed", "9"))["text"] == greedy("a b")
    asked = only(generate("a b", "--json", "--seed", "9", "--temperature", "3"))["text"]
    assert only(generate("a b", "--json", "--seed", "9", model=hot))["text"] == asked
    assert asked != greedy("a b")


def test_without_max_tokens_a_text_is_as_long_as_the_checkpoints_authors_say(
    command: Command, tmp_path: Path
) -> None:
    short = Path(shutil.copytree(PLAIN, tmp_path / "short"))
    (short / "generation_config.json").write_text('{"max_new_tokens": 3}')
    common = ("generate", "a b", "--model", str(short), "--mesh", "1x1", "--ignore-eos", "--json")
    assert len(only(command(*common))["output_tokens"]) == 3
    assert len(only(command(*common, "--max-tokens", "5"))["output_tokens"]) == 5


def test_ignore_eos_goes_on_where_the_text_would_end(
    command: Command, generate: Command, tmp_path: Path
) -> None:
    tokens = only(generate("a b", "--json"))["output_tokens"]
    ending = Path(shutil.copytree(PLAIN, tmp_path / "ending"))
    (ending / "generation_config.json").write_text(json.dumps({"eos_token_id": tokens[2]}))
    assert only(generate("a b", "--json", model=ending))["output_tokens"] == tokens
    ended = only(command("generate", "a b", "--model", str(ending), "--mesh", "1x1", "--json"))
    assert ended["finish_reason"] == "stop"
    assert ended["output_tokens"] == tokens[: tokens.index(tokens[2]) + 1]


def test_a_stop_string_ends_the_text_before_it(generate: Command) -> None:
    text = greedy("a b")
    cut = text[len(text) // 2 :][:2]
    data = only(generate("a b", "--stop", cut, "--json"))
    assert data["finish_reason"] == "stop"
    assert data["text"] == text[: text.index(cut)]


def test_max_len_bounds_what_is_generated_by_default(command: Command) -> None:
    options = ("--mesh", "1x1", "--max-len", "9", "--ignore-eos", "--json")
    data = only(command("generate", "a b", "--model", str(PLAIN), *options))
    assert len(data["prompt_tokens"]) + len(data["output_tokens"]) == 9


@pytest.mark.parametrize("chip", ["wse3", "dojo", "blackhole"])
def test_the_report_is_made_for_any_chip(generate: Command, chip: str) -> None:
    assert only(generate("a b", "--chip", chip, "--json"))["plmr"]["chip"].startswith(chip)


def test_the_report_is_for_the_grid_that_was_asked(generate: Command) -> None:
    plmr = only(generate("a b", "--grid", "12x20", "--json"))["plmr"]
    assert plmr["prefill"]["grid"] == plmr["decode"]["grid"] == "12x20"


def test_devices_say_so(generate: Command) -> None:
    ran = generate("a b", "--devices", "--max-tokens", "2")
    assert "on 1x1 devices" in ran.out
    assert ran.out.startswith(f"a b{greedy('a b', tokens=2)}\n")


def test_the_shipped_checkpoint_is_the_default(command: Command) -> None:
    ran = command("generate", "Once", "--mesh", "1x1", "--max-tokens", "4", "--temperature", "0")
    assert ran.code == 0
    assert ran.out.startswith("Once")
