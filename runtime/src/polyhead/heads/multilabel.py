"""multilabel.v1: a set of labels for a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.heads.base import short_repr, sigmoid, tempered_odds
from polyhead.system.schema import whole_number
from polyhead.text.encoding import Encoding

THRESHOLD = 0.5
"""The probability that a label must reach in a head without thresholds of its own."""


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """The labels that are probable enough.

    Attributes:
        labels: those whose probability, before the head's temperature, reaches the threshold for
            them, in the order of the head's labels; empty when none does.
        scores: the probability of every label, 0 to 1 each, in the order of the head's labels;
            where the call gave `top`, of so many and of `labels`, in falling order.
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

    options = ("top",)
    needs_offsets = False

    def __init__(self, spec: HeadSpec) -> None:
        self._labels = spec.labels
        self._thresholds = spec.thresholds or (THRESHOLD,) * len(spec.labels)
        self._temperature = spec.temperature
        self.width = len(spec.labels)

    @staticmethod
    def confidence(result: MultiLabel) -> float:
        """How probable the least sure of all labels is to be rightly given, or rightly left out.

        Args:
            result: with the scores of all labels.
        """
        return min(
            score if label in result.labels else 1 - score for label, score in result.scores.items()
        )

    def decode(
        self, logits: NDArray[np.float32], encoding: Encoding, *, top: int | None = None
    ) -> MultiLabel:
        """Logits `(labels,)`, float32, into the labels that reach their thresholds.

        Of several windows, `(windows, labels)`, the probabilities are averaged, each window
        weighted by its share of the text.

        Args:
            logits: what the graph gives.
            encoding: the text.
            top: how many of the most probable labels have a score in the result, at least 1, beside
                those that are given; None for all.

        Raises:
            InvalidSetting: when `top` is below 1.
        """
        mean = encoding.average(sigmoid(logits))
        deciding: list[float] = mean.tolist()
        reached = zip(self._labels, deciding, self._thresholds, strict=True)
        labels = tuple(label for label, score, limit in reached if score >= limit)
        if self._temperature is not None:
            mean = tempered_odds(mean, np.array(self._temperature))
        scores: dict[str, float] = dict(zip(self._labels, mean.tolist(), strict=True))
        if top is not None:
            order = sorted(scores, key=lambda label: -scores[label])
            shown = {*order[: whole_number("top", top)], *labels}
            scores = {label: scores[label] for label in order if label in shown}
        return MultiLabel(labels, scores)
