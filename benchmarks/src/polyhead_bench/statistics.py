"""Percentiles, ratios and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its bootstrap 95% interval."""

    value: float
    low: float
    high: float

    def shown(self, form: str = ".2f") -> str:
        """For people, as ``1.20 (1.10 to 1.31)``."""
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}})"

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals have a point in common."""
        return self.low <= other.high and other.low <= self.high


def ratio(other: Sequence[float], own: Sequence[float]) -> Interval:
    """How many times `other` is `own`: the median over rounds of their ratios.

    Args:
        other: a figure of each round of one peer.
        own: of the same rounds of the baseline; the rounds were interleaved, so that each pair of
            figures stems from about the same time.
    """
    return median(np.asarray(other, float) / np.asarray(own, float))


def median(values: Sequence[float] | NDArray[np.float64], *, seed: int = 0) -> Interval:
    """The median with a percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    One value gives an interval of no width; the report says how many rounds there were.
    """
    values = np.asarray(values, float)
    draws = np.random.default_rng(seed).choice(values, size=(_RESAMPLES, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return Interval(value=float(np.median(values)), low=float(low), high=float(high))


def spread(values: Sequence[float]) -> float:
    """Noise of repeated measurements: (p90 - p10) / median, 0 for equal values."""
    low, middle, high = np.percentile(np.asarray(values, float), [10, 50, 90])
    return float((high - low) / middle)
