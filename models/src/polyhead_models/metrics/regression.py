"""regression.v1: correlations and errors, by scipy and scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from polyhead.heads import Regression


class RegressionMetric:
    """Pearson correlation; references are numbers in the unit of the results."""

    primary = "pearson"

    def score(self, results: Sequence[Regression], references: Sequence[float]) -> dict[str, float]:
        """Correlations, -1 to 1, and errors in the unit of the references, smaller is better.

        A correlation is 0 where results or references are all the same, or there is one text only.
        """
        found, expected = _values(results), np.asarray(references, dtype=np.float64)
        return {
            "pearson": _correlation(pearsonr, found, expected),
            "spearman": _correlation(spearmanr, found, expected),
            "mae": float(mean_absolute_error(expected, found)),
            "rmse": float(root_mean_squared_error(expected, found)),
        }

    def agreement(self, results: Sequence[Regression], others: Sequence[Regression]) -> float:
        """Concordance (Lin 1989), not below 0: unlike a correlation, a shift or stretch costs.

        Where each model gives one value to all texts, 1 when the two are the same to 5 digits.
        """
        a, b = _values(results), _values(others)
        shared = 2 * float(np.mean((a - a.mean()) * (b - b.mean())))
        spread = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
        if spread == 0 or (a.min() == a.max() and b.min() == b.max()):
            return float(np.allclose(a, b))
        return max(0.0, shared / spread)


def _values(results: Sequence[Regression]) -> NDArray[np.float64]:
    return np.array([result.value for result in results], dtype=np.float64)


def _correlation(
    measure: Callable[..., Any], a: NDArray[np.float64], b: NDArray[np.float64]
) -> float:
    if len(a) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # constant values: NaN
        value = float(measure(a, b).statistic)
    return value if np.isfinite(value) else 0.0
