"""What training minimises: the heads' losses, weighted and added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from polyhead_models.model import MultiHeadModel


class Objective(nn.Module):
    """A model and its loss as one module, which is what `transformers.Trainer` trains."""

    def __init__(
        self,
        model: MultiHeadModel,
        weights: Mapping[str, float],
        weighting: Literal["fixed", "uncertainty"],
    ) -> None:
        """Join model and loss.

        Args:
            model: trained in place.
            weights: a factor for each head's loss.
            weighting: ``"fixed"`` leaves it at the factors. ``"uncertainty"`` learns one more for
                each head, with Kendall, Gal & Cipolla 2018: ``exp(-s) * loss + s / 2``, where s is
                the logarithm of the head's variance and starts at 0.
        """
        super().__init__()
        self.model = model
        trained = [name for name, head in model.networks.items() if head.needs_target]
        self._weights = {name: weights[name] for name in trained}
        self._rows = {name: row for row, name in enumerate(trained)}
        self.log_variances = (
            nn.Parameter(torch.zeros(len(trained))) if weighting == "uncertainty" else None
        )

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            input_ids: int64 `(batch, tokens)`.
            attention_mask: `(batch, tokens)`, 1 for tokens and 0 for padding.
            targets: by head, as the head's `collate` makes them.

        Returns:
            ``{"loss": scalar}``.
        """
        logits = self.model(input_ids, attention_mask)
        networks = self.model.networks
        losses = [
            self._weighted(name, networks[name].loss(logits[name], targets[name]))
            for name in self._weights
        ]
        return {"loss": torch.stack(losses).sum()}

    def _weighted(self, name: str, loss: Tensor) -> Tensor:
        if self.log_variances is not None:
            s = self.log_variances[self._rows[name]]
            loss = torch.exp(-s) * loss + s / 2
        return self._weights[name] * loss
