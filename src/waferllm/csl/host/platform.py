"""Where a program runs, as `cerebras.sdk` names it: here always on the simulated machine."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from waferllm.errors import UnsupportedError


class SdkTarget(Enum):
    """The architecture to compile for."""

    WSE2 = "wse2"
    WSE3 = "wse3"


class FP16TYPE(Enum):
    """The 16-bit floating-point format to compile for."""

    F16 = "f16"
    BF16 = "bf16"
    CB16 = "cb16"


@dataclass(frozen=True)
class SimfabConfig:
    """Options of the vendor's simulator; only `core_path` matters here: a core is always written."""

    num_threads: int = 16
    suppress_trace: bool = False
    dump_core: bool = False
    core_path: Path | str | None = None


@dataclass(frozen=True)
class SdkExecutionPlatform:
    """The simulated machine of one architecture."""

    target: SdkTarget
    config: SimfabConfig = field(default_factory=SimfabConfig)

    def is_simulation(self) -> bool:
        return True

    def is_system(self) -> bool:
        return False


@dataclass(frozen=True)
class SdkCompileArtifacts:
    """The folder with a compiled program."""

    artifacts_path: Path | str

    @property
    def path(self) -> Path:
        return Path(self.artifacts_path)


def refuse_system(cmaddr: str | None) -> None:
    """Raise `UnsupportedError` if a real system's address was given."""
    if cmaddr:
        raise UnsupportedError(
            f"got the address {cmaddr!r} of a system, expected none: programs run on the simulated "
            "machine only. Leave --cmaddr out"
        )


def get_platform(
    cmaddr: str | None = None,
    config: SimfabConfig | None = None,
    target: SdkTarget = SdkTarget.WSE3,
) -> SdkExecutionPlatform:
    """The platform that the arguments describe; an address is refused."""
    refuse_system(cmaddr)
    return get_simulator(config, target)


def get_simulator(
    config: SimfabConfig | None = None, target: SdkTarget = SdkTarget.WSE3
) -> SdkExecutionPlatform:
    """The simulated machine."""
    return SdkExecutionPlatform(target, config or SimfabConfig())


def get_system(cmaddr: str) -> SdkExecutionPlatform:
    """Always refused: there is no wafer here."""
    refuse_system(cmaddr or "''")
    raise AssertionError
