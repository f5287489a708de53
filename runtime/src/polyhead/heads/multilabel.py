"""multilabel.v1: a set of labels for a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.heads.base import short_repr, sigmoid
from polyhead.text.encoding import Encoding

THRESHOLD = 0.5
"""The probability that a label must reach in a head without thresholds of its own."""


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """The labels that are probable enough.

    Attributes:
        labels: those whose probability reaches the head's threshold for them, in the order of the
            head's labels; empty when none does.
        scores: the probability of every label, 0 to 1 each, in the order of the head's labels.
    """

    labels: tuple[str, ...]
    scores: dict[str, float]

    @property
    def decision(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"labels": list(self.labels), "scores": dict(self.scores)}

    __repr__ = short_repr

    def __str__(self) -> str:
        found = "  ".join(f"{label} {self.scores[label]:.2f}" for label in self.labels)
        return found or "(none)"


class MultiLabelDecoder:
    """A sigmoid and a threshold for each label."""

    def __init__(self, spec: HeadSpec) -> None:
        self._labels = spec.labels
        self._thresholds = spec.thresholds or (THRESHOLD,) * len(spec.labels)
        self.width = len(spec.labels)

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> MultiLabel:
        """Logits `(labels,)`, float32, into the labels that reach their thresholds.

        Of several windows, `(windows, labels)`, the probabilities are averaged, each window
        weighted by its share of the text.
        """
        mean = encoding.average(sigmoid(logits))
        scores: dict[str, float] = dict(zip(self._labels, mean.tolist(), strict=True))
        reached = zip(scores.items(), self._thresholds, strict=True)
        return MultiLabel(
            labels=tuple(label for (label, score), limit in reached if score >= limit),
            scores=scores,
        )
