"""What training minimises: the heads' losses, weighted and added up."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from polyhead_models.config import TeacherConfig
from polyhead_models.model import MultiHeadModel


class Objective(nn.Module):
    """A model and its loss as one module, which is what `transformers.Trainer` trains."""

    def __init__(
        self,
        model: MultiHeadModel,
        weights: Mapping[str, float],
        weighting: Literal["fixed", "uncertainty"],
        teachers: Mapping[str, TeacherConfig] = MappingProxyType({}),
    ) -> None:
        """Join model and loss.

        Args:
            model: trained in place.
            weights: a factor for the loss of each head that is trained.
            weighting: ``"fixed"`` leaves it at the factors. ``"uncertainty"`` learns one more for
                each head, with Kendall, Gal & Cipolla 2018: ``exp(-s) * loss + s / 2``, where s is
                the logarithm of the head's variance and starts at 0. Batches without a target of
                the head leave its s alone, so that it does not depend on their share.
            teachers: settings of the heads that learn from a teacher as well.
        """
        super().__init__()
        self.model = model
        self._weights = dict(weights)
        self._teachers = dict(teachers)
        self._rows = {name: row for row, name in enumerate(weights)}
        self.log_variances = (
            nn.Parameter(torch.zeros(len(weights))) if weighting == "uncertainty" else None
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        targets: Mapping[str, Tensor],
        token_type_ids: Tensor | None = None,
        teachers: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            input_ids: int64 `(batch, tokens)`.
            attention_mask: `(batch, tokens)`, 1 for tokens and 0 for padding.
            targets: by head, as the head's `collate` makes them.
            token_type_ids: int64 `(batch, tokens)`; None for all 0.
            teachers: logits of teachers by head, in the shape of the head's own; NaN where they say
                nothing.

        Returns:
            ``{"loss": scalar}``.
        """
        logits = self.model(input_ids, attention_mask, token_type_ids)
        losses = []
        for name, weight in self._weights.items():
            loss = self._loss(name, logits[name], targets[name], teachers)
            if self.log_variances is not None:
                s = self.log_variances[self._rows[name]]
                loss = torch.exp(-s) * loss
                if bool(self.model.networks[name].known(targets[name]).any()):
                    loss = loss + s / 2
            losses.append(weight * loss)
        return {"loss": torch.stack(losses).sum()}

    def _loss(
        self, name: str, logits: Tensor, targets: Tensor, teachers: Mapping[str, Tensor]
    ) -> Tensor:
        network = self.model.networks[name]
        loss = network.loss(logits, targets)
        if (settings := self._teachers.get(name)) is None:
            return loss
        taught = network.distil(logits, teachers[name], settings.temperature)
        return (1 - settings.weight) * loss + settings.weight * taught
