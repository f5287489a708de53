"""Threads for the batches of a batcher, which do not keep a process from its end."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from weakref import WeakSet, finalize

Work = Callable[[], object]

# How long the interpreter's end waits for threads that were told to stop.
_AT_EXIT_S = 2.0


class DaemonThreads:
    """As many threads as have work at the same time; each waits for more.

    Unlike those of a ThreadPoolExecutor they are not joined when the interpreter ends: a text of
    many minutes would hold it up. They are told to stop and waited for so long as that takes, since
    one that came back from C++ code into an interpreter that has ended would abort the process.
    All calls come from one thread, such as an event loop's.
    """

    def __init__(self, stop: Work) -> None:
        """No threads yet.

        Args:
            stop: tells what they have of work that nobody wants it any more. It must not refer to
                who has these threads.
        """
        self._stop = stop
        _living.add(self)
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._free = 0
        finalize(self, self._queue.put, None)

    def ready(self) -> None:
        """Have a thread that is free.

        Raises:
            RuntimeError: when the system gives no more threads.
        """
        if not self._free:
            thread = Thread(target=_do, args=(self._queue,), name="polyhead-batcher", daemon=True)
            thread.start()
            self._threads.append(thread)
            self._free = 1

    def run(self, work: Work) -> None:
        """Have a free thread do it, after `ready`; it must not raise."""
        self._queue.put(work)
        self._free -= 1

    def release(self) -> None:
        """Some work is done, so that its thread is free."""
        self._free += 1

    def close(self) -> None:
        """End the threads; those that have work end after it, and are not waited for."""
        self._queue.put(None)
        while self._free == len(self._threads) > 0:
            self._threads.pop().join()
            self._free -= 1

    def stop(self) -> None:
        """Have them end as soon as they can."""
        self._stop()
        self._queue.put(None)

    def join(self, until: float) -> None:
        """Wait for them after `stop`, to this `time.monotonic()` at most."""
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


_living: WeakSet[DaemonThreads] = WeakSet()


@atexit.register
def _end_all() -> None:
    pools, until = list(_living), time.monotonic() + _AT_EXIT_S
    for pool in pools:
        pool.stop()
    for pool in pools:
        pool.join(until)


def _do(queue: SimpleQueue[Work | None]) -> None:
    """What a thread does; it knows the queue only, so that a batcher can be freed."""
    while (work := queue.get()) is not None:
        work()
        del work  # while it waits it keeps no engine alive
    queue.put(None)  # for the next thread
