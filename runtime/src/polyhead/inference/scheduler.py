"""When and where the windows of texts are computed: groups, worker threads, one thread budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Semaphore
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import EngineClosed
from polyhead.inference import threads
from polyhead.inference.grouping import groups, padded_groups
from polyhead.inference.per_process import PerProcess
from polyhead.inference.session import Backend
from polyhead.text.encoding import Encoding

IDS, TYPES, MASK = "input_ids", "token_type_ids", "attention_mask"

# Texts that a thread tokenises at a time: about 5 ms of work, after which another may have a turn.
_STRIP = 64

Window = tuple[Encoding, slice]
"""A text, and where the tokens of one of its windows are."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """Windows for a back end to read.

    Attributes:
        backend: reads them.
        outputs: names of the wanted outputs.
        windows: in any order and of any length.
        take: told the index of each window, and its logits, one array an output. It is called in
            the thread that computed them, while others compute.
    """

    backend: Backend
    outputs: Sequence[str]
    windows: Sequence[Window]
    take: Callable[[int, Sequence[NDArray[np.float32]]], None]

    def groups(self, batch_tokens: int) -> list[_Group]:
        """The windows as the calls of the back end that they need."""
        split = padded_groups if MASK in self.backend.inputs else groups
        lengths = [window.stop - window.start for _, window in self.windows]
        return [_Group(self, rows) for rows in split(lengths, batch_tokens)]


@dataclass(frozen=True, eq=False, slots=True)
class _Group:
    """Windows that go in one call of the back end."""

    request: Request
    rows: Sequence[int]

    def run(self, crew: _Crew, *, lone: bool = False) -> None:
        """Compute them; a lone one by several threads, when they are free."""
        request = self.request
        parts = [request.windows[row] for row in self.rows]
        lengths = [window.stop - window.start for _, window in parts]
        feeds = _feeds(parts, request.backend.inputs)
        long = lone and len(parts) == 1 and lengths[0] >= threads.WIDE_FROM
        wide = request.backend.wide if long else None
        if wide is not None and wide.ready(crew.start) and crew.take(wide.threads):
            try:
                arrays = wide.run(request.outputs, feeds)
            finally:
                crew.places.release(wide.threads)
        else:
            with crew.places:
                arrays = request.backend.run(request.outputs, feeds)
        padded = MASK in request.backend.inputs
        for place, (row, tokens) in enumerate(zip(self.rows, lengths, strict=True)):
            found = [array[place] for array in arrays]
            if padded:
                found = [array[:tokens] if array.ndim == 2 else array for array in found]
            request.take(row, found)


class _Crew:
    """The threads of one process: a pool, and a place to run for each thread of the budget."""

    def __init__(self, workers: int) -> None:
        self.closed = False
        self.places = Semaphore(workers)
        self.openings: list[Future[None]] = []
        self.pool: ThreadPoolExecutor | None = None
        if workers > 1:
            self.pool = ThreadPoolExecutor(workers, thread_name_prefix="polyhead")

    def start(self, opening: Callable[[], None]) -> bool:
        """Open a session in a thread of the pool; False where none can be had now."""
        if self.pool is None:
            return False
        with suppress(RuntimeError):  # closed meanwhile, or a system without threads
            self.openings.append(self.pool.submit(opening))
            return True
        return False

    def take(self, count: int) -> bool:
        """So many places at once, without waiting; False, and none, where there are fewer."""
        taken = 0
        while taken < count and self.places.acquire(blocking=False):
            taken += 1
        if taken == count:
            return True
        if taken:
            self.places.release(taken)
        return False


class Scheduler:
    """Runs windows in groups; all threads that call it share one budget.

    A call with one group runs it in the caller's thread, so that a lone text waits for no other
    thread. Of a list the caller computes the first group, and the pool the others. Each takes one
    of `workers` places while it computes: however many threads call, no more compute at once.
    """

    def __init__(self, workers: int, batch_tokens: int) -> None:
        """Take the limits; threads start with the first list.

        Args:
            workers: calls of the back end at the same time.
            batch_tokens: most tokens in a group.
        """
        self.workers = workers
        self.batch_tokens = batch_tokens
        self._crew = PerProcess(lambda: _Crew(workers))

    def run(self, requests: Sequence[Request]) -> None:
        """Compute all windows of all requests, side by side.

        Raises:
            EngineClosed: when it was closed meanwhile.
            Exception: what a back end or a `take` raised, of the first group that failed; nothing
                runs any more by then.
            RuntimeError: Python's own, when the system gives no more threads.
        """
        crew = self._crew.get()
        jobs = [group for request in requests for group in request.groups(self.batch_tokens)]
        if len(jobs) == 1:
            jobs[0].run(crew, lone=True)
        else:
            _side_by_side(crew, [partial(job.run, crew) for job in jobs])

    def spread(self, function: Callable[[range], list[T]], count: int) -> list[T]:
        """What `function` gives for `range(count)`, computed in strips by all threads.

        Args:
            function: gives a list for a part of the range; should let go of Python's lock.
            count: length of the range.

        Raises:
            EngineClosed: when it was closed meanwhile.
            Exception: what `function` raised, for the first strip that failed.
        """
        if count <= _STRIP or self.workers == 1:
            return function(range(count))
        crew = self._crew.get()
        strips = [range(i, min(i + _STRIP, count)) for i in range(0, count, _STRIP)]
        found: list[list[T]] = [[] for _ in strips]

        def run(place: int) -> None:
            with crew.places:
                found[place] = function(strips[place])

        _side_by_side(crew, [partial(run, place) for place in range(len(strips))])
        return [each for strip in found for each in strip]

    def settle(self) -> None:
        """Wait until all sessions are open that are being opened."""
        wait(self._crew.get().openings)

    def close(self) -> None:
        """Give this process's worker threads back, when they have done what they were given."""
        crew = self._crew.peek()
        if crew is not None and crew.pool is not None:
            crew.closed = True  # before the pool refuses work, so that a call can tell why
            crew.pool.shutdown()


