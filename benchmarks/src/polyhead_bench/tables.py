"""Results into the tables that reports show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyhead_bench import statistics
from polyhead_bench.agreement import ALIKE
from polyhead_bench.results import Results
from polyhead_bench.statistics import Interval


@dataclass(frozen=True)
class Table:
    """A table with its title.

    Attributes:
        title: what it shows, with units.
        header: a word a column.
        rows: cells as text.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(results: Results) -> list[Table]:
    """All that the results have figures for, in a reader's order."""
    makers = (_peers, _single, _offline, _server, _heads, _startup, _profile)
    return [table for make in makers if (table := make(results)) is not None and table.rows]


def speedups(results: Results, scenario: str) -> dict[str, Interval]:
    """By peer: its time over the baseline's, of interleaved rounds; above 1 the baseline is faster.

    Args:
        results: of a run.
        scenario: ``"single"`` (medians of each round) or ``"offline"`` (each peer's best schedule).
    """
    times = round_times(results, scenario)
    own = times.get(results.baseline)
    if own is None:
        return {}
    return {
        name: statistics.ratio(other[: len(own)], own[: len(other)])
        for name, other in times.items()
    }


def round_times(results: Results, scenario: str) -> dict[str, list[float]]:
    """By peer, one figure a round: ms of the median text, or seconds of the best schedule."""
    found = results.scenarios.get(scenario, {})
    if scenario == "single":
        return {name: [float(np.median(one)) for one in row["ms"]] for name, row in found.items()}
    return {n: row["seconds"][best_schedule(row)] for n, row in found.items() if row["seconds"]}


def best_schedule(row: Mapping[str, Any]) -> str:
    """The schedule with the shortest median time."""
    seconds = row["seconds"]
    best: str = min(seconds, key=lambda name: float(np.median(seconds[name])))
    return best


def agreement(results: Results, name: str) -> float | None:
    """Share of answers like the PyTorch model's, over all heads; None where it was not asked."""
    shares = list(results.peers[name].get("agreement", {}).values())
    return float(np.mean(shares)) if shares else None


