"""Joint training against each head trained alone with the same recipe, as a report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyhead.cli import output
from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data.bad_rows import MOST
from polyhead_models.data.examples import Example
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.evaluation import Answered, Estimate, ask, paired
from polyhead_models.metrics import METRICS
from polyhead_models.training import Trained, train

logger = logging.getLogger(__name__)

HEADER = (
    *("head", "metric", "split", "texts", "windowed", "joint", "single", "difference"),
    *("rows seen", "in steps"),
)
_PAGE = """\
# Joint training against single heads

Encoder `{encoder}`. Single: the same encoder, `[training]` table and seed, one head at a time. The
difference is joint minus single on the same texts; intervals are 95%, percentile bootstrap over
texts. Validation metrics also chose the epoch. Rows seen are the head's own up to that epoch, joint
/ single, each as often as it came; the steps are those that had one. Seconds are of this machine,
validation included.

{metrics}

{runs}
"""


@dataclass(frozen=True, kw_only=True)
class HeadComparison:
    """A head's primary metric: trained jointly, alone, and joint minus single, on the same texts.

    They are the `texts` of the split that have a reference; `windowed` were read in windows.
    `seen` has, by ``"joint"`` and ``"single"``, the `rows` of the head that the kept epoch had seen
    and the `steps` with one.
    """

    metric: str
    split: str
    texts: int
    windowed: int
    joint: Estimate
    single: Estimate
    difference: Estimate
    seen: Mapping[str, Mapping[str, int]]


def report_folder(target: Path) -> Path:
    """Where the report of a checkpoint goes: ``NAME-report`` next to it."""
    return target.with_name(f"{target.name}-report")


def compare(
    config: Config,
    target: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    max_errors: int = MOST,
) -> dict[str, HeadComparison]:
    """Train all heads together, then each alone, and write ``report.md`` and ``report.json``.

    They are in `report_folder`, with the checkpoint of each head that was trained alone in
    ``single/HEAD``. Arguments and errors are those of `polyhead_models.training.train`; single
    runs that are there are always resumed.

    Raises:
        ConfigError: when there are not two heads to compare, or no texts for one.
        DataError: as `train`; or when training has none of the labels of a head's texts.
        CheckpointError: as `train`; or when a checkpoint that is resumed has not counted its rows.
    """
    examples, splits = _held_out(config)
    folder = report_folder(target)
    run = train(config, target, resume=resume, overwrite=overwrite, max_errors=max_errors)
    joint = _measured(run, config, examples)
    # Alone with the settings that the joint data chose: the same recipe.
    same = replace(config, training=checkpoints.describe(run.path).config.training)
    heads: dict[str, HeadComparison] = {}
    runs = {"joint": joint.costs}
    for head, split in splits.items():
        if not joint.answers[head]:
            raise DataError(
                f"head {head!r}: no {split} row is left to compare by: training has none of their"
                " labels. Correct them, or train without --compare-single."
            )
        logger.info("%s alone:", head)
        own, path = single(same, head), folder / "single" / head
        run = train(own, path, resume=True, overwrite=overwrite)
        alone = _measured(run, own, examples)
        runs[f"{head} alone"] = alone.costs
        heads[head] = _compared(head, own.heads[head].versioned_kind, split, joint, alone)
    report = {"encoder": config.encoder.name, "heads": plain(heads), "runs": runs}
    atomic.write(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
    page = _PAGE.format(
        encoder=config.encoder.name,
        metrics=output.markdown_table(HEADER, rows(heads)),
        runs=output.markdown_table(
            ["run", *joint.costs], [[n, *r.values()] for n, r in runs.items()]
        ),
    )
    atomic.write(folder / "report.md", page)
    return heads


def rows(heads: Mapping[str, HeadComparison]) -> list[list[object]]:
    """A row a head, in the order of `HEADER`; intervals in brackets."""
    found: list[list[object]] = []
    for name, head in heads.items():
        estimates = (head.joint, head.single, head.difference)
        shown = [f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})" for e in estimates]
        seen = [" / ".join(f"{s[key]:,}" for s in head.seen.values()) for key in ("rows", "steps")]
        found.append([name, head.metric, head.split, head.texts, head.windowed, *shown, *seen])
    return found


def single(config: Config, head: str) -> Config:
    """The same configuration with one trained head and its source only."""
    own = config.heads[head]
    return replace(config, heads={head: own}, data={str(own.data): config.data[str(own.data)]})


def _held_out(config: Config) -> tuple[list[Example], dict[str, str]]:
    """Texts with references, and the split of each trained head: test, or else validation."""
    examples: list[Example] = []
    splits: dict[str, str] = {}
    for split in ("test", "validation"):
        for e in data.load(config, split):
            own = {n: r for n, r in e.references.items() if splits.setdefault(n, split) == split}
            examples += [replace(e, references=own)] if own else []
    trained = [name for name, head in config.heads.items() if head.data is not None]
    if len(trained) < 2 or len(splits) < len(trained):
        raise ConfigError(
            f"heads: found {', '.join(trained) or 'none'} with 'data' and 'target', and test or"
            f" validation texts for {', '.join(splits) or 'none'}; joint training is compared with"
            " single heads from two on, each with such texts. Train without --compare-single, or"
            " add a head or a split, such as test_share = 0.1."
        )
    return examples, {name: splits[name] for name in trained}


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What a run took, and by head its answers and what the kept epoch had seen."""

    costs: Mapping[str, Any]
    answers: Mapping[str, Sequence[Answered]]
    seen: Mapping[str, Mapping[str, int]]


def _measured(run: Trained, config: Config, examples: Sequence[Example]) -> _Measured:
    if "seen" not in run.metrics:
        raise CheckpointError(
            f"{run.path}: an older polyhead trained it, and did not count the rows that each head"
            " saw. Start anew with --overwrite."
        )
    checkpoint = checkpoints.load(run.path)
    labels = {name: spec.labels for name, spec in checkpoint.model.specs.items()}
    known = data.seen(config, examples, labels)
    costs = {key: run.metrics[key] for key in ("seconds", "best_epoch", "examples")}
    parameters = sum(weight.numel() for weight in checkpoint.model.parameters())
    return _Measured(
        costs={"parameters": parameters, **costs, "epochs": len(run.metrics["history"])},
        answers=ask(checkpoint.engine(), known, label=run.path.name),
        seen=run.metrics["seen"],
    )


def _compared(
    head: str, kind: str, split: str, joint: _Measured, alone: _Measured
) -> HeadComparison:
    rows = joint.answers[head]
    results = [row.result for row in rows], [row.result for row in alone.answers[head]]
    both, one, difference = paired(kind, *results, [row.reference for row in rows])
    return HeadComparison(
        metric=str(METRICS[kind].primary),
        split=split,
        texts=len(rows),
        windowed=sum(row.windows > 1 for row in rows),
        joint=both,
        single=one,
        difference=difference,
        seen={"joint": joint.seen[head], "single": alone.seen[head]},
    )
