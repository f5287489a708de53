"""Open loop: requests arrive by a clock, and each is timed from when it should have started.

A closed loop waits for an answer before it asks again, and so hides the queue that a slow answer
makes: "coordinated omission". MLPerf's LoadGen (Reddi et al. 2020, section 4.1, "server") and wrk2
time from the scheduled arrival, as here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def arrivals(count: int, *, rate: float, seed: int) -> list[float]:
    """Seconds from the start at which `count` requests arrive, as a Poisson process of `rate`/s."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    return [float(second) for second in np.cumsum(gaps)]


def latencies(
    answer: Callable[[Any], object],
    texts: Sequence[Any],
    arrivals: Sequence[float],
    *,
    callers: int,
) -> list[float]:
    """Milliseconds from each request's scheduled arrival to its answer, in order of arrival.

    Args:
        answer: the engine; called from `callers` threads.
        texts: one a request.
        arrivals: seconds from the start, ascending; as many as `texts`.
        callers: threads that take requests, first come, first served.

    Raises:
        Exception: the first that `answer` raised; the other requests are dropped.
    """
    found = [0.0] * len(texts)
    errors: list[Exception] = []
    lock = threading.Lock()
    waiting = iter(range(len(texts)))
    start = time.perf_counter()

    def serve() -> None:
        while not errors:
            with lock:
                index = next(waiting, None)
            if index is None:
                return
            due = start + arrivals[index]
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            try:
                answer(texts[index])
            except Exception as problem:
                errors.append(problem)
                return
            found[index] = (time.perf_counter() - due) * 1e3

    threads = [threading.Thread(target=serve) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
