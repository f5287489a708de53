import threading
import time

import numpy as np
import pytest

from polyhead_bench.harness import open_loop

SLOW = 0.05


def test_arrivals_are_a_poisson_process_of_the_rate():
    found = np.array(open_loop.arrivals(20_000, rate=250, seed=1))
    gaps = np.diff(found)
    assert (gaps > 0).all()
    assert np.mean(gaps) == pytest.approx(1 / 250, rel=0.05)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.05)  # as exponential gaps have


def test_arrivals_are_reproducible():
    assert open_loop.arrivals(5, rate=9, seed=2) == open_loop.arrivals(5, rate=9, seed=2)
    assert open_loop.arrivals(5, rate=9, seed=2) != open_loop.arrivals(5, rate=9, seed=3)


def test_the_queue_that_a_closed_loop_hides_is_in_the_latencies():
    """Ten requests at once for an engine that takes 50 ms: the last has waited for all others."""

    def answer(text):
        time.sleep(SLOW)

    start = time.perf_counter()
    for _ in range(10):
        answer("x")
    closed = (time.perf_counter() - start) / 10 * 1e3
    found = open_loop.latencies(answer, ["x"] * 10, [0.0] * 10, callers=1)
    assert found == sorted(found)
    assert found[-1] >= 10 * SLOW * 1e3
    assert found[-1] > 5 * closed


def test_an_engine_that_keeps_up_has_no_queue():
    gaps = [4 * SLOW * i for i in range(4)]
    found = open_loop.latencies(lambda _: None, ["x"] * 4, gaps, callers=1)
    assert max(found) < SLOW * 1e3


def test_no_request_starts_before_it_arrives():
    started, begin = [], time.perf_counter()
    open_loop.latencies(
        lambda _: started.append(time.perf_counter() - begin), ["x"] * 3, [0.0, 0.1, 0.2], callers=2
    )
    assert all(moment >= due for moment, due in zip(started, [0.0, 0.1, 0.2], strict=True))


def test_callers_answer_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    open_loop.latencies(lambda _: both.wait(), ["a", "b"], [0.0, 0.0], callers=2)


def test_latencies_stand_in_the_order_of_arrival():
    found = open_loop.latencies(
        lambda text: time.sleep(text), [4 * SLOW, 0.0], [0.0, 0.0], callers=2
    )
    assert found[0] > found[1]


def test_an_error_of_the_engine_ends_the_run():
    def answer(text):
        raise ValueError(text)

    with pytest.raises(ValueError, match="late"):
        open_loop.latencies(answer, ["late"] * 5, [0.0] * 5, callers=2)
