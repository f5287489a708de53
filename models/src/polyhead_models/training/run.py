"""From a configuration to a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from polyhead.errors import nearest
from polyhead.heads import DECODERS, HeadSpec
from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data.bad_rows import MOST, BadRows
from polyhead_models.data.examples import Example
from polyhead_models.data.steps import schedule
from polyhead_models.errors import ConfigError, DataError
from polyhead_models.generation import starting
from polyhead_models.generation.starting import Beginning
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.heads.layers import last_width
from polyhead_models.metrics import METRICS
from polyhead_models.model import MultiHeadModel
from polyhead_models.plots import learning_curves
from polyhead_models.training import processes, state
from polyhead_models.training.floors import floors, warn
from polyhead_models.training.rows import TrainingRow, encoded, training_rows
from polyhead_models.training.trainer import MultiHeadTrainer, rank

logger = logging.getLogger(__name__)

_CURVES = "learning_curves.png"


@dataclass(frozen=True)
class Trained:
    """Outcome of `train`.

    Attributes:
        path: the checkpoint.
        metrics: what `metrics.json` holds.
        reused: True when a finished checkpoint of the same settings and data was there already.
    """

    path: Path
    metrics: Mapping[str, Any]
    reused: bool = False


def train(
    config: Config,
    target: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    more_epochs: int | None = None,
    max_errors: int = MOST,
) -> Trained:
    """Train all heads together and write a checkpoint, with its learning curves as a picture.

    The run keeps its state in ``.NAME.partial`` next to the target; the target itself appears
    whole, at the end. Whatever stops the run, `resume` goes on after the last finished epoch.

    Started by `torchrun`, several processes call this and train one model; only the first writes.
    An error in one is an error in all.

    Args:
        config: what to train.
        target: folder of the checkpoint.
        resume: go on with an interrupted run; a finished one is left as it is.
        overwrite: start anew, whatever is there.
        more_epochs: train the finished checkpoint at `target` for so many epochs more, with a rate
            that rises and falls anew; it stays as it was where none is better on validation.
        max_errors: most bad rows that an error lists, at least 1.

    Raises:
        DataError: when the data cannot be used.
        EncoderError: when the encoder cannot be loaded.
        CheckpointError: when something is at `target` and neither flag was given, or when a run
            of other settings or data would be resumed.
        PeerError: when another process of the run raises one of these.
    """
    processes.join()
    with processes.together():
        identity = state.identity(config)
    processes.same(identity, what="settings or data")
    if more_epochs is not None:
        identity = processes.first(lambda: state.continued(identity, target, more_epochs))
    elif processes.first(lambda: state.keeps(identity, target, resume=resume, overwrite=overwrite)):
        processes.first(lambda: state.clear(target))
        return Trained(target, checkpoints.metrics(target), reused=True)
    with processes.together():
        target = atomic.replaceable(target)
        with BadRows(max_errors) as bad:
            train_set = data.load(config, "train", bad)
            validation_set = data.load(config, "validation", bad)
        transformers.set_seed(config.training.seed)
        checkpoint = untouched = prepare(config, identity, train_set)
        if more_epochs is not None:
            checkpoint = _continued(target, more_epochs, train_set)
        labels = {name: spec.labels for name, spec in checkpoint.model.specs.items()}
        validation_set = data.seen(config, validation_set, labels)
        rows = training_rows(checkpoint, train_set)
        start_at_priors(untouched.model, rows)
        of_run = _scheduled(checkpoint, rows, more_epochs)
        if more_epochs is None:
            checkpoint = of_run
        # What cannot be read is an error now, not after the first epoch.
        encoded(checkpoint.engine(), validation_set, [example.text for example in validation_set])
    with state.claimed(target, identity, resume=resume, overwrite=overwrite) as partial:
        with processes.together():
            trainer = MultiHeadTrainer(of_run, rows, validation_set, partial, untouched=untouched)
        last = processes.first(lambda: state.last_complete(partial))
        with processes.ending():
            trainer.train(resume_from_checkpoint=last)
        return processes.first(
            lambda: _finish(trainer, checkpoint, target, train_set, validation_set)
        )


def _continued(target: Path, epochs: int, train_set: Sequence[Example]) -> Checkpoint:
    """The finished checkpoint, to be trained for more epochs."""
    config = checkpoints.describe(target).config
    found = checkpoints.load(target, trust_remote_code=config.encoder.trust_remote_code)
    _set_losses(config, found.model, data.references(config, train_set))
    continued = (*found.description.continued, epochs)
    return replace(found, description=replace(found.description, continued=continued))


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
    own, asked = tokenizer.special_tokens, config.encoder.special_tokens
    if checkpoints.is_checkpoint(Path(config.encoder.name)) and own != asked:
        logger.warning(
            "%s reads special tokens in texts as %r, and the new heads as %r: to put these next to"
            ' its own, set special_tokens = "%s" under [encoder].',
            *(config.encoder.name, own, asked, own),
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
    references = data.references(config, train_set)
    begun = _decoders(config, encoder, tokenizer, references)
    specs |= {n: replace(specs[n], generation=each.generation) for n, each in begun.items()}
    shapes = {name: each.shape for name, each in begun.items()}
    model = checkpoints.assemble(encoder, specs, config.heads, shapes)
    _start_decoders(model, begun)
    _set_losses(config, model, references)
    return Checkpoint(
        model=model,
        tokenizer=tokenizer.reading(config.encoder.special_tokens),
        description=Description(
            encoder=encoders.settings(encoder),
            heads=specs,
            config=config,
            data=identity["data"],
            provenance=checkpoints.versions(),
            decoders=shapes,
        ),
    )


def _decoders(
    config: Config,
    encoder: PreTrainedModel,
    tokenizer: Tokenizer,
    references: Mapping[str, Sequence[Any]],
) -> dict[str, Beginning]:
    """What the decoders of heads that write begin with.

    Raises:
        ConfigError: when one cannot be had; names the head.
    """
    found, name = {}, config.encoder.name
    for title, head in config.heads.items():
        try:
            if head.decoder == "own":
                taken = checkpoints.decoder(name) if checkpoints.is_checkpoint(Path(name)) else None
                taken = taken or starting.own(name, tokenizer)
                found[title] = starting.limited(taken, head)
            elif head.decoder is not None:
                targets = [texts[0] for texts in references.get(title, ())]
                found[title] = starting.new(encoder, tokenizer, head, targets)
        except ConfigError as problem:
            raise ConfigError(f"heads.{title}: {problem}") from problem
    return found


def _start_decoders(model: MultiHeadModel, begun: Mapping[str, Beginning]) -> None:
    """Give decoders the weights that they begin with."""
    embedding = model.encoder.get_input_embeddings().weight.detach()  # type: ignore[operator]
    for name, beginning in begun.items():
        network = model.networks[name]
        assert isinstance(network, GenerationNetwork)
        if beginning.shortlist is not None:
            network.decoder.generate_only(beginning.shortlist)
        if beginning.weights is not None:
            network.decoder.load_state_dict(beginning.weights)
        elif embedding.shape[1] == beginning.shape.width:
            network.start_from(embedding)
        else:
            logger.warning(
                "%s: its decoder begins without the encoder's embeddings, whose vectors have %d"
                " numbers where the decoder's have %d",
                *(name, embedding.shape[1], beginning.shape.width),
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
            longest=None if head.decoder else head.longest,
            sentences=head.sentences,
            words=head.words,
            price=head.price,
        )
        try:
            specs[name] = network.fitted(spec, references[name])
        except ValueError as problem:
            raise DataError(f"head {name!r}: {str(problem).rstrip('.')}.") from problem
    return specs


def _set_losses(
    config: Config, model: MultiHeadModel, references: Mapping[str, Sequence[Any]]
) -> None:
    """Class weights and label smoothing, which only training knows."""
    for name, network in model.networks.items():
        head, labels = config.heads[name], network.spec.labels
        network.label_smoothing = head.label_smoothing
        if isinstance(network, GenerationNetwork):
            network.pretrained = head.decoder == "own"
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


def _scheduled(
    checkpoint: Checkpoint, rows: Sequence[TrainingRow], more_epochs: int | None
) -> Checkpoint:
    """The checkpoint as this run trains it, with what the data chooses; says how long it will be.

    Epochs that are added are configured as a run of their own, whose batches are others.
    """
    description = checkpoint.description
    if more_epochs is not None:
        seed = description.config.training.seed + len(description.continued)
        description = description.trained_with(epochs=more_epochs, seed=seed)
    lengths = [row.tokens for row in rows]
    planned = schedule(description.config.training, lengths, processes=processes.count())
    logger.info("training: %s", planned)
    if planned.warning and more_epochs is None:
        logger.warning("training: %s", planned.warning)
    description = description.trained_with(**{k: getattr(planned, k) for k in planned.chosen})
    return replace(checkpoint, description=replace(description, chosen=planned.chosen))


def start_at_priors(model: MultiHeadModel, rows: Sequence[TrainingRow]) -> None:
    """Set the last biases of fresh heads so that they begin with the frequencies of their labels.

    Lin et al. 2017, section 4.1: the first hundreds of steps are not spent on what counting tells.
    """
    for name, network in model.networks.items():
        targets = [row.targets[name] for row in rows if name in row.targets]
        prior = network.prior(targets) if targets else None
        if prior is not None:
            last = network.projection[-1]
            assert isinstance(last, nn.Linear)
            with torch.no_grad():
                last.bias.copy_(prior)


def _finish(
    trainer: MultiHeadTrainer,
    checkpoint: Checkpoint,
    target: Path,
    train_set: Sequence[Example],
    validation_set: Sequence[Example],
) -> Trained:
    """Write the checkpoint, unless it continues a better one; name the heads that are weak."""
    checkpoint = tuned(checkpoint, validation_set)
    metrics = {"examples": len(train_set), **trainer.summary()}
    if checkpoint.description.continued:
        before = checkpoints.metrics(target)
        watched = metrics["validation"] and before["validation"]
        if watched and _rank(metrics) <= _rank(before):
            logger.warning("%s: no epoch was better than before; it stays as it was", target)
            return Trained(target, before)
        metrics = _joined(before, metrics)
    least = floors(checkpoint.model.specs, list(metrics["validation"]), train_set, validation_set)
    warn(metrics["validation"], least)
    metrics["floors"] = plain(least)
    curves = learning_curves(metrics["history"], best_epoch=metrics["best_epoch"])
    with atomic.folder(target) as folder:
        checkpoints.save(folder, checkpoint, metrics)
        (folder / _CURVES).write_bytes(curves)
    return Trained(target, metrics)


def _rank(metrics: Mapping[str, Any]) -> float:
    """That of the kept epoch, by the figures after it."""
    kept = (e for e in metrics["history"] if e["epoch"] == metrics["best_epoch"])
    mean = float(np.mean([head["value"] for head in metrics["validation"].values()]))
    return rank({**next(kept, {}), "mean": mean})


def _joined(before: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a continued run, with the epochs, steps and seconds before it."""
    first = before["history"][-1]["epoch"] if before["history"] else 0
    later = [{**entry, "epoch": entry["epoch"] + first} for entry in metrics["history"]]
    seen = [part for part in (before.get("seen"), metrics["seen"]) if part is not None]
    return {
        **metrics,
        "seen": {
            head: {key: sum(part[head][key] for part in seen) for key in found}
            for head, found in metrics["seen"].items()
        },
        "history": [*before["history"], *later],
        "best_epoch": metrics["best_epoch"] + first,
        "steps": metrics["steps"] + before["steps"],
        "seconds": round((metrics["seconds"] or 0) + (before["seconds"] or 0), 1),
    }


def tuned(checkpoint: Checkpoint, validation: Sequence[Example]) -> Checkpoint:
    """The checkpoint with the specs of its tunable heads tuned, in model and description alike.

    Args:
        checkpoint: trained; the specs of its model are replaced in place.
        validation: texts with references. A head that has none of them stays as it is.
    """
    engine = checkpoint.engine()
    for name, network in checkpoint.model.networks.items():
        known = [example for example in validation if name in example.references]
        if network.tunable and known:
            found = engine.predict([example.text for example in known], heads=[name])
            references = [example.references[name] for example in known]
            network.spec = network.tuned(network.spec, [f[name] for f in found], references)
    description = replace(checkpoint.description, heads=checkpoint.model.specs)
    return replace(checkpoint, description=description)
