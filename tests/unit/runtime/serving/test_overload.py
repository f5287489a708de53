"""More requests than can be answered: the capacity goes to those that can be answered in time."""

import asyncio
import random
from collections import Counter

import pytest

from polyhead import DeadlineExceeded, QueueFull
from polyhead.serving.pace import Pace


class Arrivals:
    """An open loop: requests come whatever becomes of the others.

    `ended` are the time of arrival, the outcome and the seconds until then, of each.
    """

    def __init__(self, rate, seconds, text=lambda n: f"text {n}", seed=1):
        self._rate, self._seconds, self._text = rate, seconds, text
        self._random = random.Random(seed)
        self.ended = []

    async def __call__(self, batcher):
        loop, tasks = asyncio.get_running_loop(), []
        while loop.time() < self._seconds:
            tasks.append(asyncio.ensure_future(self._one(batcher, len(tasks))))
            rate = self._rate(loop.time()) if callable(self._rate) else self._rate
            await asyncio.sleep(self._random.expovariate(rate))
        await asyncio.gather(*tasks)
        return self

    async def _one(self, batcher, number):
        arrived = asyncio.get_running_loop().time()
        try:
            await batcher.predict(self._text(number))
            outcome = "answered"
        except (QueueFull, DeadlineExceeded) as problem:
            outcome = type(problem).__name__
        self.ended.append((arrived, outcome, asyncio.get_running_loop().time() - arrived))

    def count(self, since=0.0):
        """Outcomes of those that came since then."""
        return Counter(outcome for arrived, outcome, _ in self.ended if arrived >= since)


@pytest.fixture
def arrive(simulate):
    def arrive(engine, arrivals, **settings):
        return simulate(engine, arrivals, **{"deadline_ms": 500, **settings})

    return arrive


@pytest.mark.parametrize("max_batch", [8, 64])
@pytest.mark.parametrize(
    ("load", "threads"), [(0.9, 2), (1.2, 2), (3, 2), (20, 2), (0.9, 8), (3, 8)]
)
def test_overload_keeps_the_capacity(arrive, stand_in, load, threads, max_batch):
    capacity, seconds = threads * 100, 3
    engine = stand_in(threads=threads)
    found = arrive(engine, Arrivals(load * capacity, seconds), max_batch=max_batch).count()
    assert found["answered"] >= 0.95 * min(1, load) * capacity * seconds
    assert found["DeadlineExceeded"] <= 0.02 * capacity * seconds
    assert len(engine.computed) <= 1.02 * found["answered"]  # nothing in vain
    if load < 1:
        assert found["QueueFull"] == 0


@pytest.mark.parametrize("deadline_ms", [60, 200, 5000])
def test_it_holds_for_other_deadlines(arrive, stand_in, deadline_ms):
    found = arrive(stand_in(), Arrivals(600, 5), deadline_ms=deadline_ms)
    assert found.count()["answered"] >= 0.9 * 200 * 5
    answered = [seconds for _, outcome, seconds in found.ended if outcome == "answered"]
    assert max(answered) <= deadline_ms / 1e3


def test_who_cannot_be_answered_in_time_hears_it_and_how_long_it_would_take(simulate, stand_in):
    async def scenario(batcher):
        await batcher.predict("measured")
        tasks = [asyncio.ensure_future(batcher.predict(f"text {n}")) for n in range(80)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="too near to deadline_ms=500") as refused:
            await batcher.predict("one more")
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return refused.value, sum(isinstance(each, QueueFull) for each in found)

    refused, others = simulate(stand_in(), scenario, deadline_ms=500)
    assert refused.expected_wait_s == pytest.approx(0.4, rel=0.05)
    assert others < 5  # 80 texts of 10 ms on two threads are 400 ms


def test_a_full_queue_says_how_long_it_would_take(simulate, stand_in):
    async def scenario(batcher):
        await batcher.predict("measured")
        tasks = [asyncio.ensure_future(batcher.predict(f"text {n}")) for n in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="max_queue") as refused:
            await batcher.predict("one more")
        await asyncio.gather(*tasks)
        return refused.value.expected_wait_s

    wait = simulate(stand_in(), scenario, max_queue=20)
    assert wait == pytest.approx(0.1, rel=0.05)


def changing(before, after, at):
    """A cost that changes; the loop's time says when."""
    return lambda text: after if asyncio.get_running_loop().time() >= at else before


def test_a_bundle_ten_times_slower_loses_a_second_of_capacity_at_most(arrive, stand_in):
    engine = stand_in(changing(0.01, 0.1, at=5))
    found = arrive(engine, Arrivals(160, 15))
    assert found.count(since=6)["answered"] >= 0.85 * 20 * 9
    assert found.count(since=6)["DeadlineExceeded"] < 0.1 * 20 * 9


