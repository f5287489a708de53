"""embedding.v1: the pooled vector itself; of use untrained, and trainable on pairs of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import HeadNetwork
from polyhead_models.heads.layers import Hidden, stack

_SCALE = 20.0
# Errors of cosines are small next to the cross-entropies of other heads, which would drown
# them out: beside three others, Spearman 0.864 with this factor, 0.813 without, 0.856 alone.
_ERRORS = 10.0


class EmbeddingNetwork(HeadNetwork):
    """Pooling, and the hidden layers where there are some; no layer of its own.

    It learns from two texts, each encoded by itself. With a score from -1 to 1, the loss is 10
    times the squared error of their cosine (Reimers & Gurevych 2019, section 3). Without, they
    belong together, and each text has to find its partner among those of the batch: cross-entropy
    over cosines times 20 (Henderson et al. 2017, section 4.4). A vector that may be cut is trained
    at every size (Kusupati et al. 2022, equation 1, all sizes alike).

    A reference is the score, or None for two texts that belong together.
    """

    kind: ClassVar[str] = "embedding.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "identity"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = "mean"
    untrained: ClassVar[bool] = True

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """As many as the vector has numbers."""
        if too_large := [size for size in spec.dimensions if size > width]:
            raise ValueError(f"dimensions: found {too_large[0]}; the vector has {width} numbers")
        return width

    @classmethod
    def reference(cls, raw: Any, text: str) -> float | None:
        """A score from -1 to 1; True for two texts that belong together."""
        if raw is True:
            return None
        number = isinstance(raw, int | float) and not isinstance(raw, bool)
        try:
            score = float(raw) if number or isinstance(raw, str) else math.nan
        except ValueError:
            score = math.nan
        if not -1 <= score <= 1:
            raise ValueError(f"found the score {raw!r}, expected a number from -1 to 1; scale it")
        return score

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[float | None]) -> HeadSpec:
        """With the sizes in order."""
        return replace(spec, dimensions=tuple(sorted(set(spec.dimensions))))

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """The score, float32 `()`; NaN where the texts belong together. The same for both texts."""
        return torch.tensor(math.nan if reference is None else reference, dtype=torch.float32)

    def collate(self, targets: Sequence[Tensor | None], tokens: int) -> Tensor:
        """Float32 `(batch, 2)`: the number of the pair, -1 for none, and the score.

        The texts of a pair follow one another.
        """
        batch = torch.full((len(targets), 2), -1.0)
        known = [(row, target) for row, target in enumerate(targets) if target is not None]
        for place, (row, target) in enumerate(known):
            batch[row, 0] = place // 2
            batch[row, 1] = target
        return batch

    def known(self, targets: Tensor) -> Tensor:
        """Which texts belong to a pair: bool `(batch,)`."""
        return targets[:, 0] >= 0

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the pairs of the batch and the sizes of the vector; 0 when there is no pair."""
        rows = torch.nonzero(self.known(targets)).flatten()
        if not len(rows):
            return logits.sum() * 0.0
        first, second = logits[rows[::2]].float(), logits[rows[1::2]].float()
        scores = targets[rows[::2], 1]
        sizes = sorted({*self.spec.dimensions, logits.shape[-1]})
        losses = [_loss(first[:, :size], second[:, :size], scores) for size in sizes]
        return torch.stack(losses).mean()

    def distil(self, logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """1 minus the cosine of the vectors and a teacher's; directions have no temperature."""
        known = ~teacher[:, 0].isnan()
        if not bool(known.any()):
            return logits.sum() * 0.0
        cosines = nn.functional.cosine_similarity(logits[known].float(), teacher[known], dim=-1)
        return 1 - cosines.mean()

    @staticmethod
    def _projection(width: int, hidden: Hidden, outputs: int, dropout: float) -> nn.Sequential:
        return stack(width, hidden, None, dropout)


def _loss(first: Tensor, second: Tensor, scores: Tensor) -> Tensor:
    first, second = (nn.functional.normalize(vectors, dim=-1) for vectors in (first, second))
    together = scores.isnan()
    losses = []
    if bool(together.any()):
        cosines = _SCALE * first[together] @ second[together].T
        partners = torch.arange(len(cosines), device=cosines.device)
        losses.append(nn.functional.cross_entropy(cosines, partners, reduction="none"))
    if not bool(together.all()):
        cosines = (first * second).sum(dim=-1)[~together]
        losses.append(_ERRORS * (cosines - scores[~together]) ** 2)
    return torch.cat(losses).mean()
