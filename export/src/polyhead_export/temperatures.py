"""Temperatures with which a head's scores say how often they are right, and how well they do.

A temperature divides the log-odds of scores (Guo et al. 2017, section 4.2): above 1, a head that is
too sure of itself becomes less so. It is fitted by log loss on what the exported graph answers to
the validation texts, and kept where it helps texts that it was not fitted on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle import Coverage, Reliability
from polyhead.cli.output import as_markdown, markdown_table
from polyhead.heads import HeadSpec
from polyhead_models.evaluation import Answered
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.calibration import Judged, JudgingMetric, joined

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of a temperature. Beyond them scores are 0 or 1, or all alike."""
FEWEST = 50
"""Texts, spans or answers that a temperature is fitted on, at least."""

_SHARES = (1.0, 0.95, 0.9, 0.8, 0.7)
# Texts with a label, and without, for a temperature of its own; that of all labels where fewer.
_FEWEST_OF_LABEL = 10
# Golden section: each step leaves 0.618 of the range, so that 20 find 0.04% of a temperature.
_STEPS, _SECTION = 20, (5**0.5 - 1) / 2


@dataclass(frozen=True)
class TemperedHead:
    """A head and its scores.

    Attributes:
        spec: with its temperature, or without one.
        reliability: what was measured.
        before: the scores without a temperature.
        after: those of each half of the texts with the temperature of the other half; as `before`
            where the head has none.
    """

    spec: HeadSpec
    reliability: Reliability
    before: Judged
    after: Judged


def with_temperature(
    name: str, spec: HeadSpec, rows: Sequence[Answered], split: str
) -> TemperedHead | None:
    """A head with its temperature; None for one without finite scores that are right or wrong.

    Args:
        name: of the head, for the log.
        spec: without a temperature.
        rows: the graph's answers to texts with a reference.
        split: where the texts are from. A model is too sure of texts that it was trained on, so
            that only those of the validation split give a temperature.
    """
    metric = METRICS[spec.kind]
    if not isinstance(metric, JudgingMetric):
        return None
    parts = rows[::2], rows[1::2]
    halves = [metric.judged([r.result for r in p], [r.reference for r in p]) for p in parts if p]
    halves = [half for half in halves if len(half)]
    if not halves or not all(np.isfinite(half.scores).all() for half in halves):
        return None
    before = after = joined(halves)
    remark = _refusal(halves, before, split)
    if remark is None:
        found = fitted(before)
        crossed = zip(halves, reversed(halves), strict=True)
        after = joined([half.tempered(fitted(other)) for half, other in crossed])
        if after.figures["log_loss"] < before.figures["log_loss"]:
            rounded = tuple(float(f"{temperature:.4g}") for temperature in found)
            spec, remark = replace(spec, temperature=rounded), _bound(found)
        else:
            after = before
            remark = "no temperature helps texts that it was not fitted on"
    measured = Reliability(
        split=split,
        decisions=before.decided[0].size,
        before=before.figures,
        after=after.figures,
        coverage=() if spec.activation == "sigmoid" else _coverage(after),
        remark=remark,
    )
    logger.info(_summary(name, spec, measured))
    return TemperedHead(spec, measured, before, after)


