"""tokens.v1: precision, recall and F1 of exact spans, by seqeval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from polyhead.heads import Entities
from polyhead_models.heads.tokens import Reference
from polyhead_models.metrics.base import DecisionMetric
from polyhead_models.metrics.calibration import Judged


class TokensMetric(DecisionMetric):
    """Micro-averaged span F1: label, start and end must all be right.

    Spans are compared as BIO tags on characters, so that neither tokens nor words matter.
    """

    primary = "f1"

    def score(
        self, results: Sequence[Entities], references: Sequence[Reference]
    ) -> dict[str, float]:
        """Precision, recall and F1 over all spans of all texts."""
        pairs = [(r.decision, tuple(ref)) for r, ref in zip(results, references, strict=True)]
        lengths = [max((end for _, _, end in (*a, *b)), default=0) + 1 for a, b in pairs]
        labels = sorted({label for a, b in pairs for label, _, _ in (*a, *b)})
        # Numbers stand for the labels: seqeval cuts a tag at its last hyphen.
        numbers = {label: number for number, label in enumerate(labels)}
        found = [_characters(a, n, numbers) for (a, _), n in zip(pairs, lengths, strict=True)]
        expected = [_characters(b, n, numbers) for (_, b), n in zip(pairs, lengths, strict=True)]
        strict = {"mode": "strict", "scheme": IOB2, "average": "micro", "zero_division": 0}
        return {
            "f1": float(f1_score(expected, found, **strict)),
            "precision": float(precision_score(expected, found, **strict)),
            "recall": float(recall_score(expected, found, **strict)),
        }

    def judged(self, results: Sequence[Entities], references: Sequence[Reference]) -> Judged:
        """The score of each span that was found, true where label, start and end are right."""
        found = [
            (span.score, place in expected)
            for result, expected in zip(results, map(set, references), strict=True)
            for span, place in zip(result.spans, result.decision, strict=True)
        ]
        scores, true = np.array(found, dtype=np.float64).reshape(-1, 2).T[..., None]
        return Judged(scores, true > 0)


def _characters(spans: Reference, length: int, numbers: Mapping[str, int]) -> list[str]:
    tags = ["O"] * length
    for label, start, end in spans:
        number = numbers[label]
        tags[start:end] = [f"B-{number}"] + [f"I-{number}"] * (end - start - 1)
    return tags
