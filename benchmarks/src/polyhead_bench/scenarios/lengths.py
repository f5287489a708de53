"""One text at a time, all of one length: latency against tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer, for each number of tokens, as text: ``ms``, the median of each round, ``samples``.

    A round to warm up comes first, which is not counted.
    """
    found = context.found
    for name in list(context.roster.workers):
        for texts in context.fixed.values():
            context.roster.ask(name, "single", texts=texts)
    for names in context.rounds():
        for tokens, texts in context.fixed.items():
            for name in names:
                answer = context.roster.ask(name, "single", texts=texts)
                if answer is not None:
                    row = found.setdefault(name, {"ms": {}, "samples": {}})
                    median = float(np.median(answer["ms"]))
                    row["ms"].setdefault(str(tokens), []).append(median)
                    row["samples"].setdefault(str(tokens), []).append(answer["ms"])
    return found
