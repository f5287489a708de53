"""Many requests of an asyncio service, answered together.

A `Batcher` collects what arrives while the engine is busy and hands it over as lists, which the
engine groups by exact length. It tokenises and computes in threads: the event loop never waits.

When a batch begins: at once if nothing is running; while something runs, as soon as `max_batch`
requests or enough work wait, or the oldest has waited `max_wait_ms`, if a thread is free. The
oldest request goes first, with those behind it that ask for the same heads and options.

With a deadline no work is done in vain. Who is expected to miss it is refused on arrival, who can
no longer make it is left out of a batch, and threads leave out what nobody waits for any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from math import inf
from typing import Any, Self

from polyhead.engine import Engine, Options
from polyhead.errors import BatcherClosed, DeadlineExceeded, QueueFull
from polyhead.heads.generation import Generated
from polyhead.prediction import Prediction
from polyhead.serving.admission import Admission
from polyhead.serving.pace import FIRST_BATCH, LONGEST_BATCH_S, Pace
from polyhead.serving.queue import (
    Answer,
    BatchAnswers,
    Pending,
    QueueEntry,
    RunningBatch,
    answer,
    entry_for,
)
from polyhead.serving.stats import BatcherStats, BatchReport, Counters
from polyhead.serving.streams import Streams
from polyhead.serving.threads import DaemonThreads
from polyhead.system.schema import number, whole_number
from polyhead.text.encoding import Input

# A second thread even for one core: a text of many windows must not hold up all others.
_LEAST_THREADS = 2
# Open streams for each thread that computes: they have their turns one after the other.
_STREAMS = 8
# How long closing waits for threads that were told to stop: some groups, or a text's tokenising.
_STOPPING_S = 0.5


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
        observe: Callable[[BatchReport], object] | None = None,
    ) -> None:
        """Set the limits; nothing starts before ``async with``.

        Args:
            engine: answers; other threads may go on using it.
            max_wait_ms: milliseconds that a request waits for company while others are computed; an
                idle batcher never waits.
            max_queue: most requests that wait to be computed; one more raises `QueueFull`.
            deadline_ms: milliseconds from `predict` to an answer; None for no limit.
            max_batch: most texts in one call of the engine; fewer where they are half a second of
                work, or a quarter of the deadline.
            observe: called with each batch that was computed, in the event loop; for those who
                measure.

        Raises:
            InvalidSetting: when a number is out of its range.
        """
        self._engine = engine
        self._max_wait = number("max_wait_ms", max_wait_ms) / 1e3
        self._deadline = _seconds(deadline_ms)
        self._max_batch = whole_number("max_batch", max_batch)
        self._observe = observe
        info = engine.info()
        self._counters = Counters(batch_tokens=int(info["batch_tokens"]))
        self._pace = Pace()
        self._pending = Pending()
        self._in_flight: dict[object, QueueEntry] = {}
        self._running: list[RunningBatch] = []
        self._admission = Admission(
            self._pending,
            self._running,
            self._pace,
            max_queue=whole_number("max_queue", max_queue),
            threads=max(_LEAST_THREADS, int(info["threads"])),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = DaemonThreads(partial(_unwanted, self._running))
        self._streams = Streams(engine, _STREAMS * max(_LEAST_THREADS, int(info["threads"])))
        self._woken: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._closed = False

    async def predict(
        self,
        text: Input,
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        deadline_ms: float | None = None,
    ) -> Prediction:
        """Answer one text, or one pair of texts, as `Engine.__call__` does.

        Requests for the same text, heads and options that are on their way at the same time are
        computed once and get the same object. A caller that is cancelled gives its place free.

        Args:
            text: any string, or a pair of them for heads that read pairs.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads for this request.
            deadline_ms: milliseconds to its answer; None for those of the batcher.

        Raises:
            InputError: when this text, a head name or an option cannot be used; other requests are
                not touched.
            QueueFull: when `max_queue` requests wait already, an answer within `deadline_ms` is not
                to be expected, or the system has no thread for the batch; nothing was computed.
            DeadlineExceeded: when `deadline_ms` are over, or too few are left.
            BatcherClosed: outside of ``async with``, or when it ended before this text's turn.
        """
        found: Prediction | Exception | None
        (found,) = await self.predict_all(
            (text,), heads=heads, options=options, deadline_ms=deadline_ms
        )
        try:
            if isinstance(found, Exception):
                raise found
            return found
        finally:
            found = None  # the frames of an error would keep it, and so the engine's sessions

    async def predict_all(
        self,
        texts: Sequence[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        deadline_ms: float | None = None,
    ) -> list[Prediction | Exception]:
        """Answer the texts of one request: in their order, errors of single texts in their places.

        They are taken in together or not at all, by the time that all of them will take; other
        requests may come between them.

        Args:
            texts: each as for `predict`; none gives an empty list.
            heads: as for `predict`.
            options: as for `predict`.
            deadline_ms: milliseconds to the last answer; None for those of the batcher. What is not
                answered by then has `DeadlineExceeded` in its place.

        Raises:
            QueueFull: as `predict`, for all texts.
            BatcherClosed: outside of ``async with``.
        """
        loop, counters, now = self._open(), self._counters, time.perf_counter()
        entries = [entry_for(text, heads, options, now) for text in texts]
        entries = [self._in_flight.get(entry.key, entry) for entry in entries]
        limit = self._deadline if deadline_ms is None else _seconds(deadline_ms)
        try:
            self._admission.check(entries, limit)
        except QueueFull:
            counters.rejected += len(entries)
            raise
        counters.requests += len(entries)
        asked: list[tuple[QueueEntry, Answer]] = []
        for new in entries:
            entry = self._in_flight.get(new.key, new)  # one text may be there twice
            entry.deadline = max(entry.deadline, now + limit)
            future: Answer = loop.create_future()
            self._join(entry, future)
            asked.append((entry, future))
        timer = None if limit == inf else loop.call_later(limit, _expire, asked)
        try:
            for _, future in asked:  # each is there at once when its batch has ended
                await future
            return [self._ended(entry, future.result(), limit) for entry, future in asked]
        except asyncio.CancelledError:
            counters.cancelled += len(asked)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            for entry, future in asked:
                self._leave(entry, future)

    async def stream(
        self,
        text: Input,
        head: str,
        *,
        deadline_ms: float | None = None,
        **options: Any,
    ) -> AsyncGenerator[str | Generated]:
        """Write an answer piece by piece, as `Engine.stream` does; the event loop never waits.

        Beside batches: each token is computed in its turn. Close the iterator to end the work.

        Args:
            text: as for `Engine.stream`.
            head: one that writes.
            deadline_ms: milliseconds to the last piece; None for those of the batcher.
            options: of the head.

        Raises:
            InputError: when the text, the head or an option cannot be used.
            QueueFull: when too many streams are open.
            DeadlineExceeded: when `deadline_ms` are over before the answer is whole.
            BatcherClosed: outside of ``async with``, or when it ends before the answer is whole.
        """
        self._open()
        limit = self._deadline if deadline_ms is None else _seconds(deadline_ms)
        async with aclosing(self._streams.pieces(text, head, options, limit)) as pieces:
            async for piece in pieces:
                yield piece

    def _ended(
        self, entry: QueueEntry, found: Prediction | Exception | None, limit: float
    ) -> Prediction | Exception:
        """What became of a request, None after `limit` seconds; counted."""
        if found is None:
            found = DeadlineExceeded(
                f"no answer after deadline_ms={limit * 1e3:g}; the request"
                f" {'was being computed' if entry.started else 'still waited for its turn'}."
                " Answer 504, send shorter texts, or allow more time or threads."
            )
        self._counters.count_end(found)
        return found

    @property
    def engine(self) -> Engine:
        """What answers."""
        return self._engine

    def stats(self) -> BatcherStats:
        """What happened so far, as plain numbers; may be called from any thread."""
        return self._counters.snapshot(waiting=self.waiting, running=len(self._running))

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread now."""
        return self._pending.waiters

    def expected_wait_s(self) -> float:
        """Seconds until a thread has time for a new text of up to 16,000 characters."""
        return self._admission.wait(long=False)

    async def aclose(self, *, drain: bool = True, grace: float | None = None) -> None:
        """Take no more requests, and end; may be called twice.

        Who is not answered by then gets `BatcherClosed`. Threads stop at their next group of
        windows; for that this waits half a second at most, whatever they compute.

        Args:
            drain: answer what waits and what is being computed; False fails at once what waits, and
                after half a second, in which ordinary batches end, what is being computed.
            grace: most seconds for draining; None for no limit.
        """
        self._closed = True
        if self._loop is None:
            return
        problem = BatcherClosed("The batcher was closed before this request was answered.")
        try:
            if not drain:
                self._fail(self._pending.clear(), problem)
                await self._stopped(LONGEST_BATCH_S)
            elif asked := [f for entry in self._in_flight.values() for f in entry.waiters]:
                self._wake()
                await asyncio.wait(asked, timeout=grace)
            if drain:
                await self._streams.ended(grace)
        finally:
            self._streams.stop()
            computed = _unwanted(self._running)
            self._fail([*self._pending.clear(), *computed], problem)
            try:
                await self._stopped(_STOPPING_S)
            finally:
                self._pool.close()

    async def _stopped(self, seconds: float) -> None:
        """Wait so long at most until no thread computes."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    def __repr__(self) -> str:
        """Whether it takes requests, how many there were, and what answers them."""
        state = "closed" if self._closed else "not open yet" if self._loop is None else "open"
        now = self.stats()
        engine = repr(self._engine).partition("\n")[0]
        return (
            f"Batcher({state}: {now.requests:,} requests, {now.waiting:,} waiting,"
            f" {now.running} batches running)\n  {engine}"
        )

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise BatcherClosed("A batcher serves one 'async with'. Make another Batcher.")
        self._loop = asyncio.get_running_loop()
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

    def _join(self, entry: QueueEntry, future: Answer) -> None:
        """A caller waits for an entry, a new one or one that is in flight."""
        if entry.waiters:
            self._counters.shared += 1
        else:
            self._in_flight[entry.key] = entry
            self._pending.add(entry)
        entry.waiters.add(future)
        if not entry.started:
            self._pending.waiters += 1
            self._wake()

    def _leave(self, entry: QueueEntry, future: Answer) -> None:
        """A caller is gone; an entry for which nobody waits is forgotten."""
        if future in entry.waiters:
            entry.waiters.remove(future)
            if not entry.started:
                self._pending.waiters -= 1
            if not entry.waiters:
                entry.wanted = False
                self._forget(entry)
                if not entry.started:
                    self._pending.remove(entry)
                    self._wake()

    def _forget(self, entry: QueueEntry) -> None:
        """No later request joins it."""
        if self._in_flight.get(entry.key) is entry:
            del self._in_flight[entry.key]

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
        while self._pending and len(self._running) < self._threads:
            wait = self._still_to_wait()
            if wait > 0:
                self._wake(wait)
                return
            batch: list[QueueEntry] | None = []
            try:
                self._pool.ready()
                batch = self._take()
                if batch is None:
                    return  # long texts have all threads but one
                if batch:
                    self._begin(batch)
            except (RuntimeError, MemoryError) as problem:
                # Without a thread all wait for those that run, if any.
                others = [] if self._running else self._pending.clear()
                self._fail([*(batch or ()), *others], _no_thread(problem))
                return

    def _still_to_wait(self) -> float:
        """Seconds until the next batch may begin."""
        work = sum(self._pending.work.values())
        full = len(self._pending) >= self._max_batch or self._pace.seconds(work) >= self._bound
        if not self._running or full or self._closed:
            return 0
        return self._pending.oldest + self._max_wait - time.perf_counter()

    @property
    def _threads(self) -> int:
        return self._admission.threads

    @property
    def _bound(self) -> float:
        """Seconds of work in a batch."""
        return min(LONGEST_BATCH_S, self._deadline / 4)

    def _take(self) -> list[QueueEntry] | None:
        """The next batch; an empty one where only late entries were taken, None without any."""
        most = self._max_batch if self._pace.known else min(self._max_batch, FIRST_BATCH)
        long = sum(batch.long for batch in self._running) < self._threads - 1
        batch, late = self._pending.take(most, self._pace, self._bound, long=long)
        if not batch and not late:
            return None
        if not batch and self._admission.nothing_like(long=late[-1].long):
            batch.append(late.pop())
        if late:
            left = DeadlineExceeded(
                "too little was left of deadline_ms when the request's turn came, so it was not"
                " computed. Answer 504, send shorter texts, or allow more time or threads."
            )
            self._fail(late, left)
        return batch

    def _begin(self, entries: list[QueueEntry]) -> None:
        """Hand a batch to the thread that is ready."""
        assert self._loop is not None
        begun, work = time.perf_counter(), sum(entry.work for entry in entries)
        batch = RunningBatch(entries, begun, work)
        self._pool.run(partial(answer, self._engine, batch, self._loop, self._end))
        self._running.append(batch)  # it ends in another turn of the loop
        self._idle.clear()
        self._counters.count_begin([begun - entry.arrived for entry in entries])

    def _end(self, batch: RunningBatch, answers: BatchAnswers | BaseException) -> None:
        """Give the answers out and look for more to do."""
        self._running.remove(batch)
        self._pool.release()
        try:
            if isinstance(answers, BaseException):
                found: list[Prediction | BaseException | None] = [answers] * len(batch.entries)
            else:
                self._learn(batch, answers)
                found = answers.found
            closed = BatcherClosed("The batcher was closed while this request was computed.")
            for entry, each in zip(batch.entries, found, strict=True):
                self._forget(entry)
                entry.settle(closed if each is None else each)
        except Exception as problem:  # fewer answers than entries, say: nobody may wait for ever
            self._fail(batch.entries, problem)
        finally:
            if not self._running:
                self._idle.set()
            self._look()

    def _learn(self, batch: RunningBatch, answers: BatchAnswers) -> None:
        """Threads, numbers and the pace, all of which `Engine.reload` may have changed."""
        self._admission.threads = max(_LEAST_THREADS, answers.threads)
        self._counters.count_batch(answers.shape)
        done = [
            entry.work
            for entry, each in zip(batch.entries, answers.found, strict=False)
            if each is None or isinstance(each, Prediction)  # errors are quick
        ]
        if done:
            seconds = time.perf_counter() - batch.begun
            self._pace.measured(seconds, sum(done), stopped=None in answers.found)
        if self._observe is not None:
            self._observe(
                BatchReport(
                    heads=None if batch.entries[0].heads is None else (*batch.entries[0].heads,),
                    waited=[batch.begun - entry.arrived for entry in batch.entries],
                    tokenize_s=answers.tokenize_s,
                    compute_s=answers.compute_s,
                    found=answers.found,
                    shape=answers.shape,
                )
            )

    def _fail(self, entries: list[QueueEntry], problem: Exception) -> None:
        for entry in entries:
            self._forget(entry)
            entry.settle(problem)


def _unwanted(running: Iterable[RunningBatch]) -> list[QueueEntry]:
    """Have threads leave what they compute; what that is."""
    computed = [entry for batch in list(running) for entry in batch.entries]
    for entry in computed:
        entry.wanted = False
    return computed


def _expire(asked: Iterable[tuple[QueueEntry, Answer]]) -> None:
    """End the waiting of a request whose time is over."""
    for _, future in asked:
        if not future.done():
            future.set_result(None)


def _no_thread(problem: Exception) -> QueueFull:
    refused = QueueFull(
        f"the system has no thread for this batch: {problem or 'out of memory'}. Answer 503 and let"
        " the caller try again later, or give this process more threads or memory."
    )
    refused.__cause__ = problem
    return refused


def _seconds(deadline_ms: float | None) -> float:
    return inf if deadline_ms is None else number("deadline_ms", deadline_ms) / 1e3
