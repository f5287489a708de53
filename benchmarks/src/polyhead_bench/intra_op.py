"""Is a lone text answered sooner when threads share it? See `polyhead.inference.threads`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import read
from polyhead.inference import threads
from polyhead_bench import statistics
from polyhead_bench.checks import Check, unlimited
from polyhead_bench.isolated import measure

TOKENS = (8, 16, 32, 48, 64, 96, 128, 192, 256)
_NAME = "threads for a lone text"


def run(bundle: Path, *, calls: int, seed: int) -> tuple[list[Check], dict[str, Any]]:
    """Compare one thread with the whole budget at each length that the bundle reads.

    Args:
        bundle: folder of the bundle.
        calls: of each at each length.
        seed: of the texts.
    """
    budget = threads.budget()
    if budget == 1:
        return [unlimited(_NAME, "1", "there is but one core")], {}
    most = read(bundle).manifest.encoder.max_tokens
    tokens = [count for count in TOKENS if count <= most]
    found = measure("intra_op", bundle, tokens=tokens, calls=calls, threads=budget, seed=seed)
    told = f"WIDE_FROM is {threads.WIDE_FROM}"
    return [unlimited(_NAME, rule(found, seed), told)], found


def rule(figures: dict[str, Any], seed: int = 0) -> str:
    """What `polyhead.inference.threads.WIDE_FROM` should follow, for people.

    All threads are worth it from a length on if their time is shorter, by the whole 95% interval,
    there and at all greater lengths.
    """
    first = None
    for tokens, ms in sorted(figures["ms"].items(), key=lambda item: -int(item[0])):
        if statistics.ratio(ms["all"], ms["one"], seed=seed).high >= 1:
            break
        first = tokens
    shortest = min(figures["ms"], key=int)
    if first is None:
        return "1"
    return f"{figures['threads']}" if first == shortest else f"1, from {first} tokens on all"


def rows(figures: dict[str, Any]) -> list[list[object]]:
    """Tokens, ms with one thread and with several, and their ratio with its interval."""
    found: list[list[object]] = []
    for tokens, ms in figures.get("ms", {}).items():
        share = statistics.ratio(ms["all"], ms["one"])
        middle = (f"{np.median(ms[name]):.2f}" for name in ("one", "all"))
        found.append([tokens, *middle, f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"])
    return found
