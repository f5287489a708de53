"""Threads for the batches of a batcher, which do not keep a process from its end."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from weakref import finalize

Work = Callable[[], object]


class DaemonThreads:
    """As many threads as have work at the same time; each waits for more.

    Unlike those of a ThreadPoolExecutor they are not joined when the interpreter ends: a text of
    many minutes would hold it up. All calls come from one thread, such as an event loop's.
    """

    def __init__(self) -> None:
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


def _do(queue: SimpleQueue[Work | None]) -> None:
    """What a thread does; it knows the queue only, so that a batcher can be freed."""
    while (work := queue.get()) is not None:
        work()
        del work  # while it waits it keeps no engine alive
    queue.put(None)  # for the next thread