def medians(parts: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median ms of each part of an answer."""
    return {part: float(np.median(times)) for part, times in parts.items()}


def troubles(results: Results, name: str) -> list[str]:
    """What is wrong with a peer, for people; empty for one that was measured and answers right."""
    peer = results.peers[name]
    found = [peer["fault"]] if peer.get("fault") else []
    same = agreement(results, name)
    if same is not None and same < ALIKE:
        found.append(f"other answers: {same:.2f} the same")
    schedules = results.scenarios.get("offline", {}).get(name, {}).get("same", {})
    return found + [
        f"other answers in lists, {schedule}: {share:.2f} the same"
        for schedule, share in schedules.items()
        if share < ALIKE
    ]


def accuracy(results: Results, name: str) -> float | None:
    """Share of labels that are right, over all heads; None where the right ones are not known."""
    shares = list(results.peers[name].get("accuracy", {}).values())
    return float(np.mean(shares)) if shares else None


def _peers(results: Results) -> Table:
    rows = []
    for name, peer in results.peers.items():
        same = agreement(results, name)
        state = "; ".join(troubles(results, name)) or "measured"
        answered = peer.get("agreement") or results.model["heads"]
        if without := [head for head in results.model["heads"] if head not in answered]:
            state += f"; without heads: {', '.join(without)}"
        shown = "" if same is None else f"{same:.4f}"
        right = accuracy(results, name)
        rows.append(
            (
                *(name, peer["about"], shown, "" if right is None else f"{right:.4f}"),
                *(str(peer.get("longer", "")), state),
            )
        )
    return Table(
        "Peers, and the share of answers that are the PyTorch model's",
        ("peer", "what it is", "same answers", "accuracy", "texts beyond its limit", "state"),
        tuple(rows),
    )


def _single(results: Results) -> Table | None:
    found = results.scenarios.get("single", {})
    ratios = speedups(results, "single")
    rows = []
    for name, row in found.items():
        p50, p90, p99 = np.percentile(np.concatenate(row["ms"]), [50, 90, 99])
        medians = [float(np.median(one)) for one in row["ms"]]
        rows.append(
            (
                *(name, f"{p50:.2f}", f"{p90:.2f}", f"{p99:.2f}"),
                _shown(ratios.get(name)),
                f"{100 * statistics.spread(medians):.0f}%",
            )
        )
    return Table(
        f"One text at a time, ms; times are over {results.baseline}'s, 95% interval",
        ("peer", "p50", "p90", "p99", "times", "noise"),
        tuple(rows),
    )


def _offline(results: Results) -> Table | None:
    found = results.scenarios.get("offline", {})
    texts, tokens = results.texts["count"], sum(results.texts["tokens"])
    own = round_times(results, "offline").get(results.baseline)
    rows = []
    for name, row in found.items():
        best = best_schedule(row) if row["seconds"] else ""
        for schedule, seconds in row["seconds"].items():
            middle = float(np.median(seconds))
            times = statistics.ratio(seconds[: len(own)], own[: len(seconds)]) if own else None
            same = row.get("same", {}).get(schedule)
            rows.append(
                (
                    *(name, schedule + " (best)" * (schedule == best)),
                    *(f"{texts / middle:,.0f}", f"{tokens / middle:,.0f}", _shown(times)),
                    "" if same is None else f"{same:.4f}",
                )
            )
    return Table(
        f"All texts at once; times are over {results.baseline}'s at its best schedule",
        ("peer", "schedule", "texts/s", "tokens/s", "times", "same answers"),
        tuple(rows),
    )


def _server(results: Results) -> Table | None:
    rows = [
        (name, f"{row['rate']:,.0f}", f"{row['points'][0]['p99']:.1f}")
        for name, row in results.scenarios.get("server", {}).items()
    ]
    return Table(
        f"Texts that arrive by themselves: highest rate with p99 under {results.bound_ms:g} ms",
        ("peer", "texts/s", "p99 ms at the lowest rate"),
        tuple(rows),
    )


def _heads(results: Results) -> Table | None:
    rows = []
    for name, row in results.scenarios.get("heads", {}).items():
        first = row["ms"].get("1", [])
        for count, times in row["ms"].items():
            rounds = min(len(first), len(times))
            cost = statistics.ratio(times[:rounds], first[:rounds]) if rounds else None
            rows.append((name, count, f"{np.median(times):.2f}", _shown(cost)))
    return Table(
        "What more heads cost, one text at a time, ms; times are over one head's",
        ("peer", "heads", "p50", "times"),
        tuple(rows),
    )


def _startup(results: Results) -> Table | None:
    def peak(name: str) -> str:
        memory = results.peers[name].get("memory")
        return f"{memory['peak'] / 2**20:,.0f}" if memory else ""

    rows = [
        (
            name,
            f"{np.median(row['first_ms']):,.0f}",
            f"{np.median(row['rss']) / 2**20:,.0f}",
            peak(name),
            f"{row['disk'] / 2**20:,.0f}",
        )
        for name, row in results.scenarios.get("startup", {}).items()
    ]
    return Table(
        "From the start of a process to its first answer; memory and disk in MiB",
        ("peer", "first answer ms", "memory", "peak after the run", "disk"),
        tuple(rows),
    )


def _profile(results: Results) -> Table | None:
    rows = []
    for name, lengths in results.scenarios.get("profile", {}).items():
        for tokens, samples in lengths.items():
            parts = medians(samples)
            total = sum(parts.values())
            outside = total - parts["run"]
            rows.append(
                (
                    *(name, tokens),
                    *(f"{1e3 * parts[part]:,.0f}" for part in ("tokenise", "run", "decode")),
                    f"{100 * outside / total:.0f}%",
                )
            )
    return Table(
        "Where the time of one text goes, µs",
        ("peer", "tokens", "tokenise", "graph", "decode and schedule", "outside the graph"),
        tuple(rows),
    )


def _shown(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def as_markdown(table: Table) -> str:
    """A table in Markdown, without its title."""
    return "\n".join(
        [_line(table.header), _line(["---"] * len(table.header)), *map(_line, table.rows)]
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
