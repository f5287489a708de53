"""Which requests a batcher lets in: by what waits, what runs, and how long work takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from polyhead.errors import QueueFull
from polyhead.serving.pace import PLANNED, Pace
from polyhead.serving.queue import Pending, QueueEntry, RunningBatch


@dataclass(eq=False, slots=True)
class Admission:
    """Expects how long a request will take.

    Attributes:
        pending: what waits.
        running: what threads have.
        pace: how long work takes.
        max_queue: most requests that wait.
        threads: that compute batches.
    """

    pending: Pending
    running: Sequence[RunningBatch]
    pace: Pace
    max_queue: int
    threads: int

    def check(self, entries: Sequence[QueueEntry], limit: float) -> None:
        """Refuse the entries of a request for which there is no room or no time.

        Args:
            entries: new ones, and such as others wait for already.
            limit: seconds that the request has.

        Raises:
            QueueFull: for all of them.
        """
        new = [entry for entry in entries if not entry.waiters]
        waits = {entry.long: self.wait(long=entry.long) for entry in entries}
        if len(entries) > self.max_queue - self.pending.waiters:
            raise QueueFull(
                f"{self.pending.waiters:,} requests wait already, and max_queue allows"
                f" {self.max_queue:,}. Answer 503 and let the caller try again later, or raise"
                " max_queue.",
                expected_wait_s=max(waits.values()),
            )
        for long, wait in waits.items():
            work = [entry.work for entry in new if entry.long is long]
            if not work or self.nothing_like(long=long):
                continue
            # A text is computed by one thread, several by all that are there.
            total = wait + self.pace.seconds(max(*work, sum(work) / self._threads_for(long)))
            if total > PLANNED * limit:
                raise QueueFull(
                    f"an answer is expected after {total:.3g} s, {wait:.3g} s of it waiting, which"
                    f" is too near to deadline_ms={limit * 1e3:g} or beyond. Answer 503 and let the"
                    " caller try again later, send shorter texts, or allow more time or threads.",
                    expected_wait_s=wait,
                )

    def wait(self, *, long: bool) -> float:
        """Seconds until a thread has time for a new text, a short or a long one."""
        running = [batch for batch in self.running if batch.long is long]
        threads = self._threads_for(long)
        pending = self.pending.work[long]
        if len(running) < threads and not pending:
            return 0.0
        now, pace = time.perf_counter(), self.pace
        left = sum(max(0.0, pace.seconds(b.work) - (now - b.begun)) for b in running)
        return (left + pace.seconds(pending)) / threads

    def nothing_like(self, *, long: bool) -> bool:
        """Whether no text of this kind, long or short, runs or waits.

        Then it is computed whatever is expected: without, a pace that was once bad would stay.
        """
        running = any(batch.long is long for batch in self.running)
        return not running and not self.pending.work[long]

    def _threads_for(self, long: bool) -> int:
        """Threads that a kind of texts may have now; long ones have all but one."""
        others = 1 if long else sum(batch.long for batch in self.running)
        return max(1, self.threads - others)
