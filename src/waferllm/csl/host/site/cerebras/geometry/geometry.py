"""Places and rectangles."""

from waferllm.csl.host.geometry import IntRectangle, IntVector

__all__ = ["IntRectangle", "IntVector"]
