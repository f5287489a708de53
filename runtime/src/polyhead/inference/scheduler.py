"""When and where the windows of texts are computed: in groups, by worker threads or the caller."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import Empty
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import GraphError
from polyhead.inference._per_process import PerProcess
from polyhead.inference._workers import Workers
from polyhead.inference.backend import Backend
from polyhead.inference.grouping import groups, padded_groups
from polyhead.inference.session import MultiThreadedSession
from polyhead.text.encoding import Encoding

IDS, TYPES, MASK = "input_ids", "token_type_ids", "attention_mask"

# Texts that a thread tokenises at a time: about 5 ms of work, after which another may have a turn.
_STRIP = 64
_FEW = 512  # numbers

Arrays = Sequence[NDArray[np.float32]]
"""An array for each wanted output."""
Wanted = Callable[[int], bool]
"""Says by the number of a text whether its answer is still wanted; any thread calls it."""
T = TypeVar("T")
K = TypeVar("K")


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
        rows: the caller's numbers of the text, which may be in a list more than once.
        encoding: its tokens, in one window or in several.
        finite: whether all of its logits are numbers, once they are computed.
    """

    run: P
    rows: list[int]
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
        self._pool = PerProcess[Workers]()

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
            GraphError: for logits of other rows than were fed.
            Exception: what a back end raised; no group runs any more by then.
        """
        workers = self._workers()
        found: Iterable[tuple[Group[P], Arrays | None]]
        if len(groups) == 1:
            found = [_run_alone(workers, wanted, groups[0])]
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
                if not finite and not all(map(_is_finite, logits)):
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

    def in_a_place(self, function: Callable[[], T]) -> T:
        """Call it here, when a place is free."""
        return self._workers().in_a_place(function)

    def in_turns(self, tasks: Iterable[K], step: Callable[[K], bool]) -> Iterator[K]:
        """Do tasks of many steps side by side; gives each when it is done.

        A step is one turn at a place: those of other calls come between.

        Args:
            tasks: taken as others are done, so that few are in memory.
            step: does the next step of a task, and says whether that was the last.

        Raises:
            Exception: what `step` raised; no step runs any more by then.
        """
        workers, waiting = self._workers(), iter(tasks)
        running = list(islice(waiting, self.workers))
        while running:
            if len(running) == 1:
                ended = [workers.in_a_place(step, running[0])]
            else:
                ended = list(workers.side_by_side(step, running))
            done = [task for task, last in zip(running, ended, strict=True) if last]
            running = [task for task, last in zip(running, ended, strict=True) if not last]
            yield from done
            running += islice(waiting, self.workers - len(running))

    def spread(self, function: Callable[[range], list[T]], count: int) -> list[T]:
        """What `function` gives for `range(count)`, computed in strips by the worker threads.

        Args:
            function: gives a list for a part of the range; should let go of Python's lock.
            count: length of the range.

        Raises:
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

    def _workers(self) -> Workers:
        return self._pool.made.get(os.getpid()) or self._pool.get(lambda: Workers(self.workers))


def _run(
    wanted: Wanted | None, group: Group[P], session: Backend | None = None
) -> tuple[Group[P], Arrays | None]:
    """Compute a group, by its own back end or by `session`; None where no text is wanted."""
    if wanted is not None and not any(
        wanted(row) for job, _, _ in group.windows for row in job.rows
    ):
        return group, None
    backend = session or group.run.backend
    return group, backend.run(group.run.outputs, _feeds(group.windows, backend.inputs))


def _run_alone(
    workers: Workers, wanted: Wanted | None, group: Group[P]
) -> tuple[Group[P], Arrays | None]:
    """Compute a group here; a single window by several threads, when they are free."""
    job, _, window = group.windows[0]
    fast = group.run.multi_threaded
    if (
        fast is not None
        and len(group.windows) == 1
        and len(job.encoding.ids[window]) >= fast.min_tokens
        and fast.ready(workers.start)
    ):
        with suppress(Empty):  # there are fewer
            return workers.in_places(fast.threads, _run, wanted, group, fast.session)
    return workers.in_a_place(_run, wanted, group)


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
    return all(_is_finite(array) for array in arrays)


def _is_finite(array: NDArray[np.float32]) -> bool:
    # Behind a graph, which has taken the CPU's caches, `isfinite` of ten numbers takes 36 µs, and
    # their sum in Python, which no float32 overflows, 11.
    if array.size <= _FEW:
        return math.isfinite(sum(array.ravel().tolist()))
    return bool(np.isfinite(array).all())


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
