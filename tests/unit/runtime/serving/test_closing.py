"""Opening and closing a batcher, and the event loop that it belongs to."""

import asyncio
import threading

import pytest

from polyhead import Batcher, BatcherClosed

FOREVER = 3_600_000


def test_leaving_answers_what_waits(gate, serve, requests):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a") + await requests.begun(batcher, "b")
        gate.open()
        return tasks

    tasks = serve(gate, scenario, max_wait_ms=FOREVER)
    assert [task.result().text for task in tasks] == ["a", "b"]


def test_closing_without_draining_fails_what_waits_and_answers_what_runs(gate, serve, requests):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a") + await requests.begun(batcher, "b")
        closing = asyncio.ensure_future(batcher.aclose(drain=False))
        await requests.turns()
        with pytest.raises(BatcherClosed, match="was closed"):
            await batcher.predict("c")
        gate.open()
        await closing
        await batcher.aclose()
        return await requests.ended(tasks)

    answered, refused = serve(gate, scenario, max_wait_ms=FOREVER)
    assert answered.text == "a"
    assert isinstance(refused, BatcherClosed)


def test_an_error_inside_of_the_block_fails_what_waits(gate, serve, requests):
    tasks = []

    async def scenario(batcher):
        tasks.extend(await requests.begun(batcher, "a") + await requests.begun(batcher, "b"))
        gate.open()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        serve(gate, scenario, max_wait_ms=FOREVER)
    answered, refused = tasks
    assert answered.result().text == "a"
    assert isinstance(refused.exception(), BatcherClosed)


def test_an_unused_batcher_closes(engine, serve, requests):
    serve(engine, lambda batcher: requests.turns())
    asyncio.run(Batcher(engine).aclose())


def test_outside_of_the_block_it_says_so(engine):
    async def main():
        batcher = Batcher(engine)
        with pytest.raises(BatcherClosed, match="not open yet"):
            await batcher.predict("a")
        async with batcher:
            pass
        with pytest.raises(BatcherClosed, match="was closed"):
            await batcher.predict("a")
        with pytest.raises(BatcherClosed, match="Make another"):
            await batcher.__aenter__()

    asyncio.run(main())


def test_another_loop_is_refused(engine, serve):
    async def scenario(batcher):
        with pytest.raises(BatcherClosed, match="another event loop"):
            await asyncio.to_thread(asyncio.run, batcher.predict("a"))

    serve(engine, scenario)


def test_several_loops_share_an_engine(engine, serve):
    answers = []

    def loop():
        answers.append(serve(engine, lambda batcher: batcher.predict("anna")))

    threads = [threading.Thread(target=loop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.text for answer in answers] == ["anna"] * 4
