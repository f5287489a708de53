"""answer.v1: exact match and F1 of words, as SQuAD defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyhead.heads import Answer
from polyhead_models.heads.answer import AnswerSpans, f1, words
from polyhead_models.metrics.base import DecisionMetric
from polyhead_models.metrics.calibration import Judged


class AnswerMetric(DecisionMetric):
    """F1 of words against the nearest of the references (Rajpurkar et al. 2016, section 6.1).

    Lower case, without punctuation and the articles a, an, the. Where there is no answer, only "no
    answer" is right (Rajpurkar et al. 2018). Chinese characters count as words, which SQuAD's own
    program leaves to the language.
    """

    primary = "f1"

    def score(
        self, results: Sequence[Answer], references: Sequence[AnswerSpans]
    ) -> dict[str, float]:
        """Means over the questions."""
        pairs = [(r.text, ref.texts or ("",)) for r, ref in zip(results, references, strict=True)]
        return {
            "f1": float(
                np.mean([max(f1(found, text) for text in texts) for found, texts in pairs])
            ),
            "exact": float(np.mean(_exact(results, references))),
        }

    def judged(self, results: Sequence[Answer], references: Sequence[AnswerSpans]) -> Judged:
        """The score of each answer, or of there being none; true where it is exact."""
        scores = np.array([[result.score] for result in results], dtype=np.float64)
        return Judged(scores, np.array(_exact(results, references))[:, None])


def _exact(results: Sequence[Answer], references: Sequence[AnswerSpans]) -> list[bool]:
    pairs = zip(results, references, strict=True)
    return [any(words(r.text) == words(text) for text in ref.texts or ("",)) for r, ref in pairs]
