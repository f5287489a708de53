"""Answers piece by piece in an event loop."""

import asyncio
import threading
import time

import pytest

from polyhead import (
    Batcher,
    BatcherClosed,
    DeadlineExceeded,
    Engine,
    Generated,
    InvalidSetting,
    QueueFull,
    UnknownHead,
)

TEXT = "The parcel was late. Anna lives in Oslo."


def run(engine, scenario, **settings):
    async def main():
        async with Batcher(engine, **settings) as batcher:
            return await asyncio.wait_for(scenario(batcher), 60)

    return asyncio.run(main())


class Slow:
    """A real engine whose streams wait before each piece until a test lets them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.go = threading.Semaphore(0)
        self.ended = threading.Event()
        self.pieces = 0

    def info(self):
        return self._engine.info()

    def stream(self, text, head, *, wanted, **options):
        try:
            for piece in self._engine.stream(text, head, wanted=wanted, **options):
                while not self.go.acquire(timeout=0.01):
                    if not wanted():
                        return
                self.pieces += 1
                yield piece
        finally:
            self.ended.set()


def test_pieces_are_those_of_the_engine(writer_engine):
    async def scenario(batcher):
        return [piece async for piece in batcher.stream(TEXT, "short", max_tokens=20)]

    expected = list(writer_engine.stream(TEXT, "short", max_tokens=20))
    assert isinstance(expected[-1], Generated)
    assert run(writer_engine, scenario) == expected


def test_batches_are_answered_beside_streams(writer_engine):
    async def scenario(batcher):
        async def stream():
            return [piece async for piece in batcher.stream(TEXT, "copy", max_tokens=40)]

        return await asyncio.gather(
            stream(), stream(), batcher.predict(TEXT), batcher.predict(TEXT, heads=["topic"])
        )

    one, other, whole, topic = run(writer_engine, scenario)
    assert one == other == list(writer_engine.stream(TEXT, "copy", max_tokens=40))
    assert whole == writer_engine(TEXT)
    assert topic["topic"] == whole["topic"]


def test_the_loop_goes_on_while_a_piece_is_written(writer_engine):
    slow = Slow(writer_engine)

    async def scenario(batcher):
        stream = batcher.stream(TEXT, "short")
        first = asyncio.ensure_future(anext(stream))
        for _ in range(5):
            await asyncio.sleep(0.01)
        waited = not first.done()
        slow.go.release()
        piece = await first
        await stream.aclose()
        return waited, piece

    waited, piece = run(slow, scenario)
    assert waited
    assert isinstance(piece, str)


def test_a_stream_that_is_left_stops_its_thread(writer_engine):
    slow = Slow(writer_engine)
    slow.go.release(2)

    async def scenario(batcher):
        async for _ in batcher.stream(TEXT, "short", max_tokens=40):
            break
        await asyncio.to_thread(slow.ended.wait, 30)

    run(slow, scenario)
    assert slow.ended.is_set()
    assert slow.pieces <= 2


def test_a_deadline_ends_a_stream(writer_engine):
    slow = Slow(writer_engine)
    slow.go.release(2)

    async def scenario(batcher):
        stream = batcher.stream(TEXT, "short", deadline_ms=300)
        pieces = [await anext(stream), await anext(stream)]
        with pytest.raises(DeadlineExceeded, match="deadline_ms=300"):
            await anext(stream)
        return pieces

    assert all(isinstance(piece, str) for piece in run(slow, scenario))
    assert slow.ended.is_set()


def test_closing_ends_streams_or_waits_for_them(writer_engine):
    for drain in (False, True):
        slow = Slow(writer_engine)
        slow.go.release(1)

        async def scenario(batcher, slow=slow, drain=drain):
            stream = batcher.stream(TEXT, "short")
            await anext(stream)
            closing = asyncio.ensure_future(batcher.aclose(drain=drain))
            if drain:
                slow.go.release(99)
                found = [piece async for piece in stream]
                await closing
                return found
            with pytest.raises(BatcherClosed, match="while this answer was written"):
                async for _ in stream:
                    pass
            await closing
            return None

        found = run(slow, scenario)
        assert found is None or isinstance(found[-1], Generated)


def test_too_many_streams_are_refused(writer_engine):
    slow = Slow(writer_engine)

    async def scenario(batcher):
        streams = [batcher.stream(TEXT, "short") for _ in range(17)]
        begun = [asyncio.ensure_future(anext(stream)) for stream in streams[:16]]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="16 answers are written") as refused:
            await anext(streams[16])
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        slow.go.release(99)
        again = batcher.stream(TEXT, "short")
        await anext(again)
        await again.aclose()
        return refused.value.expected_wait_s

    assert run(slow, scenario) == 1


def test_without_a_thread_a_stream_is_refused(writer_engine, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    async def scenario(batcher):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            with pytest.raises(QueueFull, match="no thread for this answer"):
                await anext(batcher.stream(TEXT, "short"))
        return await anext(batcher.stream(TEXT, "short"))

    assert run(writer_engine, scenario)


def test_what_is_wrong_is_raised_before_the_first_piece(writer_engine):
    async def scenario(batcher):
        for head, options, error in (
            ("shrot", {}, UnknownHead),
            ("topic", {}, InvalidSetting),
            ("short", {"max_tokens": 0}, InvalidSetting),
            ("short", {"beams": 4}, InvalidSetting),
        ):
            with pytest.raises(error):
                await anext(batcher.stream(TEXT, head, **options))

    run(writer_engine, scenario)
    with pytest.raises(BatcherClosed):
        asyncio.run(anext_of(Batcher(writer_engine)))


async def anext_of(batcher):
    return await anext(batcher.stream(TEXT, "short"))


def test_a_deadline_of_a_batch_is_looked_at_between_two_tokens(writer_engine, monkeypatch):
    """An answer of many tokens is not written to its end when nobody waits for it."""
    (part,) = writer_engine._model.parts
    backend, steps = part.writers["short"].backend, []
    step = type(backend).step

    def slow(self, *arguments):
        steps.append(1)
        time.sleep(0.02)
        return step(self, *arguments)

    monkeypatch.setattr(type(backend), "step", slow)

    async def scenario(batcher):
        with pytest.raises(DeadlineExceeded):
            await batcher.predict(
                TEXT,
                heads=["short"],
                options={"short": {"min_tokens": 40, "max_tokens": 40}},
                deadline_ms=200,
            )
        await batcher.aclose()

    run(writer_engine, scenario)
    assert 0 < len(steps) < 40
