"""Rows into a batch of padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from polyhead_models.heads import HeadNetwork
from polyhead_models.model import MultiHeadModel
from polyhead_models.training.rows import TrainingRow


class Collator:
    """Rows into padded tensors."""

    def __init__(
        self, model: MultiHeadModel, trained: Sequence[str], taught: Sequence[str]
    ) -> None:
        self._taught = taught
        self._networks = {name: model.networks[name] for name in trained}
        self._typed = "token_type_ids" in model.inputs
        self._padding = getattr(model.encoder.config, "pad_token_id", None) or 0

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        """A batch: ids, mask and, where wanted, token types `(texts, tokens)`; targets by head."""
        rows = [text for row in rows for text in row.all]
        tokens = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), tokens), self._padding, dtype=torch.int64)
        mask = torch.zeros((len(rows), tokens), dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = torch.from_numpy(row.ids)
            mask[i, : len(row.ids)] = 1
        targets = {
            name: network.collate([row.targets.get(name) for row in rows], tokens)
            for name, network in self._networks.items()
        }
        batch = {"input_ids": ids, "attention_mask": mask, "targets": targets}
        if self._taught:
            batch["teachers"] = {
                name: _padded(
                    [row.teachers.get(name) for row in rows], self._networks[name], tokens
                )
                for name in self._taught
            }
        if self._typed:
            types = batch["token_type_ids"] = torch.zeros_like(ids)
            for i, row in enumerate(rows):
                if row.types is not None:
                    types[i, : len(row.ids)] = torch.from_numpy(row.types)
        return batch


def _padded(logits: Sequence[Tensor | None], network: HeadNetwork, tokens: int) -> Tensor:
    """Logits of teachers into one tensor; NaN where there are none."""
    shape = (network.count,) if network.spec.pooling else (tokens, network.count)
    batch = torch.full((len(logits), *shape), float("nan"))
    for row, found in enumerate(logits):
        if found is not None:
            batch[row, : len(found)] = found
    return batch
