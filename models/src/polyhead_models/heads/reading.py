"""What a head reads of the encoder: which layers, pooled how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from polyhead_models.errors import ConfigError


class LayerReader(nn.Module):
    """Chooses or mixes layers, then pools token vectors.

    The mix is the scalar mix of ELMo (Peters et al. 2018, equation 1): a softmax-weighted mean of
    all layers times a learned scale.
    """

    def __init__(
        self,
        layers: Literal["last", "mix"] | int,
        pooling: Literal["cls", "mean", "max"] | None,
        depth: int,
    ) -> None:
        """Make a reader for an encoder with `depth` hidden states.

        Raises:
            ConfigError: when an index is outside the encoder.
        """
        super().__init__()
        if isinstance(layers, int) and not -depth <= layers < depth:
            raise ConfigError(
                f"layers: found {layers}; this encoder has the layers 0 (embeddings) to"
                f" {depth - 1}, or -{depth} to -1 from the end."
            )
        self.layers = layers
        self.pooling = pooling
        if layers == "mix":
            self.weights = nn.Parameter(torch.zeros(depth))
            self.scale = nn.Parameter(torch.ones(()))

    @property
    def needs_all(self) -> bool:
        """Whether the last layer alone is not enough."""
        return self.layers != "last"

    def forward(self, states: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Layers, each `(batch, tokens, width)`, into `(batch, width)`, or unpooled."""
        return self._pool(self._choose(states), mask)

    def _choose(self, states: Sequence[Tensor]) -> Tensor:
        if self.layers == "mix":
            weights = torch.softmax(self.weights, dim=0)
            mixed = sum(w * state for w, state in zip(weights, states, strict=True))
            return self.scale * torch.as_tensor(mixed)
        return states[-1 if self.layers == "last" else int(self.layers)]

    def _pool(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        if self.pooling is None:
            return tokens
        if self.pooling == "cls":
            return tokens[:, 0]
        if mask is None:
            return tokens.mean(dim=1) if self.pooling == "mean" else tokens.amax(dim=1)
        present = mask.unsqueeze(-1).to(tokens.dtype)
        if self.pooling == "mean":
            return (tokens * present).sum(dim=1) / present.sum(dim=1)
        return tokens.masked_fill(present == 0, float("-inf")).amax(dim=1)
