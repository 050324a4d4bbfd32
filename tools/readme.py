"""Keep README.md and docs/explorer.md honest.

    python tools/readme.py            run their Python blocks, and look up every test they name
    python tools/readme.py --update   run their console blocks as well, and write what they print

A console block is one command after `$ `, then its output. Commands run in the repository's root.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXTS = (ROOT / "README.md", ROOT / "docs" / "explorer.md")
CONSOLE = re.compile(r"```console\n\$ (.+)\n[^`]*```")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
COLUMNS = "90"


def run_python(text: str, name: str) -> None:
    """All Python blocks of a text, in order, as one program."""
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=16"
    names: dict[str, object] = {}
    for block in PYTHON.findall(text):
        exec(compile(block, name, "exec"), names)


def missing(text: str, folder: Path) -> list[str]:
    """Tests and files that a text names and that are not there."""
    lost = [link for link in LINK.findall(text) if not (folder / link).exists()]
    for file, test in TEST.findall(text):
        path = ROOT / file
        if not path.exists() or not re.search(rf"(def|class) {test}\b", path.read_text("utf-8")):
            lost.append(f"{file}::{test}")
    return lost


def update(match: re.Match[str]) -> str:
    command = match[1]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": paths, "COLUMNS": COLUMNS},
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode not in (0, 2):
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr}")
    shown = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines())
    return f"```console\n$ {command}\n{shown.strip()}\n```"


def main() -> None:
    for path in TEXTS:
        text = path.read_text("utf-8")
        if "--update" in sys.argv[1:]:
            text = CONSOLE.sub(update, text)
            path.write_text(text, "utf-8")
        run_python(text, path.name)
        if lost := missing(text, path.parent):
            raise SystemExit(f"{path.name} names what is not there: {', '.join(lost)}")
        print(f"{path.name}: its Python blocks run, its links and tests exist")


if __name__ == "__main__":
    main()
