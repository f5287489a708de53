"""A full queue, deadlines, callers that give up, and a system without threads."""

import asyncio
import threading

import pytest

import polyhead
from polyhead import Batcher, DeadlineExceeded, InvalidSetting, QueueFull

FOREVER = 3_600_000


@pytest.mark.parametrize("texts", [["b", "c"], ["b", "b"]], ids=["others", "equal_ones"])
def test_a_full_queue_refuses_and_then_takes_again(gate, serve, requests, texts):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a") + await requests.begun(batcher, *texts)
        with pytest.raises(QueueFull, match="max_queue"):
            await batcher.predict("b")
        gate.open()
        await asyncio.gather(*tasks)
        assert (await batcher.predict("d")).text == "d"
        return batcher.stats()

    stats = serve(gate, scenario, max_wait_ms=FOREVER, max_queue=2)
    assert (stats.rejected, stats.requests, stats.answered) == (1, 4, 4)


def test_a_cancelled_request_frees_its_place(gate, serve, requests):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a")
        (waiting,) = await requests.begun(batcher, "b")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert batcher.stats().waiting == 0
        tasks += await requests.begun(batcher, "c")
        gate.open()
        await asyncio.gather(*tasks)
        return batcher.stats()

    stats = serve(gate, scenario, max_wait_ms=FOREVER, max_queue=1)
    assert gate.calls == [["a"], ["c"]]
    assert (stats.cancelled, stats.answered) == (1, 2)


def test_the_others_who_asked_the_same_still_get_their_answer(gate, serve, requests):
    async def scenario(batcher):
        first, second = await requests.begun(batcher, "a", "a")
        first.cancel()
        await requests.turns()
        gate.open()
        assert (await second).text == "a"

    serve(gate, scenario)


def test_a_request_that_is_cancelled_while_it_runs_is_dropped(gate, serve, requests):
    async def scenario(batcher):
        (running,) = await requests.begun(batcher, "a")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        gate.open()
        assert (await batcher.predict("b")).text == "b"

    serve(gate, scenario)


def test_the_deadline_frees_a_request_that_waits(gate, serve, requests):
    async def scenario(batcher):
        found = await requests.ended(requests(batcher, "a"))
        found += await requests.ended(requests(batcher, "b"))
        stats = batcher.stats()
        gate.open()
        return found, stats

    (running, waiting), stats = serve(gate, scenario, max_wait_ms=FOREVER, deadline_ms=5)
    assert isinstance(running, DeadlineExceeded)
    assert isinstance(running, TimeoutError)
    assert "was being computed" in str(running)
    assert "still waited" in str(waiting)
    assert (stats.expired, stats.waiting) == (2, 0)
    assert gate.calls == [["a"]]


def test_a_request_may_have_a_deadline_of_its_own(simulate, stand_in, requests):
    """Of equal requests each keeps its own."""

    async def scenario(batcher):
        tasks = requests(batcher, "a") + requests(batcher, "a", deadline_ms=5000)
        return await requests.ended(tasks + requests(batcher, "b", deadline_ms=200))

    usual, longer, shorter = simulate(stand_in(lambda text: 1.0), scenario, deadline_ms=500)
    assert (type(usual), type(shorter)) == (DeadlineExceeded, DeadlineExceeded)
    assert (longer.text, "deadline_ms=200" in str(shorter)) == ("a", True)


def test_a_bad_deadline_of_a_request_is_refused(engine, serve):
    async def scenario(batcher):
        with pytest.raises(InvalidSetting, match="deadline_ms=-5"):
            await batcher.predict("a", deadline_ms=-5)
        return batcher.stats()

    stats = serve(engine, scenario)
    assert (stats.requests, stats.waiting) == (0, 0)


def refuse(thread):
    raise RuntimeError("can't start new thread")


def test_a_system_without_threads_fails_the_callers_and_no_one_else(
    engine, gate_of, serve, requests, monkeypatch
):
    gate = gate_of(engine).open()

    async def scenario(batcher):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            refused = await requests.ended(requests(batcher, "a", "a", "b"))
            refused += await requests.ended(requests(batcher, "c"))  # as many as it has threads
            refused += await requests.ended(requests(batcher, "d"))
        stats = batcher.stats()
        assert (await batcher.predict("threads are back")).text == "threads are back"
        return refused, stats

    refused, stats = serve(gate, scenario)
    assert [type(problem) for problem in refused] == [QueueFull] * 5
    assert "no thread for this batch: can't start new thread" in str(refused[0])
    assert (stats.errors, stats.running, stats.waiting, stats.batches) == (5, 0, 0, 0)
    assert gate.calls == [["threads are back"]]  # what was refused is not computed later


def test_memory_that_is_out_while_a_batch_begins_fails_its_callers(simulate, stand_in, requests):
    async def scenario(batcher):
        run = batcher._dispatch.pool.run

        def once(work):
            batcher._dispatch.pool.run = run
            raise MemoryError

        batcher._dispatch.pool.run = once
        found = await requests.ended(await requests.begun(batcher, "a", "b"))
        return found, (await batcher.predict("c")).text, batcher.stats().running

    found, text, running = simulate(stand_in(), scenario)
    assert [type(each) for each in found] == [QueueFull] * 2
    assert (text, running) == ("c", 0)


def test_without_a_second_thread_all_wait_for_the_first(gate, serve, requests, monkeypatch):
    async def scenario(batcher):
        running = await requests.begun(batcher, "a")
        monkeypatch.setattr(threading.Thread, "start", refuse)
        waiting = await requests.begun(batcher, "b", "c", "d")
        await requests.turns()
        gate.open()
        return await requests.ended([*running, *waiting])

    found = serve(gate, scenario, max_batch=1)
    assert [p.text for p in found] == ["a", "b", "c", "d"]


@pytest.fixture
def faulty(gate_of):
    """Stops an iteration for one text, and answers too little for another."""

    class Faulty(gate_of):
        def predict(self, texts, **settings):
            if "stop" in texts:
                raise StopIteration
            found = super().predict(texts, **settings)
            return found[:-1] if "few" in texts else found

        def __call__(self, text, **settings):
            return self.predict([text], **settings)[0]

    return Faulty


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["stop"], [RuntimeError], id="stop_alone"),
        pytest.param(["a", "stop"], [polyhead.Prediction, RuntimeError], id="stop_among_others"),
        pytest.param(["a", "few"], [polyhead.Prediction, ValueError], id="fewer_answers"),
    ],
)
def test_whatever_an_engine_does_nobody_waits_for_ever(
    engine, faulty, serve, requests, texts, expected
):
    def scenario(batcher):
        return requests.ended(requests(batcher, *texts, "the next batch"))

    *found, last = serve(faulty(engine).open(), scenario, max_batch=2)
    assert [type(each) for each in found] == expected
    assert last.text == "the next batch"


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
        pytest.param({"deadline_ms": 10**400}, "deadline_ms=10000", id="no_float"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused(engine, setting, message):
    with pytest.raises(InvalidSetting, match=message):
        Batcher(engine, **setting)
