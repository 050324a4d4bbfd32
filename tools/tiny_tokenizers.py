"""Tiny tokenizers for tests/fixtures, one for each style that the supported families use.

    words    97 tokens, Metaspace, BOS by the post-processor (like SentencePiece, no bytes)
    llama2   byte fallback, Prepend normalizer, several named chat templates; its
             tokenizer_config.json denies the BOS that its post-processor adds, which wins
    llama3   byte level, BOS by a sequence of post-processors, template in chat_template.jinja
    chatml   byte level, no BOS, ChatML template (like Qwen)

Beside each lies `expected.json`: ids, texts and chats by transformers' AutoTokenizer.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors as post
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer

TOKENIZERS = ("words", "llama2", "llama3", "chatml")
CORPUS = [
    "Once upon a time there was a wafer that held a million little cores.",
    "Each core could speak to its neighbours, and only to its neighbours.",
    "They sent their numbers two steps to the left and two steps to the right,",
    "and when the ring had turned once, all of them knew the whole product.",
    "The host asked: how long did it take? The wafer said: I did not count, you did!",
]
TEXTS = [
    *("", "Once upon a time", " leading space", "trailing space ", "two  spaces   three"),
    *(
        "line\nbreak\n\n",
        "tabs\tand €uro, naïve café",
        "emoji 🎉🎊 and 漢字",
        "wafer, core: 1234567890",
    ),
    *("<s>special</s> inside<s>", "<|im_start|>user", "\x00control\x7f", "é", "a"),
]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  How many cores?  "},
    {"role": "assistant", "content": "A million."},
    {"role": "user", "content": 'Say "it" again, <b>naïvely</b>.'},
]
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a wafer.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% set ns = namespace(system='') %}{% if messages[0]['role'] == 'system' %}"
    "{% set ns.system = '<<SYS>>' + messages[0]['content'] + '<</SYS>> ' %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' }}"
    "{% if loop.first %}{{ ns.system }}{% endif %}{{ message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = """{{- bos_token }}
{%- if tools is not none %}
    {{- "tools" }}
{%- endif %}
{% for message in messages %}
    {%- if message.role == "nobody" %}
        {%- break %}
    {%- endif %}
    {{- "<|head|>" + message.role + "<|tail|>\\n\\n" }}
    {%- generation %}
    {{- message.content | trim | tojson }}
    {%- endgeneration %}
    <|eot|>
{% endfor %}
{%- if add_generation_prompt %}
    {{- "<|head|>assistant<|tail|>\\n\\n" }}
{%- endif %}
"""


def words() -> tuple[Tokenizer, dict[str, Any]]:
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.train_from_iterator(CORPUS, trainer(97, ["<unk>", "<s>", "</s>"]))
    tok.post_processor = begin("<s>", 1)
    return tok, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def llama2() -> tuple[Tokenizer, dict[str, Any]]:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tok.train_from_iterator(CORPUS, trainer(360, ["<unk>", "<s>", "</s>", *bytes_]))
    model = json.loads(tok.to_str())
    keep = [token for token in model["added_tokens"] if token["content"] not in bytes_]
    model |= {"added_tokens": keep, "pre_tokenizer": None}
    tok = Tokenizer.from_str(json.dumps(model))
    tok.decoder = decoders.Sequence(
        [
            *(decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tok.post_processor = begin("<s>", 1)
    template = [
        {"name": "default", "template": LLAMA2},
        {"name": "tool_use", "template": "{{ raise_exception('tools') }}"},
    ]
    return tok, {
        "bos_token": {"content": "<s>", "__type": "AddedToken", "special": True},
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": False,
        "chat_template": template,
    }


def begin(token: str, id_: int) -> post.TemplateProcessing:
    """A post-processor that puts one token before every text."""
    return post.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, id_)])


def byte_level(vocab: int, special: list[str]) -> Tokenizer:
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(CORPUS, trainer(vocab, [], alphabet=sorted(alphabet)))
    tok.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tok


def llama3() -> tuple[Tokenizer, dict[str, Any]]:
    tok = byte_level(290, ["<|begin|>", "<|end|>", "<|head|>", "<|tail|>", "<|eot|>"])
    bos = begin("<|begin|>", tok.token_to_id("<|begin|>"))
    tok.post_processor = post.Sequence([post.ByteLevel(trim_offsets=False), bos])
    return tok, {"bos_token": "<|begin|>", "eos_token": "<|eot|>"}


def chatml() -> tuple[Tokenizer, dict[str, Any]]:
    tok = byte_level(290, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tok.post_processor = post.ByteLevel(trim_offsets=False)
    return tok, {
        "add_bos_token": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "chat_template": CHATML,
    }


def trainer(vocab: int, special: list[str], alphabet: list[str] | None = None) -> BpeTrainer:
    return BpeTrainer(
        vocab_size=vocab,
        special_tokens=special,
        initial_alphabet=alphabet or [],
        show_progress=False,
    )


def write_tokenizer(name: str, path: Path) -> None:
    """Write one tokenizer's files and what transformers makes of them."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    builders = {"words": words, "llama2": llama2, "llama3": llama3, "chatml": chatml}
    backend, config = builders[name]()
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (path / "tokenizer.json").write_text(backend.to_str(pretty=False) + "\n", encoding="utf-8")
    text = json.dumps(config, indent=1, ensure_ascii=False)
    (path / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    if name == "llama3":
        (path / "chat_template.jinja").write_text(LLAMA3, encoding="utf-8")
    text = json.dumps(expected_of(path), indent=1, ensure_ascii=False)
    (path / "expected.json").write_text(text + "\n", encoding="utf-8")


def expected_of(path: Path) -> dict[str, Any]:
    """Ids and decoded text of each of TEXTS, and the chat, by AutoTokenizer on the same files."""
    tok = AutoTokenizer.from_pretrained(path)
    rows = []
    for text in TEXTS:
        ids = tok(text)["input_ids"]
        rows.append(
            {"text": text, "ids": ids, "decoded": tok.decode(ids, skip_special_tokens=True)}
        )
    expected: dict[str, Any] = {"texts": rows}
    if tok.chat_template:
        expected["chats"] = [
            {
                "messages": CHAT[start:],
                "add_generation_prompt": prompt,
                "text": tok.apply_chat_template(
                    CHAT[start:], tokenize=False, add_generation_prompt=prompt
                ),
                "ids": tok.apply_chat_template(
                    CHAT[start:], add_generation_prompt=prompt, return_dict=False
                ),
            }
            for start in (0, 1)
            for prompt in (False, True)
        ]
    return expected
