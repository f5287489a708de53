"""Does a bundle answer for hours as in the first minute?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from polyhead_bench.checks import Check, at_most
from polyhead_bench.isolated import measure

_SLICES = 12
# The first slice pays for what grows once: arenas, the tokenizer's cache.
_WARM = 1


def run(
    bundle: Path, *, minutes: float, threads: int, seed: int = 0
) -> tuple[list[Check], dict[str, Any]]:
    """Ask from several threads for `minutes`, texts of mixed lengths.

    Memory and the 99th percentile of the last third are held against the first third, after a
    slice to warm up.

    Args:
        bundle: folder of the bundle.
        minutes: above 0.
        threads: that share the engine.
        seed: of texts and of what each thread asks.
    """
    found = measure("soak", bundle, minutes=minutes, threads=threads, slices=_SLICES, seed=seed)
    slices = found["slices"][_WARM:]
    third = len(slices) // 3

    def growth(name: str) -> float:
        first, last = slices[:third], slices[-third:]
        return float(np.median([s[name] for s in last]) / np.median([s[name] for s in first]))

    texts = sum(int(s["texts"]) for s in found["slices"])
    note = f"{threads} threads, {texts:,} texts alone"
    return [
        at_most("memory, last third by first", growth("rss"), 1.05, "x"),
        at_most("p99, last third by first", growth("p99"), 1.5, "x"),
        at_most(
            "errors and changed answers",
            found["wrong"],
            0,
            "",
            note,
        ),
    ], found
