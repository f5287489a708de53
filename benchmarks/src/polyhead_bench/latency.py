"""One text at a time: the latency of a bundle against another engine.

One engine a process, equal threads, the same texts, tokenising and decoding inside the time, rounds
interleaved A-B-B-A, decisions compared before times are reported. Absolute times depend on the
machine; the ratio is what holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyhead.text.encoding import Input
from polyhead_bench import statistics
from polyhead_bench.agreement import agreement
from polyhead_bench.process import Worker


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One engine's milliseconds per text, over all rounds.

    Attributes:
        engine: its name.
        p50: median.
        p99: 99th percentile.
        same_decisions: share of texts and heads with the answer of the engine that the bundle is
            measured against, see `polyhead_bench.agreement`.
    """

    engine: str
    p50: float
    p99: float
    same_decisions: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two engines on the same texts.

    Attributes:
        engines: the bundle, then the other.
        speedup: the other's median time over the bundle's, the median of all rounds.
        interval: bootstrap 95% interval of `speedup` over rounds.
        texts: number of texts in a round.
        rounds: number of rounds of each engine.
        threads: threads that each engine might use.
    """

    engines: tuple[Latency, Latency]
    speedup: float
    interval: tuple[float, float]
    texts: int
    rounds: int
    threads: int


def compare(
    bundle: Path,
    other: tuple[str, Path],
    texts: Sequence[Input],
    *,
    threads: int,
    rounds: int,
    seed: int = 0,
) -> Comparison:
    """Measure a bundle against another engine.

    Args:
        bundle: folder of the bundle.
        other: name of the engine, and the folder of its model.
        texts: at least one; every round answers all of them.
        threads: that each engine may use.
        rounds: of each engine, at least 1; one more goes before, unmeasured.
        seed: of the bootstrap.

    Raises:
        BenchError: when an engine cannot be loaded or dies.
    """
    warm = {"warm_up": list(texts[:2])}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(name, folder, threads=threads, options=warm))
            for name, folder in (("polyhead-int8", bundle), other)
        ]
        answers = [w.ask("single", texts=list(texts), answers=True)["answers"] for w in workers]
        times: list[list[list[float]]] = [[], []]
        for turn in range(rounds):
            for index in (0, 1) if turn % 2 == 0 else (1, 0):
                times[index].append(workers[index].ask("single", texts=list(texts))["ms"])
    own, others = (np.array(t) for t in times)
    speedup = statistics.ratio(np.median(others, axis=1), np.median(own, axis=1), seed=seed)
    same = float(np.mean(list(agreement(*answers).values())))
    return Comparison(
        engines=(_latency("polyhead", own, same), _latency(other[0], others, 1.0)),
        speedup=speedup.value,
        interval=(speedup.low, speedup.high),
        texts=len(texts),
        rounds=rounds,
        threads=threads,
    )


def _latency(engine: str, times: NDArray[np.float64], same: float) -> Latency:
    p50, p99 = np.percentile(times, [50, 99])
    return Latency(engine=engine, p50=float(p50), p99=float(p99), same_decisions=same)
