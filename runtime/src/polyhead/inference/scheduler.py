"""When and where the windows of texts are computed: groups, worker threads, one thread budget."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import EngineClosed, GraphError
from polyhead.inference._per_process import PerProcess
from polyhead.inference.backend import Backend
from polyhead.inference.grouping import groups, padded_groups
from polyhead.inference.session import MultiThreadedSession
from polyhead.text.encoding import Encoding

IDS, TYPES, MASK = "input_ids", "token_type_ids", "attention_mask"

# Texts that a thread tokenises at a time: about 5 ms of work, after which another may have a turn.
_STRIP = 64
# Groups for each worker that a call has queued: so many of a long text may be before those of
# another call, and more of them are no faster.
_AHEAD = 2

Arrays = Sequence[NDArray[np.float32]]
"""An array for each wanted output."""
Wanted = Callable[[int], bool]
"""Says by the number of a text whether its answer is still wanted; any thread calls it."""
S = TypeVar("S")
T = TypeVar("T")
_Work = list[tuple[Future[T], Callable[[S], T], S]]
"""A call to make, where the result goes, and nothing once somebody took it."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One run of a graph: what computes, and what is wanted of it.

    Attributes:
        backend: computes the logits.
        multi_threaded: the same with several threads for one call; None where there is none.
        outputs: names of the wanted outputs.
    """

    backend: Backend
    multi_threaded: MultiThreadedSession | None
    outputs: Sequence[str]


P = TypeVar("P", bound=Pass)


@dataclass(eq=False, slots=True)
class Job(Generic[P]):
    """A text to compute.

    Attributes:
        run: that computes it.
        row: the caller's number of the text.
        encoding: its tokens, in one window or in several.
        finite: whether all of its logits are numbers, once they are computed.
    """

    run: P
    row: int
    encoding: Encoding
    finite: bool = True


@dataclass(eq=False, slots=True)
class Group(Generic[P]):
    """Windows that go in one call of a back end.

    Attributes:
        run: that computes them.
        windows: of each the job, its number among the job's windows, and where its tokens are.
    """

    run: P
    windows: Sequence[tuple[Job[P], int, slice]]


class Scheduler:
    """Runs windows in groups; all threads that call it share one budget.

    A call with one group runs it in the caller's thread, so that a single text waits for no other
    thread. Of a list the worker threads compute the groups, while the caller takes the logits. Each
    takes one of `workers` places while it computes: however many threads call, no more compute at
    once.
    """

    def __init__(self, workers: int, batch_tokens: int) -> None:
        """Take the limits; threads start with the first list.

        Args:
            workers: calls of the back end at the same time.
            batch_tokens: most tokens in a group.
        """
        self.workers = workers
        self.batch_tokens = batch_tokens
        self._pool = PerProcess[_Workers]()

    def group(self, jobs: Sequence[Job[P]]) -> list[Group[P]]:
        """The windows of all jobs as the calls of back ends that they need."""
        if len(jobs) == 1 and len(jobs[0].encoding.starts) == 1:
            return [Group(jobs[0].run, [(jobs[0], 0, slice(None))])]
        by_run: dict[int, list[tuple[Job[P], int, slice]]] = {}
        for job in jobs:
            windows = by_run.setdefault(id(job.run), [])
            windows += [(job, number, w) for number, w in enumerate(job.encoding.windows)]
        found = []
        for windows in by_run.values():
            run = windows[0][0].run
            split = padded_groups if MASK in run.backend.inputs else groups
            lengths = [window.stop - window.start for _, _, window in windows]
            for rows in split(lengths, self.batch_tokens):
                found.append(Group(run, [windows[row] for row in rows]))
        return found

    def run(
        self, groups: Sequence[Group[P]], wanted: Wanted | None = None
    ) -> Iterator[tuple[Job[P], Arrays | None]]:
        """Compute groups side by side; gives each job with its logits, in the order of groups.

        The logits of a text in several windows are those of all: a row a window for outputs that
        have one row a text, end to end for those that have one a token.

        Args:
            groups: as `group` made them.
            wanted: asked for the rows of a group right before it is computed; where none of them is
                wanted it is left out, and its jobs come with None. None for all.

        Raises:
            EngineClosed: when it was closed meanwhile.
            GraphError: for logits of other rows than were fed.
            Exception: what a back end raised; no group runs any more by then.
        """
        workers = self._workers()
        found: Iterable[tuple[Group[P], Arrays | None]]
        if len(groups) == 1:
            found = [workers.compute_alone(groups[0])]
        else:
            found = workers.side_by_side(partial(_run, wanted), groups)
        missing: dict[int, dict[int, Arrays]] = {}
        for group, arrays in found:
            if arrays is None:
                for job, _, _ in group.windows:
                    yield job, None
                continue
            padded = MASK in group.run.backend.inputs
            finite = _are_finite(group, arrays)
            for place, (job, number, window) in enumerate(group.windows):
                logits = [array[place] for array in arrays]
                if not finite and not all(np.isfinite(array).all() for array in logits):
                    job.finite = False
                if padded:
                    tokens = len(job.encoding.ids[window])
                    logits = [array[:tokens] if array.ndim == 2 else array for array in logits]
                count = len(job.encoding.starts)
                if count > 1:
                    parts = missing.setdefault(id(job), {})
                    parts[number] = logits
                    if len(parts) < count:
                        continue
                    logits = _joined([parts[i] for i in range(count)])
                    del missing[id(job)]
                yield job, logits

    def spread(self, function: Callable[[range], list[T]], count: int) -> list[T]:
        """What `function` gives for `range(count)`, computed in strips by the worker threads.

        Args:
            function: gives a list for a part of the range; should let go of Python's lock.
            count: length of the range.

        Raises:
            EngineClosed: when it was closed meanwhile.
            Exception: what `function` raised, for the first strip that failed.
        """
        if count <= _STRIP or self.workers == 1:
            return function(range(count))
        workers = self._workers()
        strips = [range(i, min(i + _STRIP, count)) for i in range(0, count, _STRIP)]
        return [each for strip in workers.side_by_side(function, strips) for each in strip]

    def close(self) -> None:
        """Give this process's worker threads back, when they have done what they were given."""
        workers = self._pool.peek()
        if workers is not None:
            workers.close()

    def _workers(self) -> _Workers:
        return self._pool.made.get(os.getpid()) or self._pool.get(lambda: _Workers(self.workers))


