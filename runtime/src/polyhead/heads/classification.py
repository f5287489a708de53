"""classification.v1: one label for a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.heads.base import probabilities, short_repr, softmax, tempered
from polyhead.system.schema import number, whole_number
from polyhead.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Classification:
    """The most probable label.

    Attributes:
        label: the label with the highest probability; the first of equals. None where the call
            gave `min_score` and none is so probable: the head abstained.
        score: the highest probability, 0 to 1.
        scores: the probability of every label, in the order of the head's labels; where the call
            gave `top`, of the most probable ones, in falling order.
    """

    label: str | None
    score: float
    scores: dict[str, float]

    @property
    def decision(self) -> str | None:
        """The label."""
        return self.label

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"label": self.label, "score": self.score, "scores": dict(self.scores)}

    __repr__ = short_repr

    def __str__(self) -> str:
        return f"{'(abstained)' if self.label is None else self.label}  {self.score:.2f}"


class ClassificationDecoder:
    """Softmax over the labels."""

    options = ("min_score", "top")
    needs_offsets = False

    def __init__(self, spec: HeadSpec) -> None:
        self._labels = spec.labels
        self._temperature = spec.temperature[0] if spec.temperature else None
        self.width = len(spec.labels)

    @staticmethod
    def confidence(result: Classification) -> float:
        """The highest probability."""
        return result.score

    def decode(
        self,
        logits: NDArray[np.float32],
        encoding: Encoding,
        *,
        min_score: float | None = None,
        top: int | None = None,
    ) -> Classification:
        """Logits `(labels,)`, float32, into the most probable label.

        Of several windows, `(windows, labels)`, the probabilities are averaged, each window
        weighted by its share of the text.

        Args:
            logits: what the graph gives.
            encoding: the text.
            min_score: the probability, 0 to 1, below which no label is given; None for 0.
            top: most scores in the result, at least 1; None for all.

        Raises:
            InvalidSetting: when one is out of its range.
        """
        temperature = self._temperature
        values: list[float]
        if logits.ndim == 1:
            values = logits.tolist()
            shown = probabilities(values, temperature or 1.0)
        else:
            mean = encoding.average(softmax(logits))
            values = mean.tolist()
            shown = values if temperature is None else tempered(mean, temperature).tolist()
        best = values.index(max(values))
        scores = dict(zip(self._labels, shown, strict=True))
        if top is not None:
            order = sorted(range(len(values)), key=lambda i: -values[i])[: whole_number("top", top)]
            scores = {self._labels[i]: shown[i] for i in order}
        label: str | None = self._labels[best]
        if min_score is not None and shown[best] < number("min_score", min_score, most=1):
            label = None
        return Classification(label, shown[best], scores)
