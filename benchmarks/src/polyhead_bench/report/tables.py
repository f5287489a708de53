"""Results into the tables that reports show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyhead.cli import output
from polyhead_bench import metrics, statistics
from polyhead_bench.agreement import ALIKE
from polyhead_bench.metrics import agreement, best_schedule, round_times, speedups
from polyhead_bench.results import Results

_FLOAT = "polyhead-fp32"


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
    found = [
        *(make(results) for make in (_peers, _single, _offline)),
        *(_matrix(results, scenario) for scenario in _MATRICES),
        _heads(results),
        *(_figures(results, scenario) for scenario in _FIGURES),
        *(make(results) for make in (_memory, _profile)),
    ]
    return [table for table in found if table.rows]


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


def state(results: Results, name: str) -> str:
    """What is wrong with a peer, or would be faster, and heads that it does not answer."""
    found = troubles(results, name)
    answered = results.peers[name].get("agreement") or results.model["heads"]
    float_times = speedups(results, "single").get(_FLOAT)
    if name == results.baseline and float_times is not None and float_times.high < 1:
        found.append(
            f"int8 is slower than {_FLOAT} on this CPU: export with --also fp32 and load with"
            " precision='fp32'"
        )
    if without := [head for head in results.model["heads"] if head not in answered]:
        found.append(f"without heads: {', '.join(without)}")
    return "; ".join(found)


def _peers(results: Results) -> Table:
    rows = []
    for name, peer in results.peers.items():
        same = agreement(results, name)
        shown = "" if same is None else f"{same:.4f}"
        own = state(results, name) or "measured"
        rows.append((name, peer["about"], shown, str(peer.get("longer", "")), own))
    return Table(
        "Peers, and the share of answers that are the PyTorch model's",
        ("peer", "what it is", "same answers", "texts beyond its limit", "state"),
        tuple(rows),
    )


def _single(results: Results) -> Table:
    found = results.scenarios.get("single", {})
    ratios = {name: found.shown() for name, found in speedups(results, "single").items()}
    rows = []
    for name, row in found.items():
        p50, p90, p99 = np.percentile(np.concatenate(row["ms"]), [50, 90, 99])
        medians = [float(np.median(one)) for one in row["ms"]]
        same = agreement(results, name)
        rows.append(
            (
                *(name, f"{p50:.2f}", f"{p90:.2f}", f"{p99:.2f}"),
                ratios.get(name, ""),
                "" if same is None else f"{same:.4f}",
                f"{100 * statistics.spread(medians):.0f}%",
            )
        )
    return Table(
        f"One text at a time, ms; times are over {results.baseline}'s, 95% interval",
        ("peer", "p50", "p90", "p99", "times", "same answers", "noise"),
        tuple(rows),
    )


def _offline(results: Results) -> Table:
    found = results.scenarios.get("offline", {})
    texts, tokens = results.texts["count"], sum(results.texts["tokens"])
    own = round_times(results, "offline").get(results.baseline)
    rows = []
    for name, row in found.items():
        best = best_schedule(row) if row["seconds"] else ""
        for schedule, seconds in row["seconds"].items():
            middle = float(np.median(seconds))
            ratio = metrics.ratio(seconds, own or [])
            times = ratio.shown() if ratio else ""
            same = row.get("same", {}).get(schedule)
            rows.append(
                (
                    *(name, schedule + " (best)" * (schedule == best)),
                    *(f"{texts / middle:,.0f}", f"{tokens / middle:,.0f}", times),
                    "" if same is None else f"{same:.4f}",
                )
            )
    return Table(
        f"All texts at once; times are over {results.baseline}'s at its best schedule",
        ("peer", "schedule", "texts/s", "tokens/s", "times", "same answers"),
        tuple(rows),
    )


def _matrix(results: Results, scenario: str) -> Table:
    """A row a peer and a column a length or shape: ms, and over the baseline's where it has one."""
    found = results.scenarios.get(scenario, {})
    keys = list(dict.fromkeys(key for row in found.values() for key in row["ms"]))

    def cell(name: str, key: str) -> str:
        own = metrics.rounds(results, scenario, name, key)
        times = metrics.ratio(own, metrics.rounds(results, scenario, results.baseline, key))
        middle = f"{np.median(own):.2f}" if own else ""
        return f"{middle}; {times.value:.2f}x" if times else middle

    title, word = _MATRICES[scenario]
    rows = tuple((name, *(cell(name, key) for key in keys)) for name in found)
    header = ("peer", *(f"{key} {word}".strip() for key in keys))
    return Table(f"{title}, ms, and over {results.baseline}'s", header, rows)


