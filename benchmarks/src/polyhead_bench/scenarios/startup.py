"""From the start of a process to its first answer, with memory and size on disk."""

from __future__ import annotations

from typing import Any

from polyhead_bench.errors import PeerFault
from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer, a fresh process each round; bytes of ``rss`` with the model loaded, and on ``disk``.

    Milliseconds to the first answer: ``first_ms`` from the start of the process, with that of the
    interpreter; ``answered_ms`` from the first line of Python, of which ``loaded_ms`` until the
    model was loaded, imports included.
    """
    found = context.found
    for names in context.rounds():
        for name in names:
            try:
                with context.start(name, {}) as worker:
                    ready, marks = worker.ready, worker.ready["marks"]
            except PeerFault as fault:
                context.roster.report(name, f"at another start: {fault}")
                continue
            row = context.row(name, first_ms=[], answered_ms=[], loaded_ms=[], rss=[])
            row["first_ms"].append(marks["process"])
            row["answered_ms"].append(marks["answered"])
            row["loaded_ms"].append(marks["loaded"])
            row["rss"].append(ready["rss"])
            row["disk"] = ready["disk"]
    return found
