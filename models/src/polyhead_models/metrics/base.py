"""The metric of a head kind: results and references into numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Metric(Protocol):
    """The metrics of a kind.

    The primary metric is at most 1, and larger is better. So are the others, but for errors, which
    have the unit of the targets; the kind's `score` names them.
    """

    @property
    def primary(self) -> str | None:
        """The metric to show when there is room for one; None for kinds without references."""
        ...

    def score(self, results: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """Compare results with references, in the same order; both hold at least one item."""
        ...

    def agreement(self, results: Sequence[Any], others: Sequence[Any]) -> float:
        """How alike two models answer the same texts, 0 to 1: 1 when they cannot be told apart."""
        ...


class DecisionMetric:
    """What the metrics of kinds that decide have in common."""

    def agreement(self, results: Sequence[Any], others: Sequence[Any]) -> float:
        """Share of texts with exactly the same decision."""
        same: int = sum(a.decision == b.decision for a, b in zip(results, others, strict=True))
        return same / len(results)
