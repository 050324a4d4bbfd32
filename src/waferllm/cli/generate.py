"""`waferllm generate`: text, streamed as the simulated wafer produces it, and a short report."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from waferllm.errors import InputError

DEFAULT_TOKENS = 200


def generate(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(help="Prompts; several run as one batch. An empty one is BOS alone."),
    ] = None,
    prompt_file: Annotated[
        list[Path] | None,
        typer.Option(help="A file whose whole text is a prompt; may be repeated."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint directory (Hugging Face layout).", show_default="the shipped one"
        ),
    ] = None,
    mesh: Annotated[
        str, typer.Option(help="Simulated cores, rows x columns (or devices).")
    ] = "8x8",
    prefill_mesh: Annotated[
        str | None, typer.Option(help="Another mesh for prefill.", show_default="as --mesh")
    ] = None,
    kv: Annotated[str, typer.Option(help="KV cache: shift or concat.")] = "shift",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16, or auto (the checkpoint's).")
    ] = "float32",
    chip: Annotated[
        str, typer.Option(help="Chip for the PLMR report: a name, or a TOML file.")
    ] = "wse2",
    grid: Annotated[
        str | None,
        typer.Option(
            help="Cores on the chip for the PLMR report.", show_default="chosen for the model"
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Output tokens at most.",
            show_default=f"the checkpoint's, else {DEFAULT_TOKENS}; or what fits",
        ),
    ] = None,
    max_len: Annotated[
        int | None,
        typer.Option(
            help="Tokens of prompt and output that the KV cache holds.",
            show_default="the model's, at most 2048",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy.", show_default="the checkpoint's")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k likeliest; 0 keeps all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus probability.")] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Keep tokens at least so likely, relative to the likeliest."),
    ] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="1 is none.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; may be repeated.")
    ] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Go on after end of sequence.")
    ] = False,
    chat: Annotated[
        bool, typer.Option("--chat", help="Wrap prompts in the chat template.")
    ] = False,
    devices: Annotated[
        bool, typer.Option("--devices", help="One JAX device per core instead of simulation.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The text alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Generate text from a checkpoint on a simulated wafer."""
    texts = _prompts(prompts, prompt_file)
    asked = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed,
        "repetition_penalty": repetition_penalty,
    }  # fmt: skip
    from waferllm.cli.session import Session

    session = Session.open(
        model=model, chip=chip, grid=grid, chat=chat, quiet=quiet, as_json=as_json,
        options={
            "mesh": mesh, "prefill_mesh": prefill_mesh, "kv": kv, "dtype": dtype, "max_len": max_len,
            "devices": devices,
        },
    )  # fmt: skip
    session.run(
        texts,
        sampling={k: v for k, v in asked.items() if v is not None},
        ending={"max_tokens": max_tokens, "stop": tuple(stop or ()), "ignore_eos": ignore_eos},
    )


def _prompts(arguments: list[str] | None, paths: list[Path] | None) -> list[str]:
    """Prompts from the arguments, else files, else standard input."""
    if arguments and paths:
        raise InputError("got prompts and --prompt-file as well; give one or the other.")
    if arguments:
        return arguments
    if paths:
        return [_read(path) for path in paths]
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            'no prompt: give one as an argument (waferllm generate "Once upon a time"), with '
            "--prompt-file, or on standard input."
        )
    return [_decode(sys.stdin.buffer.read(), "standard input")]


def _read(path: Path) -> str:
    try:
        return _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"prompt file {path} cannot be read: {error.strerror or error}.") from None


def _decode(data: bytes, where: str) -> str:
    """UTF-8 text without the newline that ends the last line."""
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}. "
            "Convert it, for example with iconv."
        ) from None
