"""Which heads a student may have: those that are hardly worse than the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from polyhead import Engine
from polyhead.text.encoding import Input
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import Estimate, ask, paired
from polyhead_models.metrics import METRICS

_WITHOUT_LABELS = {
    *("classification.v1", "multilabel.v1", "tokens.v1", "regression.v1", "embedding.v1")
}
"""Kinds whose answers can be taken for labels, or compared; others are not judged without."""


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
    """

    metric: str
    texts: int
    teacher: float
    student: float
    drop: Estimate
    passed: bool


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
            found[head] = verdict(spec.kind, a, b, [answer.reference for answer in first])
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
