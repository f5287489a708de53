"""What a trained head should beat: a constant answer, and TF-IDF with a linear model."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyhead.heads import HeadSpec
from polyhead.text.encoding import flat
from polyhead_models.baseline import baseline
from polyhead_models.data.examples import Example
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.chance import chance

logger = logging.getLogger(__name__)

_ROWS, _CELLS = 10_000, 500_000  # rows, and what is learnt of them times labels: half a minute


@dataclass(frozen=True, kw_only=True)
class Floor:
    """By the head's primary metric, on the validation texts.

    Attributes:
        chance: of the best constant answer.
        tfidf: of TF-IDF and a linear model; None for kinds that have no such baseline.
        rows: training rows that the linear model learnt from: every n-th where all take long.
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
        rows = [e for e in train if head in e.references]
        tokens = spec.kind == "tokens.v1"  # a word is learnt from by itself
        items = sum(len(flat(e.text).split()) for e in rows) if tokens else len(rows)
        every = max(len(rows) / _ROWS, items * len(spec.labels) / _CELLS, 1)
        rows = rows[:: math.ceil(every)]
        metrics = baseline(spec.kind, head, rows, validation) if rows else None
        found[head] = Floor(
            chance=chance(spec.kind, references),
            tfidf=None if metrics is None else metrics[str(METRICS[spec.kind].primary)],
            rows=0 if metrics is None else len(rows),
        )
    return found


def warn(validation: Mapping[str, Mapping[str, Any]], found: Mapping[str, Floor]) -> None:
    """Name the heads that are at chance, below TF-IDF, or that validation says nothing of.

    Args:
        validation: figures by head, as plain data.
        found: floors by head.
    """
    for head, floor in found.items():
        value = validation[head]["value"]
        figure = f"{validation[head]['metric']} {value:.4f} on validation"
        if floor.chance == 1:
            said = "its validation texts all have the same answer, and do not show what it learnt"
        elif value <= floor.chance:
            said = (
                f"has learnt nothing: {figure}, and a constant answer has {floor.chance:.4f}. More"
                " steps (epochs, a smaller batch_tokens), a higher head_learning_rate or more rows"
                " may help; 'polyhead data' looks for mistakes in the rows"
            )
        elif floor.tfidf is not None and value < floor.tfidf:
            said = (
                f"is weak: {figure}, and TF-IDF with a linear model has {floor.tfidf:.4f}. Train on"
                " with --epochs +N, or with other settings"
            )
        else:
            continue
        logger.warning("%s: %s", head, said)
