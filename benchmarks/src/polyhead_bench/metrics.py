"""One number a round, of any scenario: what tables, comparisons and limits read of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from polyhead_bench import statistics
from polyhead_bench.results import Results
from polyhead_bench.statistics import Interval


def rounds(results: Results, scenario: str, peer: str, metric: str = "") -> list[float]:
    """A figure of each round of one peer; empty where it was not measured.

    Args:
        results: of a run.
        scenario: its name; ``"agreement"`` for the share of answers like the PyTorch model's.
        peer: its name.
        metric: of the scenario. ``single`` (ms of the median text) and ``offline`` (seconds under
            the best schedule) have no other. ``lengths``, ``shapes`` and ``heads``: ms, by tokens,
            shape or number of heads; ``heads`` has ``rss/2`` and ``disk/2`` in bytes, too.
            ``profile``: ``outside/16`` and so on, µs outside the graph. ``memory``: ``growth``.
            ``soak``: ``memory`` and ``p99``, the last third over the first, and ``wrong`` calls.
            ``server``: ``rate``. Others: a key of the peer's row.
    """
    if scenario == "agreement":
        shares = results.peers.get(peer, {}).get("agreement", {})
        return [shares[metric]] if metric in shares else []
    row = results.scenarios.get(scenario, {}).get(peer)
    if not row:
        return []
    read = _READERS.get(scenario, _plain)
    return [float(value) for value in read(row, metric)]


def round_times(results: Results, scenario: str) -> dict[str, list[float]]:
    """By peer that was measured, `rounds` of ``single`` or ``offline``."""
    found = {name: rounds(results, scenario, name) for name in results.scenarios.get(scenario, {})}
    return {name: own for name, own in found.items() if own}


def ratio(other: Sequence[float], own: Sequence[float]) -> Interval | None:
    """How many times `other` is `own`, over the rounds that both have; None without any."""
    count = min(len(other), len(own))
    return statistics.ratio(other[:count], own[:count]) if count else None


def speedups(results: Results, scenario: str) -> dict[str, Interval]:
    """By peer: its time over the baseline's, of interleaved rounds; above 1 the baseline is faster.

    Args:
        results: of a run.
        scenario: ``"single"`` (medians of each round) or ``"offline"`` (each peer's best schedule).
    """
    times = round_times(results, scenario)
    own = times.get(results.baseline, [])
    found = {name: ratio(other, own) for name, other in times.items()}
    return {name: times for name, times in found.items() if times is not None}


def best_schedule(row: Mapping[str, Any]) -> str:
    """The schedule with the shortest median time."""
    seconds = row["seconds"]
    best: str = min(seconds, key=lambda name: float(np.median(seconds[name])))
    return best


def agreement(results: Results, name: str) -> float | None:
    """Share of answers like the PyTorch model's, over all heads; None where it was not asked."""
    shares = list(results.peers[name].get("agreement", {}).values())
    return float(np.mean(shares)) if shares else None


def _plain(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    value = row.get(metric, [])
    return value if isinstance(value, list) else [value]


def _single(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    return [np.median(times) for times in row["ms"]]


def _offline(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    found: Sequence[Any] = row["seconds"][best_schedule(row)] if row.get("seconds") else []
    return found


def _by_key(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    """``16`` is of the ms, ``rss/16`` of another table of the row."""
    table, _, key = metric.rpartition("/")
    return _plain(row.get(table or "ms", {}), key)


def _profile(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    part, _, tokens = metric.rpartition("/")
    parts = row.get(tokens, {})
    outside = ("tokenise", "decode")
    names = outside if part == "outside" else (part,)
    if not all(name in parts for name in names):
        return []
    return [1e3 * sum(one) for one in zip(*(parts[name] for name in names), strict=True)]


def _memory(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    return [row["many"] / row["few"]] if metric == "growth" else _plain(row, metric)


def _soak(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    """The first slice is left out: it pays for what grows once, such as arenas."""
    if metric == "wrong":
        return [sum(one["errors"] + one["different"] for one in row["slices"])]
    key = {"memory": "rss"}.get(metric, metric)
    values = [one[key] for one in row["slices"][1:] if one[key] is not None]
    third = len(values) // 3
    return [np.median(values[-third:]) / np.median(values[:third])] if third else []


def _server(row: Mapping[str, Any], metric: str) -> Sequence[Any]:
    return row.get("rates", [row["rate"]]) if metric == "rate" else _plain(row, metric)


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Sequence[Any]]] = {
    "single": _single,
    "offline": _offline,
    "lengths": _by_key,
    "shapes": _by_key,
    "heads": _by_key,
    "profile": _profile,
    "memory": _memory,
    "soak": _soak,
    "server": _server,
}
