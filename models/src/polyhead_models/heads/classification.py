"""classification.v1: one label for a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import HeadNetwork, label, log_frequencies


class ClassificationNetwork(HeadNetwork):
    """A pooled vector into one logit a label; cross-entropy. A reference is the label."""

    kind: ClassVar[str] = "classification.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "softmax"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = "mean"

    @classmethod
    def reference(cls, raw: Any, text: str) -> str:
        """A label: a text, a whole number or true/false."""
        return label(raw)

    @classmethod
    def labels_of(cls, reference: str) -> Iterable[str]:
        """Itself."""
        return (reference,)

    @classmethod
    def balanced(cls, labels: Sequence[str], references: Sequence[str]) -> list[float]:
        """Texts / (labels * texts with the label), as scikit-learn's ``"balanced"``."""
        counts = Counter(references)
        return [len(references) / (len(labels) * counts[label]) for label in labels]

    def prior(self, targets: Sequence[Tensor]) -> Tensor:
        """Logarithms of the labels' shares, each times its weight in the loss."""
        weights = 0.0 if self.class_weights is None else torch.log(self.class_weights)
        return log_frequencies(targets, self.count) + weights

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """The label's index, shape `()`."""
        return torch.tensor(self.spec.labels.index(reference))
