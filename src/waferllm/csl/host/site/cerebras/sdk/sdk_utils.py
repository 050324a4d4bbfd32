"""Conversions between 16-bit data and the link's 32-bit words."""

from waferllm.csl.host.sdk_utils import calculate_cycles, input_array_to_u32, memcpy_view

__all__ = ["calculate_cycles", "input_array_to_u32", "memcpy_view"]
