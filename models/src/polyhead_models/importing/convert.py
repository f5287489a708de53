"""A model of transformers or sentence-transformers as a checkpoint with one head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from polyhead.bundle.digest import sha256
from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config, EncoderConfig, HeadConfig
from polyhead_models.heads import HeadNetwork
from polyhead_models.heads.layers import ActivationName, Dense
from polyhead_models.importing import labels, sentences, tokenizing, writing
from polyhead_models.importing import original as originals
from polyhead_models.importing.labels import NEVER, HeadMeaning
from polyhead_models.importing.original import Parts
from polyhead_models.importing.source import ImportOptions, Source

_LONGEST = 512


@dataclass(frozen=True)
class ImportedCheckpoint:
    """Outcome of `import_model`.

    Attributes:
        path: the checkpoint.
        name: of its head.
        spec: of its head.
        architecture: the class that the weights were of.
        compared: texts and pairs that were compared with the original library.
        difference: largest difference of a logit from the original's, or of a number of a vector.
    """

    path: Path
    name: str
    spec: HeadSpec
    architecture: str | None
    compared: int
    difference: float


def import_model(name: str, target: Path, options: ImportOptions) -> ImportedCheckpoint:
    """Make a checkpoint of a model, after ids and logits were compared with the original's.

    What the user should know, such as labels without names, is logged as a warning.

    Args:
        name: a local folder, the name of a model that an installed package ships, or a hub id. The
            library's own settings for working offline are honoured.
        target: folder of the checkpoint; nothing may be there.
        options: what the model's files leave open.

    Raises:
        SourceError: when the model cannot be read, has parts that polyhead does not support, or
            gives other ids or logits.
        EncoderError: when the encoder cannot be built without them.
        CheckpointError: when something is at `target`.
    """
    checkpoints.refuse_existing(target)
    source = Source.find(name)
    source.review(options)
    if source.writes:
        return _import_writing(source, target, options)
    original, parts = originals.model(source, options)
    tokenizer, reference = tokenizing.read(source, options)
    compared = tokenizing.check(tokenizer, reference, where=source.name)
    encoder = originals.encoder(original, source)
    tokenizing.check_ids(tokenizer, encoder.config.vocab_size, where=source.name)
    head = _head(source, original, parts, options)
    max_tokens = source.max_tokens(encoders.capacity(encoder), options.max_tokens) or _LONGEST
    title, spec = head.meaning.title(options), head.meaning.spec(options, max_tokens)
    config = _config(source, title, spec, head.hidden)
    model = checkpoints.assemble(encoder, {title: spec}, config.heads).eval()
    head.fill(model.networks[title])
    made = Checkpoint(
        model,
        tokenizer,
        Description(
            encoder=encoders.settings(encoder),
            heads={title: spec},
            config=config,
            data={},
            provenance=_provenance(source),
        ),
    )
    rows = head.meaning.rows
    difference = originals.check(original, reference, made, rows, where=source.name)
    with atomic.folder(target) as folder:
        checkpoints.save(folder, made, {})
    return ImportedCheckpoint(target, title, spec, source.architecture, compared, difference)


def _import_writing(source: Source, target: Path, options: ImportOptions) -> ImportedCheckpoint:
    made, compared, difference = writing.checkpoint(source, options, _provenance(source))
    ((title, spec),) = made.description.heads.items()
    with atomic.folder(target) as folder:
        checkpoints.save(folder, made, {})
    return ImportedCheckpoint(target, title, spec, source.architecture, compared, difference)


def _config(source: Source, title: str, spec: HeadSpec, hidden: tuple[Dense, ...]) -> Config:
    try:
        head = HeadConfig(
            kind=spec.kind,
            text=("first", "second") if spec.input == "pair" else "text",
            pooling=spec.pooling,
            hidden=hidden,
            longest=spec.longest,
        )
        encoder = EncoderConfig(
            name=source.name, max_tokens=spec.max_tokens, special_tokens=source.special_tokens
        )
        return Config(encoder=encoder, heads={title: head})
    except ValueError as problem:
        raise SourceError(f"{source.name}: {problem}") from problem


def _provenance(source: Source) -> dict[str, Any]:
    files = sorted(
        path
        for folder in {source.top, source.folder}
        for ending in ("*.safetensors", "*.bin", "config.json")
        for path in folder.glob(ending)
    )
    return {
        **checkpoints.versions(),
        "imported": {
            "source": source.name,
            "architecture": source.architecture,
            "sha256": {str(path.relative_to(source.top)): sha256(path) for path in files},
        },
    }


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


def _head(
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
        meaning = HeadMeaning("embedding.v1", {"pooling": found.pooling})
        return ImportedHead(meaning, found.hidden, found.weights)
    if options.pooling is not None:
        raise SourceError(f"{source.name}: a {source.architecture} pools in its own way.")
    hidden, weights = [], []
    for layer in parts.layers:
        linear = _linear(original, layer.linear, source)
        weights.append(linear.state_dict())
        epsilon = None
        if layer.norm is not None:
            norm: Any = original.get_submodule(layer.norm)
            weights.append(norm.state_dict())
            epsilon = float(norm.eps)
        activation = getattr(original.config, layer.activation, layer.activation)
        if activation not in _ACTIVATIONS:
            raise SourceError(
                f"{source.name}: its head has the activation {activation!r}; polyhead knows"
                f" {', '.join(_ACTIVATIONS)}."
            )
        activation = _ACTIVATIONS[activation]
        hidden.append(Dense(width=linear.out_features, activation=activation, norm=epsilon))
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
