"""The layers of a head: which of the encoder's it reads, pooled how, and its own dense ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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


ActivationName = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid", "identity"]

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


@dataclass(frozen=True, kw_only=True)
class Dense:
    """One entry of a head's `hidden`: a linear layer, then an activation, then perhaps a norm.

    Attributes:
        width: of the vectors that the layer gives.
        activation: what is between this linear layer and the next.
        norm: epsilon of a layer normalisation behind the activation; None for no normalisation.
    """

    width: int
    activation: ActivationName = "gelu"
    norm: float | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: found {self.width}, expected at least 1.")
        if self.norm is not None and self.norm <= 0:
            raise ValueError(f"norm: found {self.norm}, expected an epsilon above 0.")


Hidden = Sequence[int | Dense]
"""Hidden layers of a head; a number is the width of a `Dense` with GELU."""


def last_width(width: int, hidden: Hidden) -> int:
    """Width of what the hidden layers give; `width` without any."""
    return _dense(hidden[-1]).width if hidden else width


def stack(width: int, hidden: Hidden, outputs: int | None, dropout: float) -> nn.Sequential:
    """Hidden layers and the last linear one, with dropout before each linear layer.

    Args:
        width: of the vectors that come in.
        hidden: layers before the last.
        outputs: of the last linear layer, which has no activation; None leaves it out.
        dropout: 0 to below 1.

    Returns:
        `(…, width)` into `(…, outputs)`. Nothing at all gives what it was given.
    """
    layers: list[nn.Module] = []
    for layer in map(_dense, hidden):
        layers += [nn.Dropout(dropout), nn.Linear(width, layer.width)]
        layers.append(_ACTIVATIONS[layer.activation]())
        if layer.norm is not None:
            layers.append(nn.LayerNorm(layer.width, eps=layer.norm))
        width = layer.width
    if outputs is not None:
        layers += [nn.Dropout(dropout), nn.Linear(width, outputs)]
    return nn.Sequential(*layers)


def _dense(layer: int | Dense) -> Dense:
    return Dense(width=layer) if isinstance(layer, int) else layer
