"""Compiling and running as on the vendor's cluster."""

from waferllm.csl.host import sdk_utils
from waferllm.csl.host.client import SdkCompiler, SdkRuntime
from waferllm.csl.host.debug import debug_util

__all__ = ["SdkCompiler", "SdkRuntime", "debug_util", "sdk_utils"]
