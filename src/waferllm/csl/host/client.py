"""`cerebras.sdk.client`: the classes with which scripts of the vendor's cluster compile and run.

Everything happens here and on the simulated machine (source: SDK Appliance API Reference, SDK 2.10).
"""

import shlex
from pathlib import Path
from typing import Any

from waferllm.csl.host.cslc import compile_program, parser
from waferllm.csl.host.runtime import SdkRuntime as LocalRuntime
from waferllm.errors import UnsupportedError


class SdkCompiler:
    """Compiles programs; what the cluster would be asked for (CPUs, memory) has no effect."""

    def __init__(self, **cluster: Any) -> None:
        del cluster

    def __enter__(self) -> "SdkCompiler":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def compile(self, app_path: str, csl_main: str, options: str, out_path: str = ".") -> str:
        """Compile `csl_main` of the folder `app_path` with cslc's options; the compiled folder."""
        chosen = parser().parse_args([str(Path(app_path) / csl_main), *shlex.split(options)])
        chosen.out = Path(out_path) / chosen.out
        compile_program(chosen)
        return str(chosen.out)


class SdkRuntime(LocalRuntime):
    """`SdkRuntime` as a context manager that loads, starts and stops."""

    def __init__(self, artifact_path: str, *, simulator: bool = False, **cluster: Any) -> None:
        del cluster
        if not simulator:
            raise UnsupportedError(
                "got SdkRuntime for a wafer, expected simulator=True: programs run on the simulated "
                "machine only"
            )
        super().__init__(artifact_path)
