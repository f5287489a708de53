"""A model that is ready to learn, out of a configuration and its training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch

from polyhead.errors import nearest
from polyhead.heads import DECODERS, HeadSpec
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data.examples import Example
from polyhead_models.errors import ConfigError, DataError
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.dense import last_width
from polyhead_models.metrics import METRICS
from polyhead_models.model import MultiHeadModel

LIBRARIES = ("polyhead", "torch", "transformers", "tokenizers", "accelerate")


def prepare(
    config: Config, identity: Mapping[str, Any], train_set: Sequence[Example]
) -> Checkpoint:
    """The encoder with fresh heads, as a checkpoint that was not trained yet.

    Raises:
        ConfigError: when the configuration asks for what encoder or data do not have.
        DataError: when the references of a head cannot be used.
        EncoderError: when the encoder cannot be loaded.
    """
    encoder, tokenizer = checkpoints.encoder(
        config.encoder.name, trust_remote_code=config.encoder.trust_remote_code
    )
    capacity = encoders.capacity(encoder)
    if capacity is not None and config.encoder.max_tokens > capacity:
        raise ConfigError(
            f"encoder: max_tokens: found {config.encoder.max_tokens}; {config.encoder.name} reads"
            f" at most {capacity}."
        )
    specs = _specs(config, train_set)
    for name, spec in specs.items():
        try:
            width = last_width(encoder.config.hidden_size, config.heads[name].hidden)
            NETWORKS[spec.kind].outputs(spec, width)
        except ValueError as problem:
            raise ConfigError(f"heads.{name}: {problem}.") from problem
    model = checkpoints.assemble(encoder, specs, config.heads)
    _set_losses(config, model, data.references(config, train_set))
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        description=Description(
            encoder=encoders.settings(encoder),
            heads=specs,
            config=config,
            data=identity["data"],
            provenance={name: version(name) for name in LIBRARIES},
        ),
    )


def _specs(config: Config, train_set: Sequence[Example]) -> dict[str, HeadSpec]:
    """What each head is, as far as configuration and training references say."""
    references = data.references(config, train_set)
    specs = {}
    for name, head in config.heads.items():
        network = NETWORKS[head.versioned_kind]
        stride = config.encoder.max_tokens // 4 if head.stride is None else head.stride
        for registry in (DECODERS, METRICS):  # a plugin that lacks one says so now, not hours later
            registry[head.versioned_kind]
        spec = HeadSpec(
            kind=head.versioned_kind,
            output=f"logits/{name}",
            activation=network.activation,
            layers=head.layers,
            pooling=head.pooling or network.default_pooling,
            input=head.input,
            max_tokens=config.encoder.max_tokens,
            stride=stride,
            dimensions=head.dimensions,
            longest=head.longest,
            sentences=head.sentences,
        )
        try:
            specs[name] = network.fitted(spec, references[name])
        except ValueError as problem:
            raise DataError(f"head {name!r}: {problem}.") from problem
    return specs


def _set_losses(
    config: Config, model: MultiHeadModel, references: Mapping[str, Sequence[Any]]
) -> None:
    """Class weights and label smoothing, which only training knows."""
    for name, network in model.networks.items():
        head, labels = config.heads[name], network.spec.labels
        network.label_smoothing = head.label_smoothing
        weights = head.class_weights
        if weights == "balanced":
            factors = network.balanced(labels, references[name])
            network.class_weights = torch.tensor(factors, dtype=torch.float32)
        elif isinstance(weights, Mapping):
            for label in weights:
                if label not in labels:
                    raise ConfigError(
                        f"heads.{name}: class_weights: no training row has the label {label!r}."
                        + nearest(label, labels)
                    )
            network.class_weights = torch.tensor([weights.get(label, 1.0) for label in labels])
