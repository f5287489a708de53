"""What an export may cost, and the fastest quantisation plan that costs no more.

The rule, for each head on the validation texts: its metric may be at most `max_drop` points (100
times the metric) below the PyTorch model's, and at most `max_flips` percent of its decisions may
differ. Texts are a sample, so that 95% confidence bounds, each one-sided, are held against the
limits and not the measured values:

- a head *fails* when a lower bound is beyond its limit: that is no chance;
- it *passes* when both upper bounds are within: the texts show it;
- it is *uncertain* otherwise, which few texts always are. Where the measured values are within the
  limits the graph is taken, and said to be uncertain. Where one is beyond, more exact graphs are
  tried first.

Near ties of the PyTorch model do not count as changed decisions: a choice between two labels of 31
and 30 percent is a coin's, whatever it is computed in. See `polyhead_export.decisions.margin`.

An embedding decides nothing; its vectors count as changed below a cosine of 0.99. A share of texts
and not the worst one: of some thousand texts a single odd one would ask for a slower graph. A mean
would hide a few far ones: MiniLM's over 200 texts was 0.998 with one at 0.964.

A head without references goes by its decisions alone. So does a head whose metric is at chance in
the PyTorch model already: it has nothing to lose, which the gate says.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from polyhead.bundle import Attempt, Gate, HeadQuality
from polyhead.cli.output import listed, table
from polyhead.errors import InvalidSetting
from polyhead_export.errors import GateError
from polyhead_export.quality import GraphComparison
from polyhead_export.quantisation.calibrate import Plan

logger = logging.getLogger(__name__)

_ROUNDING = 1e-9
_PATIENCE = 2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be lost.

    Attributes:
        max_drop: points of a head's metric, from 0.
        max_flips: percent of a head's decisions, from 0 to 100.
        tie_margin: decisions whose first two choices are closer, in probability, do not count;
            from 0, where all count, to 1.
    """

    max_drop: float = 0.5
    max_flips: float = 1.0
    tie_margin: float = 0.05

    def __post_init__(self) -> None:
        for name, most in (("max_drop", math.inf), ("max_flips", 100.0), ("tie_margin", 1.0)):
            value = getattr(self, name)
            if not (0 <= value <= most and math.isfinite(value)):
                allowed = "of at least 0" if math.isinf(most) else f"from 0 to {most:g}"
                raise InvalidSetting(f"{name}={value!r}: expected a number {allowed}.")


@dataclass(frozen=True)
class _Held:
    """A measured value, both ends of its interval, and its limit; points or percent."""

    value: float
    low: float
    high: float
    limit: float


def _held(found: HeadQuality, limits: Limits) -> list[_Held]:
    changed = found.changed or 0.0
    low, high = found.changed_interval or (changed, changed)
    held = [_Held(100 * changed, 100 * low, 100 * high, limits.max_flips)]
    if found.drop is not None and not found.at_chance:
        low, high = found.drop_interval or (found.drop, found.drop)
        held.append(_Held(found.drop, low, high, limits.max_drop))
    return held


def verdict(
    found: HeadQuality, limits: Limits, *, exact: bool = False
) -> Literal["pass", "uncertain", "fail"]:
    """What a head's figures say; one that is no number fails, as does a logit that is none.

    Args:
        found: what was measured.
        limits: what may be lost.
        exact: whether the graph is the float graph. That was compared with PyTorch number by
            number, so that it passes by its measured values.
    """
    held = _held(found, limits)
    if not all(each.low <= each.limit + _ROUNDING for each in held):
        return "fail"
    if not math.isfinite(found.max_logit_error):
        return "fail"
    shown = [each.value if exact else each.high for each in held]
    within = all(s <= each.limit + _ROUNDING for s, each in zip(shown, held, strict=True))
    return "pass" if within else "uncertain"


def judge(
    name: str, quality: Mapping[str, HeadQuality], limits: Limits, *, exact: bool = False
) -> Attempt:
    """Hold what was measured against the limits.

    Args:
        name: of the attempt.
        quality: by head; a head that was not measured is not judged.
        limits: what may be lost.
        exact: see `verdict`.
    """
    found = {head: verdict(measured, limits, exact=exact) for head, measured in quality.items()}
    return Attempt(
        name=name,
        drop={
            head: measured.drop if math.isfinite(measured.drop) else 100.0
            for head, measured in quality.items()
            if measured.drop is not None and not measured.at_chance
        },
        changed={head: 100 * (measured.changed or 0.0) for head, measured in quality.items()},
        failed=tuple(head for head, said in found.items() if said == "fail"),
        uncertain=tuple(head for head, said in found.items() if said == "uncertain"),
    )


