"""The host runtime and the layout classes."""

from waferllm.csl.host.arrays import MemcpyDataType, MemcpyOrder
from waferllm.csl.host.platform import (
    FP16TYPE,
    SdkCompileArtifacts,
    SdkExecutionPlatform,
    SdkTarget,
    SimfabConfig,
    get_platform,
    get_simulator,
    get_system,
)
from waferllm.csl.host.regions import (
    CodeRegion,
    Color,
    Edge,
    EdgeRouteInfo,
    PortHandle,
    Route,
    RoutingPosition,
    get_edge_routing,
)
from waferllm.csl.host.runtime import SdkRuntime, Task
from waferllm.csl.host.sdklayout import SdkLayout

__all__ = [
    "FP16TYPE",
    "CodeRegion",
    "Color",
    "Edge",
    "EdgeRouteInfo",
    "MemcpyDataType",
    "MemcpyOrder",
    "PortHandle",
    "Route",
    "RoutingPosition",
    "SdkCompileArtifacts",
    "SdkExecutionPlatform",
    "SdkLayout",
    "SdkRuntime",
    "SdkTarget",
    "SimfabConfig",
    "Task",
    "get_edge_routing",
    "get_platform",
    "get_simulator",
    "get_system",
]
