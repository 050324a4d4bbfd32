"""Keep README.md honest.

    python tools/readme.py            run its Python blocks, and look up every test it names
    python tools/readme.py --update   run its console blocks as well, and write what they print

A console block is one command after `$ `, then its output. Commands run in the repository's root.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONSOLE = re.compile(r"```console\n\$ (.+)\n[^`]*```")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
COLUMNS = "90"


def run_python(readme: str) -> None:
    """All Python blocks, in order, as one program."""
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=16"
    names: dict[str, object] = {}
    for block in PYTHON.findall(readme):
        exec(compile(block, str(README), "exec"), names)


def missing(readme: str) -> list[str]:
    """Tests and files that the README names and that are not there."""
    lost = [link for link in LINK.findall(readme) if not (ROOT / link).exists()]
    for file, test in TEST.findall(readme):
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
    readme = README.read_text("utf-8")
    if "--update" in sys.argv[1:]:
        readme = CONSOLE.sub(update, readme)
        README.write_text(readme, "utf-8")
    run_python(readme)
    if lost := missing(readme):
        raise SystemExit(f"README.md names what is not there: {', '.join(lost)}")
    print("README.md: its Python blocks run, its links and tests exist")


if __name__ == "__main__":
    main()
