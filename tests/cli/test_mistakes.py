"""Every mistake is one sentence on standard error with exit code 2, and nothing on standard output."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.cli.conftest import Command, Ran
from tests.models.support import FIXTURES

PLAIN = FIXTURES / "llama-mha"
NO_BOS = FIXTURES / "qwen2-chat"
GATE = "model.layers.1.mlp.gate_proj.weight"
Damage = Callable[[Path], object]


def refused(ran: Ran, *words: str) -> None:
    """Exit code 2, one line that says all the words, no traceback, nothing else."""
    assert ran.code == 2, ran.out
    assert ran.out == ""
    assert ran.err.startswith("waferllm: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    for word in ("Traceback", "Error("):
        assert word not in ran.err
    for word in words:
        assert word in ran.err


def cut(name: str, share: float = 0.9) -> Damage:
    """Cut a file off."""

    def damage(path: Path) -> None:
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[: int(len(data) * share)])

    return damage


def write(name: str, text: str | bytes) -> Damage:
    data = text.encode() if isinstance(text, str) else text
    return lambda path: (path / name).write_bytes(data)


def remove(name: str) -> Damage:
    return lambda path: (path / name).unlink()


def config(**values: object) -> Damage:
    """Change values of config.json."""

    def damage(path: Path) -> None:
        file = path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return damage


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    def damage(path: Path) -> None:
        file = path / "model.safetensors"
        held = {name: np.array(value) for name, value in load_file(file).items()}
        change(held)
        save_file(held, file)

    return damage


def nan(held: dict[str, np.ndarray]) -> None:
    held[GATE][3, 2] = np.nan


def transposed(held: dict[str, np.ndarray]) -> None:
    held[GATE] = np.ascontiguousarray(held[GATE].T)


def whole_numbers(held: dict[str, np.ndarray]) -> None:
    held[GATE] = held[GATE].astype(np.int32)


# What is damaged, and words that the sentence must say: what it is about, what was got or expected.
DAMAGED: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no config": (remove("config.json"), ("config.json",)),
    "no weights": (remove("model.safetensors"), ("no model.safetensors",)),
    "no tokenizer": (remove("tokenizer.json"), ("no tokenizer.json",)),
    "cut weights": (cut("model.safetensors"), ("truncated", "model.safetensors")),
    "cut header": (cut("model.safetensors", 0.005), ("truncated", "model.safetensors")),
    "empty weights": (write("model.safetensors", ""), ("truncated", "0 bytes")),
    "weights are text": (write("model.safetensors", "no tensors " * 9), ("model.safetensors",)),
    "cut config": (cut("config.json"), ("config.json is not valid JSON",)),
    "config is a list": (write("config.json", "[]"), ("config.json holds a list",)),
    "config is not UTF-8": (write("config.json", b'{"a": "\xff"}'), ("not UTF-8",)),
    "cut tokenizer": (cut("tokenizer.json"), ("tokenizer.json is not", "Copy the file again")),
    "strange tokenizer": (write("tokenizer.json", "{}"), ("tokenizer.json",)),
    "cut defaults": (cut("generation_config.json"), ("generation_config.json", "JSON")),
    "hidden is a word": (config(hidden_size="many"), ("hidden_size", "'many'")),
    "no layers": (config(num_hidden_layers=0), ("num_hidden_layers", "0")),
    "other family": (config(model_type="gpt2"), ("gpt2", "llama", "qwen3")),
    "mixture of experts": (
        config(model_type="mixtral", architectures=["MixtralForCausalLM"], num_local_experts=8),
        ("not supported", "mixtral", "llama"),
    ),
    "a layer too many": (config(num_hidden_layers=3), ("lacks tensor model.layers.2.",)),
    "a layer too few": (config(num_hidden_layers=1), ("holds tensor model.layers.1.",)),
    "missing tensor": (tensors(lambda held: held.pop(GATE)), (f"lacks tensor {GATE}",)),
    "wrong shape": (tensors(transposed), (GATE, "has shape", "expected")),
    "wrong dtype": (tensors(whole_numbers), (GATE, "I32", "F32")),
    "NaN": (tensors(nan), (GATE, "nan", "[3, 2]", "finite")),
    "fewer tokens than ids": (  # the tokenizer still gives ids up to 127
        config(vocab_size=4, tie_word_embeddings=False),
        ("model.embed_tokens.weight", "expected [4,"),
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_checkpoint_is_named(command: Command, tmp_path: Path, what: str) -> None:
    damage, words = DAMAGED[what]
    path = Path(shutil.copytree(PLAIN, tmp_path / "model"))
    damage(path)
    refused(command("generate", "a b", "--model", str(path), "--mesh", "1x1"), *words)


def test_a_model_that_is_not_there(command: Command, tmp_path: Path) -> None:
    refused(command("generate", "a", "--model", str(tmp_path / "none")), "none")
    refused(command("generate", "a", "--model", str(PLAIN / "config.json")), "not a directory")
    refused(command("generate", "a", "--model", "m" * 5000), "File name too long")


def test_a_mesh_whose_padded_weights_this_machine_cannot_hold(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda _name: 2**8)  # 256 pages of 256 bytes
    ran = command("generate", "a", "--model", str(PLAIN), "--mesh", "5x3")
    refused(ran, "5x3 mesh", "takes", "KiB", "this machine has 64.0 KiB", "smaller")


# Options of generate, and words of the sentence.
OPTIONS: dict[str, tuple[str, ...]] = {
    "--mesh 0x0": ("0x0", "at least 1"),
    "--mesh 8": ("'8'", "8x8"),
    "--mesh axb": ("'axb'", "8x8"),
    "--mesh -1x4": ("'-1x4'", "8x8"),
    "--mesh ²x2": ("'²x2'", "8x8"),
    "--mesh 3x4x5": ("'3x4x5'", "8x8"),
    "--mesh 1000x1000": ("1000x1000", "994 rows x 750 columns", "smaller mesh"),
    "--prefill-mesh 0x3": ("0x3", "at least 1"),
    "--prefill-mesh 2x751": ("2x751", "994 rows x 750 columns"),
    "--mesh 16x16 --devices": ("256 devices", "JAX sees 16"),
    "--grid 900x900": ("900x900", "wse2", "994x750"),
    "--grid 0x1": ("0x1", "at least 1"),
    "--kv paged": ("'paged'", "shift, concat"),
    "--dtype float64": ("'float64'", "float32, bfloat16, float16"),
    "--chip dojo --dtype float16": ("float16", "dojo_tile", "bfloat16 or float32"),
    "--chip wse22": ("'wse22'", "Did you mean wse2?"),
    "--chip none.toml": ("none.toml",),
    "--temperature -1": ("temperature -1.0", "0 (greedy) or more"),
    "--temperature nan": ("temperature nan", "0 (greedy) or more"),
    "--temperature inf": ("temperature inf", "0 (greedy) or more"),
    "--top-p 0": ("top_p 0.0", "above 0"),
    "--top-p 1.5": ("top_p 1.5", "at most 1"),
    "--min-p 2": ("min_p 2.0", "between 0 (off) and 1"),
    "--top-k -2": ("top_k -2", "or 0 or -1 (off)"),
    "--repetition-penalty 0": ("repetition_penalty 0.0", "above 0"),
    "--seed -1": ("seed -1", "2**64"),
    "--max-tokens 0": ("max_tokens 0", "1 or more"),
    "--max-tokens 500": ("with 500 to follow", "holds 128 tokens", "at most 124 new tokens"),
    "--max-len 3": ("prompt of 4 tokens", "holds 3 tokens", "at most 2 tokens"),
    "--max-len 0": ("max_len 0", "at least 1"),
    "--max-len 129": ("max_len 129", "128 positions", "at most 128"),
    "--stop=": ("stop", "one character or more"),
    "--chat": ("no chat template",),
}


@pytest.mark.parametrize("options", OPTIONS)
def test_an_impossible_option_is_named(command: Command, options: str) -> None:
    ran = command("generate", "a b", "--model", str(PLAIN), *options.split())
    refused(ran, *OPTIONS[options])


def test_a_prompt_longer_than_the_cache_is_refused_with_what_would_fit(command: Command) -> None:
    for kv in ("shift", "concat"):
        ran = command("generate", "a b " * 99, "--model", str(PLAIN), "--kv", kv)
        refused(ran, "A prompt of", "holds 128 tokens", "Shorten the prompt to at most 127 tokens")


def test_one_long_prompt_among_several_is_refused_before_any_runs(command: Command) -> None:
    refused(command("generate", "a", "a b " * 99, "--model", str(PLAIN)), "A prompt of")


def test_an_empty_prompt_without_bos_is_refused(command: Command) -> None:
    refused(command("generate", "", "--model", str(NO_BOS)), "empty", "at least one character")


def test_bytes_that_are_not_utf8_are_refused_with_their_place(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes(b"caf\xe9 au lait")
    words = ("not UTF-8", "0xe9", "offset 3")
    refused(command("generate", "--prompt-file", str(file)), "prompt.txt", *words)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    refused(command("generate"), "standard input", *words)
    refused(command("generate", "caf\udce9", "--model", str(PLAIN)), "not valid Unicode")


def test_prompts_from_two_places_or_none_are_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "none.txt")
    refused(command("generate", "a", "--prompt-file", file), "prompts and --prompt-file")
    refused(command("generate", "--prompt-file", file), "none.txt", "No such file")
    refused(command("generate", "--prompt-file", str(tmp_path)), "Is a directory")
    monkeypatch.setattr(sys, "stdin", None)
    refused(command("generate"), "no prompt", "--prompt-file")


PLAN: dict[str, tuple[str, ...]] = {
    "--model lama3-8b": ("'lama3-8b'", "Nearest: llama3-8b"),
    "--model ./llama3-8b": ("./llama3-8b", "config.json"),
    "--prefill-grid 1000x1000": ("prefill grid 1000x1000", "994x750"),
    "--decode-grid 8": ("'8'", "8x8"),
    "--decode-grid 0x9": ("0x9", "at least 1"),
    "--input 0": ("input = 0", "at least 1"),
    "--output -3": ("output = -3", "at least 1"),
    "--batch 0": ("batch = 0", "at least 1"),
    "--gemm strassen": ("'strassen'", "meshgemm, cannon, summa, allgather"),
    "--gemv tree": ("'tree'", "pipeline"),
    "--kv paged": ("'paged'", "shift, concat"),
    "--dtype int8": ("'int8'", "float16"),
    "--chip dojo --dtype float16 --prefill-grid 9x9 --decode-grid 9x9": ("float16", "bfloat16"),
    "--chip wsee3": ("'wsee3'", "Did you mean wse3?"),
}


@pytest.mark.parametrize("options", PLAN)
def test_an_impossible_plan_is_named(command: Command, options: str) -> None:
    refused(command("plan", *options.split()), *PLAN[options])


@pytest.mark.parametrize("name", [f"{'m' * 300}", "a\nb"])
def test_a_strange_model_name_is_still_one_line(command: Command, name: str) -> None:
    refused(command("plan", "--model", name))


def test_an_unknown_chip_is_refused_with_the_nearest(command: Command) -> None:
    refused(command("chips", "blakhole"), "Did you mean blackhole?")
    refused(command("chips", "wse3@silicone"), "Did you mean silicon?")


@pytest.mark.parametrize(
    "arguments", ["generat", "generate --mehs 3x4", "generate --seed x", "plan --input x"]
)
def test_unknown_commands_and_options_exit_with_2(command: Command, arguments: str) -> None:
    ran = command(*arguments.split())
    assert ran.code == 2
    assert ran.out == ""
    assert "Error" in ran.err
    assert "Traceback" not in ran.err