class _Workers:
    """The threads of one process: a pool, and a place to compute for each of the budget."""

    def __init__(self, count: int) -> None:
        # A queue of so many things: written in C, it takes a tenth of a Semaphore's time.
        self._places: SimpleQueue[object] = SimpleQueue()
        for _ in range(count):
            self._places.put(None)
        self._count, self._closed = count, False
        # Threads that have a place, or the lock of the pool. What calls an engine in the midst of
        # that, a signal handler or `wanted`, would wait for itself: it does its work itself.
        self._busy: set[int] = set()
        self._most = _AHEAD * count
        self._pool = self._new_pool()

    def compute_alone(self, group: Group[P]) -> tuple[Group[P], Arrays]:
        """Compute a group here; a single window by several threads, when they are free."""
        run, windows = group.run, group.windows
        feeds = _feeds(windows, run.backend.inputs)
        fast = run.multi_threaded
        if (
            fast is not None
            and len(windows) == 1
            and feeds[IDS].size >= fast.min_tokens
            and (thread := get_ident()) not in self._busy
            and fast.ready(self._open)
        ):
            held, back = self._hold()
            try:
                self._busy.add(thread)
                with suppress(Empty):  # there are fewer
                    held.extend(map(SimpleQueue.get_nowait, repeat(self._places, fast.threads)))
                    return group, fast.session.run(run.outputs, feeds)
            finally:
                _exhaust(back)
                self._busy.discard(thread)
        return group, self._in_a_place(run.backend.run, run.outputs, feeds)

    def side_by_side(self, function: Callable[[S], T], values: Sequence[S]) -> Iterator[T]:
        """What `function` gives for each value, in their order; the threads of the pool call it.

        Calls that run at the same time have their turns one after the other. The caller calls it
        where there are no threads: one worker, a system that gives no more, an interpreter at its
        end. Whatever ends it, its error or its caller's, none of these calls runs any more by then.
        """
        if get_ident() in self._busy:
            yield from map(function, values)
            return
        futures: deque[Future[T]] = deque()
        handed: list[_Work[T, S]] = []
        try:
            alone, ahead = False, iter(values)
            for value in values:
                for later in islice(ahead, self._most - len(futures)):
                    futures.append(Future())
                    handed.append([(futures[-1], function, later)])
                    alone = alone or not self._start(self._answer, handed[-1])
                if alone and futures[0].cancel():  # nobody has begun it, nor will
                    yield self._in_a_place(function, value)
                else:  # by no name: the frames of its error would keep a future, and it them
                    yield futures[0].result()
                futures.popleft()
        finally:
            wait([future for future in futures if not future.cancel()])
            futures.clear()
            for work in handed:  # the pool still has what nobody has begun
                work.clear()

    def close(self) -> None:
        """End the threads, when they have done what they were given."""
        if self._pool is not None:
            self._closed = True  # before the pool refuses work, so that a call can say why
            if get_ident() in self._busy:
                Thread(target=self._pool.shutdown).start()
            else:
                self._pool.shutdown()

    def _start(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have a thread of the pool call it; False where none can be had.

        Raises:
            EngineClosed: when it was closed meanwhile.
        """
        if self._pool is None:
            return False
        thread = get_ident()
        try:
            self._busy.add(thread)
            self._pool.submit(function, *arguments)
        except RuntimeError as problem:
            if self._closed:
                raise EngineClosed("This engine was closed during the call.") from problem
            # The old one keeps what it found no thread for, and would call it some day.
            self._pool = self._new_pool()
            return False
        finally:
            self._busy.discard(thread)
        return True

    def _new_pool(self) -> ThreadPoolExecutor | None:
        return ThreadPoolExecutor(self._count, "polyhead") if self._count > 1 else None

    def _answer(self, work: _Work[T, S]) -> None:
        """In a thread of the pool, where the caller has not done it or let it be."""
        future, function, value = work.pop()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(self._in_a_place(function, value))
            except BaseException as problem:
                future.set_exception(problem)
            finally:
                del future  # the frames of its error would keep it, and it them

    def _open(self, opening: Callable[[], None]) -> bool:
        """Open a session in a thread of the pool; False where none can be had now."""
        with suppress(EngineClosed):
            return self._start(opening)
        return False

    def _in_a_place(self, function: Callable[..., T], *arguments: object) -> T:
        thread = get_ident()
        if thread in self._busy:
            return function(*arguments)
        held, back = self._hold()
        try:
            self._busy.add(thread)
            held.extend(map(SimpleQueue.get, (self._places,)))
            return function(*arguments)
        finally:
            _exhaust(back)
            self._busy.discard(thread)

    def _hold(self) -> tuple[list[object], Iterator[None]]:
        """A list to take places into, and what gives back those that are in it.

        Ctrl-C may come between any two steps of Python, but not within one of C, which takes a
        place and notes it, or gives all of them back.
        """
        held: list[object] = [_END]
        return held, map(self._places.put, iter(held.pop, _END))


_END = object()
_exhaust = deque[None](maxlen=0).extend


def _run(wanted: Wanted | None, group: Group[P]) -> tuple[Group[P], Arrays | None]:
    if wanted is not None and not any(wanted(job.row) for job, _, _ in group.windows):
        return group, None
    backend = group.run.backend
    return group, backend.run(group.run.outputs, _feeds(group.windows, backend.inputs))


def _are_finite(group: Group[P], arrays: Arrays) -> bool:
    """Whether all logits are numbers.

    Raises:
        GraphError: for other rows than were fed.
    """
    for output, array in zip(group.run.outputs, arrays, strict=True):
        if array.shape[:1] != (len(group.windows),):
            raise GraphError(
                f"the graph's output {output!r} has the shape {array.shape} for"
                f" {len(group.windows)} rows of tokens. Export the bundle again."
            )
    return all(np.isfinite(array).all() for array in arrays)


def _feeds(
    windows: Sequence[tuple[Job[P], int, slice]], inputs: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """What a graph with these inputs is fed, int64 `(windows, tokens)` each.

    Windows have one length, or the graph has a mask and shorter ones are filled up on the right.
    """
    if len(windows) == 1:
        job, _, window = windows[0]
        feeds = {IDS: job.encoding.ids[None, window]}
        if TYPES in inputs:
            feeds[TYPES] = job.encoding.token_types[None, window]
        if MASK in inputs:
            feeds[MASK] = np.ones_like(feeds[IDS])
        return feeds
    shape = len(windows), max(window.stop - window.start for _, _, window in windows)
    feeds = {name: np.zeros(shape, np.int64) for name in (IDS, TYPES, MASK) if name in inputs}
    for row, (job, _, window) in enumerate(windows):
        tokens = window.stop - window.start
        feeds[IDS][row, :tokens] = job.encoding.ids[window]
        if TYPES in feeds and job.encoding.types is not None:
            feeds[TYPES][row, :tokens] = job.encoding.types[window]
        if MASK in feeds:
            feeds[MASK][row, :tokens] = 1
    return feeds


def _joined(windows: Sequence[Arrays]) -> list[NDArray[np.float32]]:
    """The logits of all windows of a text."""
    return [
        np.stack(arrays) if arrays[0].ndim == 1 else np.concatenate(arrays)
        for arrays in zip(*windows, strict=True)
    ]
