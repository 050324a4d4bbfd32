"""The policies need no JAX, nor the models."""

import subprocess
import sys


def test_the_engine_imports_neither_jax_nor_the_models() -> None:
    names = ["core", "params", "request", "sampling", "scheduler", "sequence", "stops"]
    script = (
        f"import sys, {', '.join(f'waferllm.engine.{name}' for name in names)}\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('jax', 'jaxlib')"
        " or m.startswith('waferllm.models')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_scheduler_params_and_sequence_import_no_numpy_either() -> None:
    script = (
        "import sys, waferllm.engine.scheduler\n"
        "print('numpy' in sys.modules, 'waferllm.engine.params' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]
