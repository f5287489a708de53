"""A head of transformers or sentence-transformers as what one of polyhead is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from polyhead_models.errors import SourceError
from polyhead_models.heads import HeadNetwork
from polyhead_models.heads.dense import ActivationName, Dense
from polyhead_models.importing import labels, sentences
from polyhead_models.importing.architectures import Parts
from polyhead_models.importing.labels import NEVER, HeadMeaning
from polyhead_models.importing.options import ImportOptions
from polyhead_models.importing.source import Source

_ACTIVATIONS: dict[str, ActivationName] = {
    "gelu": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "linear": "identity",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


@dataclass(frozen=True)
class ImportedHead:
    """A head to make: what it is, and the layers of the original that it takes over.

    Attributes:
        meaning: of its logits.
        hidden: layers before the last.
        weights: weight and bias of each linear layer and norm, in their order.
    """

    meaning: HeadMeaning
    hidden: tuple[Dense, ...]
    weights: tuple[Mapping[str, torch.Tensor], ...]

    @torch.no_grad()
    def fill(self, network: HeadNetwork) -> None:
        """Copy the weights, layer by layer. A bias that the original does not have is 0."""
        layers = [m for m in network.projection if isinstance(m, nn.Linear | nn.LayerNorm)]
        for layer, tensors in zip(layers, self.weights, strict=True):
            weight, bias = tensors["weight"], tensors.get("bias")
            bias = torch.zeros_like(layer.bias) if bias is None else bias
            if self.meaning.rows is not None and layer is layers[-1]:
                weight, bias = _arranged(weight, bias, self.meaning.rows)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _arranged(
    weight: torch.Tensor, bias: torch.Tensor, rows: tuple[int | None, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    new = weight.new_zeros(len(rows), weight.shape[1]), weight.new_full((len(rows),), NEVER)
    for place, row in enumerate(rows):
        if row is not None:
            new[0][place], new[1][place] = weight[row], bias[row]
    return new


def read(
    source: Source, original: PreTrainedModel, parts: Parts, options: ImportOptions
) -> ImportedHead:
    """The head of a loaded model.

    Args:
        source: its files.
        original: the model.
        parts: where its head's layers are.
        options: what the files leave open.

    Raises:
        SourceError: when the head has a part that polyhead does not support, or its labels do not
            fit.
    """
    if parts.task == "embedding":
        found = sentences.read(source, options)
        tensors = tuple(t for layer in found.tensors for t in layer.values())
        return ImportedHead(
            HeadMeaning("embedding.v1", {"pooling": found.pooling}), found.hidden, tensors
        )
    if options.pooling is not None:
        raise SourceError(f"{source.name}: a {source.architecture} pools in its own way.")
    hidden, weights = [], []
    for layer in parts.layers:
        linear = _linear(original, layer.linear, source)
        weights.append(linear.state_dict())
        norm = original.get_submodule(layer.norm) if layer.norm else None
        if layer.activation not in _ACTIVATIONS:
            raise SourceError(
                f"{source.name}: its head has the activation {layer.activation!r}; polyhead knows"
                f" {', '.join(_ACTIVATIONS)}."
            )
        epsilon = float(cast(Any, norm).eps) if norm is not None else None
        activation = _ACTIVATIONS[layer.activation]
        hidden.append(Dense(width=linear.out_features, activation=activation, norm=epsilon))
        weights += [norm.state_dict()] if norm is not None else []
    output = _linear(original, parts.output, source)
    weights.append(output.state_dict())
    meaning = labels.meaning(source, parts.task, output.out_features, options)
    meaning = replace(meaning, fields={**meaning.fields, "pooling": parts.pooling})
    return ImportedHead(meaning, tuple(hidden), tuple(weights))


def _linear(model: PreTrainedModel, path: str, source: Source) -> nn.Linear:
    try:
        found = model.get_submodule(path)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Linear):
        raise SourceError(
            f"{source.name}: a {type(model).__name__} of transformers {transformers.__version__}"
            f" has no linear layer {path!r}. Please report it."
        )
    return found
