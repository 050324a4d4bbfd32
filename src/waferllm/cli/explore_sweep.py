"""A sweep in chunks: its size first, then progress; Ctrl-C keeps what is done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from waferllm.cli.explore_options import Grid
from waferllm.cli.interrupt import Patience
from waferllm.reports.explore_rows import Row

CHUNK_DESIGNS = 256

Evaluate = Callable[[Sequence[dict[str, float]]], Sequence[Row]]


@dataclass(frozen=True)
class Swept:
    """The rows of the designs that were evaluated, and how many there were to evaluate."""

    rows: tuple[Row, ...]
    done: int
    size: int

    @property
    def partial(self) -> str:
        """What Ctrl-C left undone, or nothing."""
        if self.done == self.size:
            return ""
        return f"Ctrl-C after {self.done:,} of {self.size:,} designs; the rest is missing here."


def sweep(grid: Grid, evaluate: Evaluate, *, chunk_designs: int = CHUNK_DESIGNS) -> Swept:
    """Evaluate every design of a grid, with words and a bar on standard error.

    The first Ctrl-C after the first chunk ends the sweep at the next chunk; earlier ones, with nothing to
    keep, and a second one end the process.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    console.print(f"sweep: {grid.sentence()}", soft_wrap=True)
    rows: list[Row] = []
    done = 0
    designs = grid.designs()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Patience() as patience, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("sweep", total=grid.size)
        try:
            while chunk := list(islice(designs, chunk_designs)):
                rows += evaluate(chunk)
                done += len(chunk)
                bar.advance(task, len(chunk))
                patience.token()
        except KeyboardInterrupt:  # raised by patience between chunks, and nowhere else
            pass
    return Swept(tuple(rows), done, grid.size)
