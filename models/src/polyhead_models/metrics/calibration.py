"""How far scores can be taken at their word: calibration error, Brier score and log loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BINS = 15
_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores that a head gave, and which of them came true.

    Attributes:
        scores: float64 `(items, outcomes)`: of a text's labels, or of one span or answer, `(items,
            1)`.
        true: bool, of the same shape: which label is the text's, or whether the span is right.
        exclusive: whether just one outcome of an item is true; otherwise each is a yes or no.
    """

    scores: NDArray[np.float64]
    true: NDArray[np.bool_]
    exclusive: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Negative log likelihoods, float64: of exclusive outcomes `(items, 1)`, of others all."""
        if self.exclusive:
            given = (self.scores * self.true).sum(axis=1, keepdims=True)
        else:
            given = np.where(self.true, self.scores, 1 - self.scores)
        return np.asarray(-np.log(np.maximum(given, _EPSILON)))

    @property
    def decided(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The score of each decision, and whether it is right, `(decisions,)` each.

        Of exclusive outcomes the most probable one is the decision, the first of equals.
        """
        if not self.exclusive:
            return self.scores.ravel(), self.true.ravel()
        best = self.scores.argmax(axis=1)
        rows = np.arange(len(best))
        return self.scores[rows, best], self.true[rows, best]

    @property
    def bins(self) -> list[tuple[int, float, float]]:
        """Decisions, mean score and share that is right of each bin, in rising order of scores.

        Up to 15 bins of equally many decisions (Nguyen & O'Connor 2015, section 3).
        """
        scores, right = self.decided
        order = np.argsort(scores, kind="stable")
        parts = np.array_split(order, min(BINS, len(order)) or 1)
        return [(len(p), float(scores[p].mean()), float(right[p].mean())) for p in parts if len(p)]

    @property
    def figures(self) -> dict[str, float]:
        """Expected calibration error, Brier score and log loss, of at least one item.

        The Brier score of exclusive outcomes is summed over them, 0 to 2 (Brier 1950).
        """
        bins = self.bins
        count = sum(size for size, _, _ in bins)
        error = sum(size * abs(score - share) for size, score, share in bins) / count
        squares = (self.scores - self.true) ** 2
        return {
            "ece": error,
            "brier": float(squares.sum(axis=1).mean() if self.exclusive else squares.mean()),
            "log_loss": float(self.losses.mean()),
        }


def joined(parts: Sequence[Judged]) -> Judged:
    """The items of all parts, at least one, which are of one head."""
    return replace(
        parts[0],
        scores=np.concatenate([part.scores for part in parts]),
        true=np.concatenate([part.true for part in parts]),
    )


@runtime_checkable
class JudgingMetric(Protocol):
    """A metric of a kind whose scores are probabilities."""

    def judged(self, results: Sequence[Any], references: Sequence[Any]) -> Judged:
        """Which scores of the results came true: items of each text, or none."""
        ...
