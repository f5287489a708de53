"""Checkpoints into a report: each answers the test split that its configuration names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyhead import cpu
from polyhead_models import checkpoint as checkpoints
from polyhead_models.baseline import baseline
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.data import examples as data
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.evaluation import evaluate
from polyhead_models.results.contents import HeadResult, RecipeResult, Report
from polyhead_models.training import LIBRARIES

logger = logging.getLogger(__name__)

_LIBRARIES = (*LIBRARIES, "scikit-learn", "seqeval", "rouge-score")  # the last make figures
_KEYS = ("validation", "history", "seconds", "best_epoch", "precision")  # of metrics.json


def collect(
    paths: Sequence[Path],
    *,
    known: Report | None = None,
    baselines: bool = True,
    note: Callable[[str], None] = logger.info,
) -> Report:
    """Evaluate checkpoints and their baselines.

    Args:
        paths: folders of checkpoints; each is called by its folder's name.
        known: an earlier report, whose other recipes are kept.
        baselines: whether to train and measure the baselines, too.
        note: called with short remarks for whoever watches.

    Raises:
        ConfigError: when two folders have the same name, or `known` was made elsewhere.
        CheckpointError: when a checkpoint cannot be read.
        DataError: when a trained head has no test split, or the data is not what it was trained on.
    """
    names = [path.resolve().name for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"two checkpoints are called {twice[0]!r}, so that a table could not tell them apart."
            " Rename a folder."
        )
    for path in paths:  # what is missing is told before the first hour is spent
        checkpoints.describe(path)
    here, libraries = cpu.describe(), {name: version(name) for name in _LIBRARIES}
    if known is not None and (known.cpu, dict(known.evaluated_with)) != (here, libraries):
        raise ConfigError(
            "the report was made on another CPU or with other versions of libraries, so that its"
            " figures and new ones do not belong on one page. Make the whole page again."
        )
    found = {recipe.recipe: recipe for recipe in (known.recipes if known else ())}
    for name, path in zip(names, paths, strict=True):
        found[name] = _recipe(name, path, baselines, note)
    return Report(
        recipes=tuple(found[name] for name in sorted(found)), cpu=here, evaluated_with=libraries
    )


def _recipe(name: str, path: Path, baselines: bool, note: Callable[[str], None]) -> RecipeResult:
    checkpoint = checkpoints.load(path)
    metrics = checkpoints.metrics(path)
    run = _run(name, path, checkpoint.description, metrics)
    return replace(
        run, heads=_heads(name, path, checkpoint, metrics["validation"], baselines, note)
    )


def _run(
    name: str, path: Path, description: Description, metrics: Mapping[str, Any]
) -> RecipeResult:
    """What training told; no heads yet."""
    if missing := [key for key in _KEYS if key not in metrics]:
        raise CheckpointError(
            f"{path / checkpoints.METRICS}: the key {missing[0]!r} is missing. Copy the checkpoint"
            " again."
        )
    training = description.config.training
    return RecipeResult(
        recipe=name,
        encoder=description.config.encoder.name,
        heads={},
        seconds=metrics["seconds"],
        epochs=max((entry["epoch"] for entry in metrics["history"]), default=training.epochs),
        best_epoch=metrics["best_epoch"],
        precision=metrics["precision"],
        seed=training.seed,
        trained_with=description.provenance,
    )


def _heads(
    name: str,
    path: Path,
    checkpoint: Checkpoint,
    validation: Any,
    baselines: bool,
    note: Callable[[str], None],
) -> dict[str, HeadResult]:
    config, engine = checkpoint.description.config, checkpoint.engine()
    test = data.load(config, "test")
    _require_test(path, checkpoint, {head for example in test for head in example.references})
    if checkpoints.digests(config) != checkpoint.description.texts:
        raise DataError(
            f"{path}: its training or validation files are no longer what it was trained on, so a"
            " baseline of them would be of other data. Train again."
        )
    data.check(config, test, {head: spec.labels for head, spec in engine.heads.items()})
    train = data.load(config, "train")
    found = {}
    for head, figures in evaluate(engine, test, label=name).items():
        note(f"{name}: {head}: {figures.metric} {figures.value:.4f}")
        found[head] = HeadResult(
            kind=engine.heads[head].kind,
            metric=figures.metric,
            test=figures.figures,
            validation=validation[head]["figures"] if head in validation else None,
            baseline=baseline(engine.heads[head].kind, head, train, test) if baselines else None,
            test_texts=figures.texts,
            windowed=figures.windowed,
            training_texts=sum(head in example.references for example in train),
        )
    return found


def _require_test(path: Path, checkpoint: Checkpoint, tested: set[str]) -> None:
    for head, settings in checkpoint.description.config.heads.items():
        if settings.data is not None and head not in tested:
            raise DataError(
                f"{path}: its head {head!r} has no test split: the source {settings.data!r} names"
                " none. Set test or test_share in the configuration, and train again."
            )
