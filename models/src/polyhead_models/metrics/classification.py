"""classification.v1: accuracy and macro-averaged F1, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from polyhead.heads import Classification
from polyhead_models.metrics.base import DecisionMetric
from polyhead_models.metrics.calibration import Judged


class ClassificationMetric(DecisionMetric):
    """Accuracy; references are labels."""

    primary = "accuracy"

    def score(
        self, results: Sequence[Classification], references: Sequence[str]
    ) -> dict[str, float]:
        """Accuracy, and F1 averaged over labels."""
        found = [result.label for result in results]
        expected = list(references)
        return {
            "accuracy": float(accuracy_score(expected, found)),
            "macro_f1": float(f1_score(expected, found, average="macro", zero_division=0)),
        }

    def judged(self, results: Sequence[Classification], references: Sequence[str]) -> Judged:
        """The scores of all labels, of which the reference is the true one."""
        scores = np.array([list(result.scores.values()) for result in results], dtype=np.float64)
        true = [
            [label == expected for label in result.scores]
            for result, expected in zip(results, references, strict=True)
        ]
        return Judged(scores, np.array(true), exclusive=True)
