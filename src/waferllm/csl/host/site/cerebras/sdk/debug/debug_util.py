"""Variables and traces of a finished run."""

from waferllm.csl.host.debug import debug_util

__all__ = ["debug_util"]
