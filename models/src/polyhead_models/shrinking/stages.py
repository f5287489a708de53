"""The steps of a run: a shape, what stays of the encoder, the general phase, the task phase."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data.examples import Example
from polyhead_models.errors import ShrinkError
from polyhead_models.evaluation import HeadFigures, evaluate
from polyhead_models.shrinking import anatomy, keeping, outputs
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.cost import LayerCosts, layer_costs
from polyhead_models.shrinking.imitation import Imitation, Phase, TeacherOutputs, embeddings, learn
from polyhead_models.shrinking.outputs import LiveTeacher
from polyhead_models.shrinking.plan import Candidate, candidates
from polyhead_models.shrinking.settings import ShrinkSettings
from polyhead_models.shrinking.students import Standing, student
from polyhead_models.training.precision import autocast, bf16
from polyhead_models.training.rows import Collator, TrainingRow

logger = logging.getLogger(__name__)

_JUDGED_BY = 2048  # texts for importance and fitting
_TRIAL, _TRIED_ON = 60, 256  # steps of a trial of layers, texts that it is judged by
_PROBE = 12  # steps that say how long one takes
_TASK_TEXTS = 60_000  # unlabelled texts of the task phase
_TOKENS = 1024  # of a batch
_SHORT = 4  # tokens of a short text: more of these than fit into a phase's steps are not read
_GENERAL_RATE, _TASK_RATE = 2e-3, 1e-3
_TRIED_LAYERS, _TRIED_WIDTH = 3, 384
_GENERAL_SHARE = 0.6  # of the time, where there are unlabelled texts
_WATCHED = 400  # validation texts
_FEW = 20  # weights for each token
_MINUTES = "minutes.json"


@dataclass
class ShrinkRun:
    """What the steps of a run share.

    Attributes:
        settings: what was asked for.
        teacher: with the wanted heads.
        folder: of the run's state.
        labelled: rows with targets.
        mixed: rows without, of texts made of two.
        unlabelled: rows without.
        validation: held out, with labels.
        held_out: texts that nothing learns from, for heads without labels.
        minutes: what each step took.
    """

    settings: ShrinkSettings
    teacher: Checkpoint
    folder: Path
    labelled: Sequence[TrainingRow]
    mixed: Sequence[TrainingRow]
    unlabelled: Sequence[TrainingRow]
    validation: Sequence[Example]
    held_out: Sequence[str]
    minutes: dict[str, float] = field(default_factory=dict)

    @property
    def precision(self) -> bool:
        """Whether products are in bf16."""
        return bf16(self.teacher.description.config.training.precision)

    @property
    def whole(self) -> EncoderShape:
        """The teacher's shape."""
        return anatomy.shape_of(self.teacher.model.encoder)

    def rows(self, steps: int | None = None) -> list[TrainingRow]:
        """What the task phase reads, in so many steps; None for as many as there may be."""
        most = None if steps is None else steps * _TOKENS // _SHORT
        return [*self.labelled, *self.mixed[:most], *self.unlabelled[:_TASK_TEXTS][:most]]

    def sample(self, count: int, *, seed: int = 0) -> list[TrainingRow]:
        """Some of `rows`, always the same."""
        rows = self.rows()
        chosen = np.random.default_rng((self.settings.seed, seed)).permutation(len(rows))[:count]
        return [rows[i] for i in chosen]

    def batches(self, rows: Sequence[TrainingRow]) -> list[dict[str, Any]]:
        """Rows by length, without targets."""
        collate = Collator(self.teacher.model, [], [])
        lengths = np.array([len(row.ids) for row in rows])
        return [collate([rows[i] for i in part]) for part in outputs.by_length(lengths, _TOKENS)]

    def progress(self, small: Checkpoint) -> str:
        """What a student's heads lose on some validation texts, in points."""
        theirs = self._watched
        return "  ".join(
            f"{n} {f.metric} {f.value:.3f} ({100 * (f.value - theirs[n].value):+.1f})"
            for n, f in evaluate(small.engine(), self._some).items()
        )

    @property
    def _some(self) -> Sequence[Example]:
        return self.validation[:: -(-len(self.validation) // _WATCHED) or 1]

    @cached_property
    def _watched(self) -> dict[str, HeadFigures]:
        return evaluate(self.teacher.engine(), self._some)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count the minutes of a step, with those of a run that was stopped in it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            before = self.minutes.get(step, 0.0)
            self.minutes[step] = before + (time.perf_counter() - start) / 60
            if self.folder.is_dir():
                atomic.write(self.folder / _MINUTES, json.dumps(self.minutes))

    def take_up_minutes(self) -> None:
        """Count on from those of the run that this one goes on with."""
        if (file := self.folder / _MINUTES).is_file():
            self.minutes = json.loads(file.read_text(encoding="utf-8"))


def plan(run: ShrinkRun) -> tuple[EncoderShape, LayerCosts, list[Candidate]]:
    """The student's shape: as given, that of the start, or the best that is fast enough.

    Raises:
        ShrinkError: when there is none, or the family cannot have it.
    """
    settings, encoder = run.settings, run.teacher.model.encoder
    size = anatomy.head_size(encoder)
    costs = layer_costs(
        run.whole,
        hidden=encoder.config.hidden_size,
        head_size=size,
        lengths=[len(row.ids) for row in run.labelled or run.unlabelled],
        heads=len(run.teacher.model.specs),
    )
    fixed = settings.fixed
    if settings.start is not None:
        fixed = plain(anatomy.shape_of(checkpoints.load(settings.start).model.encoder))
    speed_up = 0.0 if None not in fixed.values() else settings.speed_up
    known = {part: n for part, n in fixed.items() if n is not None}
    anatomy.check(encoder, replace(run.whole, **known))
    known = anatomy.uncut(encoder) | known
    ranked = candidates(run.whole, costs, head_size=size, speed_up=speed_up, **known)
    shape = ranked[0].shape
    logger.info(
        "student: %d layers with %d neurons and %d attention heads each, about %.1f times as fast",
        *(shape.layers, shape.ffn, shape.attention_heads, ranked[0].speed_up),
    )
    _warn_of_few(run, shape)
    return shape, costs, ranked


def _warn_of_few(run: ShrinkRun, shape: EncoderShape) -> None:
    tokens = sum(len(row.ids) for row in (*run.labelled, *run.unlabelled))
    hidden = int(run.teacher.model.encoder.config.hidden_size)
    weights = shape.layers * hidden * (2 * shape.ffn + 4 * hidden)
    if tokens * _FEW < weights:
        logger.warning(
            "%s tokens of text are few for the %s weights of the student's layers: answers on texts"
            " unlike these may be worse. Give more texts, of any kind, with --texts: %s tokens.",
            *(f"{tokens:,}", f"{weights:,}", f"{weights // _FEW:,}"),
        )


def start(run: ShrinkRun, shape: EncoderShape) -> tuple[Checkpoint, Standing]:
    """The student before it learns, and what its layers stand for."""
    standing = Standing.even(shape.layers, run.whole.layers)
    if run.settings.start is not None:
        return _started(run, standing), standing
    encoder, of = run.teacher.model.encoder, _maker(run, shape, standing)
    file = run.folder / "layers.json"
    if not file.is_file():
        choices = keeping.layer_choices(run.whole.layers, shape.layers)
        if anatomy.needs_first(encoder):
            choices = [choice for choice in choices if choice[0] == 0]
        errors = {c: _trial(run, of(c), standing) for c in choices} if len(choices) > 1 else {}
        for choice, error in errors.items():
            logger.info("layers %s: error %.3f", ", ".join(map(str, choice)), error)
        chosen = min(errors, key=errors.__getitem__, default=choices[0])
        atomic.write(file, json.dumps({"layers": chosen, "errors": list(errors.items())}))
    return of(json.loads(file.read_text(encoding="utf-8"))["layers"]), standing


def _maker(
    run: ShrinkRun, shape: EncoderShape, standing: Standing
) -> Callable[[Sequence[int]], Checkpoint]:
    """Makes a student of some layers, with the neurons and attention heads that matter most."""
    encoder = run.teacher.model.encoder
    if replace(shape, layers=run.whole.layers) == run.whole:
        return lambda layers: student(
            run.teacher, anatomy.narrowed(encoder, layers=layers), standing
        )
    batches = run.batches(run.sample(_JUDGED_BY))
    found = keeping.importance(run.teacher.model, batches, seed=run.settings.seed)
    kept = [found.best(shape, layer) for layer in range(run.whole.layers)]
    seen = keeping.moments(encoder, batches)
    return lambda layers: student(
        run.teacher, keeping.fitted(encoder, kept, seen, layers), standing
    )


def _trial(run: ShrinkRun, made: Checkpoint, standing: Standing) -> float:
    """The mean loss after a few steps, on texts that it did not learn from."""
    teacher = LiveTeacher(run.teacher.model, standing.states)
    rows = run.sample(len(run.rows()), seed=1)
    held_out, rows = rows[:_TRIED_ON], rows[_TRIED_ON:] or rows
    phase = Phase("trial of layers", _TRIAL, _TOKENS, _GENERAL_RATE, run.settings.seed)
    _learn(run, phase, made, rows, teacher)
    imitation, found = Imitation(made.model), []
    for batch in run.batches(held_out):
        with torch.inference_mode(), autocast(run.precision):
            found.append(float(imitation(batch, teacher.of(batch, ()), inner=0.0)))
    return sum(found) / len(found)


def _started(run: ShrinkRun, standing: Standing) -> Checkpoint:
    """The layers of a student of an earlier run, under this teacher's embeddings and heads."""
    assert run.settings.start is not None
    found = checkpoints.load(run.settings.start)
    made = student(run.teacher, found.model.encoder, standing)
    own, theirs = embeddings(made.model), embeddings(run.teacher.model)
    try:
        if found.tokenizer.vocabulary != run.teacher.tokenizer.vocabulary:
            raise ValueError("its tokenizer has another vocabulary")
        own.load_state_dict(theirs.state_dict())
    except (ValueError, RuntimeError) as problem:
        raise ShrinkError(
            f"{run.settings.start}: a student of another encoder than the teacher's: {problem}."
            " Start from one whose teacher has the same encoder, or leave --start out."
        ) from problem
    return made


def count_steps(run: ShrinkRun, small: Checkpoint, standing: Standing) -> tuple[int, int]:
    """Steps of the general and the task phase: as given, or as many as fit into the minutes."""
    if run.settings.steps is not None:
        return run.settings.steps
    file = run.folder / "steps.json"
    if not file.is_file():
        teacher = LiveTeacher(run.teacher.model, standing.states)
        phase = Phase("how long a step takes", _PROBE, _TOKENS, _GENERAL_RATE, run.settings.seed)
        rows = run.sample(len(run.rows()))
        seconds = _learn(run, phase, copy.deepcopy(small), rows, teacher) / _PROBE
        fit = 60 * run.settings.minutes / seconds
        general = _GENERAL_SHARE if run.unlabelled and run.settings.start is None else 0.0
        steps = [_rounded(fit * general), max(1, _rounded(fit * (1 - general)))]
        atomic.write(file, json.dumps(steps))
    general, task = json.loads(file.read_text(encoding="utf-8"))
    logger.info("steps: %d of the general phase, %d of the task phase", general, task)
    return general, task


def _rounded(number: float) -> int:
    """To two digits, so that runs of one machine have the same steps more often than not."""
    return int(float(f"{number:.1e}"))


def general_phase(run: ShrinkRun, small: Checkpoint, standing: Standing, steps: int) -> None:
    """Hidden states of every layer on texts of all kinds; changes the student in place."""
    phase = Phase("general", steps, _TOKENS, _GENERAL_RATE, run.settings.seed)
    teacher = LiveTeacher(run.teacher.model, standing.states)
    rows = [*run.labelled, *run.unlabelled]
    _learn(run, phase, small, rows, teacher, keep=True)


def task_phase(run: ShrinkRun, small: Checkpoint, standing: Standing, steps: int) -> None:
    """Answers of all heads as well; changes the student in place."""
    specs, rows = run.teacher.model.specs, run.rows(steps)
    teacher = outputs.keep(
        run.folder / "teacher",
        rows,
        run.teacher.model,
        standing.states[-1:],
        Collator(run.teacher.model, [], []),
        mixed=run.precision,
        reads=lambda head, row: (specs[head].input == "pair") == (row.types is not None),
    )
    seed = run.settings.seed + 1
    phase = Phase("task", steps, _TOKENS, _TASK_RATE, seed, evenly=True, rounded=True)
    _learn(run, phase, small, rows, teacher, keep=True)


def gentler(small: Checkpoint) -> float:
    """Factor of the rates, which were tried on three layers of 384: more or wider ones diverge.

    Of matrices the rate goes with one over the width (Yang et al. 2022, arXiv 2203.03466); a
    student of 7 layers of 768 diverged at the rates of the small one.
    """
    encoder = small.model.encoder
    layers, hidden = anatomy.shape_of(encoder).layers, int(encoder.config.hidden_size)
    return min(1.0, _TRIED_WIDTH / hidden) * min(1.0, _TRIED_LAYERS / layers)


def _learn(
    run: ShrinkRun,
    phase: Phase,
    small: Checkpoint,
    rows: Sequence[TrainingRow],
    teacher: TeacherOutputs,
    *,
    keep: bool = False,
) -> float:
    """Train a student in place; where the run keeps its state, say how its heads are doing."""
    phase = replace(phase, learning_rate=phase.learning_rate * gentler(small))
    labelled = {name for row in run.labelled for name in row.targets}
    trained = [name for name in small.model.specs if name in labelled]
    return learn(
        phase,
        small.model,
        rows,
        teacher,
        Collator(small.model, trained, []),
        run.folder if keep else None,
        mixed=run.precision,
        watch=(lambda: run.progress(small)) if keep else None,
    )
