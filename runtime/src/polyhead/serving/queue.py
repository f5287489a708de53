"""The queue of a batcher: entries, which of them go together, and how a thread answers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

from polyhead.engine import Engine, Options
from polyhead.errors import GraphError, InputError, of_input
from polyhead.prediction import Prediction
from polyhead.serving.pace import PLANNED, Pace
from polyhead.serving.stats import BatchShape, shape_of
from polyhead.text.encoding import Input
from polyhead.text.inputs import without_frames

# A batch holds about this much work; a text with more goes alone, and one thread is kept for the
# others. About 4,000 tokens of English: MiniLM reads them in a few tenths of a second.
_LONG = 16_384
# Work of a text beside its characters: what a call, special tokens and decoding cost, about as much
# as a dozen tokens.
_TEXT = 64


Answer = asyncio.Future[Prediction | Exception | None]
"""What a request waits for; None when its time is over."""


@dataclass(frozen=True)
class BatchAnswers:
    """What a thread brings back.

    Attributes:
        found: an answer or an error for each entry; None where it was not wanted any more.
        shape: what was computed.
        threads: of the engine now.
        tokenize_s: seconds until all were tokenised.
        compute_s: seconds from there on.
    """

    found: list[Prediction | BaseException | None]
    shape: BatchShape
    threads: int
    tokenize_s: float
    compute_s: float


@dataclass(eq=False, slots=True)
class QueueEntry:
    """One computation, and everyone who waits for it.

    Attributes:
        key: equal for requests that have the same answer.
        settings: equal for entries that may go in one call of the engine.
        item: the text or pair.
        heads: names of the wanted heads; None for all.
        options: settings of single heads.
        arrived: `time.perf_counter()` of the first request, seconds.
        work: how much there is to compute: characters, and as many more for the text itself.
        deadline: `time.perf_counter()` after which nobody waits, seconds; inf for none.
        waiters: a future for each request.
        started: whether a thread has it.
        wanted: whether it shall be computed still; a thread looks at it between groups.
    """

    key: object
    settings: object
    item: Input
    heads: Iterable[str] | None
    options: Options | None
    arrived: float
    work: int
    deadline: float = -inf
    waiters: set[Answer] = field(default_factory=set)
    started: bool = False
    wanted: bool = True

    @property
    def long(self) -> bool:
        """Whether it goes alone."""
        return self.work > _LONG

    def settle(self, found: Prediction | BaseException) -> None:
        """Give the answer, or the error, to everyone who still waits."""
        if isinstance(found, BaseException) and (
            isinstance(found, StopIteration) or not isinstance(found, Exception)
        ):  # what would end a coroutine or the event loop, or look like a cancellation
            cause, found = found, RuntimeError(f"the engine raised {type(found).__name__}")
            found.__cause__ = cause
        for future in self.waiters:
            if not future.done():  # its caller was cancelled, or its time is over
                future.set_result(found)
        self.waiters.clear()


@dataclass(eq=False, slots=True)
class RunningBatch:
    """Entries that a thread has.

    Attributes:
        entries: with equal settings; a long one is alone.
        begun: `time.perf_counter()`, seconds.
        work: of all entries.
    """

    entries: list[QueueEntry]
    begun: float
    work: int

    @property
    def long(self) -> bool:
        """Whether it is a long text."""
        return self.entries[0].long


class Pending:
    """Entries that no thread has yet, oldest first.

    Attributes:
        waiters: requests that wait for them.
        work: of the short texts, and of the long ones.
    """

    def __init__(self) -> None:
        self._entries: dict[QueueEntry, None] = {}
        self.waiters = 0
        self.work = {False: 0, True: 0}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> float:
        """When the oldest entry arrived, by `time.perf_counter()`."""
        return next(iter(self._entries)).arrived

    def add(self, entry: QueueEntry) -> None:
        """Append an entry without waiters."""
        self._entries[entry] = None
        self.work[entry.long] += entry.work

    def remove(self, entry: QueueEntry) -> None:
        """Forget an entry."""
        del self._entries[entry]
        self.work[entry.long] -= entry.work
        self.waiters -= len(entry.waiters)

    def clear(self) -> list[QueueEntry]:
        """Forget all entries, and return them."""
        entries = list(self._entries)
        for entry in entries:
            self.remove(entry)
        return entries

    def take(
        self, most: int, pace: Pace, seconds: float, *, long: bool
    ) -> tuple[list[QueueEntry], list[QueueEntry]]:
        """Remove and return the next batch: the oldest entry and others with its settings.

        Args:
            most: entries in a batch, at least 1.
            pace: how long work takes.
            seconds: of work in a batch of several; less where a deadline is near.
            long: whether long texts may go now; otherwise they are passed over.

        Returns:
            The batch, and the entries before it that can no longer be computed by their deadlines.
        """
        batch: list[QueueEntry] = []
        late: list[QueueEntry] = []
        work, now = 0, time.perf_counter()
        least = min(seconds, pace.seconds(self.work[False])) / 2
        for entry in self._entries:
            if entry.long and (batch or not long):
                continue
            if batch and entry.settings != batch[0].settings:
                continue
            left = entry.deadline - now
            if max(pace.seconds(entry.work), 0 if entry.long else least) > left:
                late.append(entry)
                continue
            work += entry.work
            seconds = min(seconds, PLANNED * left)
            if batch and (work > _LONG or pace.seconds(work) > seconds):
                break
            batch.append(entry)
            if entry.long or len(batch) == most:
                break
        for entry in (*batch, *late):
            self.remove(entry)
            entry.started = True
        return batch, late


def entry_for(
    item: Input, heads: Iterable[str] | None, options: Options | None, arrived: float
) -> QueueEntry:
    """An entry for a request; what is wrong with it is left for the engine to say."""
    if isinstance(heads, Iterable) and not isinstance(heads, str):
        heads = tuple(heads)
    settings = _key((_names(heads), options))
    if isinstance(item, list) and len(item) == 2:
        item = (item[0], item[1])  # a pair, whose list its caller may change
    texts = item if isinstance(item, list | tuple) else [item]
    characters = sum(str.__len__(text) for text in texts if isinstance(text, str))
    # Hashing a very long text would hold up the event loop.
    key = object() if characters > _LONG else (_key(item), settings)
    return QueueEntry(key, settings, item, heads, options, arrived, characters + _TEXT)


def answer(
    engine: Engine,
    batch: RunningBatch,
    loop: asyncio.AbstractEventLoop,
    end: Callable[[RunningBatch, BatchAnswers | BaseException], None],
) -> None:
    """Answer a batch in a thread and tell the event loop; an entry that fails leaves the others."""
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(end, batch, _answers(engine, batch.entries))


def _answers(engine: Engine, batch: Sequence[QueueEntry]) -> BatchAnswers | BaseException:
    try:
        begun, encoded = time.perf_counter(), list[float]()
        found = _found(engine, batch, lambda: encoded.append(time.perf_counter()))
        ended = time.perf_counter()
        middle = encoded[0] if encoded else ended
        info = engine.info()  # each time: `Engine.reload` may have changed it
        predictions = [each for each in found if isinstance(each, Prediction)]
        shape = shape_of(predictions, info["batch_tokens"])
        return BatchAnswers(found, shape, info["threads"], middle - begun, ended - middle)
    except BaseException as problem:  # by no other name, as its frames would keep it, and it them
        return problem


def _found(
    engine: Engine, batch: Sequence[QueueEntry], on_encoded: Callable[[], object]
) -> list[Prediction | BaseException | None]:
    """An answer or an error for each entry; None where it was not wanted any more."""
    try:
        answers = engine.predict(
            [entry.item for entry in batch],
            heads=batch[0].heads,
            options=batch[0].options,
            errors="return",
            wanted=lambda row: batch[row].wanted,
            on_encoded=on_encoded,
        )
    except Exception as problem:  # of no single input, such as an option's value
        if len(batch) == 1:
            # What is wrong with a request needs no frames; those of others say where it was.
            return [without_frames(problem) if isinstance(problem, InputError) else problem]
        return [found for entry in batch for found in _found(engine, [entry], on_encoded)]
    return [
        # As its caller expects it, who sent one text.
        of_input(each, 0) if isinstance(each, InputError | GraphError) else each
        for each in answers
    ]


def _names(heads: object) -> object:
    """Heads in an order that does not depend on the caller's."""
    if isinstance(heads, str):
        return [repr(heads)]
    return sorted(map(repr, heads)) if isinstance(heads, tuple) else heads


def _key(value: object) -> object:
    """Something hashable that is equal for equal values, of equal types; unique where unknown."""
    try:
        return _same(value)
    except RecursionError:  # lists in lists, as a stranger's JSON may have: the engine refuses them
        return object()


def _same(value: object) -> object:
    """A subclass may have its own idea of equality, so it is unknown."""
    if type(value) in (str, int, float, bool, type(None)):
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), tuple(_same(part) for part in value)
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return Mapping, tuple((key, _same(value[key])) for key in sorted(value))
    if isinstance(value, type):
        return value
    return object()
