"""What one batcher promises, request by request; `test_batcher_schedules` has random traffic."""

import asyncio
import threading

import pytest

import polyhead
from polyhead import (
    Batcher,
    BatcherClosed,
    DeadlineExceeded,
    EngineClosed,
    InvalidSetting,
    InvalidText,
    QueueFull,
    UnknownHead,
    load,
)


class Gate:
    """A real engine that answers when a test lets it: what runs and what waits is then certain."""

    def __init__(self, engine, *, open_=False):
        self._engine = engine
        self._open = threading.Semaphore(10**6 if open_ else 0)
        self.calls = []
        self.alone = []

    def info(self):
        return self._engine.info()

    def predict(self, texts, **settings):
        self.calls.append(list(texts))
        self._open.acquire()
        return self._engine.predict(texts, **settings)

    def __call__(self, text, **settings):
        self.alone.append(text)
        return self._engine(text, **settings)

    def let(self, calls=10**6):
        self._open.release(calls)


@pytest.fixture(scope="module")
def engine(bundle):
    with load(bundle, threads=1) as engine:
        yield engine


async def turns(count=5):
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def started(batcher, *texts, **settings):
    return [asyncio.ensure_future(batcher.predict(text, **settings)) for text in texts]


def plain(predictions):
    return [prediction.to_dict() for prediction in predictions]


def test_it_answers_as_the_engine_does(engine):
    texts = ["The parcel was late.", "", "né à 東京 👍", "late " * 60]

    async def main():
        async with Batcher(engine) as batcher:
            return await asyncio.gather(*map(batcher.predict, texts))

    assert plain(asyncio.run(main())) == plain(engine.predict(texts))


def test_pairs_heads_and_options_reach_the_engine(engine_of_many_heads):
    pair = ("who?", "Anna lives in Oslo")

    async def main():
        async with Batcher(engine_of_many_heads) as batcher:
            return await asyncio.gather(
                batcher.predict(pair, heads=["answer"], options={"answer": {"n": 2}}),
                batcher.predict("Anna", heads=iter(["topic"])),
                batcher.predict("Anna", heads="embedding"),
            )

    found = asyncio.run(main())
    assert [list(p) for p in found] == [["answer"], ["topic"], ["embedding"]]
    direct = engine_of_many_heads(pair, heads=["answer"], options={"answer": {"n": 2}})
    assert found[0].to_dict() == direct.to_dict()


def test_an_idle_batcher_begins_at_once(engine):
    async def main():
        async with Batcher(engine, max_wait_ms=3_600_000) as batcher:
            return await batcher.predict("anna")

    assert asyncio.run(main()).text == "anna"


def test_requests_of_one_turn_go_together(engine):
    gate = Gate(engine, open_=True)

    async def main():
        async with Batcher(gate) as batcher:
            await asyncio.gather(*started(batcher, "a", "b", "c"))

    asyncio.run(main())
    assert gate.calls == [["a", "b", "c"]]


def test_what_arrives_while_the_engine_is_busy_waits_for_company(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000) as batcher:
            tasks = started(batcher, "a")
            await turns()
            for text in "bcd":
                tasks += started(batcher, text)
                await turns()
            assert batcher.stats().waiting == 3
            gate.let()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert gate.calls == [["a"], ["b", "c", "d"]]


def test_a_full_batch_does_not_wait(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000, max_batch=2) as batcher:
            tasks = started(batcher, "a")
            await turns()
            tasks += started(batcher, "b", "c")
            while len(gate.calls) < 2:
                await asyncio.sleep(0)
            gate.let()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert gate.calls == [["a"], ["b", "c"]]


def test_the_oldest_request_has_waited_long_enough(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=1) as batcher:
            tasks = started(batcher, "a")
            await turns()
            tasks += started(batcher, "b")
            while len(gate.calls) < 2:  # the first is still running
                await asyncio.sleep(0)
            gate.let()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_other_heads_make_another_batch_and_the_oldest_goes_first(engine):
    gate = Gate(engine, open_=True)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000) as batcher:
            tasks = started(batcher, "a", heads=["topic"])
            tasks += started(batcher, "b", heads=["entities", "topic"])
            tasks += started(batcher, "c", heads=["topic"])
            tasks += started(batcher, "d", heads=["topic", "entities"])
            return await asyncio.gather(*tasks)

    found = asyncio.run(main())
    assert gate.calls == [["a", "c"], ["b", "d"]]
    assert [len(p) for p in found] == [1, 2, 1, 2]


