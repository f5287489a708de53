"""multilabel.v1: precision, recall and F1 of labels, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.preprocessing import MultiLabelBinarizer

from polyhead.heads import MultiLabel
from polyhead_models.heads.multilabel import Reference
from polyhead_models.metrics.base import DecisionMetric
from polyhead_models.metrics.calibration import Judged


class MultiLabelMetric(DecisionMetric):
    """Micro-averaged F1: every label of every text is right or wrong by itself."""

    primary = "micro_f1"

    def score(
        self, results: Sequence[MultiLabel], references: Sequence[Reference]
    ) -> dict[str, float]:
        """Precision, recall and F1 over all labels of all texts, and F1 averaged over labels.

        The average is over the labels that are found or expected at least once; where there are
        none of them, all metrics are 0.
        """
        found = [result.labels for result in results]
        expected = list(references)
        binarizer = MultiLabelBinarizer().fit([*found, *expected])
        if not len(binarizer.classes_):
            return dict.fromkeys(("micro_f1", "macro_f1", "precision", "recall"), 0.0)
        # One answer a text and label: yes or no. As a table, one label alone would count as two.
        wanted, given = binarizer.transform(expected), binarizer.transform(found)
        flat = wanted.ravel(), given.ravel()
        by_label = [f1_score(*c, zero_division=0) for c in zip(wanted.T, given.T, strict=True)]
        return {
            "micro_f1": float(f1_score(*flat, zero_division=0)),
            "macro_f1": float(np.mean(by_label)),
            "precision": float(precision_score(*flat, zero_division=0)),
            "recall": float(recall_score(*flat, zero_division=0)),
        }

    def judged(self, results: Sequence[MultiLabel], references: Sequence[Reference]) -> Judged:
        """The scores of all labels, each of which is true or not by itself."""
        scores = np.array([list(result.scores.values()) for result in results], dtype=np.float64)
        pairs = zip(results, map(set, references), strict=True)
        true = [[label in expected for label in result.scores] for result, expected in pairs]
        return Judged(scores, np.array(true))
