"""Joint training against each head trained alone with the same recipe."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.errors import CheckpointError, ConfigError
from polyhead_models.metrics import METRICS
from polyhead_models.report import page, plots
from polyhead_models.report.answers import Answers, Held, answers, held_out
from polyhead_models.report.bootstrap import SEED, paired
from polyhead_models.report.contents import HeadComparison, Report, Run, Totals
from polyhead_models.report.statistic import Statistic
from polyhead_models.training import Trained, resumable, train

logger = logging.getLogger(__name__)

PAGE = "report.md"
CONTENTS = "report.json"
PICTURE = "report.png"
SINGLE = "single"


@dataclass(frozen=True)
class Compared:
    """Outcome of `compare`.

    Attributes:
        trained: the joint run.
        folder: where the report lies.
        report: what it says.
    """

    trained: Trained
    folder: Path
    report: Report


def report_folder(target: Path) -> Path:
    """Where the report of a checkpoint goes: ``NAME-report`` beside it."""
    return target.with_name(f"{target.name}-report")


def single(config: Config, head: str) -> Config:
    """The same configuration with one trained head and its source only."""
    own = config.heads[head]
    source = str(own.data)
    return replace(config, heads={head: own}, data={source: config.data[source]})


def compare(
    config: Config,
    target: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    note: Callable[[str], None] = logger.info,
) -> Compared:
    """Train all heads together, then each alone, and write a report.

    ``NAME-report`` beside `target` holds ``report.md``, ``report.json``, ``report.png``, and the
    checkpoint of each head that was trained alone in ``single/HEAD``. Whatever stops the run,
    `resume` goes on: finished runs are kept, the others take up their last finished epoch.

    Args:
        config: what to train: at least two trained heads, each with a test or validation split.
        target: folder of the joint checkpoint.
        resume: go on; what is finished is kept.
        overwrite: start anew, all runs.
        note: called with short remarks for whoever watches.

    Raises:
        ConfigError: when there is nothing to compare; nothing was trained then.
        DataError: when the data cannot be used.
        EncoderError: when the encoder cannot be loaded.
        CheckpointError: when something is in the way; see `polyhead_models.training.train`.
    """
    heads = _trained_heads(config)
    held = held_out(config)
    folder = report_folder(target)
    runs = {head: folder / SINGLE / head for head in heads}
    _claim(config, folder, runs, resume=resume, overwrite=overwrite)
    flags = {"resume": resume, "overwrite": overwrite}
    trained = train(config, target, note=note, **flags)
    joint = checkpoints.load(target)
    for head in heads:
        data.check(config, held[head].examples, {head: joint.model.specs[head].labels})
    singles = {}
    for head, path in runs.items():
        note(f"{head} alone:")
        singles[head] = train(single(config, head), path, note=note, **flags)
    report = _report(config, trained, joint, singles, held)
    _write(folder, report)
    return Compared(trained, folder, report)


def _trained_heads(config: Config) -> list[str]:
    heads = [name for name, head in config.heads.items() if head.data is not None]
    if len(heads) < 2:
        raise ConfigError(
            f"heads: found {len(heads)} with 'data' and 'target' ({', '.join(heads) or 'none'});"
            " joint training is compared with single heads from two on. Train without"
            " --compare-single, or add a head."
        )
    return heads


def _claim(
    config: Config, folder: Path, runs: Mapping[str, Path], *, resume: bool, overwrite: bool
) -> None:
    """Clear the single runs, or check before any training that they can be gone on with."""
    if overwrite:
        _clear(folder / SINGLE)
    elif folder.exists() and not resume:
        raise CheckpointError(
            f"{folder}: exists. Go on with --resume, start anew with --overwrite, or name another"
            " checkpoint."
        )
    for head, path in runs.items():
        if not resumable(single(config, head), path):
            raise CheckpointError(
                f"{path}: was trained with other settings or data, or is no checkpoint. Name"
                " another checkpoint, or start anew with --overwrite."
            )


def _clear(folder: Path) -> None:
    """Remove single runs, and nothing else: a folder with anything else in it is left whole."""
    runs = list(folder.iterdir()) if folder.is_dir() else []
    for path in runs:
        interrupted = path.name.startswith(".") and path.name.endswith(".partial")
        if not interrupted and not checkpoints.is_checkpoint(path):
            raise CheckpointError(f"{path}: is no checkpoint; it is left as it is. Move it away.")
    for path in runs:
        shutil.rmtree(path)


def _report(
    config: Config,
    trained: Trained,
    joint: Checkpoint,
    singles: Mapping[str, Trained],
    held: Mapping[str, Held],
) -> Report:
    together = answers(joint, held, label="joint")
    compared, runs = {}, {}
    for head, run in singles.items():
        alone = checkpoints.load(run.path)
        own = answers(alone, held, label=f"{head} alone")[head]
        kind = joint.model.specs[head].kind
        compared[head] = _head(kind, held[head].split, together[head], own)
        runs[head] = _run([head], alone, run.metrics)
    seconds = [run.seconds for run in runs.values()]
    return Report(
        encoder=config.encoder.name,
        heads=compared,
        joint=_run(singles, joint, trained.metrics),
        singles=runs,
        singles_together=Totals(
            parameters=sum(run.parameters for run in runs.values()),
            seconds=None if None in seconds else round(sum(s for s in seconds if s), 1),
        ),
        seed=SEED,
    )


def _head(kind: str, split: str, joint: Answers, alone: Answers) -> HeadComparison:
    found = paired(
        Statistic(kind, joint.results, joint.references),
        Statistic(kind, alone.results, alone.references),
    )
    return HeadComparison(
        metric=str(METRICS[kind].primary),
        split=split,
        texts=len(joint.results),
        windowed=joint.windowed,
        joint=found.first,
        single=found.second,
        difference=found.difference,
        samples=found.samples,
    )


def _run(heads: Iterable[str], checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> Run:
    return Run(
        heads=list(heads),
        parameters=sum(weight.numel() for weight in checkpoint.model.parameters()),
        seconds=metrics["seconds"],
        epochs=len(metrics["history"]),
        best_epoch=metrics["best_epoch"],
        examples=metrics["examples"],
        history=metrics["history"],
    )


def _write(folder: Path, report: Report) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICTURE).write_bytes(plots.comparison(report))
    atomic.write_text(folder / PAGE, page.markdown(report, picture=PICTURE))
    text = json.dumps(plain(report), indent=1, ensure_ascii=False, allow_nan=False)
    atomic.write_text(folder / CONTENTS, text + "\n")
