"""What a list comes to, what a single text gets, and what happens when threads are not there."""

import signal
import threading
import time
import weakref
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest

from polyhead import EngineClosed, load
from polyhead.inference.scheduler import Job, Scheduler


class Lengths:
    """A back end that answers with the number of tokens, and counts its calls."""

    inputs = ("input_ids",)

    def __init__(self):
        self.calls = 0

    def run(self, outputs, feeds):
        self.calls += 1
        batch, tokens = feeds["input_ids"].shape
        return [np.full((batch, 1), tokens, np.float32) for _ in outputs]


class MultiThreaded:
    """Two threads for a text of six tokens or more."""

    threads, min_tokens = 2, 6

    def __init__(self, session):
        self.session = session

    def ready(self, start):
        return True


@dataclass(eq=False)
class Run:
    backend: Any
    multi_threaded: Any = None
    outputs: tuple[str, ...] = ("logits/x",)


def run(scheduler, backend, encodings, session=None):
    """The number of tokens of each text, as a back end saw it."""
    of_all = Run(backend, None if session is None else MultiThreaded(session))
    jobs = [Job(of_all, [row], encoding) for row, encoding in enumerate(encodings)]
    found = {job.rows[0]: int(logits[0][0]) for job, logits in scheduler.run(scheduler.group(jobs))}
    return [found[row] for row in range(len(encodings))]


@pytest.fixture
def texts(wordpiece):
    """Two lengths, and so two groups."""
    return wordpiece.encode(["anna", "anna lives in oslo"])


@pytest.fixture
def scheduler():
    made = Scheduler(2, 64)
    yield made
    made.close()


@pytest.mark.parametrize("there", [0, 1])
def test_what_finds_no_thread_is_computed_by_the_caller(scheduler, texts, monkeypatch, there):
    started, start = [], threading.Thread.start

    def refuse(thread):
        if len(started) == there:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    backend = Lengths()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            assert run(scheduler, backend, texts * 5) == [3, 6] * 5
            assert scheduler.spread(list, 200) == list(range(200))
    assert backend.calls == 6  # nothing twice
    assert run(scheduler, backend, texts) == [3, 6]


def test_work_that_found_no_thread_is_kept_by_nobody(scheduler, texts, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    backend = Lengths()
    alive = weakref.ref(backend)
    assert run(scheduler, backend, texts) == [3, 6]
    with pytest.raises(ValueError, match="odd"):
        run(scheduler, Failing(), texts)
    del backend
    assert alive() is None


class Failing(Lengths):
    def run(self, outputs, feeds):
        raise ValueError("odd")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_ctrl_c_during_a_text_loses_no_place(scheduler, texts):
    def interrupt(*_):
        raise KeyboardInterrupt

    before, random = signal.signal(signal.SIGALRM, interrupt), Random(1)
    hit = 0
    try:
        for turn in range(600):
            several = Lengths() if turn % 2 else None
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-4))
                for _ in range(200):
                    run(scheduler, Lengths(), texts[1:], several)
            except KeyboardInterrupt:
                hit += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hit > 500
    assert scheduler._workers()._places.qsize() == 2


def test_a_list_under_way_when_the_engine_ends_is_answered(scheduler, texts):
    class Closing(Lengths):
        def run(self, outputs, feeds):
            scheduler.close()
            return super().run(outputs, feeds)

    assert within(20, lambda: run(scheduler, Closing(), texts * 200)) == [3, 6] * 200


def test_a_single_long_text_gets_several_threads(scheduler, texts):
    short, long = texts
    one, several = Lengths(), Lengths()
    assert run(scheduler, one, [long], several) == [6]
    assert (one.calls, several.calls) == (0, 1)
    assert run(scheduler, one, [short], several) == [3]
    assert run(scheduler, one, texts, several) == [3, 6]
    assert run(scheduler, one, [long, long], several) == [6, 6]
    assert (one.calls, several.calls) == (4, 1)


