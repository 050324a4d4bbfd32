"""`SdkLayout`: a program put together in Python from code regions, ports and streams.

Colors without a number get one each; connected ports share theirs, and the wavelets go from one to
the other over PEs that run nothing, on a shortest free path. A stream ends at a PE of its own, beside
the port, which passes wavelets on between the host and the port.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from waferllm.csl import types as t
from waferllm.csl.host.fabric import Fabric
from waferllm.csl.host.geometry import IntVector
from waferllm.csl.host.platform import (
    FP16TYPE,
    SdkCompileArtifacts,
    SdkExecutionPlatform,
    SdkTarget,
)
from waferllm.csl.host.regions import CodeRegion, Place, PortHandle
from waferllm.csl.modules import Files
from waferllm.csl.target import Target
from waferllm.errors import InputError


@dataclass
class SdkLayout:
    """A program's regions and how they are connected."""

    platform: SdkExecutionPlatform | SdkTarget
    msg_level: str = "WARNING"
    regions: list[CodeRegion] = field(default_factory=list)
    connections: list[tuple[PortHandle, PortHandle]] = field(default_factory=list)
    streams: dict[str, tuple[PortHandle, Place | None]] = field(default_factory=dict)

    @property
    def target(self) -> SdkTarget:
        return self.platform if isinstance(self.platform, SdkTarget) else self.platform.target

    def create_code_region(self, source: str, name: str, width: int, height: int) -> CodeRegion:
        """A rectangle of PEs that run one file; at (0, 0) until it is placed."""
        if any(region.name == name for region in self.regions):
            raise InputError(f"got region {name!r} twice, expected each name once")
        made = CodeRegion(Path(source), name, width, height)
        self.regions.append(made)
        return made

    def hstack(self, children: Sequence[CodeRegion], origin: IntVector | None = None) -> int:
        """Place regions from west to east, from the first one's place on; their total width."""
        x, y = _start(children, origin)
        for child in children:
            child.place(x, y)
            x += child.width
        return sum(child.width for child in children)

    def vstack(self, children: Sequence[CodeRegion], origin: IntVector | None = None) -> int:
        """Place regions from north to south, from the first one's place on; their total height."""
        x, y = _start(children, origin)
        for child in children:
            child.place(x, y)
            y += child.height
        return sum(child.height for child in children)

    def connect(self, tx: PortHandle, rx: PortHandle) -> None:
        """Lead what one port sends to another, PE by PE along their edges."""
        if tx.is_input or not rx.is_input:
            raise InputError(f"connect takes an output and an input port, got {tx.name}, {rx.name}")
        if tx.data_size != rx.data_size or len(tx.places()) != len(rx.places()):
            raise InputError(
                f"{tx.name} sends {tx.data_size} wavelets from {len(tx.places())} PE(s), but {rx.name} "
                f"takes {rx.data_size} on {len(rx.places())}; expected the same of both"
            )
        self.connections.append((tx, rx))

    def create_input_stream(
        self, port: PortHandle, io_loc: IntVector | None = None, io_buffer_size: int = 1024
    ) -> str:
        """A stream from the host to a port; its name, for `SdkRuntime.send`."""
        return self._stream(port, io_loc, io_buffer_size, is_input=True)

    def create_output_stream(
        self, port: PortHandle, io_loc: IntVector | None = None, io_buffer_size: int = 1024
    ) -> str:
        """A stream from a port to the host; its name, for `SdkRuntime.receive`."""
        return self._stream(port, io_loc, io_buffer_size, is_input=False)

    def _stream(
        self, port: PortHandle, io_loc: IntVector | None, io_buffer_size: int, *, is_input: bool
    ) -> str:
        del io_buffer_size  # the host keeps as much as it is given
        if port.is_input != is_input or len(port.places()) != 1:
            kind = "input" if is_input else "output"
            raise InputError(
                f"got port {port.name}, expected an {kind} port of one PE for a stream"
            )
        self.streams[port.name] = (port, None if io_loc is None else (io_loc.x, io_loc.y))
        return port.name

    def compile(
        self,
        out_prefix: str,
        libs: Sequence[str] = (),
        cslc_prefix: str = "",
        save_port_map: bool = False,
        f16_type: FP16TYPE = FP16TYPE.F16,
    ) -> SdkCompileArtifacts:
        """Compile into the folder `out_prefix`; raises `CslError` or `InputError`."""
        del cslc_prefix, save_port_map
        fabric = Fabric(self.regions, self.connections, self.streams)
        target = Target(
            arch=self.target.value,
            fabric=fabric.size,
            offsets=(0, 0),
            fp16=t.FP16_FORMATS[f16_type.value],
        )
        files = Files(tuple(Path(lib) for lib in libs))
        program = fabric.program(target, files)
        program.save(Path(out_prefix))
        return SdkCompileArtifacts(out_prefix)


def _start(children: Sequence[CodeRegion], origin: IntVector | None) -> Place:
    return children[0].origin if origin is None else (origin.x, origin.y)
