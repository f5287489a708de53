"""What every scenario is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polyhead.text.encoding import Input
from polyhead_bench.process import Worker
from polyhead_bench.roster import Roster
from polyhead_bench.texts import Texts

LENGTHS = (16, 32, 64, 128, 256)
"""Tokens a text, for figures at fixed lengths."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """One run.

    Attributes:
        roster: the peers.
        texts: what they are asked.
        fixed: texts of one length by their number of tokens; the lengths that the model reads.
        rounds: how often each peer is measured.
        threads: that each may use.
        start: makes one more worker of a peer, with options over its own.
        heads: names of the heads that all peers answer with.
        bound_ms: what p99 has to stay below in the open loop.
        expected: the PyTorch model's answers to the texts; None where it was not asked.
        note: called with short remarks for whoever watches.
        found: what the scenario measures, filled as it goes: Ctrl-C keeps what is in it.
    """

    roster: Roster
    texts: Texts
    fixed: Mapping[int, tuple[Input, ...]]
    rounds: int
    threads: int
    start: Callable[[str, Mapping[str, Any]], Worker]
    heads: tuple[str, ...]
    bound_ms: float
    expected: Sequence[Mapping[str, Any]] | None = None
    note: Callable[[str], None]
    found: dict[str, Any] = field(default_factory=dict)
