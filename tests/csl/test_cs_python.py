"""`cs_python` runs published host scripts, written for NumPy 1, with the counts that they had there."""

import subprocess
from pathlib import Path

import pytest

from waferllm.csl.host.conform import environment

CLOCK = """\
import numpy as np
from clocks import make_u48  # beside this script

words = np.array([0xBEEF, 0xDEAD, 3], np.uint16)
print(make_u48(words), make_u48(words) - make_u48(np.array([1, 2, 0], np.uint16)))
print(1 << 3, (np.arange(3) << 1).tolist(), __name__)
"""
HELPER = "def make_u48(words):\n    return words[0] + (words[1] << 16) + (words[2] << 32)\n"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    asked = ["cs_python", str(script), *arguments]
    return subprocess.run(asked, env=environment(), capture_output=True, text=True, check=False)


def test_words_of_a_clock_are_put_together_as_under_numpy_1(tmp_path: Path) -> None:
    (tmp_path / "clocks.py").write_text(HELPER)
    script = tmp_path / "host.py"
    script.write_text(CLOCK)
    done = run(script)
    whole = 0xBEEF + (0xDEAD << 16) + (3 << 32)
    assert done.stdout == f"{whole} {whole - 1 - (2 << 16)}\n8 [0, 2, 4] __main__\n"


@pytest.mark.parametrize("text", ["raise ValueError('its own')\n", "def broken(:\n"])
def test_a_scripts_own_error_names_its_line(tmp_path: Path, text: str) -> None:
    script = tmp_path / "host.py"
    script.write_text("import sys\n" + text)
    done = run(script)
    assert done.returncode == 1
    assert "host.py" in done.stderr
    assert "line 2" in done.stderr
