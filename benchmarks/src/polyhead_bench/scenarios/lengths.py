"""One text at a time, all of one length: latency against tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer ``ms``: for each number of tokens, as text, the median of each round."""
    found = context.found
    for _, names in context.roster.rounds(context.rounds):
        for tokens, texts in context.fixed.items():
            for name in names:
                answer = context.roster.ask(name, "single", texts=texts)
                if answer is not None:
                    by_length = found.setdefault(name, {"ms": {}})["ms"]
                    median = float(np.median(answer["ms"]))
                    by_length.setdefault(str(tokens), []).append(median)
    return found
