"""Tokenizers: ids, texts and chats are those of transformers; pieces of a stream add up."""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.support import FIXTURES, TOKENIZERS, expected_texts, stories260k
from waferllm.errors import CheckpointError, InputError, UnsupportedError
from waferllm.models.generation import GenerationDefaults, load_generation_defaults
from waferllm.models.tokenizer import Tokenizer, load_tokenizer

LOADED = {name: load_tokenizer(FIXTURES / "tokenizers" / name) for name in TOKENIZERS}
USER = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def copy(tmp_path: Path):
    """A function that copies a tokenizer's files to a directory where they may be changed."""

    def make(name: str = "llama2", **settings) -> Path:
        path = Path(shutil.copytree(FIXTURES / "tokenizers" / name, tmp_path / name))
        file = path / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")
        return path

    return make


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_and_texts_are_those_of_transformers(name: str) -> None:
    tokenizer = LOADED[name]
    for row in expected_texts(name)["texts"]:
        if row["ids"]:
            assert tokenizer.encode(row["text"]) == row["ids"]
        assert tokenizer.decode(row["ids"]) == row["decoded"]


@pytest.mark.parametrize("name", ["llama2", "llama3", "chatml"])
def test_chats_are_those_of_transformers(name: str) -> None:
    for row in expected_texts(name)["chats"]:
        options = {"add_generation_prompt": row["add_generation_prompt"]}
        assert LOADED[name].chat_text(row["messages"], **options) == row["text"]
        assert LOADED[name].apply_chat(row["messages"], **options) == row["ids"]


def test_an_empty_prompt_is_the_begin_token_alone(copy) -> None:
    assert LOADED["words"].encode("") == [1]
    assert LOADED["llama3"].encode("") == [290]
    path = copy("chatml")
    with pytest.raises(InputError, match="empty and this checkpoint has no beginning"):
        load_tokenizer(path).encode("")
    (path / "generation_config.json").write_text('{"bos_token_id": 290}')
    assert load_tokenizer(path).encode("") == [290]


def test_ends_come_from_generation_config_then_config_then_the_named_token(copy) -> None:
    path = copy("chatml")
    assert load_tokenizer(path).eos_ids == (292,)
    (path / "config.json").write_text('{"eos_token_id": 291, "bos_token_id": 7}')
    assert load_tokenizer(path).eos_ids == (291,)
    (path / "generation_config.json").write_text('{"eos_token_id": [292, 290, 292]}')
    assert load_tokenizer(path).eos_ids == (292, 290)
    assert load_tokenizer(path).bos_id == 7


def test_the_shared_tokenizer_begins_with_one_and_speaks_english() -> None:
    tokenizer = load_tokenizer(stories260k())
    assert (tokenizer.vocab, tokenizer.bos_id, tokenizer.eos_ids) == (512, 1, (2,))
    assert tokenizer.encode("") == [1]
    text = "Once upon a time, Lily's café cost 5 € 🎉."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text)[:2] == [1, 403]


def ids_of(name: str) -> st.SearchStrategy[list[int]]:
    """Any ids, some beyond the vocabulary, with runs of byte tokens, spaces and special tokens."""
    tokenizer = LOADED[name]
    odd = [*sorted(tokenizer.byte_ids), *sorted(tokenizer.silent_ids)]
    odd += [tokenizer.backend.token_to_id(token) or 0 for token in ("▁", "Ġ", "Ċ", "ï", "¿", "½")]
    return st.lists(st.one_of(st.integers(0, tokenizer.vocab + 3), st.sampled_from(odd)))


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
def test_pieces_of_any_stream_add_up_to_the_whole_text(name: str, data) -> None:
    ids = data.draw(ids_of(name))
    whole = LOADED[name].backend.decode(ids, skip_special_tokens=True)
    assert LOADED[name].decode(ids) == whole
    stream = LOADED[name].stream()
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == whole
    assert stream.finish() == ""


