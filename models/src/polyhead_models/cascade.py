"""From which confidence the answers of a small model stand, so that few differ from a large one's.

A student answers, and texts of which it is not sure go to its teacher. Of each head that both have,
and whose results carry one confidence, the threshold is the smallest one that changes at most so
many of the teacher's decisions. Texts need no labels: both models answer them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.heads import HeadSpec, decoder


@dataclass(frozen=True)
class CascadeHead:
    """A head of a student and its teacher, as measured on texts.

    Attributes:
        threshold: the confidence from which the student's answer stands; None where no threshold
            holds the limit, and the teacher answers all.
        texts: how many it was chosen on.
        asked: share of them for which the teacher is asked, 0 to 1.
        changed: share of them whose decision is not the teacher's, 0 to 1.
    """

    threshold: float | None
    texts: int
    asked: float
    changed: float


def confident(name: str, spec: HeadSpec) -> bool:
    """Whether the results of a head carry one confidence."""
    return hasattr(decoder(name, spec), "confidence")


def confidences(name: str, spec: HeadSpec, results: Sequence[Any]) -> NDArray[np.float64]:
    """How sure a head is of each of its results, 0 to 1; it is one that `confident` knows."""
    of = getattr(decoder(name, spec), "confidence")  # noqa: B009, not of all decoders
    return np.array([of(result) for result in results], dtype=np.float64)


def chosen(
    sure: NDArray[np.float64], student: Sequence[Any], teacher: Sequence[Any], max_flips: float
) -> CascadeHead:
    """A head's threshold, by the results of both models for the same texts, in the same order.

    Args:
        sure: the student's confidences, one a text; none are allowed.
        student: its results.
        teacher: its own.
        max_flips: percent of the decisions that may differ from the teacher's.
    """
    pairs = zip(student, teacher, strict=True)
    differs = np.array([a.decision != b.decision for a, b in pairs], dtype=bool)
    least = smallest_threshold(sure, differs, max_flips / 100)
    stands = np.zeros(len(sure), dtype=bool) if least is None else sure >= least
    count = max(1, len(sure))
    return CascadeHead(
        least,
        len(sure),
        asked=float((~stands).sum()) / count,
        changed=float((stands & differs).sum()) / count,
    )


def smallest_threshold(
    confidences: NDArray[np.float64], differs: NDArray[np.bool_], most: float
) -> float | None:
    """The smallest of the confidences from which a student's answers can stand; None for none.

    With k of n texts that would be decided otherwise, ``(k + 1) / (n + 1) <= most``: the share that
    is to be expected of further texts of this kind is then at most `most`. The plain share
    ``k / n`` would be a guess in the student's favour, as the threshold is chosen on these texts.
    Angelopoulos et al. 2024, Conformal Risk Control, theorem 1 (arXiv 2208.02814).

    Args:
        confidences: of the student, one a text.
        differs: whether its decision is another than the teacher's.
        most: share of changed decisions, 0 to 1.
    """
    order = np.argsort(-confidences, kind="stable")
    falling, changed = confidences[order], np.cumsum(differs[order])
    ends = np.append(falling[1:] != falling[:-1], True)[: len(falling)]  # equal ones go together
    holds = ends & (changed + 1 <= most * (len(falling) + 1) * (1 + 1e-12))
    return float(falling[holds][-1]) if holds.any() else None


def texts_needed(max_flips: float) -> int:
    """Fewest texts with which a threshold can hold the limit, in percent: 199 for 0.5."""
    return math.ceil(100 / max_flips - 1e-9) - 1
