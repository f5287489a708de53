"""summary.v1: ROUGE, by rouge-score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

from polyhead.heads import Summary
from polyhead_models.heads.answer import CHARACTER
from polyhead_models.heads.summary import Salient
from polyhead_models.metrics.base import DecisionMetric

_KINDS = ("rouge1", "rouge2", "rougeL")


class SummaryMetric(DecisionMetric):
    """ROUGE-1, ROUGE-2 and ROUGE-L as F1 (Lin 2004), stemmed.

    Each against the reference that it is nearest to: the summaries in other words where the data
    has them, or else the marked sentences themselves.
    """

    primary = "rouge1"

    def score(self, results: Sequence[Summary], references: Sequence[Salient]) -> dict[str, float]:
        """Means over the texts; a text that has nothing to compare with counts as 0."""
        return rouge([r.text for r in results], [reference.texts for reference in references])


def rouge(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of texts, each against the nearest of its references.

    Args:
        texts: at least one.
        references: of each text, in the same order; where there is none, all are 0.

    Returns:
        Means over the texts, 0 to 1.
    """
    scorer = RougeScorer(_KINDS, tokenizer=_Words())
    found: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for text, own in zip(texts, references, strict=True):
        scores = [scorer.score(reference, text) for reference in own]
        for kind, values in found.items():
            values.append(max((score[kind].fmeasure for score in scores), default=0.0))
    return {kind: float(np.mean(values)) for kind, values in found.items()}


class _Words(Tokenizer):  # type: ignore[misc]  # rouge-score has no types
    """rouge-score's own words, and each Chinese character by itself."""

    def __init__(self) -> None:
        self._default = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in its order."""
        found, start = [], 0
        for match in CHARACTER.finditer(text):
            found += [*self._default.tokenize(text[start : match.start()]), match.group()]
            start = match.end()
        return [*found, *self._default.tokenize(text[start:])]
