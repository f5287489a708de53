"""An open loop far above capacity, in real time: a stand-in of 10 ms a text, and a real engine."""

import asyncio
import random
import time
from collections import Counter

import pytest

import polyhead
from polyhead import Batcher, Prediction

WORDS = [
    "where",
    "is",
    "my",
    "lamp",
    "the",
    "kettle",
    "leaks",
    "since",
    "monday",
    "please",
    "answer",
    "soon",
    "order",
    "number",
]


class Slow:
    """Two threads, 10 ms a text: 200 texts/s."""

    def info(self):
        return {"threads": 2, "batch_tokens": 256, "max_tokens": 256}

    def predict(self, texts, **_):
        time.sleep(0.010 * len(texts))
        return [Prediction(text=text, results={}, tokens=8) for text in texts]


async def open_loop(batcher, rate, seconds, text, cancel=0.0):
    """Outcomes of requests that come at this rate, whatever becomes of the others."""
    loop, chance, tasks = asyncio.get_running_loop(), random.Random(0), []
    start = loop.time()
    while (now := loop.time() - start) < seconds:
        while len(tasks) < now * rate:
            tasks.append(asyncio.ensure_future(batcher.predict(text(chance))))
            if chance.random() < cancel:
                loop.call_later(chance.random() * 0.05, tasks[-1].cancel)
        await asyncio.sleep(0.005)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    took = loop.time() - start
    return Counter(type(each).__name__ for each in ended), took


@pytest.mark.parametrize("max_batch", [64, 8])
@pytest.mark.parametrize("load", [0.5, 0.9, 1.2, 3])
def test_a_stand_in_keeps_its_capacity(load, max_batch):
    async def main():
        async with Batcher(Slow(), deadline_ms=500, max_batch=max_batch) as batcher:
            return await open_loop(batcher, load * 200, 6, lambda chance: f"{chance.random()}")

    found, _ = asyncio.run(main())
    assert found["Prediction"] >= 0.85 * min(1, load) * 200 * 6, found
    assert load > 1 or found["Prediction"] >= 0.97 * found.total(), found


@pytest.fixture(scope="module")
def engine(real_bundle):
    with polyhead.load(real_bundle, threads=2) as engine:
        engine.warmup()
        yield engine


def sentence(chance):
    return " ".join(chance.choices(WORDS, k=chance.randint(5, 40)))


def test_an_engine_keeps_its_capacity(engine):
    """Against what it answers without a deadline at the same load; both in turns, as loads vary."""
    texts = [sentence(random.Random(n)) for n in range(256)]
    answered, seconds = Counter(), Counter()

    async def main():
        began = time.monotonic()
        engine.predict(texts)
        rate = min(3000, 3 * len(texts) / (time.monotonic() - began))
        for deadline_ms in (500, None, None, 500) * 2:
            async with Batcher(engine, max_queue=256, deadline_ms=deadline_ms) as batcher:
                found, took = await open_loop(batcher, rate, 3, sentence)
                assert set(found) <= {"Prediction", "QueueFull", "DeadlineExceeded"}
                assert batcher.stats().waiting == 0
            answered[deadline_ms] += found["Prediction"]
            seconds[deadline_ms] += took

    asyncio.run(main())
    rates = {each: answered[each] / seconds[each] for each in (500, None)}
    assert rates[500] >= 0.6 * rates[None], rates  # it was 0.01; 0.8 to 0.96 on busy cores


def test_half_of_the_callers_leave(engine):
    async def main():
        async with Batcher(engine, max_queue=128, deadline_ms=500) as batcher:
            found, _ = await open_loop(batcher, 500, 5, sentence, cancel=0.5)
            return found, batcher.stats(), dict(batcher._dispatch.in_flight)

    found, stats, in_flight = asyncio.run(main())
    assert set(found) <= {"Prediction", "QueueFull", "DeadlineExceeded", "CancelledError"}
    assert stats.requests == stats.answered + stats.errors + stats.expired + stats.cancelled
    assert (stats.waiting, in_flight) == (0, {})


def test_short_texts_beside_one_of_a_million_characters(engine):
    async def main():
        async with Batcher(engine) as batcher:
            long = asyncio.ensure_future(batcher.predict("poison " * 142_000))
            await asyncio.sleep(1)
            took = []
            for n in range(10):
                began = time.monotonic()
                await asyncio.gather(*(batcher.predict(f"short {n} {'x ' * i}") for i in range(10)))
                took.append(time.monotonic() - began)
            long.cancel()
            await asyncio.wait((long,))
            return max(took)

    assert asyncio.run(main()) < 5  # it was the time of the whole text, 45 s
