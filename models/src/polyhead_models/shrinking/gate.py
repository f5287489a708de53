"""Which heads a student may have: those that are hardly worse than the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from polyhead import Engine
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Input
from polyhead_models import cascade
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import Estimate, ask, paired
from polyhead_models.metrics import METRICS

_FLIPS = 0.5  # percent of decisions that a cascade may change, as `polyhead combine` has it
_WITHOUT_LABELS = {
    *("classification.v1", "multilabel.v1", "tokens.v1", "regression.v1", "embedding.v1")
}
"""Kinds whose answers can be taken for labels, or compared; others are not judged without."""


@dataclass(frozen=True, kw_only=True)
class Cascaded:
    """A head of a student that asks its teacher where it is not sure.

    Attributes:
        asked: share of texts that the teacher answers, 0 to 1.
        changed: share whose decision is not the teacher's.
        value: the head's metric.
    """

    asked: float
    changed: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One head of the teacher and of the student on the same texts.

    Attributes:
        metric: the head's primary metric; ``"agreement"`` where there are no labels: the metric
            with the teacher's answers as labels, or the mean cosine with its vectors.
        texts: how many.
        teacher: its figure.
        student: its figure.
        drop: teacher minus student, of a metric from 0 to 1, with a 95% interval.
        passed: whether the student has the head.
        cascade: what the student and the teacher would make together, see `polyhead combine
            --cascade`; None where the head's results have no one confidence, or no threshold holds.
    """

    metric: str
    texts: int
    teacher: float
    student: float
    drop: Estimate
    passed: bool
    cascade: Cascaded | None = None


def judge(
    teacher: Engine,
    student: Engine,
    examples: Sequence[Example],
    unlabelled: Sequence[Input],
    *,
    max_drop: float,
    max_distance: float,
) -> dict[str, Verdict]:
    """A verdict on each head that both have.

    Args:
        teacher: over its checkpoint.
        student: over its own.
        examples: held out, with labels.
        unlabelled: held out; for heads that have no label in `examples`. Heads that give sentences
            or answers to questions have no verdict then.
        max_drop: most points, of 100, that a head may lose.
        max_distance: 1 minus the least mean cosine of vectors without labels.
    """
    both = [
        ask(engine, examples, label=name)
        for engine, name in ((teacher, "teacher"), (student, "student"))
    ]
    found = {}
    for head, spec in student.heads.items():
        first, second = (answers.get(head, []) for answers in both)
        if first:
            verdict = partial(_judged, metric=str(METRICS[spec.kind].primary), max_drop=max_drop)
            a, b = ([answer.result for answer in side] for side in (first, second))
            references = [answer.reference for answer in first]
            found[head] = replace(
                verdict(spec.kind, a, b, references),
                cascade=_cascaded(head, spec, a, b, references),
            )
        elif spec.kind in _WITHOUT_LABELS and (
            texts := [t for t in unlabelled if isinstance(t, str) == (spec.input == "text")]
        ):
            a, b = ([p[head] for p in e.predict(texts, heads=[head])] for e in (teacher, student))
            if spec.kind == "embedding.v1":
                found[head] = _vectors(a, b, max_distance)
            else:
                references = [_as_reference(spec.kind, result) for result in a]
                found[head] = _judged(
                    spec.kind, a, b, references, metric="agreement", max_drop=max_drop
                )
    return found


def _judged(
    kind: str,
    teacher: Sequence[Any],
    student: Sequence[Any],
    references: Sequence[Any],
    *,
    metric: str,
    max_drop: float,
) -> Verdict:
    a, b, drop = paired(kind, teacher, student, references)
    return Verdict(
        metric=metric,
        texts=len(references),
        teacher=a.value,
        student=b.value,
        drop=drop,
        passed=drop.value * 100 <= max_drop,
    )


def _cascaded(
    head: str,
    spec: HeadSpec,
    teacher: Sequence[Any],
    student: Sequence[Any],
    references: Sequence[Any],
) -> Cascaded | None:
    if not cascade.confident(head, spec):
        return None
    sure = cascade.confidences(head, spec, student)
    chosen = cascade.chosen(sure, student, teacher, _FLIPS)
    if chosen.threshold is None:
        return None
    stands = sure >= chosen.threshold
    together = [
        own if stood else theirs
        for theirs, own, stood in zip(teacher, student, stands, strict=True)
    ]
    metric = METRICS[spec.kind]
    value = metric.score(together, references)[str(metric.primary)]
    return Cascaded(asked=chosen.asked, changed=chosen.changed, value=value)


def _vectors(teacher: Sequence[Any], student: Sequence[Any], max_distance: float) -> Verdict:
    cosine = METRICS["embedding.v1"].agreement(student, teacher)
    far = 1 - cosine
    return Verdict(
        metric="cosine",
        texts=len(teacher),
        teacher=1.0,
        student=cosine,
        drop=Estimate(value=far, low=far, high=far),
        passed=far <= max_distance,
    )


def _as_reference(kind: str, result: Any) -> Any:
    """The teacher's answer as if it were a label."""
    if kind == "regression.v1":
        return result.value
    return list(result.decision) if isinstance(result.decision, tuple) else result.decision
