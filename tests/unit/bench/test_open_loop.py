import threading
import time

import numpy as np
import pytest

from polyhead_bench import open_loop

SLOW_S = 0.05


def slow(text):
    """An engine whose own time is far above what a busy machine adds."""
    time.sleep(SLOW_S)


def test_an_open_loop_shows_the_queue_that_a_closed_loop_hides():
    count = 12
    closed = []
    for _ in range(count):
        start = time.perf_counter()
        slow("")
        closed.append(time.perf_counter() - start)
    found = open_loop.latencies(slow, [""] * count, [0.0] * count, callers=1)
    # All arrive at once: the last waits for all others. A sleep is never shorter than asked for.
    assert found[-1] >= 1e3 * count * SLOW_S
    assert found == sorted(found)
    assert found[-1] > 1e3 * np.median(closed) * 2


def test_a_late_answer_is_counted_from_the_scheduled_arrival():
    found = open_loop.latencies(slow, ["a", "b"], [0.0, 0.001], callers=1)
    assert found[1] >= 1e3 * (2 * SLOW_S - 0.001)


def test_callers_answer_at_the_same_time():
    both = threading.Barrier(2, timeout=30)  # breaks unless two are inside together
    assert len(open_loop.latencies(lambda _: both.wait(), ["a", "b"], [0, 0], callers=2)) == 2


def test_every_text_is_asked_once_in_order():
    asked = []
    open_loop.latencies(asked.append, list("abcd"), [0.0] * 4, callers=1)
    assert asked == list("abcd")


def test_an_error_of_the_engine_is_raised():
    def broken(text):
        raise ValueError(text)

    with pytest.raises(ValueError, match="a"):
        open_loop.latencies(broken, ["a", "b"], [0, 0], callers=2)


def test_nothing_to_ask_gives_nothing():
    assert open_loop.latencies(slow, [], [], callers=2) == []


def test_arrivals_are_a_poisson_process():
    found = np.array(open_loop.arrivals(20_000, rate=50, seed=0))
    gaps = np.diff(found)
    assert (gaps >= 0).all()
    assert np.mean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert np.std(gaps) == pytest.approx(1 / 50, rel=0.05)  # as the exponential's
    assert open_loop.arrivals(5, rate=50, seed=0) == open_loop.arrivals(5, rate=50, seed=0)
