"""The smoothing and the range of a point: those with the smallest error behind its linears.

SmoothQuant (Xiao et al. 2023, arXiv 2211.10438, equation 4) divides channel j of the activation by
``s_j = max|X_j|^α / max|W_j|^(1-α)`` and multiplies row j of the weights by it, so that outliers of
a few channels do not take the range from all others. α is searched for each point. The range is
the one with the least squared error, each channel weighted by the weights that it meets.

Linears with a scale for each token have a smoothing of their own. No token takes the range from
another there, and a large α would only cost the weights their accuracy, which is felt where a token
is unlike those of the calibration: with the α of the static range the text "no" was off by 0.027
in the cosine of MiniLM's vector, with one of its own by 0.006.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polyhead_export.passes.quantise_linears import activation_scale, weight_scales
from polyhead_export.quantisation.observe import Observation
from polyhead_export.quantisation.rounding import compensated, nearest

ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ALPHAS_BY_TOKEN = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_SHARES = tuple(np.linspace(0.4, 1.0, 25))
_FOR_RANGES = 256


@dataclass(frozen=True)
class Smoothing:
    """What the channels of a point are divided by.

    Attributes:
        alpha: of the smoothing; None for none.
        factors: what each channel is divided by, float32 `(width,)`; None for none.
        errors: of each linear, in the observation's order: root of the squared error behind it over
            that of what it computes.
        weights: by name of the linear, its int8 form with this smoothing.
    """

    alpha: float | None
    factors: NDArray[np.float32] | None
    errors: tuple[float, ...]
    weights: Mapping[str, NDArray[np.int8]]

    @property
    def squared(self) -> float:
        """The squared errors of all linears."""
        return float(np.square(self.errors).sum())


@dataclass(frozen=True)
class Setting(Smoothing):
    """How one point is quantised with a static scale.

    Attributes:
        low: smallest value that is kept, after smoothing.
        high: largest value that is kept.
    """

    low: float
    high: float


_Found = TypeVar("_Found", bound=Smoothing)


def search(point: Observation, *, worth: float | None) -> Setting:
    """Find the setting of a point.

    Args:
        point: what was observed.
        worth: share of the squared error that smoothing has to take away, 0 where it costs no
            time; None where a point may not be smoothed at all.
    """
    known = _Known(point)
    return _best(lambda alpha, together: _setting(known, alpha, together), ALPHAS, worth)


def search_by_token(point: Observation, *, worth: float | None) -> Smoothing:
    """Find the smoothing of a point whose linears have a scale for each token; see `search`."""
    known = _Known(point)
    return _best(lambda alpha, together: _by_token(known, alpha, together), ALPHAS_BY_TOKEN, worth)


def _best(
    make: Callable[[float | None, bool], _Found], alphas: Sequence[float], worth: float | None
) -> _Found:
    """Found with each weight rounded by itself, then made with all rounded together."""
    if worth is None:
        return make(None, True)
    plain = make(None, False)
    best = min((make(alpha, False) for alpha in alphas), key=lambda found: found.squared)
    return make(best.alpha if best.squared < (1 - worth) * plain.squared else None, True)


class _Known:
    """A point, the weights of its linears, and what they compute."""

    def __init__(self, point: Observation) -> None:
        self.point = point
        self.weights = [np.asarray(linear.weight.numpy(), np.float32) for linear in point.linears]
        self._names = [str(linear.node.name) for linear in point.linears]
        self._expected = [point.rows @ weight for weight in self.weights]

    def divided(
        self, alpha: float | None
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32], NDArray[np.float32]]:
        """The factors of a smoothing, what each channel is divided by, and the divided rows."""
        factors = None if alpha is None else _factors(self.point, self.weights, alpha)
        divisor = np.ones(len(self.point.low), np.float32) if factors is None else factors
        return factors, divisor, self.point.rows / divisor

    def rounded(
        self, kept: NDArray[np.float32], divisor: NDArray[np.float32], together: bool
    ) -> tuple[tuple[float, ...], dict[str, NDArray[np.int8]]]:
        """Int8 weights, and the error of each linear that reads `kept` in place of its rows.

        Args:
            kept: what is left of the divided rows.
            divisor: what each channel is divided by.
            together: whether weights make up for each other's errors, which takes longer.
        """
        weights = [weight * divisor[:, None] for weight in self.weights]
        if together:
            moments = self.point.moments / divisor[:, None] / divisor
            both = compensated(np.concatenate(weights, axis=1), moments, self.point.tokens)
            bounds = np.cumsum([weight.shape[1] for weight in weights])[:-1]
            rounded = [np.ascontiguousarray(part) for part in np.split(both, bounds, axis=1)]
        else:
            rounded = [nearest(weight) for weight in weights]
        found = []
        for weight, values, right in zip(weights, rounded, self._expected, strict=True):
            wrong = kept @ (values * weight_scales(weight)) - right
            found.append(float(np.linalg.norm(wrong) / max(float(np.linalg.norm(right)), 1e-12)))
        return tuple(found), dict(zip(self._names, rounded, strict=True))


def _setting(known: _Known, alpha: float | None, together: bool) -> Setting:
    point, (factors, divisor, rows) = known.point, known.divided(alpha)
    scaled = [weight * divisor[:, None] for weight in known.weights]
    energy = np.sum([np.square(weight).sum(axis=1) for weight in scaled], axis=0)
    low, high = _range(
        rows[:_FOR_RANGES],
        energy,
        float((point.low / divisor).min()),
        float((point.high / divisor).max()),
    )
    errors, weights = known.rounded(_kept(rows, low, high), divisor, together)
    return Setting(alpha, factors, errors, weights, low, high)


def _by_token(known: _Known, alpha: float | None, together: bool) -> Smoothing:
    factors, divisor, rows = known.divided(alpha)
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12)
    kept = np.rint(rows / largest * np.float32(127)) / np.float32(127) * largest
    return Smoothing(alpha, factors, *known.rounded(kept, divisor, together))


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
