"""Percentile bootstrap over texts of two models' metric (Efron & Tibshirani 1993), by scipy.

Most metrics are ratios of sums over texts: a mean, or an F1 of counts. A draw is then two sums,
where seqeval would take 0.2 s for 700 texts. Correlations and ranks are computed for each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from polyhead_models.metrics import METRICS

_FEWEST, _MOST, _TEXTS = 200, 1000, 2_000_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric over all texts, and the ends of its 95% interval."""

    value: float
    low: float
    high: float


def paired(
    kind: str, first: Sequence[Any], second: Sequence[Any], references: Sequence[Any]
) -> tuple[Estimate, Estimate, Estimate]:
    """The primary metric of two models, and the first minus the second; always the same draws.

    Results and references are of the same texts in the same order, at least one; the kind is
    versioned, one with a primary metric.
    """
    metric, texts = METRICS[kind], len(references)

    def scores(chosen: NDArray[np.intp]) -> list[float]:
        known = [references[i] for i in chosen]
        both = [metric.score([side[i] for i in chosen], known) for side in (first, second)]
        a, b = (found[str(metric.primary)] for found in both)
        return [a, b, a - b]

    def scored(chosen: NDArray[np.intp], axis: int) -> NDArray[np.float64]:
        return np.apply_along_axis(scores, axis, chosen).T

    low = high = values = scores(np.arange(texts))  # of one text there is one draw
    if texts > 1:
        sums = [part for side in (first, second) for part in _sums(kind, side, references)]
        data: list[Any] = sums or [np.arange(texts)]
        found = stats.bootstrap(
            data,
            _ratios if sums else scored,
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=_MOST if sums else min(_MOST, max(_FEWEST, _TEXTS // texts)),
            batch=max(1, _TEXTS // texts),
            rng=0,
        )
        low, high = found.confidence_interval
    ends = zip(values, low, high, strict=True)
    a, b, difference = (Estimate(value=v, low=float(lo), high=float(hi)) for v, lo, hi in ends)
    return a, b, difference


def _ratios(*sums: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    above, below, others_above, others_below = (part.sum(axis) for part in sums)
    a, b = above / np.maximum(below, 1), others_above / np.maximum(others_below, 1)
    return np.stack([a, b, a - b])


def _sums(
    kind: str, results: Sequence[Any], references: Sequence[Any]
) -> list[NDArray[np.float64]]:
    """What each text adds above and below the line, float64 `(texts,)`; empty: it is no ratio."""
    pairs = list(zip(results, references, strict=True))
    if kind in ("tokens.v1", "multilabel.v1"):  # F1: twice the right ones, by found and expected
        sets = [(set(result.decision), set(reference)) for result, reference in pairs]
        right = [2.0 * len(found & expected) for found, expected in sets]
        return [np.array(right), np.array([float(len(a) + len(b)) for a, b in sets])]
    if kind in ("classification.v1", "answer.v1", "summary.v1"):  # a mean over texts
        metric = METRICS[kind]
        values = [metric.score([a], [b])[str(metric.primary)] for a, b in pairs]
        return [np.array(values), np.ones(len(pairs))]
    return []
