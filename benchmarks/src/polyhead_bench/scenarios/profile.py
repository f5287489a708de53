"""Where one answer's time goes: tokenising, the graph, decoding."""

from __future__ import annotations

from typing import Any

from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer that can tell: for each number of tokens, as text, each part's ms, a text each."""
    found = context.found
    for name in list(context.roster.workers):
        for tokens, texts in context.fixed.items():
            answer = context.roster.ask(name, "profile", texts=texts)
            if answer is None or not answer["parts"][0]:
                break
            parts = answer["parts"]
            found.setdefault(name, {})[str(tokens)] = {
                part: [float(one[part]) for one in parts] for part in ("tokenise", "run", "decode")
            }
    return found
