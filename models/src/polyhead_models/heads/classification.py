"""classification.v1: one label for a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from polyhead.heads import HeadSpec
from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import HeadNetwork
from polyhead_models.heads.labels import check_known, label


class ClassificationNetwork(HeadNetwork):
    """A pooled vector into one logit a label; cross-entropy. A reference is the label."""

    kind: ClassVar[str] = "classification.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "softmax"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = "mean"

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """One logit a label."""
        return len(spec.labels)

    @classmethod
    def reference(cls, raw: Any, text: str) -> str:
        """A label: a text, a whole number or true/false."""
        return label(raw)

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[str]) -> HeadSpec:
        """With all labels, sorted."""
        return replace(spec, labels=tuple(sorted(set(references))))

    @classmethod
    def balanced(cls, labels: Sequence[str], references: Sequence[str]) -> list[float]:
        """Texts / (labels * texts with the label), as scikit-learn's ``"balanced"``."""
        counts = Counter(references)
        return [len(references) / (len(labels) * counts[label]) for label in labels]

    @classmethod
    def check(cls, reference: Any, labels: Sequence[str]) -> None:
        """Refuse a label that was not seen in training."""
        check_known(reference, labels)

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """The label's index, shape `()`."""
        return torch.tensor(self.spec.labels.index(reference))
