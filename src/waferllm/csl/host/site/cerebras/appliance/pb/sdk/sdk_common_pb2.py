"""The names under which appliance scripts import the enums."""

from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder

__all__ = ["MemcpyDataType", "MemcpyOrder"]
