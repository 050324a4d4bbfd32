"""What a user waits for: the first token from the command on, --help, and a plan. Seconds, wall clock."""

import subprocess
import sys
import time


def until_text(*command: str) -> float:
    """Seconds from starting a command to the first byte that is not the prompt's echo."""
    prompt = b"Once upon a time"
    began = time.perf_counter()
    with subprocess.Popen([*command, prompt.decode()], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(len(prompt) + 1)
        first = time.perf_counter() - began
        process.stdout.read()
    return first


def whole(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    tool = (sys.executable, "-m", "waferllm")
    runs = {
        "--help (bar 0.5 s)": lambda: whole(*tool, "--help"),
        "generate, to the first token (bar 10 s)": lambda: until_text(
            *tool, "generate", "--max-tokens", "8", "--quiet"
        ),
        "plan llama3-8b, whole command": lambda: whole(*tool, "plan", "--model", "llama3-8b"),
    }
    for name, task in runs.items():
        print(f"{name:<44} {min(task() for _ in range(3)):6.2f} s")


if __name__ == "__main__":
    main()
