"""Callers that leave and batchers that end stop work; nobody waits for ever, and all is counted."""

import asyncio
import random
from collections import Counter

import pytest

from polyhead import BatcherClosed, DeadlineExceeded, Prediction

MINUTES = 300.0


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_nobody_waits_for_any_more_is_not_computed(simulate, stand_in, requests):
    engine = stand_in(lambda text: 1.0)

    async def scenario(batcher):
        first, left, shared, last = await requests.begun(batcher, "a", "b", "c", "d")
        (other,) = await requests.begun(batcher, "c")
        await cancelled(left)
        await cancelled(shared)  # another waits for the same
        found = await asyncio.gather(first, other, last)
        return [each.text for each in found]

    assert simulate(engine, scenario) == ["a", "c", "d"]
    assert engine.computed == ["a", "c", "d"]


def test_who_asks_again_for_what_was_given_up_is_answered(simulate, stand_in, requests):
    engine = stand_in(lambda text: 1.0)

    async def scenario(batcher):
        _, left = await requests.begun(batcher, "a", "b")
        await cancelled(left)
        return (await batcher.predict("b")).text, batcher.stats()

    text, stats = simulate(engine, scenario)
    assert text == "b"
    assert (stats.shared, stats.cancelled, stats.answered) == (0, 1, 2)
    assert engine.computed == ["a", "b"]


def test_a_deadline_stops_the_work_of_its_request(simulate, stand_in, requests):
    engine = stand_in(lambda text: 0.3)

    async def scenario(batcher):
        found = await requests.ended(requests(batcher, "a", "b", "c", "d"))
        return [type(each) for each in found], batcher.stats()

    types, stats = simulate(engine, scenario, deadline_ms=500)
    assert types == [DeadlineExceeded] * 4  # nothing was measured yet
    assert (stats.expired, stats.errors) == (4, 0)
    assert engine.computed == ["a", "b"]


def test_the_engine_stops_between_groups(engine):
    """Asked for a text of many windows, it looks again and again whether it is wanted."""
    long, asked = "late " * 20_000, []

    def wanted(row):
        asked.append(row)
        return row == 0 or len(asked) < 10

    first, second, third = engine.predict(["anna", long, "oslo"], wanted=wanted)
    assert (first.text, second) == ("anna", None)
    assert isinstance(third, Prediction | None)
    assert first.to_dict() == engine("anna").to_dict()
    assert engine.predict(["anna", None], errors="return", wanted=lambda row: False)[0] is None


@pytest.mark.parametrize(
    ("settings", "longest"),
    [({"drain": False}, 1), ({"grace": 5}, 5.5), ({"grace": 0}, 0.5)],
    ids=str,
)
def test_closing_ends_soon_whatever_is_computed(simulate, stand_in, requests, settings, longest):
    engine = stand_in(lambda text: MINUTES)

    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a", "a") + await requests.begun(batcher, "b", "c")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await batcher.aclose(**settings)
        took = loop.time() - began
        return took, [type(each) for each in await requests.ended(tasks)], batcher.stats()

    took, types, stats = simulate(engine, scenario)
    assert took <= longest
    assert types == [BatcherClosed] * 4
    assert (stats.errors, stats.waiting) == (4, 0)


def test_a_close_that_is_cancelled_leaves_nobody_waiting(simulate, stand_in, requests):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a") + await requests.begun(batcher, "b")
        closing = asyncio.ensure_future(batcher.aclose())
        await asyncio.sleep(1)
        closing.cancel()
        return [type(each) for each in await requests.ended(tasks)]

    engine = stand_in(lambda text: MINUTES)
    assert simulate(engine, scenario, max_wait_ms=3_600_000) == [BatcherClosed] * 2


@pytest.mark.parametrize(
    "problem",
    [SystemExit(), asyncio.CancelledError(), KeyboardInterrupt(), MemoryError()],
    ids=repr,
)
def test_whatever_an_engine_raises_ends_its_requests_only(simulate, stand_in, requests, problem):
    engine = stand_in(fails=lambda text: problem if text == "bad" else None)

    async def scenario(batcher):
        found = await requests.ended(await requests.begun(batcher, "bad"))
        return found, (await batcher.predict("good")).text, batcher.stats()

    (found,), text, stats = simulate(engine, scenario)
    assert isinstance(found, RuntimeError | MemoryError)
    assert text == "good"
    assert (stats.errors, stats.answered, stats.cancelled, stats.running) == (1, 1, 0, 0)


OUTCOMES = {
    "answered": "answered",
    "DeadlineExceeded": "expired",
    "CancelledError": "cancelled",
    "ZeroDivisionError": "errors",
    "BatcherClosed": "errors",
}


async def storm(batcher, chance):
    """Bursts of requests, many of them equal, half of them cancelled, and an end at any time."""
    loop, tasks = asyncio.get_running_loop(), []
    for _ in range(chance.randint(1, 30)):
        for _ in range(chance.randint(0, 20)):
            long = "long " * 5000 if chance.random() < 0.05 else ""
            task = asyncio.ensure_future(batcher.predict(f"{long}{chance.randint(0, 30)}"))
            tasks.append(task)
            if chance.random() < 0.5:
                loop.call_later(chance.random() * 0.3, task.cancel)
        assert batcher.stats().waiting <= batcher._dispatch.admission.max_queue
        await asyncio.sleep(chance.choice([0, 0.001, 0.05, 0.5]))
    if chance.random() < 0.5:
        await batcher.aclose(drain=chance.random() < 0.5, grace=chance.choice([None, 0, 0.1]))
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.aclose()
    return Counter(
        "answered" if isinstance(each, Prediction) else type(each).__name__ for each in ended
    )


@pytest.mark.parametrize("seed", range(60))
def test_no_storm_leaves_a_waiter_and_all_is_counted(simulate, stand_in, seed):
    chance = random.Random(seed)
    deadline = chance.choice([None, 30, 500])
    engine = stand_in(
        cost=lambda text: len(text) * 3e-5 + chance.random() * 0.03,
        threads=chance.choice([1, 2, 8]),
        fails=lambda text: ZeroDivisionError() if text == "13" else None,
    )
    seen = []

    async def scenario(batcher):
        seen.append(batcher)
        return await storm(batcher, chance)

    settings = {"max_queue": chance.choice([3, 50, 1000]), "max_batch": chance.choice([1, 8, 64])}
    outcomes = simulate(engine, scenario, deadline_ms=deadline, **settings)
    stats = seen[0].stats()
    assert (stats.waiting, stats.running, seen[0]._dispatch.in_flight) == (0, 0, {})
    assert stats.rejected == outcomes.pop("QueueFull", 0)
    assert stats.requests == stats.answered + stats.errors + stats.expired + stats.cancelled
    assert set(outcomes) <= set(OUTCOMES)
    counted = Counter({name: getattr(stats, name) for name in set(OUTCOMES.values())})
    # A caller that is cancelled before its first step is not counted; one that is cancelled in the
    # turn in which its answer comes is counted as answered.
    assert counted.total() <= outcomes.total()
    assert outcomes["answered"] <= counted["answered"]
    assert outcomes["CancelledError"] >= counted["cancelled"]
    assert outcomes["DeadlineExceeded"] <= counted["expired"]
