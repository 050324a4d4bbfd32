"""`cs_python`: runs a host script with the modules `cerebras.*` importable."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from waferllm.csl.host.widening import run_script
from waferllm.errors import WaferError

SITE = Path(__file__).parent / "site"
BIN = Path(__file__).parent / "bin"
PROFILE_VARIABLE = "WAFERLLM_PROFILE"  # of `waferllm csl env`: unmodified scripts name no profile
MISTAKE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script, or Python's `-c` and `-m`; a mistake is told in one sentence with its line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"-h", "--help"}:
        print("usage: cs_python SCRIPT [ARGUMENT …]", file=sys.stderr)
        return 0 if given else MISTAKE
    script = Path(given[0])
    if not script.is_file():
        print(f"cs_python: got {script}, expected a Python script", file=sys.stderr)
        return MISTAKE
    sys.path[:0] = [str(script.parent.resolve()), str(SITE)]
    sys.argv = given
    try:
        run_script(script)
    except WaferError as error:
        print(f"{_where(error, script)}: {error}", file=sys.stderr)
        return MISTAKE
    return 0


def _where(error: BaseException, script: Path) -> str:
    """The script's line from which the error came."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == script.resolve()
    ]
    return f"{script}:{lines[-1]}" if lines else str(script)


if __name__ == "__main__":
    sys.exit(main())
