"""What each further head costs: one text at a time with the first, the first two, … heads."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from polyhead_bench.errors import PeerFault
from polyhead_bench.scenarios.context import Context

_PEERS = ("polyhead-int8", "separate-int8")


def measure(context: Context) -> dict[str, Any]:
    """By peer, for each number of heads, as text: ``ms``, the median of each round, ``samples``.

    The peers are a bundle with just the first k heads, and k bundles of one head.
    """
    found = context.found
    with ExitStack() as stack:
        workers = {}
        for name in [name for name in _PEERS if name in context.roster.workers]:
            for count in range(1, len(context.heads) + 1):
                try:
                    worker = context.start(name, {"heads": context.heads[:count]})
                except PeerFault as fault:
                    context.roster.report(name, f"with {count} heads: {fault}")
                    continue
                workers[name, count] = stack.enter_context(worker)
        for number in range(context.rounds):
            order = list(workers) if number % 2 == 0 else list(workers)[::-1]
            for name, count in order:
                if (name, count) not in workers:
                    continue
                try:
                    answer = workers[name, count].ask("single", texts=context.texts.inputs)
                except PeerFault as fault:
                    context.roster.report(name, f"with {count} heads: {fault}")
                    del workers[name, count]
                    continue
                row = found.setdefault(name, {"ms": {}, "samples": {}})
                row["ms"].setdefault(str(count), []).append(float(np.median(answer["ms"])))
                row["samples"].setdefault(str(count), []).append(answer["ms"])
    return found
