"""Do two peers give the same answers? Asked before any time is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from polyhead_bench.errors import PeerFault

ALIKE = 0.9
"""Share of the same answers below which a peer gives other answers. Of 16 texts int8 may decide one
or two of a tiny model's otherwise."""
_CLOSE = 0.99  # cosine


def agreement(
    found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """By head, the share of texts on which the answers are the same, 0 to 1.

    Labels and spans have to be equal, scores aside; of vectors the cosine has to be 0.99 or more,
    numbers have to be within a hundredth. Heads that only one side has are left out.

    Args:
        found: one peer's answers, a text each, as `polyhead_bench.peers.base.Answers`.
        expected: the other's, to the same texts.

    Raises:
        PeerFault: when `found` has another number of answers, a text without one of its heads, or
            something that is no head's answer.
    """
    if len(found) != len(expected):
        raise PeerFault(f"gave {len(found)} answers to {len(expected)} texts.")
    try:
        heads = [name for name in expected[0] if name in found[0]] if expected else []
        return {
            head: float(
                np.mean([_same(a[head], b[head]) for a, b in zip(found, expected, strict=True)])
            )
            for head in heads
        }
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise PeerFault(
            f"gave what is no answer: {type(problem).__name__}: {problem}; expected each head's"
            " 'to_dict' for each text."
        ) from problem


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    for key, compare in _COMPARE.items():
        if key in one and key in other:
            return compare(one[key], other[key])
    if "start" in one and "start" in other:  # of an answer in a text
        return bool((one["start"], one["end"]) == (other["start"], other["end"]))
    return False


def _spans(spans: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(span.get("label"), span["start"], span["end"]) for span in spans]


def _cosine(one: Sequence[float], other: Sequence[float]) -> bool:
    a, b = np.asarray(one), np.asarray(other)
    return bool(a @ b >= _CLOSE * np.linalg.norm(a) * np.linalg.norm(b))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "label": lambda a, b: bool(a == b),
    "labels": lambda a, b: set(a) == set(b),
    "spans": lambda a, b: _spans(a) == _spans(b),
    "sentences": lambda a, b: _spans(a) == _spans(b),
    "vector": _cosine,
    "value": lambda a, b: abs(a - b) <= 0.01 * max(1.0, abs(b)),
}
"""By a key of the answer that tells its kind."""
