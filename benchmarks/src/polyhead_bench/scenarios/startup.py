"""From the start of a process to its first answer, with memory and size on disk."""

from __future__ import annotations

from typing import Any

from polyhead_bench.errors import PeerFault
from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer: ``first_ms`` and ``rss`` in bytes, a fresh process each round; ``disk`` in bytes."""
    found = context.found
    for _, names in context.roster.rounds(context.rounds):
        for name in names:
            try:
                with context.start(name, {}) as worker:
                    row = found.setdefault(name, {"first_ms": [], "rss": []})
                    row["first_ms"].append(worker.ready["first_ms"])
                    row["rss"].append(worker.ready["rss"])
                    row["disk"] = worker.ready["disk"]
            except PeerFault as fault:
                context.roster.report(name, f"at another start: {fault}")
    return found
