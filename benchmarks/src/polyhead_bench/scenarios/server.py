"""Open loop: texts arrive as a Poisson process; the highest rate at which p99 stays in bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench.harness import open_loop
from polyhead_bench.scenarios.context import Context

_STEPS = 5
"""Halvings of the range of rates: the rate is found to a 32nd of the capacity."""
_FEWEST, _MOST = 200, 3000


def measure(context: Context) -> dict[str, Any]:
    """By peer: ``capacity``, ``rates``, ``rate`` and ``points``.

    The capacity is texts/s in a closed loop with as many callers as the peer gains by. In each
    round, interleaved over the peers, the highest rate with p99 under the bound is found by
    bisection between 0 and the capacity: one of ``rates`` (0 where even the lowest tried was too
    fast); ``rate`` is their median. A point is a rate that was tried, with its p50, p99 and number
    of texts.
    """
    for name in list(context.roster.workers):
        capacity = _capacity(context, name)
        if capacity is not None:
            context.found[name] = {"capacity": capacity, "rates": [], "rate": 0.0, "points": []}
    for number, names in enumerate(context.rounds()):
        for name in names:
            rate = _highest(context, name, seed=number * _STEPS)
            if rate is not None:
                row = context.found[name]
                row["rates"].append(rate)
                row["rate"] = float(np.median(row["rates"]))
    return context.found


def _capacity(context: Context, name: str) -> float | None:
    texts = context.texts.inputs
    answer = context.roster.ask(name, "server", texts=texts, arrivals=[0.0] * len(texts))
    return None if answer is None else float(len(texts) / (max(answer["ms"]) / 1e3))


def _highest(context: Context, name: str, *, seed: int) -> float | None:
    """One bisection; None when the peer failed, whose points so far are kept."""
    row = context.found[name]
    low, high = 0.0, row["capacity"]
    for step in range(_STEPS):
        rate = (low + high) / 2
        point = _point(context, name, rate, seed=seed + step)
        if point is None:
            return None
        row["points"].append(point)
        if point["p99"] <= context.settings.bound_ms:
            low = rate
        else:
            high = rate
    return low


def _point(context: Context, name: str, rate: float, *, seed: int) -> dict[str, float] | None:
    count = int(np.clip(rate * context.settings.server_seconds, _FEWEST, _MOST))
    texts = [context.texts.inputs[i % len(context.texts.inputs)] for i in range(count)]
    arrivals = open_loop.arrivals(count, rate=rate, seed=seed)
    answer = context.roster.ask(name, "server", texts=texts, arrivals=arrivals)
    if answer is None:
        return None
    p50, p99 = np.percentile(answer["ms"], [50, 99])
    return {"rate": rate, "p50": float(p50), "p99": float(p99), "texts": count}
