"""Percentile bootstrap of a figure, and of the difference of two models' figures.

Texts are drawn with replacement and the figure is computed anew; 2.5% of the draws lie below the
interval and 2.5% above: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, Chapman &
Hall 1993, chapter 13. A difference is taken draw by draw, both models on the same texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyhead_models.report.statistic import Statistic

SAMPLES = 1000
SEED = 0

_FEWEST = 200
_DIRECT_TEXTS = 2_000_000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure of all texts with its 95% interval.

    Attributes:
        value: on all texts.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two models on the same texts.

    Attributes:
        first: figure of the first model.
        second: figure of the second model.
        difference: first minus second, from the same draws.
        samples: number of draws.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    samples: int


def samples_for(*statistics: Statistic) -> int:
    """How many draws: 1,000; with a figure that is computed from the answers, fewer for many texts.

    Then as many as score 2,000,000 texts, but not under 200 (from 2,000 and 10,000 texts on).
    """
    if all(statistic.fast for statistic in statistics):
        return SAMPLES
    most = _DIRECT_TEXTS // max(statistic.texts for statistic in statistics)
    return min(SAMPLES, max(_FEWEST, most))


def paired(
    first: Statistic, second: Statistic, *, samples: int | None = None, seed: int = SEED
) -> Paired:
    """Bootstrap two models' figures on the same texts.

    Args:
        first: of one model, over at least one text.
        second: of the other, over the same texts in the same order.
        samples: number of draws, at least 1; None takes `samples_for`.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        ValueError: when the numbers of texts differ.
    """
    texts = first.texts
    if second.texts != texts:
        raise ValueError(f"{texts} texts against {second.texts}: expected the same texts.")
    samples = samples or samples_for(first, second)
    random = np.random.default_rng(seed)
    draws = np.empty((2, samples))
    for i in range(samples):
        chosen = random.integers(texts, size=texts)
        draws[:, i] = first(chosen), second(chosen)
    values = first.whole, second.whole
    return Paired(
        first=_estimate(values[0], draws[0]),
        second=_estimate(values[1], draws[1]),
        difference=_estimate(values[0] - values[1], draws[0] - draws[1]),
        samples=samples,
    )


def _estimate(value: float, draws: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(draws, _PERCENTILES)
    return Estimate(value=value, low=float(low), high=float(high))
