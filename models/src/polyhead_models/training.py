"""From a configuration to a checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import transformers

from polyhead import atomic
from polyhead.heads import HeadSpec
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data.examples import Example
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.heads import NETWORKS
from polyhead_models.trainer import MultiHeadTrainer, TrainingRow, last_complete
from polyhead_models.tuning import tuned

logger = logging.getLogger(__name__)

LIBRARIES = ("polyhead", "torch", "transformers", "tokenizers", "accelerate")
_STATE = "run.json"


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
    note: Callable[[str], None] = logger.info,
) -> Trained:
    """Train all heads together and write a checkpoint.

    The run keeps its state in ``.NAME.partial`` beside the target; the target itself appears whole,
    at the end. Whatever stops the run, `resume` goes on after the last finished epoch.

    Args:
        config: what to train.
        target: folder of the checkpoint.
        resume: go on with an interrupted run; a finished one is left as it is.
        overwrite: start anew, whatever is there.
        note: called with short remarks for whoever watches.

    Raises:
        DataError: when the data cannot be used.
        EncoderError: when the encoder cannot be loaded.
        CheckpointError: when something is at `target` and neither flag was given, or when a run
            of other settings or data would be resumed.
    """
    identity = _identity(config)
    partial = _partial(target)
    if overwrite:
        _refuse_foreign(target)
    elif target.exists():
        return _finished(identity, target, resume)
    train_set = data.load(config, "train")
    validation_set = data.load(config, "validation")
    transformers.set_seed(config.training.seed)
    checkpoint = _prepare(config, identity, train_set)
    data.check(config, validation_set, {n: s.labels for n, s in checkpoint.model.specs.items()})
    rows = _rows(checkpoint, train_set, note)
    _claim(partial, identity, resume=resume, overwrite=overwrite)
    trainer = MultiHeadTrainer(checkpoint, rows, validation_set, partial, note)
    trainer.train(resume_from_checkpoint=last_complete(partial))
    checkpoint = tuned(checkpoint, validation_set)
    metrics = trainer.summary()
    with atomic.folder(target) as folder:
        checkpoints.save(folder, checkpoint, metrics)
    shutil.rmtree(partial, ignore_errors=True)
    return Trained(target, metrics)


def resumable(config: Config, target: Path) -> bool:
    """Whether ``train(…, resume=True)`` would go on, or keep what is there.

    False when `target`, or an interrupted run beside it, was made with other settings or data.
    """
    file = _partial(target) / _STATE
    try:
        if target.exists():
            return _made_from(target) == _identity(config)
        return not file.is_file() or json.loads(file.read_text()) == _identity(config)
    except (CheckpointError, ValueError):
        return False


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _identity(config: Config) -> dict[str, Any]:
    """What a run is made from: equal identities give equal checkpoints."""
    return {"config": config.fingerprint, "data": checkpoints.digests(config)}


def _made_from(target: Path) -> dict[str, Any]:
    description = checkpoints.describe(target)
    return {"config": description.config.fingerprint, "data": dict(description.data)}


def _finished(identity: Mapping[str, Any], target: Path, resume: bool) -> Trained:
    if not resume:
        raise CheckpointError(
            f"{target}: exists. Name another folder, start anew with --overwrite, or pass --resume"
            " to keep it when it is up to date."
        )
    if _made_from(target) != identity:
        raise CheckpointError(
            f"{target}: was trained with other settings or data. Train into another folder, or"
            " start anew with --overwrite."
        )
    return Trained(target, checkpoints.metrics(target), reused=True)


def _refuse_foreign(target: Path) -> None:
    """`overwrite` replaces checkpoints only, never a folder of something else."""
    if target.exists() and not checkpoints.is_checkpoint(target):
        raise CheckpointError(f"{target}: exists and is no checkpoint; it is left as it is.")


def _claim(partial: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the folder of the run's state, or check that it belongs to the same run."""
    if overwrite:
        shutil.rmtree(partial, ignore_errors=True)
    file = partial / _STATE
    if file.is_file():
        if not resume:
            raise CheckpointError(
                f"{partial}: an interrupted run is here. Go on with --resume, or start anew with"
                " --overwrite."
            )
        if json.loads(file.read_text(encoding="utf-8")) != identity:
            raise CheckpointError(
                f"{partial}: the interrupted run had other settings or data. Start anew with"
                " --overwrite."
            )
        return
    atomic.write_text(file, json.dumps(identity))


def _prepare(
    config: Config, identity: Mapping[str, Any], train_set: Sequence[Example]
) -> Checkpoint:
    encoder, tokenizer = encoders.load(config.encoder.name)
    capacity = encoders.capacity(encoder)
    if capacity is not None and config.encoder.max_tokens > capacity:
        raise ConfigError(
            f"encoder: max_tokens: found {config.encoder.max_tokens}; {config.encoder.name} reads"
            f" at most {capacity}."
        )
    specs = _specs(config, train_set)
    return Checkpoint(
        model=checkpoints.assemble(encoder, specs, config.heads),
        tokenizer=tokenizer,
        description=Description(
            encoder=_plain_config(encoder.config),
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
        spec = HeadSpec(
            kind=head.versioned_kind,
            output=f"logits/{name}",
            activation=network.activation,
            layers=head.layers,
            pooling=head.pooling or network.default_pooling,
            max_tokens=config.encoder.max_tokens,
        )
        try:
            specs[name] = network.fitted(spec, references[name])
        except ValueError as problem:
            raise DataError(f"head {name!r}: {problem}.") from problem
    return specs


def _plain_config(config: transformers.PretrainedConfig) -> dict[str, Any]:
    """All that builds the encoder again, without where it lay on this machine."""
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    settings.pop("_name_or_path", None)
    return settings


def _rows(
    checkpoint: Checkpoint, train_set: Sequence[Example], note: Callable[[str], None]
) -> list[TrainingRow]:
    """Token ids and targets of every training example; what is too long is cut, and said so."""
    networks = checkpoint.model.networks
    limit = checkpoint.description.config.encoder.max_tokens
    rows = []
    encodings = checkpoint.tokenizer.encode([example.text for example in train_set])
    for example, whole in zip(train_set, encodings, strict=True):
        encoding = whole.cut(limit)
        targets = {
            name: networks[name].target(reference, encoding)
            for name, reference in example.references.items()
        }
        rows.append(TrainingRow(encoding.ids, targets, example.source, encoding.truncated))
    if cut := sum(row.truncated for row in rows):
        note(
            f"{cut:,} of {len(rows):,} training texts are longer than max_tokens = {limit}:"
            " their ends are left out"
        )
    return rows
