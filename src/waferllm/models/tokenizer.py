"""Text to token ids and back, as a checkpoint's `tokenizer.json` and its neighbours say.

`tokenizer.json` alone says how text is cut and, by its post-processor, which special tokens go
around it: the policy of `AutoTokenizer` in transformers 5, which ignores `add_bos_token` where a
`tokenizer.json` exists. One difference: transformers 5 builds another pre-tokenizer for the class
"LlamaTokenizer", so a prompt with a leading space, or text after a special token, may be cut
differently there; we keep the file's, which is how those models were trained.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from waferllm.errors import CheckpointError, InputError, UnsupportedError
from waferllm.models.chat import Message, find_template, render_chat
from waferllm.models.generation import load_generation_defaults
from waferllm.models.jsonfile import Fields, read_json

_NAMED = (
    *("bos_token", "eos_token", "unk_token", "sep_token"),
    *("pad_token", "cls_token", "mask_token"),
)
# Decoders whose text only grows when ids are added, so that it can be shown while it is made.
_STREAMABLE = ("ByteLevel", "Metaspace", "BPEDecoder", "Replace", "ByteFallback", "Fuse", "Strip")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A checkpoint's tokenizer. `eos_ids` are the tokens that end a text, possibly none.

    `silent_ids` are special tokens, which decoding leaves out. `byte_ids` are tokens of one byte
    that a byte-fallback decoder joins; a run of them is text only when the run has ended.
    """

    backend: Backend
    bos_id: int | None
    eos_ids: tuple[int, ...]
    silent_ids: frozenset[int]
    byte_ids: frozenset[int]
    special_tokens: dict[str, str]
    template: str | None

    @property
    def vocab(self) -> int:
        """Tokens known to the tokenizer, added ones among them. A model may have more rows."""
        return self.backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of a prompt, with the beginning-of-sequence token where the checkpoint wants it.

        An empty prompt is that token alone. Raises InputError for text that is not valid Unicode,
        and for an empty prompt of a checkpoint without such a token.
        """
        ids = self._encode(text, special=True)
        if ids:
            return ids
        if self.bos_id is None:
            raise InputError(
                "The prompt is empty and this checkpoint has no beginning-of-sequence token to "
                "start from. Give at least one character."
            )
        return [self.bos_id]

    def chat_text(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
    ) -> str:
        """A conversation as one text by the checkpoint's chat template.

        `now` is what a template's `strftime_now` reads; the clock by default.
        """
        if self.template is None:
            raise InputError(
                "This checkpoint has no chat template (chat_template in tokenizer_config.json, or "
                "chat_template.jinja). Give it a plain prompt instead of a chat."
            )
        return render_chat(
            self.template,
            messages,
            add_generation_prompt=add_generation_prompt,
            special_tokens=self.special_tokens,
            now=now or datetime.now(),
        )

    def apply_chat(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
    ) -> list[int]:
        """Ids of a conversation. The template writes special tokens itself; none are added."""
        text = self.chat_text(messages, add_generation_prompt=add_generation_prompt, now=now)
        ids = self._encode(text, special=False)
        if not ids:
            raise InputError("The chat template made an empty text of the messages.")
        return ids

    def decode(self, ids: Sequence[int], *, context: Sequence[int] = ()) -> str:
        """Text of ids, special tokens left out; ids beyond the vocabulary are silent.

        With `context`, the ids that came before, the text is what continues them: a leading space
        that belongs to the first word is kept.
        """
        stream = self.stream(context)
        stream.window.extend(self._spoken(ids))
        return stream.finish()

    def stream(self, context: Sequence[int] = ()) -> "TextStream":
        """A decoder for ids that arrive one at a time; `context` as in `decode`."""
        for token in reversed(self._spoken(context)):
            if self.anchors(token):
                return TextStream(self, [token], self._decode([token]))
        return TextStream(self, [], "")

    def anchors(self, token: int) -> bool:
        """Whether what follows this token decodes the same whatever came before the token.

        True when it shows something other than space, so that no leading space is stripped after
        it, and when it ends on a character boundary.
        """
        if token in self.byte_ids:
            return False
        text = self._decode([token])
        return bool(text.strip()) and not text.endswith(_REPLACEMENT)

    def speaks(self, token: int) -> bool:
        """Whether an id can show up in a text: known, and not special."""
        if token < 0:
            raise InputError(f"token id {token}, expected zero or more.")
        return token not in self.silent_ids and self.backend.id_to_token(token) is not None

    def _spoken(self, ids: Sequence[int]) -> list[int]:
        return [token for token in map(int, ids) if self.speaks(token)]

    def _decode(self, ids: list[int]) -> str:
        return self.backend.decode(ids, skip_special_tokens=True)

    def _encode(self, text: str, *, special: bool) -> list[int]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"The prompt is not valid Unicode: character {error.start} is half of a surrogate "
                "pair. Was it read from a file that is not UTF-8?"
            ) from None
        return self.backend.encode(text, add_special_tokens=special).ids


@dataclass(eq=False)
class TextStream:
    """Text of a growing list of ids, in pieces that are never taken back.

    The pieces of `push`, then `finish`, concatenate to `Tokenizer.decode` of all ids. A piece ends
    on a character boundary. Owned by one sequence; `window` holds the ids since the last anchor,
    `shown` the part of their text that is out already.
    """

    tokenizer: Tokenizer
    window: list[int]
    shown: str

    def push(self, token: int) -> str:
        """The text that one more id settles; often a word, sometimes nothing."""
        if not self.tokenizer.speaks(token):
            return ""
        self.window.append(token)
        if token in self.tokenizer.byte_ids:
            return ""
        text = self.tokenizer._decode(self.window)
        settled = text.removesuffix(_REPLACEMENT)
        piece = settled[len(self.shown) :]
        self.shown = settled
        if settled == text and self.tokenizer.anchors(token):
            self.window, self.shown = [token], self.tokenizer._decode([token])
        return piece

    def finish(self) -> str:
        """What is still held back: bytes that no further id will complete."""
        text = self.tokenizer._decode(self.window)
        piece = text[len(self.shown) :]
        self.shown = text
        return piece


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a checkpoint directory's `tokenizer.json`, with `tokenizer_config.json`,
    `generation_config.json` and `chat_template.jinja` where they exist.

    Raises CheckpointError for a file that is missing or damaged.
    """
    path = Path(path)
    backend = _backend(path / "tokenizer.json")
    fields = _settings(path)
    special = _special_tokens(fields)
    _add_tokens(backend, fields, special)
    defaults = load_generation_defaults(path)
    bos = _token_id(backend, special, "bos_token", fields.where)
    eos = _token_id(backend, special, "eos_token", fields.where)
    added = backend.get_added_tokens_decoder()
    return Tokenizer(
        backend=backend,
        bos_id=defaults.bos_id if bos is None else bos,
        eos_ids=defaults.eos_ids or (() if eos is None else (eos,)),
        silent_ids=frozenset(token for token, value in added.items() if value.special),
        byte_ids=_byte_ids(backend, path / "tokenizer.json"),
        special_tokens=special,
        template=find_template(path, fields),
    )


