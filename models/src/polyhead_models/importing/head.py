"""A head of transformers or sentence-transformers as what one of polyhead is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from polyhead.heads.answer import LONGEST
from polyhead.importing import labels
from polyhead_models.errors import SourceError
from polyhead_models.heads import HeadNetwork
from polyhead_models.heads.dense import ActivationName, Dense
from polyhead_models.importing import sentences
from polyhead_models.importing.architectures import Parts
from polyhead_models.importing.source import Source

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]

NEVER = -1e4
"""Logit of a tag that the model does not have: its probability is 0, in half precision, too."""

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
_KINDS: dict[Problem, str] = {
    "single_label_classification": "classification.v1",
    "multi_label_classification": "multilabel.v1",
    "regression": "regression.v1",
}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a model's files leave open.

    Attributes:
        head: name of the head; None takes the kind's.
        pair: whether a classifier reads pairs of texts, as one for entailment does.
        problem: what the labels of a classifier are; None takes what config.json says.
        pooling: of a plain encoder; None takes the mean.
        max_tokens: longest input; None takes what the files say.
    """

    head: str | None = None
    pair: bool = False
    problem: Problem | None = None
    pooling: Literal["cls", "mean", "max"] | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class ImportedHead:
    """A head to make: what it is, and the layers of the original that it takes over.

    Attributes:
        kind: versioned name of its kind.
        spec: fields of its `HeadSpec` that the original decides.
        hidden: layers before the last.
        weights: weight and bias of each linear layer and norm, in their order.
        rows: for each logit the original's; None where it has none, and for the same order.
    """

    kind: str
    spec: Mapping[str, Any]
    hidden: tuple[Dense, ...]
    weights: tuple[Mapping[str, torch.Tensor], ...]
    rows: tuple[int | None, ...] | None

    @torch.no_grad()
    def fill(self, network: HeadNetwork) -> None:
        """Copy the weights, layer by layer. A bias that the original has not is 0."""
        layers = [m for m in network.projection if isinstance(m, nn.Linear | nn.LayerNorm)]
        for layer, tensors in zip(layers, self.weights, strict=True):
            weight, bias = tensors["weight"], tensors.get("bias")
            if self.rows is not None and layer is layers[-1]:
                weight, bias = _arranged(weight, bias, self.rows)
            layer.weight.copy_(weight)
            layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)


def _arranged(
    weight: torch.Tensor, bias: torch.Tensor | None, rows: tuple[int | None, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    new = weight.new_zeros(len(rows), weight.shape[1]), weight.new_full((len(rows),), NEVER)
    for place, row in enumerate(rows):
        if row is not None:
            new[0][place], new[1][place] = weight[row], bias[row]
    return new


def read(
    source: Source,
    original: PreTrainedModel,
    parts: Parts,
    wishes: Wishes,
    note: Callable[[str], None],
) -> ImportedHead:
    """The head of a loaded model.

    Args:
        source: its files.
        original: the model.
        parts: where its head's layers are.
        wishes: what the files leave open.
        note: called with remarks for the user.

    Raises:
        SourceError: when the head has a part that polyhead has not, or its labels do not fit.
    """
    if parts.task == "embedding":
        return _embedding(source, wishes, note)
    if wishes.pooling is not None:
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
    kind, spec, rows = _answers(source, output.out_features, parts, wishes, note)
    return ImportedHead(
        kind, {**spec, "pooling": parts.pooling}, tuple(hidden), tuple(weights), rows
    )


def _answers(
    source: Source, count: int, parts: Parts, wishes: Wishes, note: Callable[[str], None]
) -> tuple[str, dict[str, Any], tuple[int | None, ...] | None]:
    """Kind, labels and the like, and the order of the logits."""
    if parts.task == "answer":
        if count != 2:
            raise SourceError(f"{source.name}: {count} logits a token; a start and an end are 2.")
        return "answer.v1", {"input": "pair", "longest": LONGEST}, None
    found, named = labels.read(source.config, count, where=source.name)
    if parts.task == "tokens":
        tags = labels.tags(found)
        if tags.note:
            note(f"warning: {source.name}: {tags.note}")
        _warn_of_names(source, named, note)
        return "tokens.v1", {"labels": tags.labels, "scheme": tags.scheme}, tags.rows
    stated = wishes.problem or source.config.get("problem_type")
    stated = stated or ("regression" if count == 1 else "single_label_classification")
    if stated not in _KINDS:
        raise SourceError(
            f"{source.name}: problem_type: found {stated!r}, allowed: {', '.join(_KINDS)}."
        )
    kind = _KINDS[cast(Problem, stated)]
    read: dict[str, Any] = {"input": "pair" if wishes.pair else "text"}
    if kind == "regression.v1":
        if count != 1:
            raise SourceError(f"{source.name}: regression with {count} numbers; polyhead has one.")
        return kind, read, None
    _warn_of_names(source, named, note)
    return kind, {**read, "labels": found}, None


def _warn_of_names(source: Source, named: bool, note: Callable[[str], None]) -> None:
    if not named:
        note(
            f"warning: {source.name}: config.json names no labels; they are called LABEL_0 and so"
            " on. Write id2label there and import again."
        )


def _embedding(source: Source, wishes: Wishes, note: Callable[[str], None]) -> ImportedHead:
    if not source.is_sentence_model:
        pooling = wishes.pooling or "mean"
        return ImportedHead("embedding.v1", {"pooling": pooling}, (), (), None)
    found = sentences.read(source)
    if wishes.pooling not in (None, found.pooling):
        raise SourceError(f"{source.name}: pools by {found.pooling}, and was trained so.")
    if not found.normalised:
        note(
            f"warning: {source.name}: gives vectors of any length; an embedding here has length 1,"
            " so cosines are the same and dot products are not."
        )
    if prompt := sentences.usual_prompt(source):
        note(
            f"warning: {source.name}: sentence-transformers puts {prompt!r} before every text;"
            " polyhead reads texts as they are, so put it there yourself."
        )
    weights = tuple(t for layer in found.tensors for t in layer.values())
    return ImportedHead("embedding.v1", {"pooling": found.pooling}, found.hidden, weights, None)


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
