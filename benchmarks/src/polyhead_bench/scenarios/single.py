"""Closed loop: one text at a time, the next when the last is answered."""

from __future__ import annotations

from typing import Any

from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer ``ms``: a list of milliseconds for each round, a text each."""
    found = context.found
    for names in context.rounds():
        for name in names:
            answer = context.roster.ask(name, "single", texts=context.texts.inputs)
            if answer is not None:
                found.setdefault(name, {"ms": []})["ms"].append(answer["ms"])
    return found
