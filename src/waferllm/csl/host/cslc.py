"""`cslc`: the compiler's command line, with the options that published command files use.

Options that only concern the vendor's own tools are accepted and do nothing; they are listed in
`WITHOUT_EFFECT`. An option that is in neither place is an error.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from waferllm.csl import types as t
from waferllm.csl.compile import read_colors, read_params
from waferllm.csl.diagnostics import CslError
from waferllm.csl.target import Target
from waferllm.csl.values import Value
from waferllm.errors import InputError, WaferError

# Columns and rows beside the program that the host link takes (source: the SDK's memcpy documentation).
MARGIN = (7, 2)
FAILED = 1
WITHOUT_EFFECT = {
    "--memcpy": "the host link is always there",
    "--channels": "the host link's time is not simulated",
    "--width-west-buf": "buffers of the host link",
    "--width-east-buf": "buffers of the host link",
    "--max-inlined-iterations": "there is no limit",
    "--max-parallelism": "each code is compiled once",
}
FLAGS = ("--memcpy", "--verbose")


def parser() -> argparse.ArgumentParser:
    """The options, with their help."""
    made = argparse.ArgumentParser(
        prog="cslc", description="Compile a CSL program.", allow_abbrev=False
    )
    made.add_argument("layout", type=Path, help="the file with the layout block")
    made.add_argument("--arch", default="wse2", choices=["wse2", "wse3"])
    made.add_argument("--fabric-dims", type=_pair, help="WIDTH,HEIGHT of the fabric")
    made.add_argument("--fabric-offsets", type=_pair, help="X,Y of the program in it")
    made.add_argument("--params", action="append", default=[], help="name:value,…")
    made.add_argument("--colors", action="append", default=[], help="name:number,…")
    made.add_argument("--import-path", action="append", default=[], type=Path)
    made.add_argument("--fp16-format", default="f16", choices=list(t.FP16_FORMATS))
    made.add_argument("-o", dest="out", type=_after_equals, default=Path("out"))
    made.add_argument("--verbose", action="store_true", help="say which code is compiled")
    for name, why in WITHOUT_EFFECT.items():
        made.add_argument(
            name,
            action="store_true" if name in FLAGS else "store",
            help=f"accepted without effect: {why}",
        )
    return made


def _after_equals(text: str) -> Path:
    # Published scripts write both `-o out` and `-o=out`.
    return Path(text.removeprefix("="))


def _pair(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected two whole numbers such as 11,3")
    return int(parts[0]), int(parts[1])


def target_of(options: argparse.Namespace) -> Target:
    """What the options say that the program is compiled for."""
    default = Target()
    return Target(
        arch=options.arch,
        fabric=options.fabric_dims or default.fabric,
        offsets=options.fabric_offsets or default.offsets,
        fp16=t.FP16_FORMATS[options.fp16_format],
    )


def params_of(options: argparse.Namespace) -> dict[str, Value]:
    """All `--params` and `--colors`; raises `InputError` if a name is given twice."""
    found: dict[str, Value] = {}
    groups = [read_params(text) for text in options.params]
    for group in [*groups, *(read_colors(text) for text in options.colors)]:
        for name, value in group.items():
            if name in found:
                raise InputError(f"got {name} twice, expected each name once")
            found[name] = value
    return found


def check_fits(rectangle: tuple[int, int], target: Target) -> None:
    """Raise `InputError` if the rectangle and the host link beside it do not fit on the fabric."""
    for side, name in enumerate(("width", "height")):
        needed = rectangle[side] + MARGIN[side]
        if target.fabric[side] < needed:
            raise InputError(
                f"got a fabric of {name} {target.fabric[side]} for a program of {name} "
                f"{rectangle[side]}, expected at least {needed}: the host link takes {MARGIN[side]}. "
                "Give a larger --fabric-dims"
            )


def compile_program(options: argparse.Namespace) -> None:
    """Compile, and write the folder that `SdkRuntime` loads; raises `CslError` or `InputError`."""
    from waferllm.csl.host.program import build

    target = target_of(options)
    program = build(
        options.layout,
        params_of(options),
        target=target,
        import_paths=options.import_path,
        progress=print if options.verbose else lambda _: None,
    )
    check_fits(program.meta.rectangle, target)
    program.save(options.out)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        compile_program(options)
    except CslError as error:
        print(error, file=sys.stderr)
        return FAILED
    except WaferError as error:
        print(f"cslc: {error}", file=sys.stderr)
        return FAILED
    print(f"Compilation successful: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