def test_a_pace_that_was_bad_is_forgotten(arrive, stand_in):
    """Texts that alone take longer than the deadline for a while, then as long as usual."""
    engine = stand_in(changing(3.0, 0.01, at=10))
    found = arrive(engine, Arrivals(100, 30))
    assert found.count(since=13.5)["answered"] == sum(found.count(since=13.5).values())


def test_the_first_text_may_take_long(arrive, stand_in):
    """As the one for which a session is opened."""
    engine = stand_in(lambda text: 0.3 if text == "text 0" else 0.01)
    found = arrive(engine, Arrivals(100, 5)).count()
    assert found["answered"] >= 0.9 * sum(found.values())


@pytest.mark.parametrize("measured", [False, True])
def test_a_burst_after_idleness(simulate, stand_in, measured):
    async def scenario(batcher):
        if measured:
            await batcher.predict("some time ago")
            await asyncio.sleep(3600)
        tasks = [asyncio.ensure_future(batcher.predict(f"text {n}")) for n in range(200)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [each for each in found if not isinstance(each, Exception)]

    found = simulate(stand_in(), scenario, deadline_ms=500)
    assert len(found) >= 75  # of 100 that are possible


@pytest.mark.parametrize(
    "cost",
    [lambda text: 0.001 + len(text) * 2e-5, lambda text: 0.01],
    ids=["by_length", "by_text"],
)
@pytest.mark.parametrize("load", [0.9, 3])
def test_texts_of_very_different_lengths(arrive, stand_in, load, cost):
    lengths = random.Random(2).choices([20, 200, 2000], [10, 3, 1], k=20_000)
    mean = sum(cost("x" * length) for length in lengths) / len(lengths)
    capacity = 2 / mean
    arrivals = Arrivals(load * capacity, 4, lambda n: f"{n:06d}".ljust(lengths[n], "x"))
    found = arrive(stand_in(cost), arrivals).count()
    assert found["answered"] >= 0.85 * min(1, load) * capacity * 4
    if load < 1:
        assert found["QueueFull"] + found["DeadlineExceeded"] <= 0.01 * sum(found.values())


def test_a_long_text_that_cannot_make_it_does_not_cost_the_others_their_thread(arrive, stand_in):
    long = "long " * 20_000
    engine = stand_in(lambda text: len(text) / 1000 if len(text) > 1000 else 0.01)
    texts = Arrivals(80, 10, lambda n: f"{long}{n}" if n % 100 == 0 else f"text {n}")
    found = arrive(engine, texts).count()
    assert found["answered"] >= 0.97 * sum(found.values())


def test_a_long_text_alone_is_tried_however_long_it_is_expected_to_take(simulate, stand_in):
    """Otherwise a pace that is wrong for long texts would refuse them for ever."""

    async def scenario(batcher):
        await batcher.predict("short")
        return await batcher.predict("long " * 20_000)

    assert simulate(stand_in(), scenario, deadline_ms=500).text.startswith("long")


def test_without_a_deadline_nothing_is_refused_but_for_a_full_queue(arrive, stand_in):
    found = arrive(stand_in(), Arrivals(600, 5), deadline_ms=None, max_queue=10_000).count()
    assert set(found) == {"answered"}


@pytest.mark.parametrize(("deadline_ms", "most"), [(None, 0.5), (400, 0.1)])
def test_a_batch_is_bounded_by_time(simulate, stand_in, deadline_ms, most):
    engine = stand_in(lambda text: 0.05)

    async def scenario(batcher):
        await batcher.predict("measured")
        tasks = [asyncio.ensure_future(batcher.predict(f"text {n}")) for n in range(64)]
        await asyncio.gather(*tasks, return_exceptions=True)

    simulate(engine, scenario, deadline_ms=deadline_ms)
    assert max(engine.sizes) == pytest.approx(most / 0.05, abs=1)


def test_pace_is_that_of_what_was_computed_last():
    pace = Pace()
    assert (pace.known, pace.seconds(100)) == (False, 0)
    for _ in range(100):
        pace.measured(0.01, 100)
    assert pace.seconds(50) == pytest.approx(0.005)
    pace.measured(60, 1)  # a hiccup
    for _ in range(30):
        pace.measured(0.01, 100)
    assert pace.seconds(100) < 0.02
    for _ in range(5):
        pace.measured(0.2, 100)
    assert pace.seconds(100) == pytest.approx(0.2, rel=0.1)


def test_what_was_stopped_says_only_that_the_pace_is_no_better():
    pace = Pace()
    pace.measured(0.1, 100)
    pace.measured(0.05, 100, stopped=True)
    assert pace.seconds(100) == pytest.approx(0.1)
    pace.measured(10, 100, stopped=True)
    assert pace.seconds(100) > 1
