"""`sdk_utils`, the runtime and its tools."""

from waferllm.csl.host import sdk_utils

__all__ = ["sdk_utils"]
