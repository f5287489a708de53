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

import torch
import transformers

from polyhead import Engine, InputError, atomic
from polyhead.errors import nearest
from polyhead.heads import DECODERS, HeadSpec
from polyhead.tokenizing import Encoding, Input
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models import processes
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data.examples import Example
from polyhead_models.distillation import lessons
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.dense import last_width
from polyhead_models.metrics import METRICS
from polyhead_models.model import MultiHeadModel
from polyhead_models.report.plots import learning_curves
from polyhead_models.trainer import MultiHeadTrainer, TrainingRow, last_complete
from polyhead_models.tuning import tuned

logger = logging.getLogger(__name__)

LIBRARIES = ("polyhead", "torch", "transformers", "tokenizers", "accelerate")
_STATE = "run.json"
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
    note: Callable[[str], None] = logger.info,
) -> Trained:
    """Train all heads together and write a checkpoint, with its learning curves as a picture.

    The run keeps its state in ``.NAME.partial`` beside the target; the target itself appears whole,
    at the end. Whatever stops the run, `resume` goes on after the last finished epoch.

    Started by `torchrun`, several processes call this and train one model; only the first writes
    and calls `note`. An error in one is an error in all.

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
        PeerError: when another process of the run raises one of these.
    """
    processes.join()
    note = note if processes.index() == 0 else _silent
    with processes.together():
        identity = _identity(config)
    processes.same(identity, what="settings or data")
    if kept := processes.first(lambda: _kept(identity, target, resume, overwrite)):
        return kept
    with processes.together():
        train_set = data.load(config, "train")
        validation_set = data.load(config, "validation")
        transformers.set_seed(config.training.seed)
        checkpoint = _prepare(config, identity, train_set)
        data.check(config, validation_set, {n: s.labels for n, s in checkpoint.model.specs.items()})
        rows = _rows(checkpoint, train_set, note)
        # What cannot be read is told now, not after the first epoch.
        _encoded(checkpoint.engine(), validation_set, [example.text for example in validation_set])
    partial = _partial(target)
    processes.first(lambda: _claim(partial, identity, resume=resume, overwrite=overwrite))
    with processes.together():
        trainer = MultiHeadTrainer(checkpoint, rows, validation_set, partial, note)
    trainer.train(resume_from_checkpoint=processes.first(lambda: last_complete(partial)))

    def finish() -> Trained:
        made = tuned(checkpoint, validation_set)
        metrics = {"examples": len(train_set), **trainer.summary()}
        curves = learning_curves(metrics["history"], best_epoch=metrics["best_epoch"])
        with atomic.folder(target) as folder:
            checkpoints.save(folder, made, metrics)
            (folder / _CURVES).write_bytes(curves)
        shutil.rmtree(partial, ignore_errors=True)
        return Trained(target, metrics)

    return processes.first(finish)


def resumable(config: Config, target: Path) -> bool:
    """Whether ``train(…, resume=True)`` would go on, or keep what is there.

    False when `target`, or an interrupted run beside it, was made with other settings or data.
    """
    file = _partial(target) / _STATE
    try:
        if target.exists():
            return _made_from(target) == _identity(config)
        return not file.is_file() or json.loads(file.read_text()) == _run(_identity(config))
    except (CheckpointError, ValueError):
        return False


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _identity(config: Config) -> dict[str, Any]:
    """What a run is made from: equal identities give equal checkpoints."""
    return {
        "config": config.fingerprint,
        "data": {**checkpoints.digests(config), **checkpoints.teachers(config)},
    }


def _run(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What an interrupted run can only go on with; more processes would make other batches."""
    return {**identity, "processes": processes.count()}


def _silent(text: str) -> None:
    """What processes other than the first say."""


def _made_from(target: Path) -> dict[str, Any]:
    description = checkpoints.describe(target)
    return {"config": description.config.fingerprint, "data": dict(description.data)}


def _kept(
    identity: Mapping[str, Any], target: Path, resume: bool, overwrite: bool
) -> Trained | None:
    """The finished checkpoint at `target`; None when there is none or it is to be replaced."""
    if overwrite:
        _refuse_foreign(target)
        return None
    if not target.exists():
        return None
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
        _check_same_run(partial, json.loads(file.read_text(encoding="utf-8")), _run(identity))
        return
    atomic.write_text(file, json.dumps(_run(identity)))


def _check_same_run(partial: Path, found: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    if {**found, "processes": run["processes"]} != run:
        raise CheckpointError(
            f"{partial}: the interrupted run had other settings or data. Start anew with"
            " --overwrite."
        )
    if found != run:
        raise CheckpointError(
            f"{partial}: the interrupted run had {found.get('processes')} processes, this one has"
            f" {run['processes']}. Start as many as it had, or anew with --overwrite."
        )


def _prepare(
    config: Config, identity: Mapping[str, Any], train_set: Sequence[Example]
) -> Checkpoint:
    encoder, tokenizer = checkpoints.encoder(config.encoder.name)
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


def _rows(
    checkpoint: Checkpoint, train_set: Sequence[Example], note: Callable[[str], None]
) -> list[TrainingRow]:
    """Token ids and targets of every training example.

    What is longer than the encoder reads is a row for each window that a head learns from. Heads
    that answer per text learn from the first.
    """
    networks = checkpoint.model.networks
    engine = checkpoint.engine()
    encodings = _encoded(engine, train_set, [example.text for example in train_set])
    twins = _encoded(engine, train_set, [example.twin or "" for example in train_set])
    heads = checkpoint.description.config.heads
    taught = lessons(heads, checkpoint.model.specs, train_set, encodings, note)
    rows, long = [], 0
    for example, encoding, twin, lesson in zip(train_set, encodings, twins, taught, strict=True):
        windows = encoding.split()
        long += len(windows) > 1
        found = {n: networks[n].targets(r, encoding) for n, r in example.references.items()}
        for i, window in enumerate(windows):
            targets = {name: t for name, made in found.items() if (t := made[i]) is not None}
            second = None
            if example.twin is not None:
                second = TrainingRow(twin.split()[0].ids, targets)
            logits = {name: made[i] for name, made in lesson.items() if i < len(made)}
            if targets or i == 0:
                rows.append(
                    TrainingRow(window.ids, targets, example.source, window.types, logits, second)
                )
    if long:
        limit = checkpoint.description.config.encoder.max_tokens
        note(
            f"{long:,} of {len(train_set):,} training texts are longer than max_tokens = {limit}:"
            " heads that answer per token learn from all windows, the others from the first"
        )
    return rows


def _encoded(
    engine: Engine, examples: Sequence[Example], inputs: Sequence[Input]
) -> list[Encoding]:
    try:
        return engine.encode(inputs)
    except InputError as problem:
        where = examples[problem.index].where if problem.index is not None else "training"
        raise DataError(f"{where}: {problem}") from problem
