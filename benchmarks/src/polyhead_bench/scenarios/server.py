"""Open loop: texts arrive as a Poisson process; the highest rate at which p99 stays in bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench import open_loop
from polyhead_bench.scenarios.context import Context

_SHARES = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0)
_SECONDS, _FEWEST, _MOST = 3.0, 100, 3000


def measure(context: Context) -> dict[str, Any]:
    """By peer: ``points``, a rate each with its p50, its p99 and all ms, and ``rate``.

    Rates are shares of what the peer reached in a closed loop. Each runs for about three seconds;
    `rate` is the highest in texts/s with p99 under the bound and all lower ones too, 0 for none.
    A peer that fails keeps the points that it had.
    """
    found = context.found
    for name in list(context.roster.workers):
        capacity = _capacity(context, name)
        if capacity is None:
            continue
        points: list[dict[str, Any]] = []
        for step, share in enumerate(_SHARES):
            rate = capacity * share
            count = int(np.clip(rate * _SECONDS, _FEWEST, _MOST))
            texts = [context.texts.inputs[i % len(context.texts.inputs)] for i in range(count)]
            answer = context.roster.ask(
                name,
                "server",
                texts=texts,
                arrivals=open_loop.arrivals(count, rate=rate, seed=step),
            )
            if answer is None:
                break
            p50, p99 = np.percentile(answer["ms"], [50, 99])
            ms = [round(time, 4) for time in answer["ms"]]
            points.append({"rate": rate, "p50": float(p50), "p99": float(p99), "ms": ms})
            found[name] = {"points": points, "rate": _highest(points, context.bound_ms)}
    return found


def _capacity(context: Context, name: str) -> float | None:
    """Texts/s in a closed loop with as many callers as the peer says that it gains by."""
    answer = context.roster.ask(name, "single", texts=context.texts.inputs)
    if answer is None:
        return None
    callers = context.roster.workers[name].ready["callers"]
    return float(callers / (np.mean(answer["ms"]) / 1e3))


def _highest(points: list[dict[str, Any]], bound_ms: float) -> float:
    rate = 0.0
    for point in points:
        if point["p99"] > bound_ms:
            break
        rate = point["rate"]
    return rate
