"""What an export may cost, and the fastest quantisation plan that costs no more.

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

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from polyhead.bundle import Attempt, Gate, HeadQuality
from polyhead.cli.output import listed, table
from polyhead.errors import InvalidSetting
from polyhead_export.errors import GateError
from polyhead_export.quality import GraphComparison
from polyhead_export.quantisation.calibrate import Plan

logger = logging.getLogger(__name__)

_ROUNDING = 1e-9
# A per-row scale costs about a sixth of the time, float about three times as much: few linears
# first. The last step leaves half of them in int8; beyond it, the float graph is the better choice.
_PER_ROW = (8, 2, 1)
_FLOAT = (8, 4, 2)


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


@dataclass(frozen=True)
class SelectedPlan:
    """The first plan that passed the gate.

    Attributes:
        plan: how the graph was made.
        comparison: what it answers.
        gate: what was allowed and tried.
    """

    plan: Plan
    comparison: GraphComparison
    gate: Gate


def fallback_plans(ranking: Sequence[str]) -> list[Plan]:
    """The plans for some linears, from the fastest graph to the most exact one.

    Static scales for all; per-row scales for the worst eighth, the worst half, all; float for the
    worst eighth, quarter, half, with per-row scales for the others. Fewer plans for few linears.

    Args:
        ranking: names of the linears, the one with the largest output error first.
    """
    count, every, found = len(ranking), frozenset(ranking), [Plan()]
    for part in _PER_ROW:
        worst = frozenset(ranking[: -(-count // part)])
        found.append(Plan(worst, name=f"per-row scales for {_of(len(worst), count)} linears"))
    for part in _FLOAT:
        worst = frozenset(ranking[: -(-count // part)])
        name = f"fp32 for {_of(len(worst), count)} linears, per-row scales for the others"
        found.append(Plan(every - worst, worst, name))
    return list(dict.fromkeys(plan for plan in found if plan.fp32 != every))


def select_plan(
    plans: Sequence[Plan],
    compare: Callable[[Plan], GraphComparison],
    limits: Limits,
    *,
    heads: Collection[str] = (),
) -> SelectedPlan:
    """Try plan after plan until all heads are within the limits; the log has each outcome.

    Args:
        plans: at least one, the fastest first.
        compare: makes the graph of a plan and runs the validation texts through it.
        limits: what may be lost.
        heads: the names of all heads, to report those that no text is for.

    Raises:
        GateError: when no plan passes; shows what was tried.
    """
    attempts: list[Attempt] = []
    for plan in plans:
        comparison = compare(plan)
        attempt = judge(plan.name, comparison.quality, limits)
        if not attempts:
            for remark in remarks(comparison.quality, limits, heads):
                logger.info(remark)
        attempts.append(attempt)
        logger.info(_summary(attempt))
        if not attempt.failed:
            found = Gate(
                max_drop=limits.max_drop,
                max_flips=limits.max_flips,
                attempts=tuple(attempts),
                per_row=tuple(sorted(plan.per_row)),
                fp32=tuple(sorted(plan.fp32)),
            )
            return SelectedPlan(plan, comparison, found)
    raise GateError(
        f"no graph keeps every head within {limits.max_drop:g} points and {limits.max_flips:g}% of"
        f" changed decisions; nothing was written. Tried:\n\n{attempts_table(attempts)}\n\n"
        + "".join(f"{remark}\n" for remark in remarks(comparison.quality, limits, heads))
        + "Allow more with --max-drop and --max-flips, calibrate on more texts with"
        " --calibration-texts, or export with --precision fp32."
    )


def attempts_table(
    attempts: Sequence[Attempt],
    render: Callable[[Sequence[str], list[list[str]]], str] = table,
) -> str:
    """The attempts with each head's drop in points and changed decisions in percent."""
    return render(
        ["attempt", "head", "drop", "changed %", "within"],
        [
            [
                attempt.name,
                head,
                f"{attempt.drop[head]:+.2f}" if head in attempt.drop else "-",
                f"{changed:.2f}",
                "no" if head in attempt.failed else "yes",
            ]
            for attempt in attempts
            for head, changed in attempt.changed.items()
        ],
    )


def _summary(attempt: Attempt) -> str:
    verdict = f"beyond the limits: {listed(attempt.failed)}" if attempt.failed else "passed"
    drop = max(attempt.drop.values(), default=0.0)
    changed = max(attempt.changed.values(), default=0.0)
    return (
        f"gate: {attempt.name}: largest drop {drop:+.2f} points, most decisions changed"
        f" {changed:.2f}%; {verdict}"
    )


def _of(some: int, count: int) -> str:
    return f"all {count}" if some == count else f"the worst {some} of {count}"
