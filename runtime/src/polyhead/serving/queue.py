"""The queue of a batcher: entries, which of them go together, and how a thread answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from polyhead.engine import Engine, Options
from polyhead.errors import InputError
from polyhead.prediction import Prediction
from polyhead.serving.stats import BatchShape, shape_of
from polyhead.text.encoding import Input
from polyhead.text.inputs import without_frames

# A batch holds about this many characters; a text with more goes alone, and one thread is kept for
# the others. About 4,000 tokens of English: MiniLM reads them in a few tenths of a second.
_LONG = 16_384


@dataclass(frozen=True)
class BatchAnswers:
    """What a thread brings back.

    Attributes:
        found: an answer or an error for each entry.
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
        settings: equal for entries that may go in one call of the engine.
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
    """Entries that no thread has yet, oldest first."""

    def __init__(self) -> None:
        self._entries: dict[QueueEntry, None] = {}
        self.waiters = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> float:
        """When the oldest entry arrived, by `time.perf_counter()`."""
        return next(iter(self._entries)).arrived

    def add(self, entry: QueueEntry) -> None:
        """Append an entry without waiters."""
        self._entries[entry] = None

    def remove(self, entry: QueueEntry) -> None:
        """Forget an entry without waiters."""
        del self._entries[entry]

    def take(self, most: int, *, long: bool) -> list[QueueEntry]:
        """Remove and return the next batch: the oldest entry and others with its settings.

        Args:
            most: entries in a batch, at least 1.
            long: whether long texts may go now; otherwise they are passed over.
        """
        batch: list[QueueEntry] = []
        characters = 0
        for entry in self._entries:
            if entry.long and (batch or not long):
                continue
            if batch and entry.settings != batch[0].settings:
                continue
            characters += entry.characters
            if batch and characters > _LONG:
                break
            batch.append(entry)
            if entry.long or len(batch) == most:
                break
        for entry in batch:
            del self._entries[entry]
            entry.started = True
            self.waiters -= len(entry.waiters)
        return batch


def entry_for(
    item: Input, heads: Iterable[str] | None, options: Options | None, arrived: float
) -> QueueEntry:
    """An entry for a request; what is wrong with it is left for the engine to say."""
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
    """Answer entries with equal settings, in a thread; one that fails leaves the others alone."""
    found = _found(engine, batch) if batch else []
    info = engine.info()  # each time: `Engine.reload` may have changed it
    predictions = [each for each in found if isinstance(each, Prediction)]
    shape = shape_of(predictions, max_tokens=info["max_tokens"], batch_tokens=info["batch_tokens"])
    return BatchAnswers(found, shape, info["threads"])


def _found(engine: Engine, batch: Sequence[QueueEntry]) -> list[Prediction | BaseException]:
    """An answer or an error for each entry."""
    try:
        answers = engine.predict(
            [entry.item for entry in batch],
            heads=batch[0].heads,
            options=batch[0].options,
            errors="return",
        )
    except Exception as problem:  # of no single input, such as an option's value
        if len(batch) == 1:
            return [_without_frames(problem)]
        return [_alone(engine, entry) for entry in batch]
    return [_own(each) if isinstance(each, InputError) else each for each in answers]


def _own(problem: InputError) -> InputError:
    """The error of an input as its caller expects it, who sent one and so knows of index 0."""
    place = f"input {problem.index}:"
    message = str(problem)
    if message.startswith(place):
        message = f"input 0:{message.removeprefix(place)}"
    own = type(problem)(message, index=0)
    own.__cause__ = problem.__cause__
    return own


def _alone(engine: Engine, entry: QueueEntry) -> Prediction | BaseException:
    """The answer or the error of one entry."""
    try:
        return engine(entry.item, heads=entry.heads, options=entry.options)
    except Exception as problem:
        return _without_frames(problem)


def _without_frames(problem: Exception) -> Exception:
    """What is wrong with a request needs no frames; those of any other error say where it was."""
    return without_frames(problem) if isinstance(problem, InputError) else problem


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
