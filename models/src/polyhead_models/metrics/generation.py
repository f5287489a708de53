"""generation.v1: ROUGE and exact match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyhead_models.metrics.base import DecisionMetric
from polyhead_models.metrics.summary import rouge


class GenerationMetric(DecisionMetric):
    """ROUGE-1, ROUGE-2 and ROUGE-L as F1 (Lin 2004), stemmed, and exact match.

    Each against the nearest of a text's references. A match is exact but for blanks.
    """

    primary = "rougeL"

    def score(
        self, results: Sequence[Any], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        """Means over the texts."""
        same = [
            any(_joined(result.text) == _joined(text) for text in texts)
            for result, texts in zip(results, references, strict=True)
        ]
        found = rouge([result.text for result in results], references)
        return {**found, "exact": float(np.mean(same))}


def _joined(text: str) -> str:
    return "".join(text.split())
