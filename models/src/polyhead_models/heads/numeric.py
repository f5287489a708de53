"""Heads whose targets are numbers, one for each logit, and not indices of labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from polyhead_models.heads.base import HeadNetwork

MISSING = float("nan")
"""Target value that no loss counts: what `IGNORED` is among indices."""


class NumericNetwork(HeadNetwork):
    """A head for a text whose target is float32 `(outputs,)`, in the order of the logits."""

    def collate(self, targets: Sequence[Tensor | None], tokens: int) -> Tensor:
        """Targets of a batch into float32 `(batch, outputs)`; rows without one are `MISSING`."""
        missing = torch.full((self.count,), MISSING)
        return torch.stack([missing if target is None else target for target in targets])

    def known(self, targets: Tensor) -> Tensor:
        """Which texts have a target: bool `(batch,)`."""
        return ~targets[:, 0].isnan()

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the texts whose targets are not `MISSING`; 0 when all are."""
        known = self.known(targets)
        if not bool(known.any()):
            return logits.sum() * 0.0
        return self.criterion(logits[known].float(), targets[known])

    def distil(self, logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The loss with the teacher's numbers as targets; numbers have no temperature."""
        return self.loss(logits, teacher)

    @abstractmethod
    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of logits `(n, outputs)` for such targets, both float32, n at least 1."""
