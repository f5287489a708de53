"""multilabel.v1: a set of labels for a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
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
    """A pooled vector into one logit a label; the sum of their binary cross-entropies.

    The sum is the log-likelihood of the set. Its gradient is `p - y` for each logit, as that of a
    softmax; by the mean, many labels would leave the encoder to the other heads.

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
        """With the thresholds that together have the highest micro-F1; see `best_thresholds`."""
        probabilities = np.array([[r.scores[name] for name in spec.labels] for r in results])
        expected = np.array([[name in r for name in spec.labels] for r in references])
        return replace(spec, thresholds=best_thresholds(probabilities, expected))

    def prior(self, targets: Sequence[Tensor]) -> Tensor:
        """The logit of each label's share, times its weight in the loss; each counts once more."""
        shares = (torch.stack(list(targets)).sum(dim=0) + 1) / (len(targets) + 2)
        weights = 0.0 if self.class_weights is None else torch.log(self.class_weights)
        return torch.logit(shares) + weights

    def target(self, reference: Reference, encoding: Encoding) -> Tensor:
        """1 for the labels of the reference, 0 for the others: float32 `(labels,)`."""
        return torch.tensor([float(name in reference) for name in self.spec.labels])

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, summed over labels; its mean over texts."""
        mean = nn.functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=self.class_weights
        )
        return mean * self.count

    def distil(self, logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Binary cross-entropy with the teacher's probabilities, both sides at the temperature."""
        known = ~teacher[:, 0].isnan()
        if not bool(known.any()):
            return logits.sum() * 0.0
        soft = nn.functional.binary_cross_entropy_with_logits(
            logits[known].float() / temperature, torch.sigmoid(teacher[known] / temperature)
        )
        return soft * self.count * temperature**2


def best_thresholds(
    probabilities: NDArray[np.float64], expected: NDArray[np.bool_]
) -> tuple[float, ...]:
    """The threshold of each label with which the head has the highest micro-F1.

    Micro-F1 is ``2 right / (taken + positives)``, each summed over labels. It is highest where the
    sum of ``2 right - F1 taken`` is, F1 being the value reached itself (Dinkelbach 1967, fractional
    programming): for a given F1 each label has a best cut of its own, and F1 rises until it stays.

    A threshold lies half-way between two neighbouring probabilities. Of those that do as well it is
    0.5, or else the nearest to it.

    Args:
        probabilities: float64 `(texts, labels)`, at least one text.
        expected: bool `(texts, labels)`: which labels each text has.
    """
    labels = [_cuts(p, e) for p, e in zip(probabilities.T, expected.T, strict=True)]
    f1, positives = Fraction(0), int(expected.sum())
    while True:
        # By whole numbers, so that what does as well is seen as equal.
        gains = [2 * right * f1.denominator - taken * f1.numerator for _, right, taken in labels]
        best = [
            (at[cut], right[cut], taken[cut])
            for (at, right, taken), cut in zip(labels, (g.argmax() for g in gains), strict=True)
        ]
        thresholds, right, taken = zip(*best, strict=True)
        reached = Fraction(2 * int(sum(right)), max(1, int(sum(taken)) + positives))
        if reached <= f1:
            return tuple(map(float, thresholds))
        f1 = reached


def _cuts(
    probabilities: NDArray[np.float64], expected: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The thresholds a label can have, nearest to 0.5 first, with what each takes: right, all."""
    order = np.argsort(-probabilities, kind="stable")
    edges = np.concatenate([[1.0], probabilities[order], [0.0]])
    above, below = edges[:-1], edges[1:]
    middle = (above + below) / 2
    thresholds = np.where(middle > below, middle, above)  # neighbours may leave no room between
    possible = above > below  # equal probabilities are never parted
    possible[-1] = True
    right = np.concatenate([[0], np.cumsum(expected[order])])[possible]
    usual = probabilities >= THRESHOLD
    at = np.append(thresholds[possible], THRESHOLD)
    nearest = np.argsort(abs(at - THRESHOLD), kind="stable")
    return (
        at[nearest],
        np.append(right, (usual & expected).sum())[nearest],
        np.append(np.flatnonzero(possible), usual.sum())[nearest],
    )
