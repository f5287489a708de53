"""The worker threads of a process, and a place to compute for each thread of the budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice, repeat
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from typing import TypeVar

# Groups for each worker that a call has queued: so many of a long text may be before those of
# another call, and more of them are no faster.
_AHEAD = 2

S = TypeVar("S")
T = TypeVar("T")
_Work = list[tuple[Future[T], Callable[[S], T], S]]
"""A call to make, where the result goes, and nothing once somebody took it."""
_END = object()
_exhaust = deque[object](maxlen=0).extend


class Workers:
    """A pool of threads, and as many places. Whatever computes has a place, in whichever thread."""

    def __init__(self, count: int) -> None:
        """Take the number of places; threads start with the first work for them."""
        # A queue of so many things: written in C, it takes a tenth of a Semaphore's time.
        self._places: SimpleQueue[object] = SimpleQueue()
        for _ in range(count):
            self._places.put(None)
        # Threads that have a place, or the lock of the pool. What calls an engine in the midst of
        # that, a signal handler or `wanted`, would wait for itself: it does its work itself.
        self._busy: set[int] = set()
        self._count, self._most = count, _AHEAD * count
        self._pool = ThreadPoolExecutor(count, "polyhead") if count > 1 else None

    def in_a_place(self, function: Callable[..., T], *arguments: object) -> T:
        """Call it here, when a place is free."""
        if get_ident() in self._busy:
            return function(*arguments)
        return self._holding(SimpleQueue.get, 1, function, *arguments)

    def in_places(self, count: int, function: Callable[..., T], *arguments: object) -> T:
        """Call it here with so many places, which are free.

        Raises:
            queue.Empty: when they are not.
        """
        if get_ident() in self._busy:
            raise Empty
        return self._holding(SimpleQueue.get_nowait, count, function, *arguments)

    def side_by_side(self, function: Callable[[S], T], values: Sequence[S]) -> Iterator[T]:
        """What `function` gives for each value, in their order; the threads of the pool call it.

        Calls that run at the same time have their turns one after the other. The caller calls it
        where there are no threads: one worker, a system that gives no more, an interpreter or an
        engine at its end. Whatever ends it, its error or its caller's, none of these calls runs any
        more by then.
        """
        futures: deque[Future[T]] = deque()
        handed: list[_Work[T, S]] = []
        try:
            alone, ahead = False, iter(values)
            for value in values:
                for later in islice(ahead, self._most - len(futures)):
                    futures.append(Future())
                    handed.append([(futures[-1], function, later)])
                    alone = alone or not self.start(self._answer, handed[-1])
                if alone and futures[0].cancel():  # nobody has begun it, nor will
                    yield self.in_a_place(function, value)
                else:  # by no name: the frames of its error would keep a future, and it them
                    yield futures[0].result()
                futures.popleft()
        finally:
            # Not `wait`, which takes the locks of all: a signal handler that uses the engine in the
            # midst of that would wait for threads that need them.
            _exhaust(map(Future.exception, [each for each in futures if not each.cancel()]))
            futures.clear()
            for work in handed:  # the pool still has what nobody has begun
                work.clear()

    def start(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have a thread of the pool call it; False where none can be had."""
        pool, thread = self._pool, get_ident()
        if pool is None or thread in self._busy:
            return False
        try:
            self._busy.add(thread)
            pool.submit(function, *arguments)
        except RuntimeError:
            if self._pool is not None:  # not closed
                # The old one keeps what it found no thread for, and would call it some day.
                self._pool = ThreadPoolExecutor(self._count, "polyhead")
            return False
        finally:
            self._busy.discard(thread)
        return True

    def close(self) -> None:
        """End the threads, when they have done what they were given; callers do the rest."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if get_ident() in self._busy:
            Thread(target=pool.shutdown).start()
        else:
            pool.shutdown()

    def _answer(self, work: _Work[T, S]) -> None:
        """In a thread of the pool, where the caller has not done it or let it be."""
        future, function, value = work.pop()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(self.in_a_place(function, value))
            except BaseException as problem:
                future.set_exception(problem)
            finally:
                del future  # the frames of its error would keep it, and it them

    def _holding(
        self,
        take: Callable[[SimpleQueue[object]], object],
        count: int,
        function: Callable[..., T],
        *arguments: object,
    ) -> T:
        """Call it with so many places, and give them back.

        Ctrl-C may come between any two steps of Python, but not within one of C, which takes a
        place and notes it, or gives all of them back.
        """
        thread = get_ident()
        held: list[object] = [_END]
        give = map(self._places.put, iter(held.pop, _END))
        back = chain(give, map(self._busy.discard, (thread,)))
        try:
            self._busy.add(thread)
            held.extend(map(take, repeat(self._places, count)))
            return function(*arguments)
        finally:
            _exhaust(back)