def test_a_very_long_text_does_not_hold_up_the_others(engine):
    gate, long = Gate(engine), "late " * 4_000

    async def main():
        async with Batcher(gate, max_wait_ms=0) as batcher:
            first, second, short = started(batcher, long, long + "x", "anna")
            while len(gate.calls) < 2:
                await asyncio.sleep(0)
            assert gate.calls == [[long], ["anna"]]  # one long text, and a thread for the others
            gate.let()
            assert (await short).text == "anna"
            assert [(await p).windows > 1 for p in (first, second)] == [True, True]

    asyncio.run(main())
    assert gate.calls == [[long], ["anna"], [long + "x"]]


def test_equal_requests_in_flight_are_computed_once(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate) as batcher:
            tasks = started(batcher, "a", "a")
            await turns()
            tasks += started(batcher, "a")  # while it runs
            await turns()
            gate.let()
            found = await asyncio.gather(*tasks)
            assert batcher.stats().shared == 2
            assert (await batcher.predict("a")) is not found[0]  # nothing is kept
            return found

    first, *others = asyncio.run(main())
    assert all(other is first for other in others)
    assert gate.calls == [["a"], ["a"]]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param({"heads": ["topic"]}, {"heads": None}, id="heads"),
        pytest.param({"options": None}, {"options": {"embedding": {}}}, id="options"),
        pytest.param({"options": {"a": {"n": 1}}}, {"options": {"a": {"n": True}}}, id="types"),
    ],
)
def test_requests_that_differ_are_not_shared(engine, left, right):
    async def main():
        async with Batcher(engine) as batcher:
            tasks = started(batcher, "a", **left) + started(batcher, "a", **right)
            await asyncio.gather(*tasks, return_exceptions=True)
            return batcher.stats().shared

    assert asyncio.run(main()) == 0


def test_options_that_cannot_be_compared_are_not_shared(engine):
    async def main():
        async with Batcher(engine) as batcher:
            options = {"embedding": {"dimensions": object()}}
            tasks = started(batcher, "a", "a", options=options)
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert batcher.stats().shared == 0
            return found

    assert all(isinstance(problem, polyhead.InputError) for problem in asyncio.run(main()))


@pytest.mark.parametrize("bad", [None, 5, b"anna", "\ud800", ["a", "b", "c"]], ids=ascii)
def test_a_bad_text_fails_only_its_own_request(engine, bad):
    gate = Gate(engine, open_=True)

    async def main():
        async with Batcher(gate) as batcher:
            tasks = started(batcher, "a", bad, "b")
            return await asyncio.gather(*tasks, return_exceptions=True)

    first, problem, last = asyncio.run(main())
    assert (first.text, last.text) == ("a", "b")
    with pytest.raises(InvalidText) as alone:
        engine(bad)
    # Its place in the caller's request, not in the batch.
    assert (type(problem), problem.index, str(problem)) == (InvalidText, 0, str(alone.value))
    assert (gate.calls, gate.alone) == ([["a", bad, "b"]], [])


def test_a_wrong_value_of_an_option_fails_those_whose_heads_it_is_for(engine_of_many_heads):
    pair, options = ("who?", "Anna lives in Oslo"), {"answer": {"n": 0}}
    gate = Gate(engine_of_many_heads, open_=True)

    async def main():
        async with Batcher(gate) as batcher:
            tasks = started(batcher, "a", pair, None, options=options)
            return await asyncio.gather(*tasks, return_exceptions=True)

    good, problem, bad = asyncio.run(main())
    assert good.text == "a"
    assert isinstance(problem, InvalidSetting)
    assert (type(bad), bad.index) == (InvalidText, 0)
    assert gate.alone == ["a", pair, None]


