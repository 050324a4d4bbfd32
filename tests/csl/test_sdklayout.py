"""`SdkLayout`: regions placed apart, connected, and fed by streams; arrays come out as computed by NumPy."""

from pathlib import Path

import numpy as np
import pytest

from tests.csl.support import PROGRAMS
from waferllm.csl.host.geometry import IntVector
from waferllm.csl.host.platform import SdkTarget, SimfabConfig, get_platform
from waferllm.csl.host.regions import CodeRegion, Color, Edge, PortHandle, Route, RoutingPosition
from waferllm.csl.host.runtime import SdkRuntime
from waferllm.csl.host.sdklayout import SdkLayout
from waferllm.errors import InputError

SIZE = 7
ARCHITECTURES = pytest.mark.parametrize("target", [SdkTarget.WSE2, SdkTarget.WSE3])


def stage(
    layout: SdkLayout, name: str, factor: int, size: int = SIZE
) -> tuple[CodeRegion, PortHandle, PortHandle]:
    """A PE that multiplies, with its input and output port."""
    region = layout.create_code_region(str(PROGRAMS / "scale_pe.csl"), name, 1, 1)
    rx, tx = region.color("rx"), region.color("tx")
    region.set_param_all("size", size)
    region.set_param_all("factor", factor)
    region.set_param_all(rx)
    region.set_param_all(tx)
    into = RoutingPosition().set_output([Route.RAMP])
    out = RoutingPosition().set_input([Route.RAMP])
    return (
        region,
        region.create_input_port(rx, Edge.LEFT, [into], size),
        region.create_output_port(tx, Edge.RIGHT, [out], size),
    )


@ARCHITECTURES
def test_regions_anywhere_are_connected_and_streams_pass_through(
    tmp_path: Path, target: SdkTarget
) -> None:
    layout = SdkLayout(get_platform(None, SimfabConfig(), target))
    first, first_in, first_out = stage(layout, "first", 3)
    second, second_in, second_out = stage(layout, "second", 5)
    third, third_in, third_out = stage(layout, "third", 7)
    first.place(2, 2)
    second.place(6, 4)  # down to the right, then back up
    third.place(4, 1)
    layout.connect(first_out, second_in)
    layout.connect(second_out, third_in)
    given = layout.create_input_stream(first_in)
    wanted = layout.create_output_stream(third_out)
    runtime = SdkRuntime(layout.compile(str(tmp_path / "out")), memcpy_required=False)
    runtime.load()
    runtime.run()
    data = np.arange(1, SIZE + 1, dtype=np.uint32) * 1000
    got = np.zeros(SIZE, np.uint32)
    runtime.send(given, data, nonblock=True)
    runtime.receive(wanted, got, SIZE, nonblock=True)
    runtime.stop()
    np.testing.assert_array_equal(got, data * 3 * 5 * 7)


def test_stacks_place_regions_side_by_side() -> None:
    layout = SdkLayout(SdkTarget.WSE3)
    regions = [layout.create_code_region("pe.csl", f"r{n}", n + 1, 3 - n) for n in range(3)]
    assert layout.hstack(regions, IntVector(4, 5)) == 1 + 2 + 3
    assert [region.origin for region in regions] == [(4, 5), (5, 5), (7, 5)]
    assert layout.vstack(regions, IntVector(1, 1)) == 3 + 2 + 1
    assert [region.origin for region in regions] == [(1, 1), (1, 4), (1, 6)]


def test_what_does_not_fit_together_is_refused() -> None:
    layout = SdkLayout(SdkTarget.WSE3)
    _, first_in, first_out = stage(layout, "first", 3)
    _, wide_in, _ = stage(layout, "wide", 3, size=SIZE + 1)
    with pytest.raises(InputError, match=f"sends {SIZE} wavelets"):
        layout.connect(first_out, wide_in)
    with pytest.raises(InputError, match="an output and an input port"):
        layout.connect(first_in, wide_in)
    with pytest.raises(InputError, match="expected an output port of one PE"):
        layout.create_output_stream(first_in)
    with pytest.raises(InputError, match="'first' twice"):
        stage(layout, "first", 1)
    assert Color("rx", 3).get_value() == 3
