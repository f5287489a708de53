"""Two runs: has anything become slower? Said only when the intervals do not overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyhead_bench import statistics
from polyhead_bench.results import Results
from polyhead_bench.statistics import Interval
from polyhead_bench.tables import round_times

Verdict = Literal["worse", "better", "no difference shown"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One peer in one scenario, before and after.

    Attributes:
        peer: its name.
        scenario: ``"single"`` or ``"offline"``.
        before: its time, relative to the run's baseline where both runs measured one, else the time
            itself (ms of a median text, or seconds of the whole list).
        after: the same of the second run.
        relative: whether the figures are relative to the baseline.
        verdict: ``"worse"`` or ``"better"`` only when the intervals do not overlap.
    """

    peer: str
    scenario: str
    before: Interval
    after: Interval
    relative: bool
    verdict: Verdict


def compare(before: Results, after: Results, *, baseline: str | None = None) -> list[Change]:
    """Every peer and scenario that both runs have.

    Args:
        before: the older run.
        after: the newer one.
        baseline: a peer that did not change; times are taken relative to its own, which removes the
            machine's mood. None compares times as they are.
    """
    changes = []
    for scenario in ("single", "offline"):
        old, new = (_figures(run, scenario, baseline) for run in (before, after))
        for peer in old:
            if peer in new and peer != baseline:
                changes.append(
                    Change(
                        peer=peer,
                        scenario=scenario,
                        before=old[peer],
                        after=new[peer],
                        relative=baseline is not None,
                        verdict=_verdict(old[peer], new[peer]),
                    )
                )
    return changes


def _figures(run: Results, scenario: str, baseline: str | None) -> dict[str, Interval]:
    times = round_times(run, scenario)
    if baseline is None:
        return {peer: statistics.median(rounds) for peer, rounds in times.items()}
    if baseline not in times:
        return {}
    own = times[baseline]
    return {
        peer: statistics.ratio(rounds[: len(own)], own[: len(rounds)])
        for peer, rounds in times.items()
    }


def _verdict(before: Interval, after: Interval) -> Verdict:
    if before.overlaps(after):
        return "no difference shown"
    return "worse" if after.value > before.value else "better"
