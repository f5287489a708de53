"""From the fastest graph to the most exact one, as far as the gate calls for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from polyhead.bundle import Attempt, Gate
from polyhead.cli.output import listed, table
from polyhead_export import gate
from polyhead_export.errors import GateError
from polyhead_export.gate import Limits
from polyhead_export.quality import Comparison
from polyhead_export.quantisation import Plan

# A per-row scale costs about a sixth of the time, float about three times as much: few linears
# first. The last rung leaves half of them in int8; beyond it, the float graph is the better choice.
_PER_ROW = (8, 2, 1)
_FLOAT = (8, 4, 2)


@dataclass(frozen=True)
class Rung:
    """One way to quantise.

    Attributes:
        name: for people.
        plan: which linears get what.
    """

    name: str
    plan: Plan


FLOAT = Rung("fp32", Plan())
"""The only rung of an export that is not quantised."""


@dataclass(frozen=True)
class Climbed:
    """The rung that passed.

    Attributes:
        rung: how the graph was made.
        comparison: what it answers.
        gate: what was allowed and tried.
    """

    rung: Rung
    comparison: Comparison
    gate: Gate


def rungs(ranking: Sequence[str]) -> list[Rung]:
    """The ladder over some linears.

    Static scales for all; per-row scales for the worst eighth, the worst half, all; float for the
    worst eighth, quarter, half, with per-row scales for the others. Fewer rungs for few linears.

    Args:
        ranking: names of the linears, the one with the largest output error first.
    """
    count, found = len(ranking), [Rung("static scales", Plan())]
    for part in _PER_ROW:
        worst = frozenset(ranking[: -(-count // part)])
        name = f"per-row scales for {_of(len(worst), count)} linears"
        found.append(Rung(name, Plan(per_row=worst)))
    for part in _FLOAT:
        worst = frozenset(ranking[: -(-count // part)])
        name = f"fp32 for {_of(len(worst), count)} linears, per-row scales for the others"
        found.append(Rung(name, Plan(per_row=frozenset(ranking) - worst, fp32=worst)))
    quantised = [rung for rung in found if rung.plan.fp32 != frozenset(ranking)]
    return list({rung.plan: rung for rung in quantised}.values())


def climb(
    ladder: Sequence[Rung],
    compare: Callable[[Plan], Comparison],
    limits: Limits,
    *,
    heads: Collection[str] = (),
    note: Callable[[str], None],
) -> Climbed:
    """Try rung after rung until all heads are within the limits.

    Args:
        ladder: at least one rung, the fastest first.
        compare: makes the graph of a plan and asks it the validation texts.
        limits: what may be lost.
        heads: the names of all heads, to tell those that no text is for.
        note: called with the outcome of each attempt.

    Raises:
        GateError: when no rung passes; shows what was tried.
    """
    attempts: list[Attempt] = []
    for rung in ladder:
        comparison = compare(rung.plan)
        attempt = gate.judge(rung.name, comparison.quality, limits)
        if not attempts:
            for remark in gate.remarks(comparison.quality, limits, heads):
                note(remark)
        attempts.append(attempt)
        note(_told(attempt))
        if not attempt.failed:
            tried = Gate(
                max_drop=limits.max_drop,
                max_flips=limits.max_flips,
                attempts=tuple(attempts),
                per_row=tuple(sorted(rung.plan.per_row)),
                fp32=tuple(sorted(rung.plan.fp32)),
            )
            return Climbed(rung, comparison, tried)
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


def _told(attempt: Attempt) -> str:
    verdict = f"beyond the limits: {listed(attempt.failed)}" if attempt.failed else "passed"
    drop = max(attempt.drop.values(), default=0.0)
    changed = max(attempt.changed.values(), default=0.0)
    return (
        f"gate: {attempt.name}: largest drop {drop:+.2f} points, most decisions changed"
        f" {changed:.2f}%; {verdict}"
    )


def _of(some: int, count: int) -> str:
    return f"all {count}" if some == count else f"the worst {some} of {count}"
