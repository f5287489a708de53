"""What an export may cost, and whether it does.

The rule, for each head on the validation texts: the head's metric may be at most `max_drop` points
(100 times the metric) below the PyTorch model's, and at most `max_flips` percent of its decisions
may differ. Both are the measured values, not bounds of an interval. A bound would be a rule about
the number of texts: the upper one refuses every graph where there are few, the lower one accepts
every graph. The interval is measured, shown and kept next to the value, so that a reader sees how
much a pass is worth; `remarks` names heads where a single text is beyond the limit.

An embedding decides nothing; its vectors count as changed below a cosine of 0.99. A share of texts
and not the worst one: of some thousand texts a single odd one would ask for a slower graph. A mean
would hide a few far ones: MiniLM's over 200 texts was 0.998 with one at 0.964. With a limit of 0
(`max_flips`) every vector counts.

A head without references goes by its decisions alone. So does a head whose metric is at chance in
the PyTorch model already: it has nothing to lose, which the gate says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from polyhead.bundle import Attempt, HeadQuality
from polyhead.errors import InvalidSetting

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be lost.

    Attributes:
        max_drop: points of a head's metric, from 0.
        max_flips: percent of a head's decisions, from 0 to 100.
    """

    max_drop: float = 0.5
    max_flips: float = 1.0

    def __post_init__(self) -> None:
        for name, most in (("max_drop", math.inf), ("max_flips", 100.0)):
            value = getattr(self, name)
            if not (0 <= value <= most and math.isfinite(value)):
                allowed = "of at least 0" if math.isinf(most) else f"from 0 to {most:g}"
                raise InvalidSetting(f"{name}={value!r}: expected a number {allowed}.")


def judge(name: str, quality: Mapping[str, HeadQuality], limits: Limits) -> Attempt:
    """Hold what was measured against the limits.

    Args:
        name: of the attempt.
        quality: by head; a head that was not measured is not judged.
        limits: what may be lost.
    """
    drop = {
        head: found.drop
        for head, found in quality.items()
        if found.drop is not None and not found.at_chance
    }
    flips = {head: 100 * (found.changed or 0.0) for head, found in quality.items()}
    return Attempt(
        name=name,
        drop=drop,
        changed=flips,
        failed=tuple(
            head
            for head in quality
            if not _within(drop.get(head, 0.0), limits.max_drop)
            or not _within(flips[head], limits.max_flips)
        ),
    )


def remarks(
    quality: Mapping[str, HeadQuality], limits: Limits, heads: Iterable[str] = ()
) -> list[str]:
    """What a reader of the gate should know: heads at chance, with few texts, or with none.

    Args:
        quality: what was measured, by head.
        limits: what may be lost.
        heads: the names of all heads.
    """
    found = [
        f"{head}: none of the texts is one that it reads, so no gate saw it."
        for head in heads
        if head not in quality
    ]
    for head, measured in quality.items():
        if measured.at_chance:
            found.append(
                f"{head}: {measured.metric} {measured.fp32:.4f} of the PyTorch model is no better"
                " than an answer that is always the same. Its drop says nothing; the gate goes by"
                " its decisions alone."
            )
        if 100 / measured.texts > limits.max_flips > 0:
            found.append(
                f"{head}: {measured.texts} texts are few for a gate, one of them is"
                f" {100 / measured.texts:.1f}%; more than {limits.max_flips:g}% is refused."
            )
    return found


def _within(value: float, limit: float) -> bool:
    """False for NaN too."""
    return value <= limit + _ROUNDING
