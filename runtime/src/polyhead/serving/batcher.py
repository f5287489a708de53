"""Many requests of an asyncio service, answered together.

A `Batcher` collects what arrives while the engine is busy and hands it over as lists, which the
engine groups by exact length. It tokenises and computes in threads: the event loop never waits.

When a batch begins: at once if nothing is running; while something runs, as soon as `max_batch`
requests wait or the oldest has waited `max_wait_ms`, if a thread is free. The oldest request goes
first, with those behind it that ask for the same heads and options.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

from polyhead.engine import Engine, Options
from polyhead.errors import BatcherClosed, DeadlineExceeded, QueueFull
from polyhead.prediction import Prediction
from polyhead.serving.queue import BatchAnswers, Pending, QueueEntry, answer, entry_for
from polyhead.serving.stats import BatcherStats, Counters
from polyhead.system.schema import number, whole_number
from polyhead.text.encoding import Input

# A second thread even for one core: a text of many windows must not hold up all others.
_LEAST_THREADS = 2


class Batcher:
    """Answers requests of one event loop in batches.

    Made for ``async with polyhead.Batcher(engine) as batcher: await batcher.predict(text)``. The
    engine is not closed with it.
    """

    def __init__(
        self,
        engine: Engine,
        max_wait_ms: float = 2,
        max_queue: int = 1024,
        deadline_ms: float | None = None,
        *,
        max_batch: int = 64,
    ) -> None:
        """Set the limits; nothing starts before ``async with``.

        Args:
            engine: answers; other threads may go on using it.
            max_wait_ms: milliseconds that a request waits for company while others are computed; an
                idle batcher never waits.
            max_queue: most requests that wait to be computed; one more raises `QueueFull`.
            deadline_ms: milliseconds from `predict` to an answer; None for no limit.
            max_batch: most texts in one call of the engine.

        Raises:
            InvalidSetting: when a number is out of its range.
        """
        self._engine = engine
        self._max_wait = number("max_wait_ms", max_wait_ms) / 1e3
        self._max_queue = whole_number("max_queue", max_queue)
        self._deadline_ms = None if deadline_ms is None else number("deadline_ms", deadline_ms)
        self._max_batch = whole_number("max_batch", max_batch)
        info = engine.info()
        self._threads = max(_LEAST_THREADS, int(info["threads"]))
        self._counters = Counters(batch_tokens=int(info["batch_tokens"]))
        self._pending = Pending()
        self._in_flight: dict[object, QueueEntry] = {}
        self._running = self._running_long = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._woken: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._closed = False

    async def predict(
        self,
        text: Input,
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
    ) -> Prediction:
        """Answer one text, or one pair of texts, as `Engine.__call__` does.

        Requests for the same text, heads and options that are on their way at the same time are
        computed once and get the same object. A caller that is cancelled gives its place free.

        Args:
            text: any string, or a pair of them for heads that read pairs.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads for this request.

        Raises:
            InputError: when this text, a head name or an option cannot be used; other requests are
                not touched.
            QueueFull: when `max_queue` requests wait already, or the system has no thread for the
                batch; nothing was computed.
            DeadlineExceeded: when `deadline_ms` are over.
            BatcherClosed: outside of ``async with``, or when it ended before this text's turn.
        """
        loop = self._open()
        counters = self._counters
        if self._pending.waiters >= self._max_queue:
            counters.rejected += 1
            raise QueueFull(
                f"{self._pending.waiters:,} requests wait already, as many as max_queue allows."
                " Answer 503 and let the caller try again later, or raise max_queue."
            )
        counters.requests += 1
        future: asyncio.Future[Prediction] = loop.create_future()
        entry = self._joined(entry_for(text, heads, options, time.perf_counter()), future)
        try:
            seconds = None if self._deadline_ms is None else self._deadline_ms / 1e3
            await asyncio.wait((future,), timeout=seconds)
            if not future.done():
                counters.expired += 1
                raise DeadlineExceeded(
                    f"no answer after deadline_ms={self._deadline_ms:g}; the request"
                    f" {'was being computed' if entry.started else 'still waited for its turn'}."
                    " Answer 504, send shorter texts, or allow more time or threads."
                )
            counters.count_end(future)
            return future.result()
        except asyncio.CancelledError:
            counters.cancelled += 1
            raise
        finally:
            self._leave(entry, future)
            del future  # the frames of its error would keep it, and so the engine's sessions

    def stats(self) -> BatcherStats:
        """What happened so far, as plain numbers; may be called from any thread."""
        return self._counters.snapshot(waiting=self._pending.waiters, running=self._running)

    async def aclose(self, *, drain: bool = True) -> None:
        """Take no more requests and wait for the threads; may be called twice.

        Args:
            drain: answer what waits; False fails it with `BatcherClosed`. What is being computed
                is answered in either case.
        """
        self._closed = True
        if self._pool is None:
            return
        if not drain:
            self._refuse_pending()
        self._wake()
        try:
            await self._idle.wait()
        finally:
            self._refuse_pending()
            self._pool.shutdown(wait=self._idle.is_set(), cancel_futures=True)

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise BatcherClosed("A batcher serves one 'async with'. Make another Batcher.")
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="polyhead-batcher")
        self._idle.set()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        await self.aclose(drain=kind is None)

    def _open(self) -> asyncio.AbstractEventLoop:
        if self._closed or self._loop is None:
            state = "was closed" if self._closed else "is not open yet"
            raise BatcherClosed(
                f"This batcher {state}. Call predict inside of 'async with Batcher(engine)'."
            )
        if self._loop is not asyncio.get_running_loop():
            raise BatcherClosed(
                "This batcher belongs to another event loop. Make one Batcher for each loop; they"
                " may share the engine."
            )
        return self._loop

    def _joined(self, entry: QueueEntry, future: asyncio.Future[Prediction]) -> QueueEntry:
        """The entry of this request, an equal one that is in flight or a new one."""
        equal = self._in_flight.get(entry.key)
        if equal is not None:
            self._counters.shared += 1
            entry = equal
        else:
            self._in_flight[entry.key] = entry
            self._pending.add(entry)
        entry.waiters.add(future)
        if not entry.started:
            self._pending.waiters += 1
            self._idle.clear()
            self._wake()
        return entry

    def _leave(self, entry: QueueEntry, future: asyncio.Future[Prediction]) -> None:
        """A caller is gone; an entry for which nobody waits is forgotten."""
        if future in entry.waiters:
            entry.waiters.remove(future)
            if not entry.started:
                self._pending.waiters -= 1
                if not entry.waiters:
                    self._pending.remove(entry)
                    self._in_flight.pop(entry.key, None)
                    self._wake()
        if future.done():
            future.exception()  # seen, even when the caller was cancelled in the same moment

    def _wake(self, delay: float = 0) -> None:
        """Look at the queue, soon: what arrives in this turn of the loop goes together."""
        assert self._loop is not None
        if self._woken is not None:
            if delay:
                return
            self._woken.cancel()
        look = self._loop.call_later(delay, self._look) if delay else None
        self._woken = look or self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Begin as many batches as may begin now."""
        self._woken = None
        while self._pending and self._running < self._threads:
            wait = self._still_to_wait()
            if wait > 0:
                self._wake(wait)
                return
            batch = self._pending.take(self._max_batch, long=self._running_long < self._threads - 1)
            if not batch:
                return  # long texts have all threads but one
            if not self._begin(batch) and self._running:
                return  # when one of these ends there is a thread
        if not self._pending and not self._running:
            self._idle.set()

    def _still_to_wait(self) -> float:
        """Seconds until the next batch may begin."""
        full = len(self._pending) >= self._max_batch
        if not self._running or full or self._closed:
            return 0
        return self._pending.oldest + self._max_wait - time.perf_counter()

    def _begin(self, batch: list[QueueEntry]) -> bool:
        """Hand a batch to a thread; False where the system has none; its callers get QueueFull."""
        assert self._loop is not None
        assert self._pool is not None
        waited = [time.perf_counter() - entry.arrived for entry in batch]
        work = partial(answer, self._engine, batch)
        try:
            answers = self._loop.run_in_executor(self._pool, work)
        except RuntimeError as problem:
            refused = QueueFull(
                f"the system has no thread for this batch: {problem}. Answer 503 and let the caller"
                " try again later, or give this process more threads or memory."
            )
            refused.__cause__ = problem
            self._fail(batch, refused)
            batch.clear()  # the pool keeps what it could not start: a later thread finds no entry
            return False
        self._running += 1
        self._running_long += batch[0].long
        self._counters.count_begin(waited)
        answers.add_done_callback(partial(self._end, batch))
        return True

    def _end(self, batch: list[QueueEntry], done: asyncio.Future[BatchAnswers]) -> None:
        """Give the answers out and look for more to do."""
        self._running -= 1
        self._running_long -= batch[0].long
        try:
            for entry, found in zip(batch, self._found(batch, done), strict=True):
                self._in_flight.pop(entry.key, None)
                entry.settle(found)
        except Exception as problem:  # fewer answers than entries, say: nobody may wait for ever
            self._fail(batch, problem)
        finally:
            self._look()

    def _found(
        self, batch: list[QueueEntry], done: asyncio.Future[BatchAnswers]
    ) -> list[Prediction | BaseException]:
        problem = BatcherClosed("closed while it waited") if done.cancelled() else done.exception()
        if problem is not None:
            return [problem] * len(batch)
        answers = done.result()
        self._threads = max(_LEAST_THREADS, answers.threads)
        self._counters.count_batch(answers.shape)
        return answers.found

    def _refuse_pending(self) -> None:
        problem = BatcherClosed("The batcher was closed before this request's turn.")
        while entries := self._pending.take(self._max_batch, long=True):
            self._fail(entries, problem)

    def _fail(self, entries: list[QueueEntry], problem: Exception) -> None:
        for entry in entries:
            self._in_flight.pop(entry.key, None)
            entry.settle(problem)
