"""What a trained head should beat: a constant answer, and TF-IDF with a linear model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyhead.heads import HeadSpec
from polyhead_models.baseline import baseline
from polyhead_models.data.examples import Example
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.chance import chance

logger = logging.getLogger(__name__)

_CHEAP = ("classification.v1", "multilabel.v1", "regression.v1")
_ROWS, _CELLS = 10_000, 500_000  # rows, and rows times labels: seconds, not minutes


@dataclass(frozen=True, kw_only=True)
class Floor:
    """By the head's primary metric, on the validation texts.

    Attributes:
        chance: of the best constant answer.
        tfidf: of TF-IDF and a linear model; None for kinds where it takes long.
        rows: training rows that the linear model learnt from, the first ones where it would take
            long.
    """

    chance: float
    tfidf: float | None
    rows: int


def floors(
    specs: Mapping[str, HeadSpec],
    heads: Sequence[str],
    train: Sequence[Example],
    validation: Sequence[Example],
) -> dict[str, Floor]:
    """The floor of each head.

    Args:
        specs: what the heads are.
        heads: those with validation references and a primary metric.
        train: texts to learn from.
        validation: texts to measure on.
    """
    found = {}
    for head in heads:
        spec = specs[head]
        references = [e.references[head] for e in validation if head in e.references]
        most = min(_ROWS, _CELLS // max(1, len(spec.labels)))
        rows = [e for e in train if head in e.references][:most]
        cheap = spec.kind in _CHEAP and len(rows) > 0
        metrics = baseline(spec.kind, head, rows, validation) if cheap else None
        found[head] = Floor(
            chance=chance(spec.kind, references),
            tfidf=None if metrics is None else metrics[str(METRICS[spec.kind].primary)],
            rows=len(rows) if cheap else 0,
        )
    return found


def warn(validation: Mapping[str, Mapping[str, Any]], found: Mapping[str, Floor]) -> None:
    """Name the heads that are at chance, or below TF-IDF.

    Args:
        validation: figures by head, as plain data.
        found: floors by head.
    """
    for head, floor in found.items():
        value, metric = validation[head]["value"], validation[head]["metric"]
        if value <= floor.chance:
            logger.warning(
                "%s: has learnt nothing: %s %.4f on validation, and a constant answer has %.4f."
                " More steps (epochs, a smaller batch_tokens), a higher head_learning_rate or more"
                " rows may help; 'polyhead data' looks for mistakes in the rows",
                *(head, metric, value, floor.chance),
            )
        elif floor.tfidf is not None and value < floor.tfidf:
            logger.warning(
                "%s: is weak: %s %.4f on validation, and TF-IDF with a linear model has %.4f. Train"
                " on with --epochs +N, or with other settings",
                *(head, metric, value, floor.tfidf),
            )
