"""Chat templates: Jinja text from a checkpoint, rendered in a sandbox as transformers does."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from waferllm.errors import CheckpointError, InputError
from waferllm.models.jsonfile import Fields

Message = Mapping[str, Any]
_TEMPLATE_ERRORS = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError),
    *(AttributeError, ArithmeticError, RecursionError),
)


def find_template(path: Path, fields: Fields) -> str | None:
    """A checkpoint's chat template: `chat_template.jinja`, else `tokenizer_config.json`'s.

    Of several named templates the one called "default" is meant. None where there is none.
    """
    file = path / "chat_template.jinja"
    if file.exists():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}.") from None
    value = fields.values.get("chat_template")
    if value is None or isinstance(value, str):
        return value
    try:
        named = {entry["name"]: entry["template"] for entry in value}
    except (TypeError, KeyError):
        raise fields.refuse(
            "chat_template", "a string or a list of {name, template} objects"
        ) from None
    if not isinstance(named.get("default"), str):
        raise fields.refuse("chat_template", "one of the named templates to be called 'default'")
    return named["default"]


def render_chat(
    template: str,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool,
    special_tokens: Mapping[str, Any],
    now: datetime,
) -> str:
    """The text of a conversation.

    Each message has a `role` and a `content`; keys whose value is None are dropped. The template
    sees `messages`, `add_generation_prompt`, `tools` and `documents` (None), and the special
    tokens by name. Raises CheckpointError for a template that is not Jinja, and InputError where
    the template refuses the messages.
    """
    chat = [_plain(message) for message in messages]
    if not chat:
        raise InputError("A chat without messages: give at least one with a role and a content.")
    try:
        compiled = _environment(now).from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise CheckpointError(
            f"the chat template is not valid Jinja: {error.message} (line {error.lineno})."
        ) from None
    try:
        return compiled.render(
            messages=chat,
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **special_tokens,
        )
    except _TEMPLATE_ERRORS as error:
        raise InputError(f"the chat template refuses the messages: {error}") from None


def _plain(message: Message) -> dict[str, Any]:
    """A message as plain JSON values, so that a template meets no object with methods."""
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        raise InputError(
            f"A chat message is {message!r}, expected an object with a role and a content."
        )
    try:
        plain = json.loads(json.dumps(dict(message)))
    except (TypeError, ValueError) as error:
        raise InputError(f"A chat message is not plain JSON: {error}.") from None
    return {key: value for key, value in plain.items() if value is not None}


class _Generation(Extension):
    """`{% generation %}` marks assistant text for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares this class attribute

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> str:
        return caller()


def _environment(now: datetime) -> ImmutableSandboxedEnvironment:
    """The sandbox of transformers' `chat_template_utils`: same trimming, filters and globals."""

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = now.strftime
    return environment
