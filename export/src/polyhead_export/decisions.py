"""How many of a head's decisions another model changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyhead_models.metrics import METRICS

SAME = 0.99
"""Vectors with this cosine, or a larger one, are the same."""

# Their decision is a set of items, each right or wrong by itself, as in their metric.
_OF_ITEMS = ("tokens.v1", "multilabel.v1")


def changed(kind: str, results: Sequence[Any], others: Sequence[Any]) -> float:
    """Share of decisions, 0 to 1, that differ between two models on the same texts.

    A decision is what a text gets. A `tokens` head decides about each span and a `multilabel` head
    about each label: the items that one model has alone, over all items of both (Dice 1945), since
    in a text with thirty spans one of them is not all. An `embedding` is changed where the cosine
    of both vectors is below 0.99: a mean would hide the few texts that int8 moves far. For numbers,
    which decide nothing, 1 minus the kind's agreement, the concordance.

    Args:
        kind: the heads' versioned kind.
        results: of one model, at least one.
        others: of the other, in the same order.
    """
    if kind == "embedding.v1":
        cosines = [np.dot(a.vector, b.vector) for a, b in zip(results, others, strict=True)]
        return float(np.mean([not cosine >= SAME for cosine in cosines]))
    if kind not in _OF_ITEMS:
        return max(0.0, 1 - METRICS[kind].agreement(results, others))
    pairs = [(set(a.decision), set(b.decision)) for a, b in zip(results, others, strict=True)]
    alone = sum(len(a ^ b) for a, b in pairs)
    return alone / max(1, sum(len(a) + len(b) for a, b in pairs))
