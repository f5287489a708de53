"""What a service owner wants to know of a bundle: speed, memory, start, and answers under load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyhead import threads
from polyhead_bench import padded, statistics, traffic
from polyhead_bench.checks import Check, at_most, ratio
from polyhead_bench.errors import BenchError
from polyhead_bench.isolated import Note, measure

_STARTS = 7


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        texts: in the ragged list.
        rounds: processes of each engine, two rounds in each.
        threads: that share an engine.
        calls: of each of them.
        seed: of texts and bootstrap.
    """

    texts: int = 1500
    rounds: int = 6
    threads: int = 16
    calls: int = 20_000
    seed: int = 0


def run(bundle: Path, sizes: Sizes, note: Note) -> tuple[list[Check], dict[str, Any]]:
    """Measure everything.

    Args:
        bundle: folder of the bundle.
        sizes: how much.
        note: told what is measured now.

    Returns:
        The checks, and all figures by name.
    """
    parts: dict[str, Callable[[Path, Sizes], tuple[list[Check], Any]]] = {
        "throughput": _throughput,
        "concurrency": _concurrency,
        "start": _start,
        "memory": _memory,
        "overhead": _overhead,
        "memory table": _memory_table,
    }
    checks: list[Check] = []
    figures: dict[str, Any] = {}
    for name, part in parts.items():
        note(f"measuring: {name}")
        found, figures[name] = part(bundle, sizes)
        checks += found
    return checks, figures


def _throughput(bundle: Path, sizes: Sizes) -> tuple[list[Check], Any]:
    limit = 1.2
    layouts = ["exact", *padded.SCHEDULES]
    if padded.graph(bundle) is None:
        layouts = ["exact"]
    rates: dict[str, list[float]] = {layout: [] for layout in layouts}
    decisions: dict[str, list[str]] = {}
    for turn in range(sizes.rounds):
        for layout in layouts if turn % 2 == 0 else reversed(layouts):
            found = measure(
                "throughput", bundle, texts=sizes.texts, rounds=2, seed=sizes.seed, layout=layout
            )
            rates[layout] += found["texts_per_s"]
            decisions[layout] = found["decisions"]
    own = np.array(rates["exact"])
    name, figures = "texts/s, ragged list, against padded", {"texts_per_s": rates}
    if len(layouts) == 1:
        why = "the bundle has no padded graph in the precision of its exact one"
        return [Check(name=name, found=None, limit=f">= {limit}x", passed=None, note=why)], figures
    best = max(padded.SCHEDULES, key=lambda layout: float(np.median(rates[layout])))
    same = np.mean([a == b for a, b in zip(decisions["exact"], decisions[best], strict=True)])
    faster = statistics.median(own / np.array(rates[best]), seed=sizes.seed)
    note = f"{np.median(own):.0f} texts/s, padded: {best}, {same:.1%} same decisions"
    return [ratio(name, faster, limit, note)], {
        **figures,
        "same_decisions": float(same),
    }


def _concurrency(bundle: Path, sizes: Sizes) -> tuple[list[Check], Any]:
    found = measure(
        "concurrency",
        bundle,
        threads=sizes.threads,
        calls=sizes.calls,
        texts=500,
        seed=sizes.seed,
    )
    note = f"{sizes.threads} threads, {found['calls']:,} calls"
    return [
        at_most("errors of threads that share an engine", found["errors"], 0, "", note),
        at_most("answers unlike a single thread's", found["different"], 0, "", note),
    ], found


def _start(bundle: Path, sizes: Sizes) -> tuple[list[Check], Any]:
    (text,) = traffic.texts(bundle, [16], sizes.seed)
    command = [sys.executable, "-m", "polyhead_bench.start", str(bundle), text]
    runs = []
    for _ in range(_STARTS):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the start failed: {done.stderr.strip().splitlines()[-1:]}")
        runs.append(json.loads(done.stdout))
    middle = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
    note = f"import {middle['import']:.0f}, then load until {middle['load']:.0f}"
    return [at_most("start to first answer, fresh process", middle["answer"], 250, "ms", note)], {
        "median": middle,
        "runs": runs,
    }


def _memory(bundle: Path, sizes: Sizes) -> tuple[list[Check], Any]:
    found = measure("memory", bundle, few=1000, many=10_000, seed=sizes.seed)
    note = f"{found['few']:.0f} and {found['many']:.0f} MiB; {found['loaded']:.0f} when loaded"
    name = "memory after 10,000 texts by that after 1,000"
    return [at_most(name, found["many"] / found["few"], 1.15, "x", note)], found


def _overhead(bundle: Path, sizes: Sizes) -> tuple[list[Check], Any]:
    found = measure("overhead", bundle, tokens=16, calls=2000, seed=sizes.seed)
    parts = ", ".join(f"{p} {found[p]:.0f}" for p in ("tokenise", "run", "decode", "rest"))
    return [at_most("outside of onnxruntime, 16 tokens", found["outside"], 80, "µs", parts)], found


def _memory_table(bundle: Path, sizes: Sizes) -> tuple[list[Check], Any]:
    counts = sorted({1, threads.budget(), 2 * threads.budget()} & set(range(threads.budget() + 1)))
    rows = []
    for batch_tokens in (64, 256, 1024, 4096):
        for count in counts:
            found = measure(
                "memory_by",
                bundle,
                batch_tokens=batch_tokens,
                threads=count,
                texts=sizes.texts,
                seed=sizes.seed,
            )
            rows.append({"batch_tokens": batch_tokens, "threads": count, "mib": found["mib"]})
    return [], rows


def memory_rows(figures: Sequence[dict[str, Any]]) -> list[list[object]]:
    """The memory table's cells: one row a `batch_tokens`, one column a number of threads."""
    counts = sorted({row["threads"] for row in figures})
    rows: list[list[object]] = []
    for batch_tokens in sorted({row["batch_tokens"] for row in figures}):
        found = {r["threads"]: r["mib"] for r in figures if r["batch_tokens"] == batch_tokens}
        rows.append([batch_tokens, *(round(found[count]) for count in counts)])
    return rows
