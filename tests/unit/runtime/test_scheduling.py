"""What a list comes to, what a lone long text gets, and what happens when threads are not there."""

import threading
import time

import numpy as np
import pytest

from polyhead import EngineClosed
from polyhead.inference.scheduler import Request, Scheduler


class Lengths:
    """A back end that answers with the number of tokens, and counts its calls."""

    inputs = ("input_ids",)

    threads = 2

    def __init__(self, wide=None):
        self.wide, self.calls = wide, 0

    def run(self, outputs, feeds):
        self.calls += 1
        batch, tokens = feeds["input_ids"].shape
        return [np.full((batch, 1), tokens, np.float32) for _ in outputs]

    def ready(self, start):
        return True

    def info(self):
        return {}


def run(scheduler, backend, windows):
    """The number of tokens of each window, as the back end saw it."""
    found = [None] * len(windows)

    def take(index, arrays):
        assert found[index] is None
        found[index] = int(arrays[0][0])

    scheduler.run([Request(backend, ["logits/x"], windows, take)])
    return found


@pytest.fixture
def windows(wordpiece):
    """Two lengths, and so two groups."""
    encodings = wordpiece.encode(["anna", "anna lives in oslo"])
    return [(encoding, slice(0, len(encoding))) for encoding in encodings]


@pytest.fixture
def scheduler():
    made = Scheduler(2, 64)
    yield made
    made.close()


def test_a_system_without_threads_is_not_told_as_a_closed_engine(scheduler, windows, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            run(scheduler, Lengths(), windows)
    assert run(scheduler, Lengths(), windows) == [3, 6]


def test_a_list_after_the_end_is_told_as_a_closed_engine(scheduler, windows):
    run(scheduler, Lengths(), windows)
    scheduler.close()
    with pytest.raises(EngineClosed, match="closed during the call"):
        run(scheduler, Lengths(), windows)


def test_a_lone_long_text_gets_several_threads(scheduler, windows, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    short, long = windows
    wide = Lengths()
    narrow = Lengths(wide)
    assert run(scheduler, narrow, [long]) == [6]
    assert (narrow.calls, wide.calls) == (0, 1)
    assert run(scheduler, narrow, [short]) == [3]
    assert run(scheduler, narrow, windows) == [3, 6]
    assert run(scheduler, narrow, [long, long]) == [6, 6]
    assert (narrow.calls, wide.calls) == (4, 1)


def test_a_long_text_beside_another_gets_one_thread(scheduler, windows, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    short, long = windows
    wide = Lengths()
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
        narrow = Lengths(wide)
        assert run(scheduler, narrow, [long]) == [6]
        assert (narrow.calls, wide.calls) == (1, 0)
    finally:
        go_on.set()
        other.join()
    assert run(scheduler, narrow, [long]) == [6]
    assert (narrow.calls, wide.calls) == (1, 1)


def test_nothing_computes_beside_a_text_that_has_all_places(scheduler, windows, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    short, long = windows
    seen = []

    class Wide(Lengths):
        def run(self, outputs, feeds):
            other.start()
            time.sleep(0.2)
            seen.append(narrow.calls)
            return super().run(outputs, feeds)

    narrow = Lengths(Wide())
    other = threading.Thread(target=run, args=(scheduler, narrow, [short]))
    run(scheduler, narrow, [long])
    other.join(60)
    assert seen == [0]
    assert narrow.calls == 1


def test_other_texts_are_computed_in_the_places_that_are_left(windows, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    short, long = windows
    scheduler = Scheduler(3, 64)

    class Wide(Lengths):
        def run(self, outputs, feeds):
            other = threading.Thread(target=run, args=(scheduler, narrow, [short]))
            other.start()
            other.join(60)
            return super().run(outputs, feeds)

    narrow = Lengths(Wide())
    run(scheduler, narrow, [long])
    assert narrow.calls == 1
    scheduler.close()


def test_a_wide_call_that_fails_gives_its_threads_back(scheduler, windows, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)

    class Failing(Lengths):
        def run(self, outputs, feeds):
            raise ValueError("no memory")

    for _ in range(3):
        with pytest.raises(ValueError, match="no memory"):
            run(scheduler, Lengths(Failing()), windows[1:])
    assert run(scheduler, Lengths(), windows) == [3, 6]


def test_what_a_reader_raises_ends_the_call(scheduler, windows):
    def take(index, arrays):
        raise KeyError(index)

    with pytest.raises(KeyError):
        scheduler.run([Request(Lengths(), ["logits/x"], windows, take)])
    assert run(scheduler, Lengths(), windows) == [3, 6]


def test_a_lone_text_does_not_wait_for_the_session_that_it_has_opened(
    scheduler, windows, monkeypatch
):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    may_open, opened = threading.Event(), []

    class Late(Lengths):
        def open(self):
            assert may_open.wait(60)
            opened.append(threading.current_thread().name)

        def ready(self, start):
            if not opened:
                start(self.open)
            return bool(opened)

    narrow = Lengths(Late())
    assert run(scheduler, narrow, windows[1:]) == [6]
    assert narrow.calls == 1
    may_open.set()
    scheduler.settle()
    assert opened[0].startswith("polyhead")
    run(scheduler, narrow, windows[1:])
    assert (narrow.calls, narrow.wide.calls) == (1, 1)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 1000])
def test_strips_come_back_in_order(scheduler, count):
    assert scheduler.spread(list, count) == list(range(count))


def test_strips_are_done_by_all_threads(scheduler):
    both = threading.Barrier(2, timeout=60)

    def together(rows):
        both.wait()  # passes when two strips are done at the same time
        return list(rows)

    assert scheduler.spread(together, 128) == list(range(128))


def test_the_error_of_the_first_strip_is_told(scheduler):
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
