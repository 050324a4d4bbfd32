"""`waferllm plan` prints tables or one JSON object; a mistake is one sentence and exit code 2."""

import json

import pytest

from waferllm.cli.app import main


def run(capsys, *arguments):
    """(exit code, standard output, standard error) of one command."""
    with pytest.raises(SystemExit) as stop:
        main(["plan", *arguments])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


def test_json_is_one_object(capsys):
    code, out, _ = run(capsys, "--model", "qwen3-8b", "--decode-grid", "300x300", "--json")
    data = json.loads(out)
    assert code in (0, None)
    assert data["model"]["name"] == "qwen3-8b"
    assert data["decode"]["grid"] == [300, 300]
    assert data["decode"]["layers_per_region"] > 0


def test_tables_name_the_model_and_say_predicted(capsys):
    code, out, _ = run(capsys, "--model", "llama2-13b", "--kv", "concat", "--gemm", "summa")
    assert code in (0, None)
    assert "llama2-13b" in out
    assert "predicted" in out
    assert "summa *" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--prefill-grid", "2000x2000"),
        ("--decode-grid", "0x4"),
        ("--model", "no-such-model"),
        ("--chip", "no-such.toml"),
        ("--kv", "paged"),
        ("--output", "0"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
