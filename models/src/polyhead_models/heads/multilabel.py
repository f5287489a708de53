"""multilabel.v1: a set of labels for a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyhead.heads import HeadSpec, MultiLabel
from polyhead.heads.multilabel import THRESHOLD
from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import NumericNetwork, label

Reference = tuple[str, ...]


class MultiLabelNetwork(NumericNetwork):
    """A pooled vector into one logit a label; binary cross-entropy for each.

    A reference is a tuple of different labels, sorted; empty for a text that has none.
    """

    kind: ClassVar[str] = "multilabel.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "sigmoid"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = "mean"
    listed: ClassVar[bool] = True
    tunable: ClassVar[bool] = True

    @classmethod
    def reference(cls, raw: Any, text: str) -> Reference:
        """A list of labels, in any order; an empty one for no label."""
        if not isinstance(raw, list):
            raise ValueError(f"found {raw!r}, expected a list of labels")
        return tuple(sorted({label(item) for item in raw}))

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[Reference]) -> HeadSpec:
        """With all labels, sorted.

        Raises:
            ValueError: when no reference has a label.
        """
        if not any(references):
            raise ValueError("no training row has a label, so there is nothing to learn")
        return super().fitted(spec, references)

    @classmethod
    def labels_of(cls, reference: Reference) -> Iterable[str]:
        """All that are in the set."""
        return reference

    @classmethod
    def seen(cls, reference: Reference, labels: Collection[str]) -> Reference:
        """The set without them."""
        return tuple(name for name in reference if name in labels)

    @classmethod
    def balanced(cls, labels: Sequence[str], references: Sequence[Reference]) -> list[float]:
        """Texts without the label / texts with it: both sides weigh the same then."""
        counts = Counter(name for reference in references for name in reference)
        return [max(1, len(references) - counts[name]) / counts[name] for name in labels]

    @classmethod
    def tuned(
        cls,
        spec: HeadSpec,
        results: Sequence[MultiLabel],
        references: Sequence[Reference],
    ) -> HeadSpec:
        """With the threshold for each label that gives it the highest F1; see `best_threshold`."""
        probabilities = np.array([[r.scores[name] for name in spec.labels] for r in results])
        expected = np.array([[name in r for name in spec.labels] for r in references])
        columns = zip(probabilities.T, expected.T, strict=True)
        return replace(spec, thresholds=tuple(best_threshold(p, e) for p, e in columns))

    def prior(self, targets: Sequence[Tensor]) -> Tensor:
        """The logit of each label's share, times its weight in the loss; each counts once more."""
        shares = (torch.stack(list(targets)).sum(dim=0) + 1) / (len(targets) + 2)
        weights = 0.0 if self.class_weights is None else torch.log(self.class_weights)
        return torch.logit(shares) + weights

    def target(self, reference: Reference, encoding: Encoding) -> Tensor:
        """1 for the labels of the reference, 0 for the others: float32 `(labels,)`."""
        return torch.tensor([float(name in reference) for name in self.spec.labels])

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy."""
        return nn.functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=self.class_weights
        )

    def distil(self, logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Binary cross-entropy with the teacher's probabilities, both sides at the temperature."""
        known = ~teacher[:, 0].isnan()
        if not bool(known.any()):
            return logits.sum() * 0.0
        soft = nn.functional.binary_cross_entropy_with_logits(
            logits[known].float() / temperature, torch.sigmoid(teacher[known] / temperature)
        )
        return soft * temperature**2


def best_threshold(probabilities: NDArray[np.float64], expected: NDArray[np.bool_]) -> float:
    """The threshold with the highest F1 of one label.

    It lies half-way between two neighbouring probabilities. Where 0.5 does as well, or the label
    is never in the references, it is 0.5; of other equals it is the nearest to 0.5.

    Args:
        probabilities: float64 `(texts,)`, at least one.
        expected: bool `(texts,)`: whether the text has the label.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    right = np.cumsum(expected[order])
    # The cut after the i-th text takes i + 1 texts; F1 = 2 right / (taken + all positives).
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + expected.sum())
    below = np.append(ranked[1:], 0.0)
    middle = (ranked + below) / 2
    thresholds = np.where(middle > below, middle, ranked)  # neighbours may leave no room between
    possible = np.append(ranked[:-1] > ranked[1:], True)  # equal probabilities are never parted
    taken = probabilities >= THRESHOLD
    usual = 2 * (taken & expected).sum() / max(1, taken.sum() + expected.sum())
    best = f1[possible].max()
    if best <= usual:
        return THRESHOLD
    candidates = thresholds[possible & (f1 == best)]
    return float(candidates[np.abs(candidates - THRESHOLD).argmin()])