def test_a_long_text_next_to_another_gets_one_thread(scheduler, texts):
    short, long = texts
    one, several = Lengths(), Lengths()
    computing, go_on = threading.Event(), threading.Event()

    class Slow(Lengths):
        def run(self, outputs, feeds):
            computing.set()
            assert go_on.wait(60)
            return super().run(outputs, feeds)

    other = threading.Thread(target=run, args=(scheduler, Slow(), [short]))
    other.start()
    try:
        assert computing.wait(60)
        assert run(scheduler, one, [long], several) == [6]
        assert (one.calls, several.calls) == (1, 0)
    finally:
        go_on.set()
        other.join()
    assert run(scheduler, one, [long], several) == [6]
    assert (one.calls, several.calls) == (1, 1)


def test_nothing_computes_next_to_a_text_that_has_all_places(scheduler, texts):
    short, long = texts
    seen, one = [], Lengths()

    class Several(Lengths):
        def run(self, outputs, feeds):
            other.start()
            time.sleep(0.2)
            seen.append(one.calls)
            return super().run(outputs, feeds)

    other = threading.Thread(target=run, args=(scheduler, one, [short]))
    run(scheduler, one, [long], Several())
    other.join(60)
    assert seen == [0]
    assert one.calls == 1


def test_other_texts_are_computed_in_the_places_that_are_left(texts):
    short, long = texts
    scheduler, one = Scheduler(3, 64), Lengths()

    class Several(Lengths):
        def run(self, outputs, feeds):
            other = threading.Thread(target=run, args=(scheduler, one, [short]))
            other.start()
            other.join(60)
            return super().run(outputs, feeds)

    run(scheduler, one, [long], Several())
    assert one.calls == 1
    scheduler.close()


def test_a_call_that_fails_gives_its_threads_back(scheduler, texts):
    class Failing(Lengths):
        def run(self, outputs, feeds):
            raise ValueError("no memory")

    for _ in range(3):
        with pytest.raises(ValueError, match="no memory"):
            run(scheduler, Lengths(), texts[1:], Failing())
        with pytest.raises(ValueError, match="no memory"):
            run(scheduler, Failing(), texts)
    assert run(scheduler, Lengths(), texts, Lengths()) == [3, 6]
    several = Lengths()
    assert run(scheduler, Lengths(), texts[1:], several) == [6]
    assert several.calls == 1


def test_a_caller_that_stops_leaves_nothing_running(scheduler, texts):
    backend = Lengths()
    jobs = [Job(Run(backend), [row], encoding) for row, encoding in enumerate(texts * 20)]
    found = scheduler.run(scheduler.group(jobs))
    next(found)
    found.close()
    before = backend.calls
    assert run(scheduler, backend, texts) == [3, 6]
    assert backend.calls == before + 2


def test_a_short_call_does_not_wait_for_all_groups_of_a_long_one(scheduler, texts):
    """They have their turns one after the other."""
    may_go, done = threading.Event(), []

    class Slow(Lengths):
        def run(self, outputs, feeds):
            assert may_go.wait(60)
            done.append(self)
            return super().run(outputs, feeds)

    long, short = Slow(), Slow()
    groups = scheduler.group([Job(Run(long), [row], each) for row, each in enumerate(texts * 1000)])
    callers = [
        threading.Thread(target=list, args=[scheduler.run(groups)]),
        threading.Thread(target=run, args=[scheduler, short, texts]),
    ]
    for caller in callers:
        caller.start()
        time.sleep(0.1)  # each has queued what it may
    may_go.set()
    for caller in callers:
        caller.join()
    last = max(i for i, backend in enumerate(done) if backend is short)
    assert last < 12 < len(groups)


def test_a_group_of_which_no_text_is_wanted_is_left_out(scheduler, texts):
    """One that holds a wanted text is computed as a whole."""
    of_all = Run(Lengths())
    jobs = [Job(of_all, [row], texts[row % 2]) for row in range(4)]
    found = scheduler.run(scheduler.group(jobs), wanted=lambda row: row == 0)
    assert {job.rows[0] for job, logits in found if logits is not None} == {0, 2}
    assert of_all.backend.calls == 1


