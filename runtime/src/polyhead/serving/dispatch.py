"""When batches begin, and what becomes of their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial

from polyhead.engine import Engine
from polyhead.errors import BatcherClosed, DeadlineExceeded, QueueFull
from polyhead.prediction import Prediction
from polyhead.serving.admission import Admission
from polyhead.serving.pace import FIRST_BATCH, Pace
from polyhead.serving.queue import Answer, BatchAnswers, Pending, QueueEntry, RunningBatch, answer
from polyhead.serving.stats import BatchReport, Counters
from polyhead.serving.threads import DaemonThreads

# A second thread even for one core: a text of many windows must not hold up all others.
_LEAST_THREADS = 2


class Dispatch:
    """Hands what waits to threads, in batches; all calls come from one event loop.

    A batch begins at once if nothing is running; while something runs, as soon as `max_batch`
    requests or enough work wait, or the oldest has waited `max_wait`, if a thread is free. The
    oldest request goes first, with those behind it that ask for the same heads and options.

    Attributes:
        in_flight: entries that another request may join, by key.
        pending: entries that wait.
        running: batches that threads have.
        admission: says whether there is room and time for another.
        counters: of what happened.
        pool: the threads.
        idle: set while no thread computes.
        closed: whether nothing shall wait for company any more.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_wait: float,
        max_batch: int,
        max_queue: int,
        bound: float,
        observe: Callable[[BatchReport], object] | None,
    ) -> None:
        """No thread starts yet; `max_wait` and `bound`, the work in a batch, are in seconds."""
        self._engine, self._observe = engine, observe
        self._max_wait, self._max_batch, self._bound = max_wait, max_batch, bound
        info = engine.info()
        self.counters = Counters(batch_tokens=int(info["batch_tokens"]))
        self.in_flight: dict[object, QueueEntry] = {}
        self.pending, self._pace = Pending(), Pace()
        self.running: list[RunningBatch] = []
        threads = max(_LEAST_THREADS, int(info["threads"]))
        self.admission = Admission(self.pending, self.running, self._pace, max_queue, threads)
        self.pool = DaemonThreads(partial(unwanted, self.running))
        self.idle = asyncio.Event()
        self.idle.set()
        self.closed = False
        self._woken: asyncio.Handle | None = None

    def join(self, entry: QueueEntry, future: Answer) -> None:
        """A caller waits for an entry, a new one or one that is in flight."""
        if entry.waiters:
            self.counters.shared += 1
        else:
            self.in_flight[entry.key] = entry
            self.pending.add(entry)
        entry.waiters.add(future)
        if not entry.started:
            self.pending.waiters += 1
            self.wake()

    def leave(self, entry: QueueEntry, future: Answer) -> None:
        """A caller is gone; an entry for which nobody waits is forgotten."""
        if future in entry.waiters:
            entry.waiters.remove(future)
            if not entry.started:
                self.pending.waiters -= 1
            if not entry.waiters:
                entry.wanted = False
                self._forget(entry)
                if not entry.started:
                    self.pending.remove(entry)
                    self.wake()

    def _forget(self, entry: QueueEntry) -> None:
        """No later request joins it."""
        if self.in_flight.get(entry.key) is entry:
            del self.in_flight[entry.key]

    def wake(self, delay: float = 0) -> None:
        """Look at the queue, soon: what arrives in this turn of the loop goes together."""
        if self._woken is not None:
            if delay:
                return
            self._woken.cancel()
        loop = asyncio.get_running_loop()
        look = loop.call_later(delay, self._look) if delay else None
        self._woken = look or loop.call_soon(self._look)

    def _look(self) -> None:
        """Begin as many batches as may begin now."""
        self._woken = None
        while self.pending and len(self.running) < self.admission.threads:
            wait = self._still_to_wait()
            if wait > 0:
                self.wake(wait)
                return
            batch: list[QueueEntry] | None = []
            try:
                self.pool.ready()
                batch = self._take()
                if batch is None:
                    return  # long texts have all threads but one
                if batch:
                    self._begin(batch)
            except (RuntimeError, MemoryError) as problem:
                # Without a thread all wait for those that run, if any.
                others = [] if self.running else self.pending.clear()
                self.fail([*(batch or ()), *others], _no_thread(problem))
                return

    def _still_to_wait(self) -> float:
        """Seconds until the next batch may begin."""
        work = sum(self.pending.work.values())
        full = len(self.pending) >= self._max_batch or self._pace.seconds(work) >= self._bound
        if not self.running or full or self.closed:
            return 0
        return self.pending.oldest + self._max_wait - time.perf_counter()

    def _take(self) -> list[QueueEntry] | None:
        """The next batch; an empty one where only late entries were taken, None without any."""
        most = self._max_batch if self._pace.known else min(self._max_batch, FIRST_BATCH)
        long = sum(batch.long for batch in self.running) < self.admission.threads - 1
        batch, late = self.pending.take(most, self._pace, self._bound, long=long)
        if not batch and not late:
            return None
        if not batch and self.admission.nothing_like(long=late[-1].long):
            batch.append(late.pop())
        if late:
            left = DeadlineExceeded(
                "too little was left of deadline_ms when the request's turn came, so it was not"
                " computed. Answer 504, send shorter texts, or allow more time or threads."
            )
            self.fail(late, left)
        return batch

    def _begin(self, entries: list[QueueEntry]) -> None:
        """Hand a batch to the thread that is ready."""
        begun, work = time.perf_counter(), sum(entry.work for entry in entries)
        batch = RunningBatch(entries, begun, work)
        self.pool.run(partial(answer, self._engine, batch, asyncio.get_running_loop(), self._end))
        self.running.append(batch)  # it ends in another turn of the loop
        self.idle.clear()
        self.counters.count_begin([begun - entry.arrived for entry in entries])

    def _end(self, batch: RunningBatch, answers: BatchAnswers | BaseException) -> None:
        """Give the answers out and look for more to do."""
        self.running.remove(batch)
        self.pool.release()
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
            self.fail(batch.entries, problem)
        finally:
            if not self.running:
                self.idle.set()
            self._look()

    def _learn(self, batch: RunningBatch, answers: BatchAnswers) -> None:
        """Threads, numbers and the pace, all of which `Engine.reload` may have changed."""
        self.admission.threads = max(_LEAST_THREADS, answers.threads)
        self.counters.count_batch(answers.shape)
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

    def fail(self, entries: list[QueueEntry], problem: Exception) -> None:
        """End the waiting for entries with an error."""
        for entry in entries:
            self._forget(entry)
            entry.settle(problem)


def unwanted(running: Iterable[RunningBatch]) -> list[QueueEntry]:
    """Have threads leave what they compute; what that is."""
    computed = [entry for batch in list(running) for entry in batch.entries]
    for entry in computed:
        entry.wanted = False
    return computed


def _no_thread(problem: Exception) -> QueueFull:
    refused = QueueFull(
        f"the system has no thread for this batch: {problem or 'out of memory'}. Answer 503 and let"
        " the caller try again later, or give this process more threads or memory."
    )
    refused.__cause__ = problem
    return refused
