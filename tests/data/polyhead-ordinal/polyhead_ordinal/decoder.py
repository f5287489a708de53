"""Logits into a class; numpy only, so that serving needs no torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Ordinal:
    """A class, and the probability of every class."""

    label: str
    scores: dict[str, float]

    @property
    def decision(self) -> str:
        return self.label

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "scores": self.scores}

    def __str__(self) -> str:
        return self.label


class OrdinalDecoder:
    """Logit k says whether the class is above the k-th: `(classes - 1,)`, float32."""

    def __init__(self, spec):
        self.labels = spec.labels
        self.width = len(spec.labels) - 1

    def decode(self, logits, encoding, **options) -> Ordinal:
        above = np.minimum.accumulate(1 / (1 + np.exp(-logits.astype(np.float64))))
        scores = -np.diff(above, prepend=1.0, append=0.0)
        label = self.labels[int((above > 0.5).sum())]
        return Ordinal(label, dict(zip(self.labels, scores.tolist(), strict=True)))