def remarks(
    quality: Mapping[str, HeadQuality],
    attempt: Attempt,
    limits: Limits,
    heads: Iterable[str] = (),
) -> list[str]:
    """What a reader of the gate should know: heads at chance, uncertain, or without a text.

    Args:
        quality: what was measured, by head.
        attempt: what the gate says of it.
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
        if head in attempt.uncertain:
            found.append(f"{head}: uncertain. {_doubt(measured, limits)}")
    return found


def _doubt(measured: HeadQuality, limits: Limits) -> str:
    """Which limit an interval holds, and how many texts would show that it is kept."""
    flips, *drops = _held(measured, limits)
    found, smallest = [], math.inf
    if flips.high > flips.limit:
        found.append(f"Changed decisions {measured.changed_text}, allowed {flips.limit:g}%")
        smallest = flips.limit
    if drops and drops[0].high > drops[0].limit:
        found.append(f"drop {measured.drop_text} points, allowed {drops[0].limit:g}")
        smallest = min(smallest, drops[0].limit)
    text = "; ".join(found)
    text = f"{text[:1].upper()}{text[1:]}."
    if 0 < smallest < 100:
        needed = math.ceil(math.log(0.05) / math.log1p(-smallest / 100))
        if measured.texts < needed:
            text += f" {measured.texts:,} texts are few: {needed:,} without a change would pass."
    return text


@dataclass(frozen=True)
class TriedPlan:
    """A plan that was tried.

    Attributes:
        plan: how the graph was made.
        comparison: what it answers.
        attempt: what the gate says of it.
        loss: how many heads fail, and by how many points and percent all heads are beyond their
            limits; less is better.
    """

    plan: Plan
    comparison: GraphComparison
    attempt: Attempt
    loss: tuple[int, float]


@dataclass(frozen=True)
class SelectedPlan:
    """The plan that was taken.

    Attributes:
        plan: how the graph was made.
        comparison: what it answers.
        gate: what was allowed and tried.
        outcome: what was taken and why, in a sentence.
    """

    plan: Plan
    comparison: GraphComparison
    gate: Gate
    outcome: str


Stage = Callable[[TriedPlan], Sequence[Plan]]
"""Plans that are more exact than the best so far; empty for none."""


def select_plan(
    first: Plan,
    stages: Sequence[Stage],
    compare: Callable[[Plan], GraphComparison],
    limits: Limits,
    *,
    heads: Collection[str] = (),
    advice: str = "",
) -> SelectedPlan:
    """The first plan that is within the limits, or else the best in which no head fails.

    A stage ends when two of its plans in a row are no better than the best so far; the log has each
    outcome.

    Args:
        first: the plan of the fastest graph.
        stages: what to try then, one after another, until a plan is within the limits.
        compare: makes the graph of a plan and runs the validation texts through it.
        limits: what may be lost.
        heads: the names of all heads, to report those that no text is for.
        advice: what to do where no plan is taken, the last words of the error.

    Raises:
        GateError: when a head fails in the best plan, too; shows what was tried.
    """

    def attempt(plan: Plan) -> TriedPlan:
        comparison = compare(plan)
        found = judge(plan.name, comparison.quality, limits, exact=plan.float_graph)
        logger.info(_summary(found))
        return TriedPlan(plan, comparison, found, _loss(comparison.quality, found, limits))

    tried = [attempt(first)]
    best = 0
    for stage in stages:
        idle = 0
        for plan in () if _within(tried[best]) else stage(tried[best]):
            tried.append(attempt(plan))
            better = tried[-1].loss < tried[best].loss
            best, idle = (len(tried) - 1, 0) if better else (best, idle + 1)
            if _within(tried[best]) or idle == _PATIENCE:
                break
    selected = tried[best]
    if selected.attempt.failed:
        raise GateError(f"{_refusal(tried, selected, limits, heads)} {advice}".rstrip())
    gate = Gate(
        max_drop=limits.max_drop,
        max_flips=limits.max_flips,
        tie_margin=limits.tie_margin,
        attempts=tuple(each.attempt for each in tried),
        selected=best,
        per_row=tuple(sorted(selected.plan.per_row)),
        fp32=tuple(sorted(selected.plan.fp32)),
    )
    for remark in remarks(selected.comparison.quality, selected.attempt, limits, heads):
        logger.info(remark)
    outcome = _outcome(tried, best, limits)
    return SelectedPlan(selected.plan, selected.comparison, gate, outcome)


def _loss(
    quality: Mapping[str, HeadQuality], attempt: Attempt, limits: Limits
) -> tuple[int, float]:
    held = [each for measured in quality.values() for each in _held(measured, limits)]
    beyond = [each.value - each.limit for each in held if not each.value <= each.limit + _ROUNDING]
    return len(attempt.failed), math.inf if any(map(math.isnan, beyond)) else sum(beyond)


def _within(tried: TriedPlan) -> bool:
    return tried.loss == (0, 0)


def attempts_table(
    attempts: Sequence[Attempt],
    render: Callable[[Sequence[str], list[list[str]]], str] = table,
) -> str:
    """The attempts with each head's drop in points and changed decisions in percent."""
    return render(
        ["attempt", "head", "drop", "changed %", "verdict"],
        [
            [
                attempt.name,
                head,
                f"{attempt.drop[head]:+.2f}" if head in attempt.drop else "-",
                f"{changed:.2f}",
                attempt.verdict(head),
            ]
            for attempt in attempts
            for head, changed in attempt.changed.items()
        ],
    )