class Faulty(Gate):
    """Stops an iteration for one text, and answers too little for another."""

    def predict(self, texts, **settings):
        if "stop" in texts:
            raise StopIteration
        found = super().predict(texts, **settings)
        return found[:-1] if "few" in texts else found

    def __call__(self, text, **settings):
        return self.predict([text], **settings)[0]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["stop"], [RuntimeError], id="stop_alone"),
        pytest.param(["a", "stop"], [polyhead.Prediction, RuntimeError], id="stop_among_others"),
        pytest.param(["a", "few"], [polyhead.Prediction, ValueError], id="fewer_answers"),
    ],
)
def test_whatever_an_engine_does_nobody_waits_for_ever(engine, texts, expected):
    faulty = Faulty(engine, open_=True)

    async def main():
        async with Batcher(faulty, max_batch=2) as batcher:
            tasks = started(batcher, *texts, "the next batch")
            async with asyncio.timeout(20):
                return await asyncio.gather(*tasks, return_exceptions=True)

    *found, last = asyncio.run(main())
    assert [type(each) for each in found] == expected
    assert last.text == "the next batch"


@pytest.mark.parametrize("heads", [["topics"], 5, "topics", [5]], ids=repr)
def test_an_unknown_head_fails_only_the_requests_that_name_it(engine, heads):
    async def main():
        async with Batcher(engine) as batcher:
            tasks = [*started(batcher, "a", heads=heads), *started(batcher, "b")]
            return await asyncio.gather(*tasks, return_exceptions=True)

    problem, good = asyncio.run(main())
    assert isinstance(problem, UnknownHead)
    assert good.text == "b"


def test_a_closed_engine_is_told_to_everyone(bundle):
    engine = load(bundle, threads=1)
    engine.close()

    async def main():
        async with Batcher(engine) as batcher:
            return await asyncio.gather(*started(batcher, "a", "b"), return_exceptions=True)

    assert [type(problem) for problem in asyncio.run(main())] == [EngineClosed] * 2


def test_a_full_queue_refuses_and_then_takes_again(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000, max_queue=2) as batcher:
            tasks = started(batcher, "a")
            await turns()
            tasks += started(batcher, "b", "c")
            await turns()
            with pytest.raises(QueueFull, match="max_queue"):
                await batcher.predict("d")
            gate.let()
            await asyncio.gather(*tasks)
            assert (await batcher.predict("d")).text == "d"
            return batcher.stats()

    stats = asyncio.run(main())
    assert (stats.rejected, stats.requests, stats.answered) == (1, 4, 4)


def test_equal_requests_that_wait_count_in_the_queue(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000, max_queue=2) as batcher:
            tasks = started(batcher, "a")
            await turns()
            tasks += started(batcher, "b", "b")
            await turns()
            with pytest.raises(QueueFull):
                await batcher.predict("b")
            gate.let()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_cancelled_request_frees_its_place(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000, max_queue=1) as batcher:
            (running,) = started(batcher, "a")
            await turns()
            (waiting,) = started(batcher, "b")
            await turns()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert batcher.stats().waiting == 0
            (other,) = started(batcher, "c")
            await turns()
            gate.let()
            await asyncio.gather(running, other)
            return batcher.stats()

    stats = asyncio.run(main())
    assert gate.calls == [["a"], ["c"]]
    assert (stats.cancelled, stats.answered) == (1, 2)


def test_the_others_who_asked_the_same_still_get_their_answer(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate) as batcher:
            first, second = started(batcher, "a", "a")
            await turns()
            first.cancel()
            await turns()
            gate.let()
            assert (await second).text == "a"

    asyncio.run(main())


def test_a_request_that_is_cancelled_while_it_runs_is_dropped(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate) as batcher:
            (running,) = started(batcher, "a")
            await turns()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            gate.let()
            assert (await batcher.predict("b")).text == "b"

    asyncio.run(main())


def test_the_deadline_frees_a_request_that_waits(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000, deadline_ms=5) as batcher:
            found = await asyncio.gather(*started(batcher, "a"), return_exceptions=True)
            found += await asyncio.gather(*started(batcher, "b"), return_exceptions=True)
            stats = batcher.stats()
            gate.let()
            return found, stats

    (running, waiting), stats = asyncio.run(main())
    assert isinstance(running, DeadlineExceeded)
    assert isinstance(running, TimeoutError)
    assert "was being computed" in str(running)
    assert "still waited" in str(waiting)
    assert (stats.expired, stats.waiting) == (2, 0)
    assert gate.calls == [["a"]]


