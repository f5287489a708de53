"""What a batcher counts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate

from polyhead.errors import DeadlineExceeded
from polyhead.inference.grouping import groups
from polyhead.prediction import Prediction

QUEUE_BOUNDS_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Upper bounds of the histogram of queue times, milliseconds; one more bucket has no bound."""


@dataclass(kw_only=True)
class BatcherStats:
    """A batcher's numbers since it was made. All count up but `waiting` and `running`.

    Attributes:
        requests: calls of `predict` that were taken in.
        answered: of these, with a prediction.
        errors: of these, with an error of the engine, such as `InvalidText`, or on closing.
        expired: of these, with `DeadlineExceeded`.
        cancelled: of these, whose caller gave up.
        rejected: calls that met `QueueFull`; no part of `requests`.
        shared: requests that joined an equal one in flight.
        batches: calls of the engine.
        texts: texts in these calls.
        windows: windows that the texts were read in.
        tokens: tokens of these windows.
        groups: groups of equal length that the windows make, by batch.
        group_tokens: most tokens that these groups could have had.
        queue_ms: milliseconds that texts waited for a thread, summed up.
        queue_histogram: texts by that wait: as many as waited at most each of `QUEUE_BOUNDS_MS`,
            then all.
        waiting: requests that wait for a thread now.
        running: batches that threads have now.
        batch_tokens: most tokens in a group.
    """

    requests: int = 0
    answered: int = 0
    errors: int = 0
    expired: int = 0
    cancelled: int = 0
    rejected: int = 0
    shared: int = 0
    batches: int = 0
    texts: int = 0
    windows: int = 0
    tokens: int = 0
    groups: int = 0
    group_tokens: int = 0
    queue_ms: float = 0.0
    queue_histogram: tuple[int, ...] = ()
    waiting: int = 0
    running: int = 0
    batch_tokens: int

    @property
    def group_fill(self) -> float:
        """Tokens in a group by the most that it may have, 0 to 1; 0 before the first."""
        return min(1.0, self.tokens / self.group_tokens) if self.group_tokens else 0.0


@dataclass(frozen=True)
class BatchShape:
    """What one call of the engine computed.

    Attributes:
        windows: of all texts.
        tokens: of these windows.
        groups: of equal length that the windows make.
        batch_tokens: most tokens in a group.
    """

    windows: int
    tokens: int
    groups: int
    batch_tokens: int


def shape_of(predictions: Sequence[Prediction], batch_tokens: int) -> BatchShape:
    """The shape of the texts of one call.

    Args:
        predictions: for the texts, in any order.
        batch_tokens: of the engine, most tokens in a group.
    """
    by_kind: dict[bool, list[int]] = {}
    for p in predictions:  # all windows of a text have the same length
        by_kind.setdefault(p.query is None, []).extend([p.tokens // p.windows] * p.windows)
    lengths = [length for kind in by_kind.values() for length in kind]
    count = sum(len(groups(kind, batch_tokens)) for kind in by_kind.values())
    return BatchShape(len(lengths), sum(lengths), count, batch_tokens)


@dataclass(frozen=True)
class BatchReport:
    """What became of one batch, for those who measure; see `Batcher`.

    Attributes:
        heads: names that were asked for; None for all.
        waited: seconds that each text waited for a thread.
        tokenize_s: seconds until all were tokenised.
        compute_s: seconds from there to the answers.
        found: by text its prediction, why there is none, or None where nobody waited any more.
        shape: what was computed.
    """

    heads: tuple[str, ...] | None
    waited: Sequence[float]
    tokenize_s: float
    compute_s: float
    found: Sequence[Prediction | BaseException | None]
    shape: BatchShape


@dataclass(kw_only=True)
class Counters(BatcherStats):
    """The numbers while they grow; written by the event loop's thread only."""

    queue_counts: list[int] = field(default_factory=lambda: [0] * (len(QUEUE_BOUNDS_MS) + 1))

    def count_begin(self, seconds: Sequence[float]) -> None:
        """A batch of texts that waited so long begins."""
        self.batches += 1
        self.texts += len(seconds)
        for waited in seconds:
            self.queue_ms += waited * 1e3
            self.queue_counts[bisect_left(QUEUE_BOUNDS_MS, waited * 1e3)] += 1

    def count_batch(self, shape: BatchShape) -> None:
        """A batch was computed."""
        self.windows += shape.windows
        self.tokens += shape.tokens
        self.groups += shape.groups
        self.group_tokens += shape.groups * shape.batch_tokens
        self.batch_tokens = shape.batch_tokens

    def count_end(self, found: Prediction | Exception) -> None:
        """A request ended with an answer or an error."""
        if isinstance(found, DeadlineExceeded):
            self.expired += 1
        elif isinstance(found, Exception):
            self.errors += 1
        else:
            self.answered += 1

    def snapshot(self, *, waiting: int, running: int) -> BatcherStats:
        """The numbers now."""
        now = BatcherStats(**{f.name: getattr(self, f.name) for f in fields(BatcherStats)})
        histogram = tuple(accumulate(self.queue_counts))
        return replace(now, queue_histogram=histogram, waiting=waiting, running=running)