def _side_by_side(crew: _Crew, jobs: Sequence[Callable[[], None]]) -> None:
    """Do all jobs; the error of the first that fails, when none runs any more."""
    if crew.pool is None or len(jobs) < 2:
        for job in jobs:
            job()
        return
    rest: list[Future[None]] = []
    try:
        for job in jobs[1:]:
            rest.append(_submitted(crew, crew.pool, job))
        jobs[0]()  # here: a thread that waits could as well compute
        for future in rest:
            future.result()
    finally:
        for future in rest:
            future.cancel()
        wait(rest)


def _submitted(crew: _Crew, pool: ThreadPoolExecutor, job: Callable[[], None]) -> Future[None]:
    try:
        return pool.submit(job)
    except RuntimeError as problem:
        if not crew.closed:
            raise
        raise EngineClosed("This engine was closed during the call.") from problem


def _feeds(parts: Sequence[Window], inputs: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """What a graph with these inputs is fed, int64 `(windows, tokens)` each.

    Windows have one length, or the graph has a mask and shorter ones are filled up on the right.
    """
    if len(parts) == 1:
        [(encoding, window)] = parts
        feeds = {IDS: encoding.ids[window][None]}
        if TYPES in inputs:
            feeds[TYPES] = encoding.token_types[window][None]
        if MASK in inputs:
            feeds[MASK] = np.ones_like(feeds[IDS])
        return feeds
    shape = len(parts), max(window.stop - window.start for _, window in parts)
    feeds = {name: np.zeros(shape, np.int64) for name in (IDS, TYPES, MASK) if name in inputs}
    for row, (encoding, window) in enumerate(parts):
        tokens = window.stop - window.start
        feeds[IDS][row, :tokens] = encoding.ids[window]
        if TYPES in feeds and encoding.types is not None:
            feeds[TYPES][row, :tokens] = encoding.types[window]
        if MASK in feeds:
            feeds[MASK][row, :tokens] = 1
    return feeds
