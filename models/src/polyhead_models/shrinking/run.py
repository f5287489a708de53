"""From a checkpoint to a smaller one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data import examples as data
from polyhead_models.data.examples import Example
from polyhead_models.errors import CheckpointError, DataError, ShrinkError
from polyhead_models.evaluation import evaluate
from polyhead_models.heads.embedding import EmbeddingNetwork
from polyhead_models.shrinking import mixing, reports, stages, texts
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.cost import LayerCosts
from polyhead_models.shrinking.gate import judge
from polyhead_models.shrinking.plan import Candidate
from polyhead_models.shrinking.settings import ShrinkSettings
from polyhead_models.shrinking.stages import ShrinkRun
from polyhead_models.shrinking.students import restricted
from polyhead_models.training import state
from polyhead_models.training.rows import TrainingRow, training_rows
from polyhead_models.training.run import tuned

logger = logging.getLogger(__name__)

_HELD_OUT = 1000  # unlabelled texts that nothing learns from
_MIXED = 40_000


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """Outcome of `shrink`.

    Attributes:
        path: the student's checkpoint.
        report: what shrink.json holds.
        reused: True when the student was there already.
    """

    path: Path
    report: Mapping[str, Any]
    reused: bool = False


def shrink(
    source: Path,
    target: Path,
    settings: ShrinkSettings,
    *,
    heads: Sequence[str] | None = None,
    save_general: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Shrunk:
    """Make a smaller checkpoint that does what the one at `source` does, which is never touched.

    The run keeps its state in ``.NAME.partial`` next to the target; the target itself appears
    whole, at the end, with ``shrink.md``, ``shrink.json`` and ``shrink.png``. Whatever stops the
    run, `resume` goes on at its last state.

    Args:
        source: the teacher.
        target: folder of the student.
        settings: what it should be.
        heads: those of the teacher that are wanted; None for all.
        save_general: folder for the student as the general phase leaves it.
        resume: go on with an interrupted run; a finished one is left as it is.
        overwrite: start anew, whatever is there.

    Raises:
        ShrinkError: when no shape is as fast, the family cannot be cut so, there are no texts, or
            no head is good enough.
        CheckpointError: when the teacher cannot be read, something is at `target` and neither flag
            was given, or a run of other settings or texts would be resumed.
        DataError: when a text cannot be read.
    """
    known = checkpoints.describe(source).heads
    for head in heads or ():
        if head not in known:
            raise ShrinkError(f"{source}: no head {head!r}; it has {', '.join(known)}.")
    if writing := [head for head in heads or known if known[head].generation is not None]:
        raise ShrinkError(
            f"{source}: the head {writing[0]!r} writes; its decoder reads the states of this"
            " encoder and no others. Name the other heads, or take this one out with 'polyhead"
            " heads remove'."
        )
    names = [name for name in known if heads is None or name in heads]
    identity = settings.identity(source, names)
    if target.exists() and not overwrite:
        return _finished(target, identity, resume=resume)
    target = atomic.replaceable(target)
    state.check(target, identity, resume=resume, overwrite=overwrite)
    transformers.set_seed(settings.seed)
    run = _read(checkpoints.load(source), names, settings, state.partial_folder(target))
    if resume:
        run.take_up_minutes()
    with run.timed("plan"):
        planned = stages.plan(run)
    # What cannot be done is known by now, and leaves no state behind.
    with state.claimed(target, identity, resume=resume, overwrite=overwrite):
        small, report = _made(run, planned, source, save_general)
        _write(run, small, target, identity, report)
    return Shrunk(path=target, report=report)


def _finished(target: Path, identity: Mapping[str, Any], *, resume: bool) -> Shrunk:
    """The student that is at `target` already."""
    if not resume or not (target / reports.DATA).is_file():
        raise CheckpointError(
            f"{target}: exists. Name another folder, start anew with --overwrite, or pass --resume"
            " to keep a student that is up to date."
        )
    made = checkpoints.describe(target).provenance.get(checkpoints.SHRUNK, {})
    if made.get("identity") != json.loads(json.dumps(identity)):
        raise CheckpointError(
            f"{target}: was shrunk with other settings, texts or teacher. Shrink into another"
            " folder, or start anew with --overwrite."
        )
    report = json.loads((target / reports.DATA).read_text(encoding="utf-8"))
    return Shrunk(path=target, report=report, reused=True)


def _read(
    whole: Checkpoint, heads: Sequence[str], settings: ShrinkSettings, folder: Path
) -> ShrinkRun:
    """The texts of a run, those of heads that are not wanted among them."""
    teacher, config = restricted(whole, heads), whole.description.config
    labelled: list[TrainingRow] = []
    train_set: list[Example] = []
    validation: list[Example] = []
    try:
        train_set = data.load(config, "train")
        labelled = _rows(teacher, train_set)
        labels = {name: spec.labels for name, spec in whole.model.specs.items()}
        validation = data.seen(config, data.load(config, "validation"), labels)
    except DataError as problem:
        if not settings.texts:
            raise
        logger.warning("the checkpoint's own texts cannot be read, so --texts alone: %s", problem)
    known = {example.text for example in validation}
    given = [text for text in texts.read(settings.texts) if text not in known]
    order = np.random.default_rng(settings.seed).permutation(len(given))  # files may be sorted
    given = [given[i] for i in order]
    held_out = list(dict.fromkeys(e.text for e in validation if isinstance(e.text, str)))
    if not held_out:
        count = min(_HELD_OUT, -(-len(given) // 10))
        held_out, given = given[:count], given[count:]
    own = [text for e in train_set for text in e.inputs if isinstance(text, str)]
    mixed = mixing.mixed(own, given, _MIXED, seed=settings.seed)
    unlabelled = {
        source: [
            TrainingRow(window.ids, source=source)
            for encoding in teacher.engine().encode(texts)
            for window in encoding.split()
        ]
        for source, texts in (("mixed", mixed), ("texts", given))
    }
    if not labelled and not given:
        raise ShrinkError("no text to learn from: no head names data. Give some with --texts.")
    return ShrinkRun(
        *(settings, teacher, folder, labelled, unlabelled["mixed"], unlabelled["texts"]),
        *(validation, held_out),
    )


def _rows(teacher: Checkpoint, train_set: Sequence[Example]) -> list[TrainingRow]:
    """Each text by itself, with the targets that need no other text.

    Vectors learn from what the teacher makes of a text, in place of its partner.
    """
    vectors = {n for n, s in teacher.model.specs.items() if s.kind == EmbeddingNetwork.kind}
    config = teacher.description.config
    heads = {name: replace(head, teacher=None) for name, head in config.heads.items()}
    own = replace(teacher.description, config=replace(config, heads=heads))
    known = [
        replace(e, references={n: r for n, r in e.references.items() if n in heads})
        for e in train_set
    ]
    found = []
    for row in training_rows(replace(teacher, description=own), known):
        for text in row.all:
            targets = {n: t for n, t in text.targets.items() if n not in vectors}
            found.append(TrainingRow(text.ids, targets, "labelled", text.types))
    return found


def _made(
    run: ShrinkRun,
    planned: tuple[EncoderShape, LayerCosts, list[Candidate]],
    source: Path,
    save_general: Path | None,
) -> tuple[Checkpoint, dict[str, Any]]:
    """The student with all heads, and the report on it."""
    shape, costs, ranked = planned
    with run.timed("what stays"):
        small, standing = stages.start(run, shape)
    steps = stages.count_steps(run, small, standing)
    if steps[0]:
        with run.timed("general phase"):
            stages.general_phase(run, small, standing, steps[0])
    if save_general is not None:
        with atomic.folder(save_general) as folder:
            checkpoints.save(folder, small, {"validation": {}})
    with run.timed("task phase"):
        stages.task_phase(run, small, standing, steps[1])
    with run.timed("gate"):
        small = tuned(small, run.validation)
        verdicts = judge(
            *(run.teacher.engine(), small.engine(), run.validation, run.held_out),
            max_drop=run.settings.max_drop,
            max_distance=run.settings.max_distance,
        )
    return small, {
        "teacher": {"checkpoint": source.name, "shape": plain(run.whole)},
        "student": {"shape": plain(shape), "steps": list(steps)},
        "milliseconds": {
            name: 1e3 * costs.seconds(of)
            for name, of in (("teacher", run.whole), ("student", shape))
        },
        "candidates": [{**plain(c), "milliseconds": 1e3 * costs.seconds(c.shape)} for c in ranked],
        "texts": {"labelled": len(run.labelled), "unlabelled": len(run.unlabelled)},
        "heads": {name: plain(verdict) for name, verdict in verdicts.items()},
        "minutes": {step: round(minutes, 2) for step, minutes in run.minutes.items()},
    }


def _write(
    run: ShrinkRun,
    small: Checkpoint,
    target: Path,
    identity: Mapping[str, Any],
    report: Mapping[str, Any],
) -> None:
    """The student with the heads that passed.

    Raises:
        ShrinkError: when none did.
    """
    heads = report["heads"]
    passed = [name for name in small.model.specs if name in heads and heads[name]["passed"]]
    for name in small.model.specs:
        if name not in passed:
            logger.warning("%s stays with the teacher: %s", name, reports.why(heads.get(name)))
    files = reports.files(report)
    if not passed:
        for file, content in files.items():
            atomic.write(run.folder / file, content)
        raise ShrinkError(
            "no head of the student is near enough to the teacher's, --max-drop"
            f" {run.settings.max_drop:g}: {run.folder / reports.PAGE}. Give more texts with"
            " --texts, more --minutes or a smaller --speed-up; or a larger --max-drop with"
            " --resume, which judges again."
        )
    made = restricted(small, passed)
    shrunk = {"identity": identity, **{key: report[key] for key in ("teacher", "student", "heads")}}
    provenance = {**checkpoints.versions(), checkpoints.SHRUNK: shrunk}
    made = replace(made, description=replace(made.description, provenance=provenance))
    figures = evaluate(made.engine(), run.validation)
    with atomic.folder(target) as folder:
        checkpoints.save(folder, made, {"validation": plain(figures)})
        for file, content in files.items():
            (folder / file).write_bytes(content)