def test_leaving_answers_what_waits(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000) as batcher:
            tasks = started(batcher, "a")
            await turns()
            tasks += started(batcher, "b")
            await turns()
            gate.let()
        return [found.text for found in await asyncio.gather(*tasks)]

    assert asyncio.run(main()) == ["a", "b"]


def test_closing_without_draining_fails_what_waits_and_answers_what_runs(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate, max_wait_ms=3_600_000) as batcher:
            tasks = started(batcher, "a")
            await turns()
            tasks += started(batcher, "b")
            await turns()
            closing = asyncio.ensure_future(batcher.aclose(drain=False))
            await turns()
            with pytest.raises(BatcherClosed, match="was closed"):
                await batcher.predict("c")
            gate.let()
            await closing
            await batcher.aclose()
            return await asyncio.gather(*tasks, return_exceptions=True)

    answered, refused = asyncio.run(main())
    assert answered.text == "a"
    assert isinstance(refused, BatcherClosed)


def test_an_error_inside_of_the_block_fails_what_waits(engine):
    gate, tasks = Gate(engine), []

    async def block():
        async with Batcher(gate, max_wait_ms=3_600_000) as batcher:
            tasks.extend(started(batcher, "a"))
            await turns()
            tasks.extend(started(batcher, "b"))
            await turns()
            gate.let()
            raise ZeroDivisionError

    async def main():
        with pytest.raises(ZeroDivisionError):
            await block()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answered, refused = asyncio.run(main())
    assert answered.text == "a"
    assert isinstance(refused, BatcherClosed)


def test_an_unused_batcher_closes(engine):
    async def main():
        async with Batcher(engine):
            pass
        await Batcher(engine).aclose()

    asyncio.run(main())


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


def test_another_loop_is_refused(engine):
    async def main():
        async with Batcher(engine) as batcher:
            with pytest.raises(BatcherClosed, match="another event loop"):
                await asyncio.to_thread(asyncio.run, batcher.predict("a"))

    asyncio.run(main())


def test_two_loops_share_an_engine(engine):
    async def main():
        async with Batcher(engine) as batcher:
            return await batcher.predict("anna")

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_event_loop_goes_on_while_texts_are_computed(engine):
    gate = Gate(engine)

    async def main():
        async with Batcher(gate) as batcher:
            (task,) = started(batcher, "a")
            await turns(50)  # the engine is held by the gate all the time
            assert not task.done()
            gate.let()
            await task

    asyncio.run(main())


def test_the_numbers_add_up(engine):
    texts = ["anna", "oslo", "the parcel", "late " * 60]

    async def main():
        async with Batcher(engine) as batcher:
            found = await asyncio.gather(*map(batcher.predict, texts))
            with pytest.raises(InvalidText):
                await batcher.predict(None)
            return found, batcher.stats()

    found, stats = asyncio.run(main())
    assert (stats.requests, stats.answered, stats.errors) == (5, 4, 1)
    assert (stats.batches, stats.texts, stats.mean_batch) == (2, 5, 2.5)
    assert stats.windows == sum(p.windows for p in found)
    assert stats.groups == len({3, 4, 24}) + (found[3].windows - 1) // (256 // 24)
    assert 0 < stats.group_fill <= 1
    assert stats.queue_histogram[-1] == 5
    assert stats.mean_queue_ms >= 0
    assert (stats.waiting, stats.running) == (0, 0)


def test_a_batcher_without_traffic_has_numbers(engine):
    stats = Batcher(engine).stats()
    assert (stats.requests, stats.mean_batch, stats.group_fill, stats.mean_queue_ms) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_wait_ms": -1}, "max_wait_ms=-1"),
        ({"max_wait_ms": float("nan")}, "max_wait_ms=nan"),
        ({"max_wait_ms": "2"}, "max_wait_ms='2'"),
        ({"max_queue": 0}, "max_queue=0"),
        ({"max_queue": 1.5}, "max_queue=1.5"),
        ({"max_batch": True}, "max_batch=True"),
        ({"deadline_ms": -5}, "deadline_ms=-5"),
        ({"deadline_ms": float("inf")}, "deadline_ms=inf"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused(engine, setting, message):
    with pytest.raises(InvalidSetting, match=message):
        Batcher(engine, **setting)
