"""The fastest quantisation plan that is within the limits of the gate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from polyhead.bundle import Attempt, Gate
from polyhead.cli.output import listed, table
from polyhead_export import gate
from polyhead_export.errors import GateError
from polyhead_export.gate import Limits
from polyhead_export.quality import GraphComparison
from polyhead_export.quantisation import Plan

logger = logging.getLogger(__name__)

# A per-row scale costs about a sixth of the time, float about three times as much: few linears
# first. The last step leaves half of them in int8; beyond it, the float graph is the better choice.
_PER_ROW = (8, 2, 1)
_FLOAT = (8, 4, 2)


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
        attempt = gate.judge(plan.name, comparison.quality, limits)
        if not attempts:
            for remark in gate.remarks(comparison.quality, limits, heads):
                logger.info(remark)
        attempts.append(attempt)
        logger.info(_summary(attempt))
        if not attempt.failed:
            return SelectedPlan(plan, comparison, _gate(plan, limits, attempts))
    raise GateError(
        f"no graph keeps every head within {limits.max_drop:g} points and {limits.max_flips:g}% of"
        f" changed decisions; nothing was written. Tried:\n\n{attempts_table(attempts)}\n\n"
        + "".join(f"{remark}\n" for remark in gate.remarks(comparison.quality, limits, heads))
        + "Allow more with --max-drop and --max-flips, calibrate on more texts with"
        " --calibration-texts, or export with --precision fp32."
    )


def attempts_table(attempts: Sequence[Attempt]) -> str:
    """The attempts with each head's drop in points and changed decisions in percent."""
    return table(
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


def _gate(plan: Plan, limits: Limits, attempts: Sequence[Attempt]) -> Gate:
    return Gate(
        max_drop=limits.max_drop,
        max_flips=limits.max_flips,
        attempts=tuple(attempts),
        per_row=tuple(sorted(plan.per_row)),
        fp32=tuple(sorted(plan.fp32)),
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
