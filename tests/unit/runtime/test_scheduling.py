"""What a list comes to when no thread can be had, or the engine is closed meanwhile."""

import threading

import numpy as np
import pytest

from polyhead import EngineClosed
from polyhead.scheduling import Scheduler

OUTPUTS = ["logits/x"]


class Lengths:
    """A back end that answers with the number of tokens."""

    inputs = ("input_ids",)

    def run(self, outputs, feeds):
        batch, tokens = feeds["input_ids"].shape
        return [np.full((batch, 1), tokens, np.float32) for _ in outputs]

    def info(self):
        return {}


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
            scheduler.run(Lengths(), OUTPUTS, windows)
    found = scheduler.run(Lengths(), OUTPUTS, windows)
    assert [int(logits[0]) for [logits] in found] == [3, 6]


def test_a_list_after_the_end_is_told_as_a_closed_engine(scheduler, windows):
    scheduler.run(Lengths(), OUTPUTS, windows)
    scheduler.close()
    with pytest.raises(EngineClosed, match="closed during the call"):
        scheduler.run(Lengths(), OUTPUTS, windows)
