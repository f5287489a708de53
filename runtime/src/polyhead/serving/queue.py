"""The queue of a batcher: jobs, which of them go together, and how a thread answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from polyhead.engine import Engine, Options
from polyhead.errors import InputError
from polyhead.prediction import Prediction
from polyhead.serving.stats import BatchShape, shape_of
from polyhead.text.encoding import Input

# A batch holds about this many characters; a text with more goes alone, and one thread is kept for
# the others. About 4,000 tokens of English: MiniLM reads them in a few tenths of a second.
_LONG = 16_384


@dataclass(frozen=True)
class BatchAnswers:
    """What a thread brings back.

    Attributes:
        found: an answer or an error for each job.
        shape: what was computed.
        threads: of the engine now.
    """

    found: list[Prediction | BaseException]
    shape: BatchShape
    threads: int


@dataclass(eq=False, slots=True)
class QueueEntry:
    """One computation, and everyone who waits for it.

    Attributes:
        key: equal for requests that have the same answer.
        settings: equal for jobs that may go in one call of the engine.
        item: the text or pair.
        heads: names of the wanted heads; None for all.
        options: settings of single heads.
        arrived: `time.perf_counter()` of the first request, seconds.
        characters: of the text or both texts.
        waiters: a future for each request.
        started: whether a thread has it.
    """

    key: object
    settings: object
    item: Input
    heads: Iterable[str] | None
    options: Options | None
    arrived: float
    characters: int
    waiters: set[asyncio.Future[Prediction]] = field(default_factory=set)
    started: bool = False

    @property
    def long(self) -> bool:
        """Whether it goes alone."""
        return self.characters > _LONG

    def settle(self, found: Prediction | BaseException) -> None:
        """Give the answer, or the error, to everyone who waits."""
        if isinstance(found, StopIteration):  # the one that no future takes
            cause, found = found, RuntimeError("the engine raised StopIteration")
            found.__cause__ = cause
        for future in self.waiters:
            if isinstance(found, BaseException):
                future.set_exception(found)
            else:
                future.set_result(found)
        self.waiters.clear()


class Pending:
    """Jobs that no thread has yet, oldest first."""

    def __init__(self) -> None:
        self._jobs: dict[QueueEntry, None] = {}
        self.waiters = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def oldest(self) -> float:
        """When the oldest job arrived, by `time.perf_counter()`."""
        return next(iter(self._jobs)).arrived

    def add(self, job: QueueEntry) -> None:
        """Append a job without waiters."""
        self._jobs[job] = None

    def remove(self, job: QueueEntry) -> None:
        """Forget a job without waiters."""
        del self._jobs[job]

    def take(self, most: int, *, long: bool) -> list[QueueEntry]:
        """Remove and return the next batch: the oldest job and others with its settings.

        Args:
            most: jobs in a batch, at least 1.
            long: whether long texts may go now; otherwise they are passed over.
        """
        batch: list[QueueEntry] = []
        characters = 0
        for job in self._jobs:
            if job.long and (batch or not long):
                continue
            if batch and job.settings != batch[0].settings:
                continue
            characters += job.characters
            if batch and characters > _LONG:
                break
            batch.append(job)
            if job.long or len(batch) == most:
                break
        for job in batch:
            del self._jobs[job]
            job.started = True
            self.waiters -= len(job.waiters)
        return batch


def job_of(
    item: Input, heads: Iterable[str] | None, options: Options | None, arrived: float
) -> QueueEntry:
    """A job for a request; what is wrong with it is left for the engine to say."""
    if isinstance(heads, Iterable) and not isinstance(heads, str):
        heads = tuple(heads)
    settings = _same((_names(heads), options))
    texts = [item] if isinstance(item, str) else item
    sizes = (len(t) for t in texts) if _are_texts(texts) else (0,)
    characters = sum(sizes)
    # Hashing a very long text would hold up the event loop.
    key = object() if characters > _LONG else _same((item, settings))
    return QueueEntry(key, settings, item, heads, options, arrived, characters)


def answer(engine: Engine, batch: Sequence[QueueEntry]) -> BatchAnswers:
    """Answer jobs with equal settings, in a thread; one that fails leaves the others alone."""
    found: list[Prediction | BaseException] = []
    if batch:
        first = batch[0]
        try:
            answers = engine.predict(
                [job.item for job in batch],
                heads=first.heads,
                options=first.options,
                errors="return",
            )
            found = [_own(each) if isinstance(each, InputError) else each for each in answers]
        except Exception as problem:  # of no single input, such as an option's value
            found = [problem] if len(batch) == 1 else [_alone(engine, job) for job in batch]
    info = engine.info()  # each time: `Engine.reload` may have changed it
    predictions = [each for each in found if isinstance(each, Prediction)]
    shape = shape_of(predictions, max_tokens=info["max_tokens"], batch_tokens=info["batch_tokens"])
    return BatchAnswers(found, shape, info["threads"])


def _own(problem: InputError) -> InputError:
    """The error of an input as its caller expects it, who sent one and so knows of index 0."""
    place = f"input {problem.index}:"
    message = str(problem)
    if message.startswith(place):
        message = f"input 0:{message.removeprefix(place)}"
    own = type(problem)(message, index=0)
    own.__cause__ = problem.__cause__
    return own


def _alone(engine: Engine, job: QueueEntry) -> Prediction | BaseException:
    """The answer or the error of one job."""
    try:
        return engine(job.item, heads=job.heads, options=job.options)
    except Exception as problem:
        return problem


def _are_texts(parts: object) -> bool:
    return isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts)


def _names(heads: object) -> object:
    """Heads in an order that does not depend on the caller's."""
    if isinstance(heads, str):
        return [repr(heads)]
    return sorted(map(repr, heads)) if isinstance(heads, tuple) else heads


def _same(value: object) -> object:
    """Something hashable that is equal for equal values, of equal types; unique where unknown."""
    if isinstance(value, str | int | float | bool | None):
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), tuple(_same(part) for part in value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return Mapping, tuple((key, _same(value[key])) for key in sorted(value))
    if isinstance(value, type):
        return value
    return object()
