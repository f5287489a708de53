"""The peers of one run: who is alive, who failed and why."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.process import PeerProcess


class Roster:
    """Peers by name; one that fails is reported and left out, the others go on.

    Attributes:
        workers: those that are alive, in the order in which they were added.
        faults: what went wrong, by name; also of peers that are alive.
    """

    def __init__(self) -> None:
        self.workers: dict[str, PeerProcess] = {}
        self.faults: dict[str, str] = {}
        self._stack = ExitStack()

    def add(self, name: str, start: Callable[[], PeerProcess]) -> None:
        """Start a peer."""
        try:
            self.workers[name] = self._stack.enter_context(start())
        except PeerFault as fault:
            self.report(name, str(fault))

    def report(self, name: str, fault: str) -> None:
        """Keep what happened to a peer; it goes on if it is alive."""
        known = self.faults.get(name, "")
        if fault not in known:
            self.faults[name] = f"{known}; {fault}" if known else fault

    def drop(self, name: str, fault: str) -> None:
        """End a peer that is alive and cannot be measured any more."""
        self.report(name, fault)
        self.workers.pop(name).close()

    def ask(self, name: str, do: str, **request: Any) -> dict[str, Any] | None:
        """Its answer; None when it failed, now or before."""
        if name not in self.workers:
            return None
        try:
            return self.workers[name].ask(do, **request)
        except PeerFault as fault:
            self.drop(name, str(fault))
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
