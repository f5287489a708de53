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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.tokenizing import Input
from polyhead_bench.process import Worker

_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One engine's milliseconds per text, over all rounds.

    Attributes:
        engine: its name.
        p50: median.
        p99: 99th percentile.
        same_decisions: share of texts and heads with the decision of the engine that the bundle is
            measured against.
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
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(name, folder, threads=threads))
            for name, folder in (("polyhead", bundle), other)
        ]
        decisions = [worker.answer(list(texts))[1] for worker in workers]
        times: list[list[list[float]]] = [[], []]
        for turn in range(rounds):
            for index in (0, 1) if turn % 2 == 0 else (1, 0):
                times[index].append(workers[index].answer(list(texts))[0])
    own, others = (np.array(t) for t in times)
    ratios = np.median(others, axis=1) / np.median(own, axis=1)
    return Comparison(
        engines=(
            _latency("polyhead", own, _agreement(decisions[0], decisions[1])),
            _latency(other[0], others, 1.0),
        ),
        speedup=float(np.median(ratios)),
        interval=interval(ratios, seed),
        texts=len(texts),
        rounds=rounds,
        threads=threads,
    )


def _latency(engine: str, times: NDArray[np.float64], same: float) -> Latency:
    p50, p99 = np.percentile(times, [50, 99])
    return Latency(engine=engine, p50=float(p50), p99=float(p99), same_decisions=same)


def _agreement(a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]]) -> float:
    same = [x[head] == y[head] for x, y in zip(a, b, strict=True) for head in x]
    return float(np.mean(same))


def interval(ratios: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Bootstrap 95% interval of the median of `ratios` `(rounds,)`."""
    random = np.random.default_rng(seed)
    draws = random.choice(ratios, size=(_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)
