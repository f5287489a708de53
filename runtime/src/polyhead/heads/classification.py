"""classification.v1: one label for a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.heads.base import short_repr, softmax
from polyhead.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Classification:
    """The most probable label.

    Attributes:
        label: the label with the highest probability; the first of equals.
        score: its probability, 0 to 1.
        scores: the probability of every label, in the order of the head's labels.
    """

    label: str
    score: float
    scores: dict[str, float]

    @property
    def decision(self) -> str:
        """The label."""
        return self.label

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"label": self.label, "score": self.score, "scores": dict(self.scores)}

    __repr__ = short_repr

    def __str__(self) -> str:
        return f"{self.label}  {self.score:.2f}"


class ClassificationDecoder:
    """Softmax over the labels."""

    def __init__(self, spec: HeadSpec) -> None:
        self._labels = spec.labels
        self.width = len(spec.labels)

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> Classification:
        """Logits `(labels,)`, float32, into the most probable label.

        Of several windows, `(windows, labels)`, the probabilities are averaged, each window
        weighted by its share of the text.
        """
        mean, deciding = softmax(logits), logits
        if logits.ndim > 1:
            mean = deciding = encoding.average(mean)
        values: list[float] = deciding.tolist()
        best = values.index(max(values))
        probabilities: list[float] = mean.tolist()
        return Classification(
            label=self._labels[best],
            score=probabilities[best],
            scores=dict(zip(self._labels, probabilities, strict=True)),
        )
