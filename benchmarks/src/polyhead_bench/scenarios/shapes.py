"""The graph alone: batches of rows of equal length, without tokenising and decoding."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench.scenarios.context import Context

SHAPES = ((1, 16), (1, 32), (1, 64), (1, 128), (1, 256), (8, 128))
"""Texts in a batch, and tokens of each."""


def measure(context: Context) -> dict[str, Any]:
    """By peer with a graph, for each shape such as ``"8x128"``: ``ms``, the median of each round.

    Answers of the graphs were compared before, by the texts that the peers answered.
    """
    batches = _batches(context)
    for names in context.rounds():
        for shape, ids in batches.items():
            for name in names:
                answer = context.roster.ask(name, "graph", ids=ids)
                if answer is not None and answer["samples"]:
                    ms = context.row(name, ms={})["ms"]
                    ms.setdefault(shape, []).append(float(np.median(answer["samples"])))
    return context.found


def _batches(context: Context) -> dict[str, list[list[int]]]:
    """Token ids of real texts by shape, `(batch, tokens)`; the shapes that the model reads."""
    found = {}
    for batch, tokens in SHAPES:
        if tokens in context.fixed:
            texts = [context.fixed[tokens][i % len(context.fixed[tokens])] for i in range(batch)]
            rows = context.source.tokenizer.encode(texts)
            found[f"{batch}x{tokens}"] = [row.ids.tolist() for row in rows]
    return found
