"""Where the cycles went: a summary in words, and two pictures: PEs' activity and links' use."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waferllm.csl.machine.image import EAST, NORTH, RAMP, SOUTH, WEST
from waferllm.csl.machine.machine import Machine
from waferllm.csl.machine.state import C_STALL_FIFO, C_STALL_IN, C_STALL_OUT, C_TASKS, C_VECTORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAUSES = {
    C_STALL_IN: "waiting for wavelets",
    C_STALL_OUT: "waiting to send",
    C_STALL_FIFO: "waiting for a FIFO",
}
LINKS = {EAST: "east", WEST: "west", SOUTH: "south", NORTH: "north"}
WIDTH_IN, HEIGHT_IN, DPI = 11.0, 4.2, 130
LONG = 4  # a rectangle longer than this is stretched, or it would be a line
LEAST_PERCENT = 0.1  # the scale of a map ends at its largest value, or here


def summary(machine: Machine) -> list[str]:
    """Lines that say how many cycles the program took and what its PEs did in them."""
    image, cycles = machine.image, machine.cycle
    held = machine.counters()
    total = max(1, cycles * image.pes)
    lines = [f"{cycles:,} cycles on {image.width}x{image.height} PEs, {_source(machine)}"]
    lines += [f"  {name:<20} {held[name].sum() / total:7.1%}" for name in ("compute", "stalled")]
    stalls = machine.stalls()
    lines += [f"    {CAUSES[n]:<20} {stalls[:, n].sum() / total:5.1%}" for n in CAUSES]
    lines.append(f"  {'idle':<20} {held['idle'].sum() / total:7.1%}")
    busiest = int(np.argmax(held["compute"]))
    share = held["compute"][busiest] / max(1, cycles)
    lines.append(f"  busiest: {machine.place(busiest)}, compute in {share:.1%} of the cycles")
    tasks, vectors = (int(machine.state.counters[:, n].sum()) for n in (C_TASKS, C_VECTORS))
    lines.append(f"  {tasks:,} tasks and {vectors:,} DSD operations begun")
    return [*lines, _links(machine)]


def _source(machine: Machine) -> str:
    return f"simulated here (profile {machine.profile.name})"


def _links(machine: Machine) -> str:
    use = machine.state.link_use[:RAMP]
    port, pe = np.unravel_index(int(np.argmax(use)), use.shape)
    share = use[port, pe] / max(1, machine.cycle)
    return (
        f"  {int(use.sum()):,} hops of wavelets; busiest link: {machine.place(int(pe))} to the "
        f"{LINKS[int(port)]}, used in {share:.1%} of the cycles"
    )


def write_activity(machine: Machine, path: Path) -> None:
    """A PNG with three maps of the rectangle: cycles of compute, stalled on the fabric, idle."""
    held = machine.counters()
    maps = {f"{name}, % of cycles": 100 * held[name] / max(1, machine.cycle) for name in held}
    _write(machine, path, maps, "What PEs did")


def write_heatmap(machine: Machine, path: Path) -> None:
    """A PNG with two maps of the rectangle: how busy links along x and along y are."""
    use = 100 * machine.state.link_use / max(1, machine.cycle)
    maps = {
        "busier of east and west, % of cycles": np.maximum(use[EAST], use[WEST]),
        "busier of north and south, % of cycles": np.maximum(use[NORTH], use[SOUTH]),
        "up the ramp, % of cycles": use[RAMP],
    }
    _write(machine, path, maps, "Links' use by outgoing wavelets")


def _write(machine: Machine, path: Path, maps: dict[str, np.ndarray], title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Sequence[Any] = figure.subplots(1, len(maps))
    most = max(
        LEAST_PERCENT, *(float(values.max()) for values in maps.values())
    )  # one scale for all
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        _draw(figure, axis, values.reshape(machine.image.height, machine.image.width), name, most)
    figure.suptitle(f"{title}: {machine.cycle:,} cycles, {_source(machine)}", fontsize=10)
    figure.savefig(path, dpi=DPI)


def _draw(figure: Any, axis: "Axes", values: np.ndarray, name: str, most: float) -> None:
    square = max(values.shape) <= LONG * min(values.shape)
    aspect = "equal" if square else "auto"
    image = axis.imshow(values, vmin=0, vmax=most, cmap="viridis", aspect=aspect)
    axis.set_title(name, fontsize=9)
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    axis.locator_params(integer=True)
    figure.colorbar(image, ax=axis, fraction=0.05)