def fitted(judged: Judged) -> NDArray[np.float64]:
    """The temperatures with the least log loss, within the bounds.

    Returns:
        float64 `(1,)`; for independent labels `(labels,)`.
    """

    def losses(temperature: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(judged.tempered(temperature).losses.sum(axis=0))

    pooled = _lowest(lambda temperature: losses(temperature).sum(keepdims=True), 1)
    outcomes = judged.losses.shape[1]
    if outcomes == 1:
        return pooled
    fewest = np.minimum(judged.true.sum(axis=0), (~judged.true).sum(axis=0))
    return np.where(fewest >= _FEWEST_OF_LABEL, _lowest(losses, outcomes), pooled)


def section(found: Mapping[str, Reliability], heads: Mapping[str, HeadSpec]) -> list[str]:
    """The lines of the model card about scores; none where nothing was measured."""
    if not found:
        return []
    names = ("ece", "brier", "log_loss")
    rows = [
        [
            *(name, _shown(heads[name]), r.split, str(r.decisions)),
            *(f"{side[figure]:.3f}" for figure in names for side in (r.before, r.after)),
        ]
        for name, r in found.items()
    ]
    header = ["calibration error", "after", "Brier score", "after", "log loss", "after"]
    lines = [
        "## How far scores can be trusted",
        "",
        "A score is the probability that its answer is right. The calibration error is the mean"
        " distance of scores from that, in 15 bins of equally many; a few hundred texts show some"
        " hundredths of it by chance. A temperature divides the log-odds of scores, and changes no"
        ' decision. "After" is each half of the texts with the temperature of the other half.',
        "",
        markdown_table(["head", "temperature", "split", "scores", *header], rows),
        "",
        *(f"- {as_markdown(f'{name}: {r.remark}.')}" for name, r in found.items() if r.remark),
        *([""] if any(r.remark for r in found.values()) else []),
    ]
    covered = {name: r.coverage for name, r in found.items() if r.coverage}
    if covered:
        lines += [
            "Accuracy of the surest answers, and the score that the least sure of them has: below"
            " `min_score`, an option of classification heads, no label is given.",
            "",
            markdown_table(
                ["head", *(f"{100 * share:g}%" for share in _SHARES)],
                [
                    [name, *(f"{c.accuracy:.3f} ({c.min_score:.2f})" for c in coverage)]
                    for name, coverage in covered.items()
                ],
            ),
            "",
        ]
    return lines


def _lowest(
    losses: Callable[[NDArray[np.float64]], NDArray[np.float64]], count: int
) -> NDArray[np.float64]:
    """Where each of `count` losses, of one temperature each, is least: by golden section."""
    low, high = np.full(count, np.log(LOWEST)), np.full(count, np.log(HIGHEST))
    for _ in range(_STEPS):
        left, right = high - _SECTION * (high - low), low + _SECTION * (high - low)
        # Where scores are 0 and 1 on both sides the losses are equal, and the temperature too low.
        lower = losses(np.exp(left)) < losses(np.exp(right))
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    return np.asarray(np.exp((low + high) / 2))


def _refusal(halves: Sequence[Judged], before: Judged, split: str) -> str | None:
    """Why no temperature can be fitted."""
    if split != "validation":
        return "no temperature, as there are no validation texts"
    if len(halves) < 2 or len(before) < FEWEST:
        return f"no temperature: {len(before)} texts, spans or answers are few, {FEWEST} are needed"
    _, right = before.decided
    if right.all() or not right.any():
        found = "right" if right.all() else "wrong"
        return f"no temperature: all {len(right)} decisions are {found}, which bounds none"
    if before.exclusive and before.true.any(axis=0).sum() == 1:
        return "no temperature: all texts have one label"
    return None


def _bound(temperatures: NDArray[np.float64]) -> str | None:
    at_bound = (temperatures < 1.01 * LOWEST) | (temperatures > 0.99 * HIGHEST)
    if not at_bound.any():
        return None
    of = "" if len(temperatures) == 1 else f" of {at_bound.sum()} labels"
    return f"the temperature{of} ran to its bound, {LOWEST:g} or {HIGHEST:g}"


def _coverage(judged: Judged) -> tuple[Coverage, ...]:
    scores, right = judged.decided
    order = np.argsort(-scores, kind="stable")
    found = []
    for share in _SHARES:
        surest = order[: int(np.ceil(share * len(order)))]
        accuracy, least = float(right[surest].mean()), float(scores[surest[-1]])
        found.append(Coverage(share=share, accuracy=accuracy, min_score=least))
    return tuple(found)


def _shown(spec: HeadSpec) -> str:
    """A head's temperature, or the least and the most of its labels."""
    if spec.temperature is None:
        return "–"
    ends = dict.fromkeys(f"{end:.2f}" for end in (min(spec.temperature), max(spec.temperature)))
    return " to ".join(ends)


def _summary(name: str, spec: HeadSpec, found: Reliability) -> str:
    remark = f"; {found.remark}" if found.remark else ""
    if spec.temperature is None:
        return f"scores of {name}: calibration error {found.before['ece']:.3f}{remark}"
    return (
        f"scores of {name}: temperature {_shown(spec)}, calibration error"
        f" {found.before['ece']:.3f} -> {found.after['ece']:.3f}{remark}"
    )