def _figures(results: Results, scenario: str) -> Table:
    """A row a peer and a column a figure: the median over rounds, with its interval."""
    title, columns = _FIGURES[scenario]

    def cell(name: str, metric: str, unit: float, form: str) -> str:
        own = [value / unit for value in metrics.rounds(results, scenario, name, metric)]
        if len(own) < 2:
            return f"{own[0]:{form}}" if own else ""
        return statistics.median(own).shown(form)

    rows = tuple(
        (name, *(cell(name, *column[1:]) for column in columns))
        for name in results.scenarios.get(scenario, {})
    )
    header = ("peer", *(column[0] for column in columns))
    return Table(title.format(bound=results.bound_ms), header, rows)


def _heads(results: Results) -> Table:
    """Numbers of heads that have no times have a row that says why."""
    rows = []
    for name, row in results.scenarios.get("heads", {}).items():
        first = row["ms"].get("1", [])
        for count, times in row["ms"].items():
            ratio = metrics.ratio(times, first)
            rows.append((name, count, f"{np.median(times):.2f}", ratio.shown() if ratio else ""))
        rows += [
            (name, count, "-", f"not measured: {reason}")
            for count, reason in row.get("faults", {}).items()
            if count not in row["ms"]
        ]
    return Table(
        "What more heads cost, one text at a time, ms; times are over one head's",
        ("peer", "heads", "p50", "times"),
        tuple(rows),
    )


def _profile(results: Results) -> Table:
    rows = []
    for name, lengths in results.scenarios.get("profile", {}).items():
        for tokens, samples in lengths.items():
            parts = {part: float(np.median(times)) for part, times in samples.items()}
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


def _memory(results: Results) -> Table:
    rows = [
        (name, size, threads, f"{rss / _MIB:,.0f}")
        for name, row in results.scenarios.get("memory", {}).items()
        for size, by_threads in row.get("by_settings", {}).items()
        for threads, rss in by_threads.items()
    ]
    header = ("peer", "`batch_tokens`", "threads", "MiB")
    return Table("Resident memory after all texts at once, by settings", header, tuple(rows))


def as_markdown(table: Table) -> str:
    """A table in Markdown, without its title."""
    return output.markdown_table(table.header, table.rows)


_MIB = 2**20
_MATRICES: Mapping[str, tuple[str, str]] = {
    "lengths": ("One text at a time by its length", "tokens"),
    "shapes": ("The graph alone, texts x tokens", ""),
}
"""By scenario: title, and the unit of a column."""

_FIGURES: Mapping[str, tuple[str, Sequence[tuple[str, str, float, str]]]] = {
    "server": (
        "Open loop, Poisson arrivals: highest rate with p99 under {bound:g} ms",
        (("texts/s", "rate", 1, ",.0f"), ("texts/s in a closed loop", "capacity", 1, ",.0f")),
    ),
    "startup": (
        "From the start of a process to its first answer; memory and disk in MiB",
        (
            ("first answer ms", "first_ms", 1, ",.0f"),
            ("without the interpreter ms", "answered_ms", 1, ",.0f"),
            ("memory", "rss", _MIB, ",.0f"),
            ("disk", "disk", _MIB, ",.0f"),
        ),
    ),
    "memory": (
        "Resident memory as texts come, MiB",
        (
            ("loaded", "loaded", _MIB, ",.0f"),
            ("after a tenth", "few", _MIB, ",.0f"),
            ("after all", "many", _MIB, ",.0f"),
        ),
    ),
    "concurrency": (
        "Threads that share an engine",
        (
            ("calls", "calls", 1, ",.0f"),
            ("errors", "errors", 1, ",.0f"),
            ("answers unlike a lone caller's", "different", 1, ",.0f"),
            ("s", "seconds", 1, ",.1f"),
        ),
    ),
    "soak": (
        "Under load for a long time: the last third over the first",
        (
            ("memory", "memory", 1, ".3f"),
            ("p99", "p99", 1, ".3f"),
            ("errors and changed answers", "wrong", 1, ".0f"),
        ),
    ),
}
"""By scenario: title, and for each column header, metric, divisor and format."""