def _summary(attempt: Attempt) -> str:
    said = [
        f"{what}: {listed(names)}"
        for what, names in (("beyond the limits", attempt.failed), ("uncertain", attempt.uncertain))
        if names
    ]
    changed = max(attempt.changed.values(), default=0.0)
    drop = f"largest drop {max(attempt.drop.values()):+.2f} points, " if attempt.drop else ""
    return (
        f"gate: {attempt.name}: {drop}most decisions changed {changed:.2f}%;"
        f" {'; '.join(said) or 'passed'}"
    )


def _outcome(tried: Sequence[TriedPlan], best: int, limits: Limits) -> str:
    """One sentence of what was done, and why."""
    selected, first = tried[best], tried[0]
    doubt = selected.attempt.uncertain
    end = f"; uncertain: {listed(doubt)}" if doubt else "; every head passes"
    if best == 0:
        return f"taken: {selected.plan.name}{end}"
    lost = first.attempt.failed or first.attempt.uncertain
    why = f"{first.plan.name} lose too much of {listed(lost)}"
    if selected.plan.float_graph:
        nearest = min(tried[:best], key=lambda each: each.loss)
        why = f"int8 fails for {listed(nearest.attempt.failed)}{_nearest(nearest, limits)}"
    return f"taken: {selected.plan.name}, since {why}{end}"


def _nearest(tried: TriedPlan, limits: Limits) -> str:
    """The name of the nearest attempt, and the flags that take it."""
    found: dict[str, float] = {}
    for measured in tried.comparison.quality.values():
        for flag, held in zip(("--max-flips", "--max-drop"), _held(measured, limits), strict=False):
            if not held.value <= held.limit + _ROUNDING:
                found[flag] = max(held.value, found.get(flag, 0.0))
    if not found or not all(map(math.isfinite, found.values())):
        return f" (nearest: {tried.plan.name})"
    flags = " ".join(
        f"{flag} {math.ceil(10 * value - _ROUNDING) / 10:g}" for flag, value in found.items()
    )
    return f" (nearest: {tried.plan.name}; --precision int8 {flags} takes it)"


def _refusal(
    tried: Sequence[TriedPlan], nearest: TriedPlan, limits: Limits, heads: Collection[str]
) -> str:
    found = remarks(nearest.comparison.quality, nearest.attempt, limits, heads)
    return (
        f"no graph keeps every head within {limits.max_drop:g} points and {limits.max_flips:g}% of"
        " changed decisions; nothing was written. Tried:\n\n"
        f"{attempts_table([each.attempt for each in tried])}\n\n"
        + "".join(f"{remark}\n" for remark in found)
        + f"Beyond chance: {listed(nearest.attempt.failed)}{_nearest(nearest, limits)}."
    )
