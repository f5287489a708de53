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
    """A measured value and both ends of its interval, held against a limit; points or percent."""

    flag: str
    text: str
    value: float
    low: float
    high: float
    limit: float

    def allows(self, value: float) -> bool:
        """False for NaN, too."""
        return value <= self.limit + _ROUNDING


def _held(found: HeadQuality, limits: Limits | Gate) -> list[_Held]:
    changed, limit = found.changed or 0.0, limits.max_flips
    low, high = found.changed_interval or (changed, changed)
    text = f"changed decisions {found.changed_text}, allowed {limit:g}%"
    held = [_Held("--max-flips", text, 100 * changed, 100 * low, 100 * high, limit)]
    if found.drop is not None and not found.at_chance:
        low, high = found.drop_interval or (found.drop, found.drop)
        text = f"drop {found.drop_text} points, allowed {limits.max_drop:g}"
        held.append(_Held("--max-drop", text, found.drop, low, high, limits.max_drop))
    return held


def judge(
    name: str, quality: Mapping[str, HeadQuality], limits: Limits, *, exact: bool = False
) -> Attempt:
    """Hold what was measured against the limits.

    A figure that is no number fails, as does a logit that is none.

    Args:
        name: of the attempt.
        quality: by head; a head that was not measured is not judged.
        limits: what may be lost.
        exact: whether the graph is the float graph. That was compared with PyTorch number by
            number, so that it passes by its measured values.
    """
    drop, failed, uncertain = {}, [], []
    for head, found in quality.items():
        held = _held(found, limits)
        if not (math.isfinite(found.max_logit_error) and all(h.allows(h.low) for h in held)):
            failed.append(head)
        elif not all(h.allows(h.value if exact else h.high) for h in held):
            uncertain.append(head)
        if found.drop is not None and not found.at_chance:
            drop[head] = found.drop if math.isfinite(found.drop) else 100.0
    return Attempt(
        name=name,
        drop=drop,
        changed={head: 100 * (found.changed or 0.0) for head, found in quality.items()},
        failed=tuple(failed),
        uncertain=tuple(uncertain),
    )


def remarks(quality: Mapping[str, HeadQuality], gate: Gate, heads: Iterable[str] = ()) -> list[str]:
    """What a reader of the gate should know: heads at chance, uncertain, or without a text.

    Args:
        quality: what was measured, by head.
        gate: what it says of it.
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
        if head in gate.attempt.uncertain:
            found.append(f"{head}: uncertain. {_doubt(measured, gate)}")
    return found


def _doubt(measured: HeadQuality, gate: Gate) -> str:
    """Which limit an interval holds, and how many texts would show that it is kept."""
    held = [each for each in _held(measured, gate) if each.high > each.limit]
    text = "; ".join(each.text for each in held)
    text = f"{text[:1].upper()}{text[1:]}."
    smallest = min((each.limit for each in held), default=math.inf)
    if 0 < smallest < 100:
        needed = math.ceil(math.log(0.05) / math.log1p(-smallest / 100))
        if measured.texts < needed:
            text += f" {measured.texts:,} texts are few: {needed:,} without a change would pass."
    return text


@dataclass(frozen=True, eq=False)
class TriedPlan:
    """A plan that was tried.

    Attributes:
        plan: how the graph was made.
        comparison: what it answers.
        attempt: what the gate says of it.
        beyond: the measured values that are beyond their limits.
    """

    plan: Plan
    comparison: GraphComparison
    attempt: Attempt
    beyond: Sequence[_Held]

    @property
    def loss(self) -> tuple[int, float]:
        """How many heads fail, and how far all of them are beyond the limits; less is better."""
        far = [each.value - each.limit for each in self.beyond]
        return len(self.attempt.failed), math.inf if any(map(math.isnan, far)) else sum(far)

    @property
    def within(self) -> bool:
        """Whether nothing that was measured is beyond a limit."""
        return self.loss == (0, 0)

    @property
    def nearest(self) -> str:
        """In brackets, its name and the flags that take it."""
        most: dict[str, float] = {}
        for each in self.beyond:
            most[each.flag] = max(each.value, most.get(each.flag, 0.0))
        if not most or not all(map(math.isfinite, most.values())):
            return f"(nearest: {self.plan.name})"
        flags = [f"{flag} {math.ceil(10 * x - _ROUNDING) / 10:g}" for flag, x in most.items()]
        return f"(nearest: {self.plan.name}; --precision int8 {' '.join(flags)} takes it)"


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
    best = tried_plan(first, compare, limits)
    tried = [best]
    for stage in stages:
        idle = 0
        for plan in () if best.within else stage(best):
            tried.append(tried_plan(plan, compare, limits))
            idle += 1
            if tried[-1].loss < best.loss:
                best, idle = tried[-1], 0
            if best.within or idle == _PATIENCE:
                break
    gate = Gate(
        max_drop=limits.max_drop,
        max_flips=limits.max_flips,
        tie_margin=limits.tie_margin,
        attempts=tuple(each.attempt for each in tried),
        selected=tried.index(best),
        per_row=tuple(sorted(best.plan.per_row)),
        fp32=tuple(sorted(best.plan.fp32)),
    )
    said = remarks(best.comparison.quality, gate, heads)
    if best.attempt.failed:
        raise GateError(f"{_refusal(gate, best, said)} {advice}".rstrip())
    for remark in said:
        logger.info(remark)
    return SelectedPlan(best.plan, best.comparison, gate, _outcome(tried, best))


def tried_plan(plan: Plan, compare: Callable[[Plan], GraphComparison], limits: Limits) -> TriedPlan:
    """Make the graph of a plan, run the validation texts through it, and hold it to the limits."""
    comparison = compare(plan)
    attempt = judge(plan.name, comparison.quality, limits, exact=plan.float_graph)
    logger.info(_summary(attempt))
    held = [each for found in comparison.quality.values() for each in _held(found, limits)]
    beyond = [each for each in held if not each.allows(each.value)]
    return TriedPlan(plan, comparison, attempt, beyond)


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


def _outcome(tried: Sequence[TriedPlan], best: TriedPlan) -> str:
    """One sentence of what was done, and why."""
    first, doubt = tried[0], best.attempt.uncertain
    end = f"; uncertain: {listed(doubt)}" if doubt else "; every head passes"
    if best is first:
        return f"taken: {best.plan.name}{end}"
    why = f"{first.plan.name} lose too much of"
    why += f" {listed(first.attempt.failed or first.attempt.uncertain)}"
    if best.plan.float_graph:
        nearest = min((each for each in tried if each is not best), key=lambda each: each.loss)
        why = f"int8 fails for {listed(nearest.attempt.failed)} {nearest.nearest}"
    return f"taken: {best.plan.name}, since {why}{end}"


def _refusal(gate: Gate, best: TriedPlan, said: Sequence[str]) -> str:
    return (
        f"no graph keeps every head within {gate.max_drop:g} points and {gate.max_flips:g}% of"
        " changed decisions; nothing was written. Tried:\n\n"
        f"{attempts_table(gate.attempts)}\n\n"
        + "".join(f"{remark}\n" for remark in said)
        + f"Beyond chance: {listed(best.attempt.failed)} {best.nearest}."
    )
