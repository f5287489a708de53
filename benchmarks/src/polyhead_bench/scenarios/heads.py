"""What each further head costs: one text at a time with the first, the first two, … heads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.process import PeerProcess
from polyhead_bench.scenarios.context import Context

_PEERS = ("polyhead-int8", "separate-int8")


def measure(context: Context) -> dict[str, Any]:
    """By peer, for each number of heads, as text: ``ms``, the median of each round, ``samples``.

    The peers are a bundle with just the first k heads, and k bundles of one head. ``rss`` and
    ``disk`` are bytes by number of heads; ``faults`` says why a number of heads has no times.
    """
    found = context.found
    names = [name for name in _PEERS if name in context.roster.workers]
    with ExitStack() as stack:
        workers = _started(context, names, stack)
        for number in range(context.settings.rounds):
            order = list(workers) if number % 2 == 0 else list(workers)[::-1]
            for name, count in order:
                try:
                    answer = workers[name, count].ask("single", texts=context.texts.inputs)
                except PeerFault as fault:
                    _report(context, name, count, fault)
                    del workers[name, count]
                    continue
                row = _row(context, name)
                row["ms"].setdefault(str(count), []).append(float(np.median(answer["ms"])))
                row["samples"].setdefault(str(count), []).append(answer["ms"])
    return found


def _started(
    context: Context, names: Sequence[str], stack: ExitStack
) -> dict[tuple[str, int], PeerProcess]:
    workers = {}
    for name in names:
        for count in range(1, len(context.settings.heads) + 1):
            try:
                worker = context.start(name, {"heads": context.settings.heads[:count]})
            except PeerFault as fault:
                _report(context, name, count, fault)
                continue
            workers[name, count] = stack.enter_context(worker)
            row = _row(context, name)
            row["rss"][str(count)] = worker.ready["rss"]
            row["disk"][str(count)] = worker.ready["disk"]
    return workers


def _row(context: Context, name: str) -> dict[str, Any]:
    return context.row(name, ms={}, samples={}, rss={}, disk={}, faults={})


def _report(context: Context, name: str, count: int, fault: PeerFault) -> None:
    context.roster.report(name, f"with {count} heads: {fault}")
    _row(context, name)["faults"][str(count)] = str(fault)
