"""Stop strings over streamed text: what is emitted is never taken back."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class StopText:
    """Holds back what may turn out to belong to a stop string. Owned by one sequence.

    The pieces of `push`, then `finish`, concatenate to the text up to where the first of the stop
    strings begins, however the text was cut into pieces. `stopped` says that one was found; a stop
    string inside a longer one waits until the longer one can no longer begin before it.
    """

    stops: tuple[str, ...]
    stopped: bool = False
    held: str = field(default="", init=False)

    def push(self, piece: str) -> str:
        """The text that one more piece settles, perhaps none; '' once stopped."""
        if self.stopped or not self.stops:
            return "" if self.stopped else piece
        text = self.held + piece
        found, doubtful = self._first(text), self._doubtful(text)
        self.stopped = found < len(text) and found <= doubtful
        settled = min(found, doubtful)
        self.held = "" if self.stopped else text[settled:]
        return text[:settled]

    def finish(self) -> str:
        """What was held back, now that no more text comes."""
        found = self._first(self.held)
        self.stopped |= found < len(self.held)
        piece, self.held = self.held[:found], ""
        return piece

    def _first(self, text: str) -> int:
        """Where the first stop string begins, or the length of the text."""
        places = (text.find(stop) for stop in self.stops)
        return min((place for place in places if place >= 0), default=len(text))

    def _doubtful(self, text: str) -> int:
        """Where the longest tail that may be the beginning of a stop string starts."""
        longest = max(map(len, self.stops), default=0)
        starts = range(max(0, len(text) - longest + 1), len(text))
        tails = (at for at in starts if any(stop.startswith(text[at:]) for stop in self.stops))
        return next(tails, len(text))
