"""Limits, read against results: which figures of a run reach them, miss them, or were not taken."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polyhead.system.schema import parse
from polyhead_bench import metrics, statistics
from polyhead_bench.errors import BenchError
from polyhead_bench.results import Results
from polyhead_bench.statistics import Interval

LIMITS = Path(__file__).parent / "limits.toml"
"""The project's own."""

_VNNI = {"avx512_vnni", "avx_vnni"}
_SCALES = {"MB": 1e6, "MiB": 2**20, "GiB": 2**30}

State = Literal["pass", "missed", "unmeasured"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One table of a file of limits; the comment in ``limits.toml`` says what its keys are."""

    scenario: str
    peer: str
    metric: tuple[str, ...] = ("",)
    against: str | None = None
    against_metric: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    threads: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    vnni: bool | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) is (self.at_least is None):
            raise BenchError(
                f"limit of {self.scenario}, {self.peer}: expected either at_most or at_least."
            )

    @property
    def shown(self) -> str:
        """Sign, number and unit."""
        sign, wanted = ("<=", self.at_most) if self.at_least is None else (">=", self.at_least)
        return f"{sign} {wanted:g} {self.unit}".strip()

    def is_for(self, results: Results) -> bool:
        """Whether a run was asked for it: the scenario, the peers, and such a model."""
        model = results.model
        return (
            self.scenario in (*results.asked, *results.scenarios)
            and self.peer in results.peers
            and (self.against is None or self.against in results.peers)
            and self.threads in (None, results.threads)
            and self.hidden_size in (None, model["hidden_size"])
            and len(model["heads"]) >= (self.heads or 0)
            and self.vnni in (None, bool(_VNNI & set(results.machine["cpu"]["flags"])))
        )


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure against its limit.

    Attributes:
        name: what was measured.
        found: the figure in the limit's unit; None where it was not measured.
        limit: what it has to reach, as shown.
        state: the verdict.
        reason: why it was not measured, where the run says so.
    """

    name: str
    found: Interval | None
    limit: str
    state: State
    reason: str = ""


def read(path: Path = LIMITS) -> list[Limit]:
    """Read a file of limits.

    Raises:
        BenchError: when it is missing, no TOML, or has a limit with an unknown key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("limit", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise BenchError(f"{path}: no file of limits: {problem}") from problem
    if not isinstance(tables, list):
        raise BenchError(f"{path}: expected tables [[limit]].")
    return [parse(Limit, table, where=f"{path}: limit", error=BenchError) for table in tables]


def check(results: Results, limits: Sequence[Limit]) -> list[Check]:
    """Each limit that the run was asked for, a row a metric; others have no row."""
    return [
        _check(results, limit, metric)
        for limit in limits
        if limit.is_for(results)
        for metric in limit.metric
    ]


def passed(checks: Sequence[Check], *, allow_unmeasured: bool = False) -> bool:
    """Whether there are limits, and all are reached.

    Args:
        checks: all rows.
        allow_unmeasured: whether figures that were not measured are left aside.
    """
    bad: tuple[State, ...] = ("missed",) if allow_unmeasured else ("missed", "unmeasured")
    return bool(checks) and not any(row.state in bad for row in checks)


def _check(results: Results, limit: Limit, metric: str) -> Check:
    name = " ".join(part for part in (limit.scenario, metric, limit.peer) if part)
    if limit.against is not None:
        other = (limit.against if limit.against != limit.peer else "", limit.against_metric or "")
        name += f" / {' '.join(part for part in other if part)}"
    found = _figure(results, limit, metric)
    if found is None:
        faults = [
            f"{name}: {results.peers[name]['fault']}"
            for name in dict.fromkeys((limit.peer, limit.against or limit.peer))
            if "fault" in results.peers[name]
        ]
        reason = "; ".join(faults) or "the run has no such figure"
        return Check(name=name, found=None, limit=limit.shown, state="unmeasured", reason=reason)
    below = limit.at_most is None or found.value <= limit.at_most
    above = limit.at_least is None or found.value >= limit.at_least
    state: State = "pass" if below and above else "missed"
    return Check(name=name, found=found, limit=limit.shown, state=state)


def _figure(results: Results, limit: Limit, metric: str) -> Interval | None:
    own = metrics.rounds(results, limit.scenario, limit.peer, metric)
    if limit.against is not None:
        asked = metric if limit.against_metric is None else limit.against_metric
        return metrics.ratio(own, metrics.rounds(results, limit.scenario, limit.against, asked))
    scale = _SCALES.get(limit.unit, 1.0)
    return statistics.median([value / scale for value in own]) if own else None