def _backend(file: Path) -> Backend:
    """The `tokenizers` object, with padding and truncation off and a decoder that can stream."""
    if not file.exists():
        raise CheckpointError(
            f"{file.parent} has no tokenizer.json. Save it with transformers' fast tokenizer "
            "(AutoTokenizer.from_pretrained(...).save_pretrained(...))."
        )
    decoder = Fields(read_json(file), str(file)).values.get("decoder")
    unknown = sorted(kind for kind in _decoder_kinds(decoder) if kind not in _STREAMABLE)
    if unknown:
        raise UnsupportedError(
            f"not supported: decoder {unknown[0]} in {file}; supported: {', '.join(_STREAMABLE)}."
        )
    try:
        backend = Backend.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise CheckpointError(
            f"{file} is not a tokenizer that this version of tokenizers reads: {error}."
        ) from None
    backend.no_padding()
    backend.no_truncation()
    return backend


def _decoder_kinds(decoder: Any) -> Iterator[str]:
    """Names of the steps of a decoder as `tokenizer.json` has it."""
    if isinstance(decoder, dict):
        if decoder.get("type") == "Sequence":
            for step in decoder.get("decoders") or ():
                yield from _decoder_kinds(step)
        else:
            yield str(decoder.get("type"))


def _settings(path: Path) -> Fields:
    """`tokenizer_config.json`, with the named tokens of a legacy `special_tokens_map.json`."""
    file, legacy = path / "tokenizer_config.json", path / "special_tokens_map.json"
    values = read_json(file) if file.exists() else {}
    if "added_tokens_decoder" not in values and legacy.exists():
        values = values | read_json(legacy)
    return Fields(values, str(file))


def _special_tokens(fields: Fields) -> dict[str, str]:
    """Named special tokens as text; each is a string or an object with a `content`."""
    tokens = {}
    for key in _NAMED:
        value = fields.values.get(key)
        content = value.get("content") if isinstance(value, dict) else value
        if content is None:
            continue
        if not isinstance(content, str):
            raise fields.refuse(key, "a token")
        tokens[key] = content
    return tokens


def _add_tokens(backend: Backend, fields: Fields, special: dict[str, str]) -> None:
    """Tokens that only `tokenizer_config.json` knows, at the ids it gives; special ones marked."""
    for key, value in sorted(fields.section("added_tokens_decoder").items(), key=_id_order):
        content = value.get("content") if isinstance(value, dict) else None
        if not isinstance(content, str) or not key.isdecimal():
            raise fields.refuse("added_tokens_decoder", "ids with objects that have a content")
        if backend.token_to_id(content) is None:
            backend.add_tokens([AddedToken(content, special=bool(value.get("special")))])
        if backend.token_to_id(content) != int(key):
            raise CheckpointError(
                f"{fields.where} gives token {content!r} the id {key}, tokenizer.json gives it "
                f"{backend.token_to_id(content)}. Copy both files again."
            )
    extra = fields.values.get("additional_special_tokens") or []
    names = [item.get("content") if isinstance(item, dict) else item for item in extra]
    for token in (*special.values(), *names):
        if isinstance(token, str) and backend.token_to_id(token) is not None:
            backend.add_special_tokens([AddedToken(token, special=True, normalized=False)])


def _id_order(item: tuple[str, Any]) -> tuple[int, str]:
    return len(item[0]), item[0]


def _token_id(backend: Backend, special: dict[str, str], key: str, where: str) -> int | None:
    """The id of a named token, if it is named. Raises CheckpointError for a name without an id."""
    if key not in special:
        return None
    token = backend.token_to_id(special[key])
    if token is None:
        raise CheckpointError(
            f"{where} says {key} = {special[key]!r}, which is not in tokenizer.json. "
            "Copy both files again."
        )
    return token


def _byte_ids(backend: Backend, file: Path) -> frozenset[int]:
    """Ids of `<0x00>` … `<0xFF>`, if the decoder joins them to characters."""
    if "ByteFallback" not in _decoder_kinds(read_json(file).get("decoder")):
        return frozenset()
    ids = (backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
    return frozenset(token for token in ids if token is not None)
