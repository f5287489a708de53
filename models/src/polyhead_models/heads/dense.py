"""Layers between what a head reads and its logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

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
