"""Does an engine answer for hours as in its first minute? Memory, latency and answers over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench.scenarios.context import Context

_SLICES = 12
_LISTS = 0.1


def measure(context: Context) -> dict[str, Any]:
    """By peer that may be called by several threads: ``slices``, each a twelfth of the time.

    A slice has ``rss`` in bytes, ``p50`` and ``p99`` in ms of texts alone, how many there were
    (``texts``), ``errors``, and ``different``: answers that are not those of the first slice. One
    call in ten takes a list of texts; the peer reads its model again each minute.
    """
    texts = context.source.mixed(2000, mean=28, longest=128, seed=2).inputs
    for name, worker in list(context.roster.workers.items()):
        if not worker.ready["concurrent"]:
            continue
        for _ in range(_SLICES):
            answer = context.roster.ask(
                name,
                "load",
                texts=texts,
                callers=context.settings.callers,
                seconds=context.settings.minutes * 60 / _SLICES,
                lists=_LISTS,
                reload=60,
            )
            if answer is None:
                break
            times = answer["latencies"]
            p50, p99 = map(float, np.percentile(times, [50, 99])) if times else (None, None)
            keys = ("rss", "errors", "different")
            slice_ = {key: answer[key] for key in keys}
            slices = context.row(name, slices=[])["slices"]
            slices.append({**slice_, "p50": p50, "p99": p99, "texts": len(times)})
    return context.found
