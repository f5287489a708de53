"""What a service owner wants to know of a bundle: speed, memory, start, and answers under load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.inference import threads
from polyhead_bench import intra_op, throughput, traffic
from polyhead_bench.checks import Check, at_most
from polyhead_bench.errors import BenchError
from polyhead_bench.isolated import Note, measure

_STARTS = 7

Found = tuple[list[Check], dict[str, Any]]
Part = tuple[str, Callable[[], Found], Sequence[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        texts: in the ragged list.
        rounds: processes of each engine, two rounds in each.
        threads: that share an engine.
        calls: of each of them.
        alone: calls of one text; a tenth of them at each of the lengths of `intra_op`.
        many: texts after which memory is looked at the second time; a tenth of it the first.
        seed: of texts and bootstrap.
    """

    texts: int = 1500
    rounds: int = 6
    threads: int = 16
    calls: int = 20_000
    alone: int = 2000
    many: int = 10_000
    seed: int = 0


def parts(
    bundle: Path, sizes: Sizes, *, checkpoint: Path | None, cache: Path, note: Note
) -> Iterator[Part]:
    """Name in the figures, what measures it, and its rows should that fail.

    Args:
        bundle: folder of the bundle.
        sizes: how much.
        checkpoint: behind the bundle, for other graphs of its weights; None for none.
        cache: folder with Optimum's environment.
        note: told what is measured now.
    """
    race = partial(
        throughput.run,
        bundle,
        checkpoint,
        cache=cache,
        texts=sizes.texts,
        rounds=sizes.rounds,
        seed=sizes.seed,
        note=note,
    )
    yield "throughput", race, throughput.ROWS
    yield "concurrency", partial(_concurrency, bundle, sizes), [(n, "<= 0") for n in _CONCURRENT]
    yield "start", partial(_start, bundle, sizes), [(_STARTED, "<= 250 ms")]
    yield "memory", partial(_memory, bundle, sizes), [(_GROWTH, "<= 1.15 x")]
    yield "overhead", partial(_overhead, bundle, sizes), [(_OUTSIDE, "<= 80 µs")]
    alone = max(1, sizes.alone // 10)
    yield "intra_op", partial(intra_op.run, bundle, calls=alone, seed=sizes.seed), []
    yield "memory table", partial(_memory_table, bundle, sizes), []


_CONCURRENT = ("errors of threads that share an engine", "answers unlike a single thread's")
_STARTED = "start to first answer, fresh process"
_GROWTH = "memory after all texts by that after a tenth"
_OUTSIDE = "outside of onnxruntime, 16 tokens"


def _concurrency(bundle: Path, sizes: Sizes) -> Found:
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
        at_most(_CONCURRENT[0], found["errors"], 0, "", note),
        at_most(_CONCURRENT[1], found["different"], 0, "", note),
    ], found


def _start(bundle: Path, sizes: Sizes) -> Found:
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
    return [at_most(_STARTED, middle["answer"], 250, "ms", note)], {
        "median": middle,
        "runs": runs,
    }


def _memory(bundle: Path, sizes: Sizes) -> Found:
    few = max(1, sizes.many // 10)
    found = measure("memory", bundle, few=few, many=sizes.many, seed=sizes.seed)
    note = (
        f"{found['few']:.0f} MiB after {few:,} texts, {found['many']:.0f} after {sizes.many:,};"
        f" {found['loaded']:.0f} when loaded"
    )
    return [at_most(_GROWTH, found["many"] / found["few"], 1.15, "x", note)], found


def _overhead(bundle: Path, sizes: Sizes) -> Found:
    found = measure("overhead", bundle, tokens=16, calls=sizes.alone, seed=sizes.seed)
    parts = ", ".join(f"{p} {found[p]:.0f}" for p in ("tokenise", "run", "decode", "rest"))
    return [at_most(_OUTSIDE, found["outside"], 80, "µs", parts)], found


def _memory_table(bundle: Path, sizes: Sizes) -> Found:
    rows = []
    for batch_tokens in (64, 256, 1024, 4096):
        for count in _counts(threads.budget()):
            found = measure(
                "memory_by",
                bundle,
                batch_tokens=batch_tokens,
                threads=count,
                texts=sizes.texts,
                seed=sizes.seed,
            )
            rows.append({"batch_tokens": batch_tokens, "threads": count, "mib": found["mib"]})
    return [], {"rows": rows}


def _counts(budget: int) -> list[int]:
    """1, 2, 4 and so on, and all; an engine takes no more."""
    return sorted({2**power for power in range(budget.bit_length())} | {budget})


def memory_markdown(figures: dict[str, Any]) -> str:
    """The memory table in Markdown: a row a `batch_tokens`, a column a number of workers."""
    mib = {(r["batch_tokens"], r["threads"]): r["mib"] for r in figures["rows"]}
    counts = sorted({count for _, count in mib})
    header = ["`batch_tokens`", *(f"{n} worker{'s'[: n > 1]}" for n in counts)]
    rows = [
        [str(size), *(f"{mib[size, count]:.0f} MiB" for count in counts)]
        for size in sorted({size for size, _ in mib})
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))
