"""How long work takes here, as measured: by that a batcher refuses, drops and bounds batches."""

from __future__ import annotations

from math import exp

PLANNED = 0.8
"""Share of a deadline that is planned with. The rest is for the event loop, for Python's lock, and
for texts that take longer than others of their length."""
LONGEST_BATCH_S = 0.5
"""Seconds of work in a batch, at most a quarter of the deadline. More of it saves nothing, since a
call costs less than a millisecond beside its texts, and all of a batch wait for its end."""
FIRST_BATCH = 8
"""Most texts in a batch as long as nothing was measured."""

# What was computed this many seconds of work ago counts 1/e. Short, since a new bundle, or another
# program on these cores, changes everything at once.
_MEMORY_S = 0.2


class Pace:
    """Seconds of a thread for some work, by what was computed last.

    The sum of seconds by the sum of work, both fading: large batches count for more than small
    ones, and a single hiccup is soon outweighed.
    """

    def __init__(self) -> None:
        self._seconds = self._work = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was measured yet."""
        return self._work > 0

    def seconds(self, work: float) -> float:
        """Seconds that a thread will take for it; 0 as long as nothing was measured."""
        return work * self._seconds / self._work if self._work else 0.0

    def measured(self, seconds: float, work: float, *, stopped: bool = False) -> None:
        """Some work was computed.

        Args:
            seconds: that a thread took.
            work: at least 1.
            stopped: it took so long without being done, which says something only about a pace that
                was too good.
        """
        if stopped and seconds < self.seconds(work):
            return
        kept = exp(-seconds / _MEMORY_S)
        part = min(1.0, _MEMORY_S / seconds) if seconds else 1.0
        self._seconds = self._seconds * kept + seconds * part
        self._work = self._work * kept + work * part
