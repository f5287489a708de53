"""What every scenario is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polyhead.text.encoding import Input
from polyhead_bench.convert.cache import Models
from polyhead_bench.harness.process import PeerProcess
from polyhead_bench.harness.roster import Roster
from polyhead_bench.texts import AskedTexts, TextSource

LENGTHS = (8, 16, 32, 64, 128, 256)
"""Tokens a text, for measurements at fixed lengths."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What to measure, and how.

    Attributes:
        peers: names of peers, at least one; ratios are of the first.
        scenarios: names of scenarios.
        heads: that every peer answers with; empty for all of the bundle's that read one text.
        threads: that each peer may use.
        rounds: of each peer, at least 1.
        bound_ms: what p99 has to stay below in the open loop.
        server_seconds: that texts arrive at each rate of `server`.
        per_length: texts of each length.
        callers: threads that ask one engine at once, in `concurrency` and `soak`.
        calls: of each of them in `concurrency`.
        many: texts after which `memory` looks a second time; a tenth of them the first.
        minutes: that `soak` lasts.
        limit_s: seconds within which a peer has to answer a request.
        command: that asked for the run, for the report.
    """

    peers: tuple[str, ...]
    scenarios: tuple[str, ...]
    heads: tuple[str, ...] = ()
    threads: int
    rounds: int = 9
    bound_ms: float = 50.0
    server_seconds: float = 3.0
    per_length: int = 20
    callers: int = 16
    calls: int = 2000
    many: int = 10_000
    minutes: float = 30.0
    limit_s: float = 300.0
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Context:
    """One run.

    Attributes:
        settings: of the run; `heads` are those that all peers answer with, never empty.
        roster: the peers.
        models: the model in the forms that peers ask for.
        texts: what they are asked.
        source: more texts like them.
        fixed: texts of one length by their number of tokens; the lengths that the model reads.
        start: makes one more worker of a peer, with options over its own.
        expected: the PyTorch model's answers to the texts; None where it was not asked.
        found: what the scenario measures, filled as it goes: Ctrl-C keeps what is in it.
    """

    settings: RunSettings
    roster: Roster
    models: Models
    texts: AskedTexts
    source: TextSource
    fixed: Mapping[int, tuple[Input, ...]]
    start: Callable[[str, Mapping[str, Any]], PeerProcess]
    expected: Sequence[Mapping[str, Any]] | None = None
    found: dict[str, Any] = field(default_factory=dict)

    def rounds(self) -> Iterator[Sequence[str]]:
        """The peers that are alive in the order of each round: A B C, then C B A, and so on."""
        for number in range(self.settings.rounds):
            names = list(self.roster.workers)
            yield names if number % 2 == 0 else names[::-1]

    def row(self, name: str, **empty: Any) -> dict[str, Any]:
        """What was found of a peer so far, or an empty row."""
        row: dict[str, Any] = self.found.setdefault(name, empty)
        return row
