"""The quantisation plans that are tried, from the fastest graph to the most exact one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from polyhead.cli.output import listed
from polyhead_export.gate import Stage, TriedPlan
from polyhead_export.quantisation.calibrate import Calibrated, Plan

logger = logging.getLogger(__name__)

FLOAT = Plan(name="fp32", float_graph=True)
"""The graph as it was traced."""

# A per-row scale costs about a sixth of the time, float about three times as much: few linears
# first. The last step leaves half of them in int8; beyond it, the float graph is the better choice.
_PER_ROW = (8, 2, 1)
_FLOAT = (8, 4, 2)
# A graph is made and run for each point that is looked at.
_MOST_POINTS = 24


def fallback_stages(
    calibrated: Calibrated,
    disturbance: Callable[[Plan, Sequence[str]], float],
    *,
    to_float: bool,
) -> list[Stage]:
    """What to try where static scales for all linears lose too much, for `select_plan`.

    Args:
        calibrated: the float graph and how to quantise it.
        disturbance: how near a plan's graph comes to changing decisions of some heads; see
            `ReferenceModel.disturbance`.
        to_float: whether the float graph is the last of them, for where a head fails in all others.
    """
    ranking = [name for name, _ in calibrated.ranking]

    def floats(best: TriedPlan) -> Sequence[Plan]:
        heads = best.attempt.failed or best.attempt.uncertain
        logger.info("looking for the linears that change decisions of %s", listed(heads))
        order = by_effect(calibrated, best.plan, lambda plan: disturbance(plan, heads))
        return float_plans(order, best.plan)

    stages: list[Stage] = [lambda _: per_row_plans(ranking), floats]
    if to_float:
        stages.append(lambda best: [FLOAT] if best.attempt.failed else [])
    return stages


def per_row_plans(ranking: Sequence[str]) -> list[Plan]:
    """Per-row scales for the worst eighth, the worst half, all; fewer plans for few linears.

    Args:
        ranking: names of the linears, the one with the largest output error first.
    """
    return [
        Plan(worst, name=f"per-row scales for {said} linears")
        for worst, said in _worst(ranking, _PER_ROW).items()
    ]


def float_plans(ranking: Sequence[str], base: Plan) -> list[Plan]:
    """Float for the worst eighth, quarter, half; the others stay as in the plan `base`.

    Args:
        ranking: names of the linears, the one that changes most decisions first.
        base: the best plan without float.
    """
    others = "per-row scales for some others" if base.per_row else "static scales for the others"
    if base.per_row.issuperset(ranking):
        others = "per-row scales for the others"
    return [
        Plan(base.per_row - worst, worst, name=f"fp32 for {said} linears, {others}")
        for worst, said in _worst(ranking, _FLOAT).items()
        if len(worst) < len(ranking)
    ]


def _worst(ranking: Sequence[str], parts: Sequence[int]) -> dict[frozenset[str], str]:
    """The first of a ranking, one part of so many each time, and how many these are in words."""
    count = len(ranking)
    some = dict.fromkeys(-(-count // part) for part in parts)
    said = {n: f"all {count}" if n == count else f"the worst {n} of {count}" for n in some}
    return {frozenset(ranking[:n]): text for n, text in said.items()}


def by_effect(
    calibrated: Calibrated, base: Plan, disturbance: Callable[[Plan], float]
) -> list[str]:
    """The linears, those first whose float form brings a plan nearest to the model's decisions.

    Linears that read one tensor are looked at together. Of a deep encoder only the points with the
    largest output errors are looked at; all others follow in that order.

    Args:
        calibrated: the float graph and how to quantise it.
        base: the plan that linears are taken out of.
        disturbance: how near a plan's graph comes to changing decisions; see `ReferenceModel`.
    """
    points = sorted(calibrated.points.values(), key=lambda point: -max(point.setting.errors))
    effects = {}
    for point in points[:_MOST_POINTS]:
        alone = frozenset(point.linears)
        effects[point.linears] = disturbance(Plan(base.per_row - alone, alone))
    ordered = sorted(points, key=lambda point: effects.get(point.linears, float("inf")))
    return [name for point in ordered for name in point.linears]
