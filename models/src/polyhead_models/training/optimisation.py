"""Which weights learn, and how fast."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from polyhead_models.config import TrainingConfig
from polyhead_models.errors import ConfigError
from polyhead_models.model import MultiHeadModel
from polyhead_models.training.objective import Objective


def freeze(model: MultiHeadModel, what: Literal["nothing", "encoder"] | int) -> None:
    """Stop weights of the encoder from learning.

    Args:
        model: changed in place.
        what: nothing, the whole encoder, or the embeddings and this many layers, from the first.

    Raises:
        ConfigError: when the encoder has fewer layers, or layers that share their weights.
    """
    if what == "nothing":
        return
    learning = set() if what == "encoder" else _above(model, int(what))
    for parameter in model.encoder.parameters():
        parameter.requires_grad = id(parameter) in learning


def optimizer(objective: Objective, settings: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW with a rate for the encoder and one for the rest; no decay for biases and norms."""
    encoder = {id(parameter) for parameter in objective.model.encoder.parameters()}
    rates = (settings.head_learning_rate or settings.learning_rate, settings.learning_rate)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in objective.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in encoder, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[inside],
                "weight_decay": settings.weight_decay if matrix else 0.0,
            }
            for (inside, matrix), parameters in groups.items()
        ]
    )


def _above(model: MultiHeadModel, count: int) -> set[int]:
    """Weights of the layers behind the first `count`."""
    depth = int(model.encoder.config.num_hidden_layers)
    if not 0 <= count <= depth:
        raise ConfigError(f"training: freeze: found {count}; this encoder has {depth} layers.")
    for module in model.encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return {id(p) for layer in list(module)[count:] for p in layer.parameters()}
    raise ConfigError(
        f"training: freeze: {type(model.encoder).__name__} has no list of {depth} layers."
        ' Allowed here: "nothing" or "encoder".'
    )
