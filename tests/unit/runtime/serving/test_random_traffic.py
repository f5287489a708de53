"""Random traffic: whatever the schedule, every request ends, and ends right."""

import asyncio
import random

import pytest

from polyhead import Batcher, BatcherClosed, DeadlineExceeded, InputError, QueueFull, load

TEXTS = ["anna", "oslo", "the parcel was late", "", "late " * 60, "né", "thanks, thanks!"]
BAD = [None, "\ud800", 7]
HEADS = [None, ["topic"], ["topic", "entities"], ["nothing"]]


@pytest.fixture(scope="module")
def engine(bundle):
    with load(bundle, threads=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def truth(engine):
    """By text and heads: what the engine says when asked alone."""
    return {
        (text, str(heads)): engine(text, heads=heads).to_dict()
        for text in TEXTS
        for heads in HEADS[:3]
    }


async def client(batcher, random_, outcomes, truth):
    for _ in range(random_.randint(0, 3)):
        await asyncio.sleep(0)
    text, heads = random_.choice(TEXTS + BAD[: random_.randint(0, 3)]), random_.choice(HEADS)
    patience = random_.choice([None, None, 0, 0.001])
    try:
        async with asyncio.timeout(patience):
            found = await batcher.predict(text, heads=heads)
        assert found.to_dict() == truth[text, str(heads)]
        outcomes.append("answered")
    except InputError:
        outcomes.append("refused" if text in BAD or heads == ["nothing"] else "wrongly refused")
    except (QueueFull, DeadlineExceeded, BatcherClosed) as problem:
        outcomes.append(type(problem).__name__)
    except TimeoutError:
        outcomes.append("cancelled")


async def traffic(engine, seed, truth):
    random_, outcomes = random.Random(seed), []
    batcher = Batcher(
        engine,
        max_wait_ms=random_.choice([0, 1, 5]),
        max_queue=random_.choice([2, 20, 1000]),
        deadline_ms=random_.choice([None, None, 1, 50]),
        max_batch=random_.choice([1, 3, 64]),
    )
    async with batcher:
        clients = [
            asyncio.ensure_future(client(batcher, random_, outcomes, truth))
            for _ in range(random_.randint(1, 60))
        ]
        for task in random_.sample(clients, len(clients) // 5):
            await asyncio.sleep(0)
            task.cancel()
        if random_.random() < 0.3:
            await batcher.aclose(drain=random_.random() < 0.5)
        ended = await asyncio.gather(*clients, return_exceptions=True)
    assert {type(end) for end in ended} <= {type(None), asyncio.CancelledError}
    return batcher, outcomes


@pytest.mark.parametrize("seed", range(40))
def test_every_request_ends_and_ends_right(engine, truth, seed):
    batcher, outcomes = asyncio.run(traffic(engine, seed, truth))
    stats = batcher.stats()
    assert (stats.waiting, stats.running) == (0, 0)
    assert not batcher._dispatch.in_flight
    assert "wrongly refused" not in outcomes
    ended = stats.answered + stats.errors + stats.expired + stats.cancelled
    assert stats.requests == ended
    # A caller may be cancelled in the turn in which its answer comes.
    assert outcomes.count("answered") <= stats.answered
    assert outcomes.count("QueueFull") <= stats.rejected
