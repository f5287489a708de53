"""Two runs: has anything become slower? Said only when the intervals do not overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyhead_bench import statistics
from polyhead_bench.errors import Incomparable
from polyhead_bench.metrics import ratio, round_times
from polyhead_bench.results import Results
from polyhead_bench.statistics import Interval

Verdict = Literal["worse", "better", "no difference shown"]
_FEWEST = 2  # rounds; the interval of a single one has no width


@dataclass(frozen=True, kw_only=True)
class Change:
    """One peer in one scenario, before and after.

    Attributes:
        peer: its name.
        scenario: ``"single"`` or ``"offline"``.
        before: its time, relative to the run's baseline where both runs measured one, else the time
            itself (ms of a median text, or seconds of the whole list).
        after: the same of the second run.
        verdict: ``"worse"`` or ``"better"`` only when the intervals do not overlap.
    """

    peer: str
    scenario: str
    before: Interval
    after: Interval
    verdict: Verdict


def compare(before: Results, after: Results, *, baseline: str | None = None) -> list[Change]:
    """Every peer and scenario that both runs have, with two rounds or more.

    Args:
        before: the older run.
        after: the newer one.
        baseline: a peer that did not change; times are taken relative to its own, which cancels
            machine-to-machine noise. None compares times as they are.

    Raises:
        Incomparable: when the runs were asked different things, or a run has a single round.
    """
    _require_comparable(before, after)
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
                        verdict=_verdict(old[peer], new[peer]),
                    )
                )
    return changes


def _require_comparable(before: Results, after: Results) -> None:
    for (name, one), other in zip(_asked(before).items(), _asked(after).values(), strict=True):
        if one != other:
            raise Incomparable(
                f"the runs have different {name}: {one}; {other}. Repeat one as the other was run."
            )
    for title, run in (("first", before), ("second", after)):
        if run.rounds < _FEWEST:
            raise Incomparable(
                f"the {title} run has {run.rounds} round: its intervals have no width. Repeat it"
                f" with --rounds {_FEWEST} or more."
            )


def _asked(run: Results) -> dict[str, str]:
    """What two runs have to have in common."""
    return {
        "texts": f"sha256 {run.texts['sha256']}",
        "heads": ", ".join(sorted(run.model["heads"])),
        "threads": str(run.threads),
    }


def _figures(run: Results, scenario: str, baseline: str | None) -> dict[str, Interval]:
    times = {n: own for n, own in round_times(run, scenario).items() if len(own) >= _FEWEST}
    if baseline is None:
        return {peer: statistics.median(rounds) for peer, rounds in times.items()}
    found = {peer: ratio(rounds, times.get(baseline, [])) for peer, rounds in times.items()}
    return {peer: interval for peer, interval in found.items() if interval is not None}


def _verdict(before: Interval, after: Interval) -> Verdict:
    if before.overlaps(after):
        return "no difference shown"
    return "worse" if after.value > before.value else "better"
