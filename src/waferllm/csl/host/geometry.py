"""Places and rectangles of PEs (`cerebras.geometry.geometry`)."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class IntVector:
    """A place, or a width and a height."""

    x: int
    y: int


@dataclass(frozen=True)
class IntRectangle:
    """The PEs from `upper_left` up to, not including, `lower_right`.

    So the published tutorials use it; the API reference of SDK 2.10 calls the second one `dims`.
    """

    upper_left: IntVector
    lower_right: IntVector

    def places(self) -> Iterator[tuple[int, int]]:
        """All places inside."""
        for y in range(self.upper_left.y, self.lower_right.y):
            for x in range(self.upper_left.x, self.lower_right.x):
                yield x, y
