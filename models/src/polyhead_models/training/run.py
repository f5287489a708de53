"""From a configuration to a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from polyhead.system import atomic
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.plots import learning_curves
from polyhead_models.training import processes, state
from polyhead_models.training.preparation import prepare
from polyhead_models.training.rows import encoded, training_rows
from polyhead_models.training.trainer import MultiHeadTrainer
from polyhead_models.training.tuning import tuned

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
    if processes.first(lambda: state.keeps(identity, target, resume=resume, overwrite=overwrite)):
        return Trained(target, checkpoints.metrics(target), reused=True)
    with processes.together():
        train_set = data.load(config, "train")
        validation_set = data.load(config, "validation")
        transformers.set_seed(config.training.seed)
        checkpoint = prepare(config, identity, train_set)
        data.check(config, validation_set, {n: s.labels for n, s in checkpoint.model.specs.items()})
        rows = training_rows(checkpoint, train_set)
        # What cannot be read is an error now, not after the first epoch.
        encoded(checkpoint.engine(), validation_set, [example.text for example in validation_set])
    partial = state.partial_folder(target)
    processes.first(lambda: state.claim(partial, identity, resume=resume, overwrite=overwrite))
    with processes.together():
        trainer = MultiHeadTrainer(checkpoint, rows, validation_set, partial)
    last = processes.first(lambda: state.last_complete(partial))
    with processes.ending():
        trainer.train(resume_from_checkpoint=last)
    return processes.first(
        lambda: _finish(trainer, tuned(checkpoint, validation_set), target, len(train_set))
    )


def _finish(
    trainer: MultiHeadTrainer, checkpoint: Checkpoint, target: Path, examples: int
) -> Trained:
    """Write the checkpoint, and remove the run's state."""
    metrics = {"examples": examples, **trainer.summary()}
    curves = learning_curves(metrics["history"], best_epoch=metrics["best_epoch"])
    with atomic.folder(target) as folder:
        checkpoints.save(folder, checkpoint, metrics)
        (folder / _CURVES).write_bytes(curves)
    shutil.rmtree(state.partial_folder(target), ignore_errors=True)
    return Trained(target, metrics)
