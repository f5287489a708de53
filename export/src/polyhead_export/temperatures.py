"""Temperatures with which a head's scores say how often they are right, and how well they do.

A temperature divides the logits that scores are made of (Guo et al. 2017, section 4.2): above 1, a
head that is too sure of itself becomes less so. It is fitted by log loss on what the exported graph
answers to the validation texts, and kept where it helps texts that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle import Coverage, Reliability
from polyhead.cli.output import as_markdown, markdown_table
from polyhead.heads import HeadSpec, decoder
from polyhead.system.shorten import counted
from polyhead.text.encoding import Encoding
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.calibration import Judged, JudgingMetric, joined

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of a temperature. Beyond them scores are 0 or 1, or all alike."""
FEWEST = 50
"""Texts, spans or answers that a temperature is fitted on, at least."""

_SHARES = (1.0, 0.95, 0.9, 0.8, 0.7)
# Texts with a label, and without, for a temperature of its own; that of all labels where fewer.
_FEWEST_OF_LABEL = 10
# Each temperature that is tried decodes all texts; between the best three a parabola goes on.
_TRIED = np.geomspace(LOWEST, HIGHEST, 31)


@dataclass(frozen=True)
class LabelledLogits:
    """What a graph gave for one text, and what was expected of the head."""

    logits: NDArray[np.float32]
    encoding: Encoding
    reference: Any


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
    name: str, spec: HeadSpec, texts: Sequence[LabelledLogits], split: str
) -> TemperedHead | None:
    """A head with its temperature; None for one without finite scores that are right or wrong.

    Args:
        name: of the head, for the log.
        spec: without a temperature.
        texts: those with a reference of the head.
        split: where they are from. A model is too sure of texts that it was trained on, so that
            only those of the validation split give a temperature.
    """
    metric = METRICS[spec.kind]
    if not isinstance(metric, JudgingMetric) or not texts:
        return None

    def judged(some: Sequence[LabelledLogits], temperature: tuple[float, ...] | None) -> Judged:
        own = decoder(name, replace(spec, temperature=temperature))
        results = [own.decode(text.logits, text.encoding) for text in some]
        return metric.judged(results, [text.reference for text in some])

    before = after = judged(texts, None)
    if not len(before) or not np.isfinite(before.scores).all():
        return None
    remark, tempered = _refusal(before, split), spec
    if remark is None:
        halves, rare = (texts[::2], texts[1::2]), _rare(before)
        tried = [[judged(h, (t,)).losses.sum(axis=0) for t in _TRIED.tolist()] for h in halves]
        first, second = (np.array(losses) for losses in tried)
        crossed = zip(halves, (second, first), strict=True)
        after = joined([judged(half, _least(losses, rare)) for half, losses in crossed])
        if after.figures["log_loss"] < before.figures["log_loss"]:
            found = _least(first + second, rare)
            tempered, remark = replace(spec, temperature=found), _bound(found)
        else:
            after, remark = before, "no temperature helps texts that it was not fitted on"
    measured = Reliability(
        split=split,
        decisions=before.decided[0].size,
        before=before.figures,
        after=after.figures,
        coverage=() if spec.activation == "sigmoid" else _coverage(after),
        remark=remark,
    )
    return TemperedHead(tempered, measured, before, after)


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
        " hundredths of it by chance. A temperature divides the logits that scores are made of, and"
        ' changes no decision. "After" is each half of the texts with the temperature of the other'
        " half.",
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


def _least(losses: NDArray[np.float64], rare: NDArray[np.bool_]) -> tuple[float, ...]:
    """The temperatures with the least loss, in four digits.

    Args:
        losses: of the temperatures that were tried, `(tried, outcomes)`.
        rare: which outcomes have the temperature of all, `(outcomes,)`.
    """
    found = np.where(rare, _vertex(losses.sum(axis=1, keepdims=True)), _vertex(losses))
    return tuple(float(f"{temperature:.4g}") for temperature in found)


def _vertex(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the parabola through the least loss and its neighbours is least; a bound at the end."""
    best = losses.argmin(axis=0)
    inner = np.clip(best, 1, len(_TRIED) - 2)
    left, middle, right = (losses[inner + step, np.arange(len(best))] for step in (-1, 0, 1))
    bend = np.maximum(left - 2 * middle + right, np.finfo(np.float64).tiny)
    step = np.clip((left - right) / (2 * bend), -0.5, 0.5)
    found = _TRIED[inner] * (_TRIED[1] / _TRIED[0]) ** step
    return np.asarray(np.where(best == inner, found, _TRIED[best]))


def _rare(judged: Judged) -> NDArray[np.bool_]:
    """Which outcomes are too rare for a temperature of their own, `(outcomes,)`; none of one."""
    if judged.losses.shape[1] == 1:
        return np.zeros(1, dtype=bool)
    fewest = np.minimum(judged.true.sum(axis=0), (~judged.true).sum(axis=0))
    return np.asarray(fewest < _FEWEST_OF_LABEL)


def _refusal(judged: Judged, split: str) -> str | None:
    """Why no temperature can be fitted."""
    if split != "validation":
        return "no temperature, as there are no validation texts"
    if len(judged) < FEWEST:
        return f"no temperature: {FEWEST} texts, spans or answers are needed, found {len(judged)}"
    _, right = judged.decided
    if right.all() or not right.any():
        found = "right" if right.all() else "wrong"
        return f"no temperature: all {len(right)} decisions are {found}, which bounds none"
    if judged.exclusive and judged.true.any(axis=0).sum() == 1:
        return "no temperature: all texts have one label"
    return None


def _bound(temperatures: Sequence[float]) -> str | None:
    at_bound = sum(temperature in (LOWEST, HIGHEST) for temperature in temperatures)
    if not at_bound:
        return None
    of = "" if len(temperatures) == 1 else f" of {counted(at_bound, 'label')}"
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


def summary(name: str, spec: HeadSpec, found: Reliability) -> str:
    """The temperature of a head and what it changed, for the log."""
    remark = f"; {found.remark}" if found.remark else ""
    if spec.temperature is None:
        return f"scores of {name}: calibration error {found.before['ece']:.3f}{remark}"
    return (
        f"scores of {name}: temperature {_shown(spec)}, calibration error"
        f" {found.before['ece']:.3f} -> {found.after['ece']:.3f}{remark}"
    )