@pytest.mark.parametrize("name", ["llama2", "llama3", "chatml"])
@given(text=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\ufffd")))
def test_no_piece_ends_within_a_character(name: str, text: str) -> None:
    stream = LOADED[name].stream()
    ids = LOADED[name].backend.encode(text, add_special_tokens=False).ids
    pieces = [stream.push(token) for token in ids] + [stream.finish()]
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("name", ["words", "llama2", "llama3", "chatml"])
@given(cut=st.integers(1, 30))
def test_a_continuation_keeps_the_space_before_its_first_word(name: str, cut: int) -> None:
    tokenizer = LOADED[name]
    ids = tokenizer.encode("wafer  and core and  ring once a time")
    cut = min(cut, len(ids))
    before, after = tokenizer.decode(ids[:cut]), tokenizer.decode(ids[cut:], context=ids[:cut])
    if before.strip():
        assert before + after == "wafer  and core and  ring once a time"
    stream = tokenizer.stream(ids[:cut])
    assert "".join([stream.push(token) for token in ids[cut:]]) + stream.finish() == after


def test_a_long_stream_keeps_a_short_window() -> None:
    stream = LOADED["llama2"].stream()
    for token in LOADED["llama2"].encode("the wafer, héllo 🎉 ") * 50:
        stream.push(token)
        assert len(stream.window) < 12


def test_prompts_that_are_not_unicode_and_negative_ids_are_refused() -> None:
    with pytest.raises(InputError, match="not valid Unicode: character 2"):
        LOADED["llama2"].encode("ab\udcff")
    with pytest.raises(InputError, match="token id -1"):
        LOADED["llama2"].decode([5, -1])


def test_padding_and_truncation_of_the_file_are_not_applied(copy) -> None:
    path = copy()
    tokenizer = load_tokenizer(path)
    tokenizer.backend.enable_padding(length=64)
    tokenizer.backend.enable_truncation(3)
    tokenizer.backend.save(str(path / "tokenizer.json"))
    assert load_tokenizer(path).encode("the wafer") == LOADED["llama2"].encode("the wafer")


def test_tokens_that_only_the_settings_know_are_added_at_their_ids(copy) -> None:
    size = LOADED["words"].vocab
    added = {str(size): {"content": "<|call|>", "special": True}}
    tokenizer = load_tokenizer(copy("words", added_tokens_decoder=added))
    assert tokenizer.encode("a<|call|>")[-1] == size
    assert size in tokenizer.silent_ids
    path = copy("llama2", added_tokens_decoder={"500": {"content": "<|wrong|>"}})
    with pytest.raises(CheckpointError, match=r"gives token '<\|wrong\|>' the id 500"):
        load_tokenizer(path)


def test_legacy_special_tokens_map_is_read(copy) -> None:
    path = copy("words", bos_token=None)
    (path / "special_tokens_map.json").write_text('{"bos_token": {"content": "<s>"}}')
    assert load_tokenizer(path).bos_id == 1


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", "{", "not valid JSON"),
        ("tokenizer.json", '{"version": "1.0"}', "not a tokenizer that this version"),
        ("tokenizer_config.json", "[]", "holds a list"),
        ("tokenizer_config.json", '{"bos_token": "<nope>"}', "'<nope>', which is not in"),
        ("tokenizer_config.json", '{"eos_token": 3}', "eos_token = 3, expected a token"),
        ("tokenizer_config.json", '{"chat_template": 3}', "chat_template = 3"),
        ("tokenizer_config.json", '{"chat_template": [{"name": "x"}]}', "a string or a list"),
        (
            "tokenizer_config.json",
            '{"chat_template": [{"name": "rag", "template": ""}]}',
            "to be called 'default'",
        ),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"a": {}}}', "added_tokens_decoder"),
        ("generation_config.json", '{"temperature": "hot"}', "temperature = 'hot'"),
    ],
)
def test_damaged_files_are_refused_in_one_sentence(copy, file, content, says) -> None:
    path = copy()
    if content is None:
        (path / file).unlink()
    else:
        (path / file).write_text(content)
    with pytest.raises(CheckpointError, match=says) as caught:
        load_tokenizer(path)
    assert "\n" not in str(caught.value)


def test_a_decoder_that_cannot_stream_is_refused(copy) -> None:
    path = copy()
    values = json.loads((path / "tokenizer.json").read_text("utf-8"))
    values["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    (path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(UnsupportedError, match=r"decoder WordPiece .* supported: ByteLevel"):
        load_tokenizer(path)


def test_a_chat_needs_a_template_and_messages_it_accepts() -> None:
    with pytest.raises(InputError, match="no chat template"):
        LOADED["words"].apply_chat(USER)
    with pytest.raises(InputError, match="roles must alternate"):
        LOADED["llama2"].apply_chat(USER * 2)
    for messages, says in (
        ([], "without messages"),
        (["hi"], "expected an object"),
        ([{"role": "user"}], "a role and a content"),
        ([{"role": "user", "content": {1, 2}}], "not plain JSON"),
    ):
        with pytest.raises(InputError, match=says):
            LOADED["chatml"].apply_chat(messages)


def with_template(copy, template: str) -> Tokenizer:
    path = copy("llama3")
    (path / "chat_template.jinja").write_text(template, "utf-8")
    return load_tokenizer(path)


def test_a_template_reads_the_date_it_is_given(copy) -> None:
    tokenizer = with_template(copy, "{{ strftime_now('%d %b %Y') }}")
    assert tokenizer.chat_text(USER, now=datetime(2024, 7, 26)) == "26 Jul 2024"


@pytest.mark.parametrize(
    ("template", "error", "says"),
    [
        ("{% for x in %}", CheckpointError, "not valid Jinja"),
        ("{{ messages[0].content.nothing.more }}", InputError, "refuses the messages"),
        ("{{ messages + 3 }}", InputError, "refuses the messages"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", InputError, "unsafe"),
        ("{{ messages.append(1) }}", InputError, "refuses the messages"),
        ("{{ '' }}", InputError, "empty text"),
    ],
)
def test_a_template_cannot_break_out(copy, template, error, says) -> None:
    with pytest.raises(error, match=says):
        with_template(copy, template).apply_chat(USER)


def test_generation_defaults_are_read_strictly(tmp_path) -> None:
    assert load_generation_defaults(tmp_path) == GenerationDefaults()
    file = tmp_path / "generation_config.json"
    file.write_text('{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20}')
    told = GenerationDefaults(do_sample=True, temperature=0.6, top_p=0.9, top_k=20)
    assert load_generation_defaults(tmp_path) == told
    (tmp_path / "config.json").write_text('{"bos_token_id": 1, "eos_token_id": [2, 3]}')
    assert load_generation_defaults(tmp_path).eos_ids == (2, 3)
    for values in ('{"top_p": 1.5}', '{"min_p": -0.5}', '{"temperature": -0.5}', '{"top_k": -1}'):
        file.write_text(values)
        with pytest.raises(CheckpointError, match=values.split('"')[1]):
            load_generation_defaults(tmp_path)


def test_the_chat_fixture_says_how_to_sample() -> None:
    defaults = load_generation_defaults(FIXTURES / "qwen2-chat")
    assert (defaults.eos_ids, defaults.bos_id) == ((292, 290), None)
    assert (defaults.temperature, defaults.top_p, defaults.top_k) == (0.7, 0.8, 20)


def test_reading_a_checkpoint_does_not_import_jax() -> None:
    modules = "checkpoint, config, registry, rope, tokenizer"
    code = f"import sys; from waferllm.models import {modules}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