@pytest.mark.parametrize("several", [None, Lengths()], ids=["one_thread", "several"])
def test_a_single_text_that_is_not_wanted_any_more_is_left_out(scheduler, texts, several):
    """It may have waited for its place for long."""
    one = Lengths()
    of_all = Run(one, several and MultiThreaded(several))
    groups = scheduler.group([Job(of_all, [0], texts[1])])
    assert [logits for _, logits in scheduler.run(groups, lambda row: False)] == [None]
    assert one.calls == 0
    assert several is None or several.calls == 0


def test_a_single_text_does_not_wait_for_the_session_that_it_has_opened(scheduler, texts):
    may_open, is_open, opened = threading.Event(), threading.Event(), []

    class Late(MultiThreaded):
        def open(self):
            assert may_open.wait(60)
            opened.append(threading.current_thread().name)
            is_open.set()

        def ready(self, start):
            if not opened:
                start(self.open)
            return bool(opened)

    one, several = Lengths(), Lengths()
    jobs = [Job(Run(one, Late(several)), [0], texts[1])]
    list(scheduler.run(scheduler.group(jobs)))
    assert (one.calls, several.calls) == (1, 0)
    may_open.set()
    assert is_open.wait(60)
    assert opened[0].startswith("polyhead")
    list(scheduler.run(scheduler.group(jobs)))
    assert (one.calls, several.calls) == (1, 1)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 1000])
def test_strips_come_back_in_order(scheduler, count):
    assert scheduler.spread(list, count) == list(range(count))


def test_strips_are_done_by_all_threads(scheduler):
    both = threading.Barrier(2, timeout=60)

    def together(rows):
        both.wait()  # passes when two strips are done at the same time
        return list(rows)

    assert scheduler.spread(together, 128) == list(range(128))


def test_the_error_of_the_first_strip_is_raised(scheduler):
    def fail(rows):
        raise ValueError(rows.start)

    with pytest.raises(ValueError, match=r"\b0\b"):
        scheduler.spread(fail, 500)

    def fail_late(rows):
        if rows.start:
            raise ValueError(rows.start)
        time.sleep(0.1)
        return list(rows)

    with pytest.raises(ValueError, match=r"\b64\b"):
        scheduler.spread(fail_late, 500)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("texts", [["a"], ["a", "b b", "c c c"] * 30], ids=["one", "list"])
def test_what_is_called_in_the_midst_of_a_call_may_use_the_engine(bundle, threads, texts):
    """A signal handler, or a finalizer, in a thread that computes: it must not wait for itself."""
    with load(bundle, threads=threads) as engine:
        expected = [found.to_dict() for found in engine.predict(texts)]
        inside, nested = threading.local(), []

        def wanted(_):
            if not getattr(inside, "now", False):
                inside.now = True
                nested.append([found.to_dict() for found in engine.predict(texts)])
                engine("a b c d e f g h i j k l m n o p")
                inside.now = False
            return True

        found = within(20, lambda: engine.predict([*texts, "b"], wanted=wanted))
        assert [each.to_dict() for each in found[:-1]] == expected
        assert nested
        assert all(each == expected for each in nested)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_may_be_closed_in_the_midst_of_a_call(bundle, threads):
    engine, texts = load(bundle, threads=threads), ["a", "b b", "c c c"] * 90
    expected = [each.to_dict() for each in engine.predict(texts)]

    def wanted(_):
        engine.close()
        return True

    found = within(20, lambda: engine.predict(texts, wanted=wanted))
    assert [each.to_dict() for each in found] == expected
    with pytest.raises(EngineClosed):
        engine("a")


def within(seconds, call):
    """What a call gives in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(outcome(call)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it hangs"
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def outcome(call):
    try:
        return call()
    except Exception as problem:
        return problem
