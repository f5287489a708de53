"""What the best constant answer reaches, by the primary metric of a kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any


def chance(kind: str, references: Sequence[Any]) -> float:
    """The primary metric of the best constant answer, where it is easily found.

    Args:
        kind: the head's versioned kind.
        references: in the head's reference form, at least one.

    Returns:
        For `classification` the share of the most frequent label; for `multilabel` the F1 of
        always giving the most frequent one; for `answer` the share of questions without an answer.
        0 for all others: a correlation or a span F1 of 0 has learnt nothing.
    """
    if kind == "classification.v1":
        return Counter(references).most_common(1)[0][1] / len(references)
    if kind == "multilabel.v1":
        counts = Counter(label for labels in references for label in labels)
        most = max(counts.values(), default=0)
        return 2 * most / (len(references) + counts.total())
    if kind == "answer.v1":
        return sum(not reference.texts for reference in references) / len(references)
    return 0.0
