"""embedding.v1: no references; two models are compared by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyhead.heads import Embedding


class EmbeddingMetric:
    """Mean cosine between two models' vectors."""

    primary = None

    def score(self, results: Sequence[Embedding], references: Sequence[Any]) -> dict[str, float]:
        """No figures."""
        return {}

    def agreement(self, results: Sequence[Embedding], others: Sequence[Embedding]) -> float:
        """Mean cosine over the texts."""
        cosines = [np.dot(a.vector, b.vector) for a, b in zip(results, others, strict=True)]
        return float(np.mean(cosines))
