"""Many requests of an asyncio service, answered together.

A `Batcher` collects what arrives while the engine is busy and hands it over as lists, which the
engine groups by exact length. It tokenises and computes in threads: the event loop never waits.

With a deadline no work is done in vain. Who is expected to miss it is refused on arrival, who can
no longer make it is left out of a batch, and threads leave out what nobody waits for any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from math import inf
from typing import Any, Self

from polyhead.engine import Engine, Options
from polyhead.errors import BatcherClosed, DeadlineExceeded, QueueFull
from polyhead.heads.generation import Generated
from polyhead.prediction import Prediction
from polyhead.serving.dispatch import Dispatch, unwanted
from polyhead.serving.pace import LONGEST_BATCH_S
from polyhead.serving.queue import Answer, QueueEntry, entry_for
from polyhead.serving.stats import BatcherStats, BatchReport
from polyhead.serving.streams import Streams
from polyhead.system.schema import number, whole_number
from polyhead.text.encoding import Input

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
        self._deadline = _seconds(deadline_ms)
        self._dispatch = Dispatch(
            engine,
            max_wait=number("max_wait_ms", max_wait_ms) / 1e3,
            max_batch=whole_number("max_batch", max_batch),
            max_queue=whole_number("max_queue", max_queue),
            bound=min(LONGEST_BATCH_S, self._deadline / 4),
            observe=observe,
        )
        self._counters = self._dispatch.counters
        self._streams = Streams(engine, _STREAMS * self._dispatch.admission.threads)
        self._loop: asyncio.AbstractEventLoop | None = None

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
        entries = [self._dispatch.in_flight.get(entry.key, entry) for entry in entries]
        limit = self._deadline if deadline_ms is None else _seconds(deadline_ms)
        try:
            self._dispatch.admission.check(entries, limit)
        except QueueFull:
            counters.rejected += len(entries)
            raise
        counters.requests += len(entries)
        asked: list[tuple[QueueEntry, Answer]] = []
        for new in entries:
            entry = self._dispatch.in_flight.get(new.key, new)  # one text may be there twice
            entry.deadline = max(entry.deadline, now + limit)
            future: Answer = loop.create_future()
            self._dispatch.join(entry, future)
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
                self._dispatch.leave(entry, future)

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
        return self._counters.snapshot(waiting=self.waiting, running=len(self._dispatch.running))

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread now."""
        return self._dispatch.pending.waiters

    def expected_wait_s(self) -> float:
        """Seconds until a thread has time for a new text of up to 16,000 characters."""
        return self._dispatch.admission.wait(long=False)

    async def aclose(self, *, drain: bool = True, grace: float | None = None) -> None:
        """Take no more requests, and end; may be called twice.

        Who is not answered by then gets `BatcherClosed`. Threads stop at their next group of
        windows; for that this waits half a second at most, whatever they compute.

        Args:
            drain: answer what waits and what is being computed; False fails at once what waits, and
                after half a second, in which ordinary batches end, what is being computed.
            grace: most seconds for draining; None for no limit.
        """
        self._dispatch.closed = True
        if self._loop is None:
            return
        problem = BatcherClosed("The batcher was closed before this request was answered.")
        try:
            if not drain:
                self._dispatch.fail(self._dispatch.pending.clear(), problem)
                await self._stopped(LONGEST_BATCH_S)
            elif asked := [f for entry in self._dispatch.in_flight.values() for f in entry.waiters]:
                self._dispatch.wake()
                await asyncio.wait(asked, timeout=grace)
            if drain:
                await self._streams.ended(grace)
        finally:
            self._streams.stop()
            computed = unwanted(self._dispatch.running)
            self._dispatch.fail([*self._dispatch.pending.clear(), *computed], problem)
            try:
                await self._stopped(_STOPPING_S)
            finally:
                self._dispatch.pool.close()

    async def _stopped(self, seconds: float) -> None:
        """Wait so long at most until no thread computes."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._dispatch.idle.wait(), seconds)

    def __repr__(self) -> str:
        """Whether it takes requests, how many there were, and what answers them."""
        state = (
            "closed" if self._dispatch.closed else "not open yet" if self._loop is None else "open"
        )
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
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        await self.aclose(drain=kind is None)

    def _open(self) -> asyncio.AbstractEventLoop:
        if self._dispatch.closed or self._loop is None:
            state = "was closed" if self._dispatch.closed else "is not open yet"
            raise BatcherClosed(
                f"This batcher {state}. Call predict inside of 'async with Batcher(engine)'."
            )
        if self._loop is not asyncio.get_running_loop():
            raise BatcherClosed(
                "This batcher belongs to another event loop. Make one Batcher for each loop; they"
                " may share the engine."
            )
        return self._loop


def _expire(asked: Iterable[tuple[QueueEntry, Answer]]) -> None:
    """End the waiting of a request whose time is over."""
    for _, future in asked:
        if not future.done():
            future.set_result(None)


def _seconds(deadline_ms: float | None) -> float:
    return inf if deadline_ms is None else number("deadline_ms", deadline_ms) / 1e3
