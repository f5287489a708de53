"""The smoothing and the range of a point: those with the smallest error behind its linears.

SmoothQuant (Xiao et al. 2023, arXiv 2211.10438, equation 4) divides channel j of the activation by
``s_j = max|X_j|^α / max|W_j|^(1-α)`` and multiplies row j of the weights by it, so that outliers of
a few channels do not take the range from all others. α is searched for each point. The range is
the one with the least squared error, each channel weighted by the weights that it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyhead_export.passes.quantise_linears import activation_scale, quantise_weight
from polyhead_export.quantisation.observe import Observation

ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_SHARES = tuple(np.linspace(0.4, 1.0, 25))
_FOR_RANGES = 256


@dataclass(frozen=True)
class Setting:
    """How one point is quantised.

    Attributes:
        alpha: of its smoothing; None for none.
        factors: what each channel is divided by, float32 `(width,)`; None for none.
        low: smallest value that is kept, after smoothing.
        high: largest value that is kept.
        errors: of each linear, in the observation's order: root of the squared error behind it over
            that of what it computes.
    """

    alpha: float | None
    factors: NDArray[np.float32] | None
    low: float
    high: float
    errors: tuple[float, ...]


def search(point: Observation, *, worth: float | None) -> Setting:
    """Find the setting of a point.

    Args:
        point: what was observed.
        worth: share of the squared error that smoothing has to take away, 0 where it costs no
            time; None where a point may not be smoothed at all.
    """
    weights = [np.asarray(linear.weight.numpy(), np.float32) for linear in point.linears]
    expected = [point.rows @ weight for weight in weights]
    plain = _setting(point, weights, expected, None)
    if worth is None:
        return plain
    best = min((_setting(point, weights, expected, alpha) for alpha in ALPHAS), key=_squared)
    return best if _squared(best) < (1 - worth) * _squared(plain) else plain


def _squared(setting: Setting) -> float:
    return float(np.square(setting.errors).sum())


def _setting(
    point: Observation,
    weights: Sequence[NDArray[np.float32]],
    expected: Sequence[NDArray[np.float32]],
    alpha: float | None,
) -> Setting:
    factors = None if alpha is None else _factors(point, weights, alpha)
    divisor = np.float32(1) if factors is None else factors
    rows = point.rows / divisor
    scaled = [weight * np.reshape(divisor, (-1, 1)) for weight in weights]
    energy = np.sum([np.square(weight).sum(axis=1) for weight in scaled], axis=0)
    low, high = _range(
        rows[:_FOR_RANGES],
        energy,
        float((point.low / divisor).min()),
        float((point.high / divisor).max()),
    )
    kept = _kept(rows, low, high)
    errors = []
    for weight, right in zip(scaled, expected, strict=True):
        quantised, scales = quantise_weight(weight)
        wrong = kept @ (quantised * scales) - right
        errors.append(float(np.linalg.norm(wrong) / max(float(np.linalg.norm(right)), 1e-12)))
    return Setting(alpha, factors, low, high, tuple(errors))


def _factors(
    point: Observation, weights: Sequence[NDArray[np.float32]], alpha: float
) -> NDArray[np.float32]:
    """Equation 4; a channel that is always 0, or that no weight reads, stays as it is."""
    activation = np.maximum(np.abs(point.low), np.abs(point.high))
    weight = np.max([np.abs(w).max(axis=1) for w in weights], axis=0)
    known = (activation > 1e-6) & (weight > 1e-6)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = activation**alpha / weight ** (1 - alpha)
    return np.where(known, np.maximum(factors, 1e-2), 1.0).astype(np.float32)


def _range(
    rows: NDArray[np.float32], energy: NDArray[np.float32], low: float, high: float
) -> tuple[float, float]:
    """The part of the whole range with the least weighted squared error."""
    low, high = min(low, 0.0), max(high, 0.0)
    found = [
        (float(np.square(_kept(rows, low * share, high * share) - rows).sum(axis=0) @ energy), i)
        for i, share in enumerate(_SHARES)
    ]
    share = float(_SHARES[min(found)[1]])
    return low * share, high * share


def _kept(rows: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """What is left of values after u8."""
    scale, zero = activation_scale(low, high)
    kept: NDArray[np.float32] = np.clip(np.rint(rows / np.float32(scale)) + zero, 0, 255)
    return (kept - np.float32(zero)) * np.float32(scale)
