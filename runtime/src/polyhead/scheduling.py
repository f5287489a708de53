"""When and where the windows of texts are computed: groups, worker threads, one thread budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Semaphore

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import EngineClosed
from polyhead.grouping import groups, padded_groups
from polyhead.per_process import PerProcess
from polyhead.session import Backend
from polyhead.tokenizing import Encoding

IDS, TYPES, MASK = "input_ids", "token_type_ids", "attention_mask"

Window = tuple[Encoding, slice]
"""A text, and where the tokens of one of its windows are."""

Request = tuple[Backend, Sequence[str], Sequence[Window]]
"""A back end, the wanted outputs, and the windows that it reads."""


@dataclass(frozen=True, eq=False, slots=True)
class _Group:
    """Windows that go in one call of the back end, and where their logits belong."""

    backend: Backend
    outputs: Sequence[str]
    windows: Sequence[Window]
    rows: Sequence[int]
    answers: list[list[NDArray[np.float32]]]

    def run(self, places: Semaphore) -> None:
        parts = [self.windows[row] for row in self.rows]
        feeds = _feeds(parts, self.backend.inputs)
        with places:
            arrays = self.backend.run(self.outputs, feeds)
        padded = MASK in self.backend.inputs
        for place, row in enumerate(self.rows):
            found = [array[place] for array in arrays]
            if padded:
                tokens = parts[place][1].stop - parts[place][1].start
                found = [array[:tokens] if array.ndim == 2 else array for array in found]
            self.answers[row] = found


class _Crew:
    """The threads of one process: a pool, and a place to run for each thread of the budget."""

    def __init__(self, workers: int) -> None:
        self.closed = False
        self.places = Semaphore(workers)
        self.pool: ThreadPoolExecutor | None = None
        if workers > 1:
            self.pool = ThreadPoolExecutor(workers, thread_name_prefix="polyhead")


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

    def run(
        self, backend: Backend, outputs: Sequence[str], windows: Sequence[Window]
    ) -> list[list[NDArray[np.float32]]]:
        """Logits of each window by output, in the order of `windows`.

        Raises:
            EngineClosed: when it was closed meanwhile.
        """
        return self.run_all([(backend, outputs, windows)])[0]

    def run_all(self, requests: Sequence[Request]) -> list[list[list[NDArray[np.float32]]]]:
        """What `run` gives for each request; groups of all of them are computed side by side.

        Raises:
            EngineClosed: when it was closed meanwhile.
            RuntimeError: Python's own, when the system gives no more threads.
        """
        crew = self._crew.get()
        jobs: list[_Group] = []
        found: list[list[list[NDArray[np.float32]]]] = []
        for backend, outputs, windows in requests:
            answers: list[list[NDArray[np.float32]]] = [[]] * len(windows)
            found.append(answers)
            padded = MASK in backend.inputs
            lengths = [window.stop - window.start for _, window in windows]
            split = (padded_groups if padded else groups)(lengths, self.batch_tokens)
            jobs += [_Group(backend, outputs, windows, rows, answers) for rows in split]

        def run(group: _Group) -> None:
            group.run(crew.places)

        if crew.pool is None or len(jobs) < 2:
            for job in jobs:
                run(job)
            return found
        rest: list[Future[None]] = []
        try:
            for job in jobs[1:]:
                rest.append(_submitted(crew, crew.pool, run, job))
            run(jobs[0])  # here: a thread that waits could as well compute
            for future in rest:
                future.result()
        finally:
            for future in rest:
                future.cancel()
            wait(rest)
        return found

    def close(self) -> None:
        """Give this process's worker threads back, when they have done what they were given."""
        crew = self._crew.peek()
        if crew is not None and crew.pool is not None:
            crew.closed = True  # before the pool refuses work, so that a call can tell why
            crew.pool.shutdown()


def _submitted(
    crew: _Crew, pool: ThreadPoolExecutor, run: Callable[[_Group], None], job: _Group
) -> Future[None]:
    try:
        return pool.submit(run, job)
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
