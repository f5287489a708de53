"""Single-text requests on several threads: the same bits, opened late, no errors of their own."""

import logging
import os
import shutil
import time
import weakref

import numpy as np
import pytest

from polyhead import InvalidSetting, load

LONG = "the parcel was late and anna lives in oslo"


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


@pytest.fixture
def engine(bundle):
    with load(bundle, intra_op_min_tokens=6) as engine:
        yield engine


def bits(logits):
    return {name: [array.tobytes() for array in arrays] for name, arrays in logits.items()}


def opened(engine):
    """Wait for the thread that opens it, or fails."""
    end = time.monotonic() + 60
    while not ((found := engine.info()["multi_threaded"])["open"] or found["fault"]):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_opened_by_the_first_long_text_and_equal_to_the_bit(engine):
    engine("anna")
    assert engine.info()["multi_threaded"] == {
        "intra_op_threads": 2,
        "intra_op_min_tokens": 6,
        "open": False,
        "fault": None,
    }
    before = engine.logits([LONG])
    opened(engine)
    assert engine.info()["multi_threaded"]["open"]
    alone = engine.logits([LONG])
    assert bits(before) == bits(alone)
    among = engine.logits(["anna", LONG, "thanks"])
    assert bits(alone) == {name: arrays[1:2] for name, arrays in bits(among).items()}


def test_warmup_opens_it(engine):
    engine.warmup()
    assert engine.info()["multi_threaded"]["open"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"threads": 1, "intra_op_min_tokens": 6},
        {"intra_op_threads": 1, "intra_op_min_tokens": 6},
    ],
)
def test_only_where_it_is_asked_for_and_there_are_threads(bundle, settings):
    with load(bundle, **settings) as engine:
        assert engine.info()["multi_threaded"] is None


@pytest.mark.parametrize("tokens", [0, "16", 1.5])
def test_a_length_that_is_no_number_of_tokens_is_refused(bundle, tokens):
    with pytest.raises(InvalidSetting, match="intra_op_min_tokens"):
        load(bundle, intra_op_min_tokens=tokens)


def test_a_bundle_that_was_replaced_costs_the_threads_and_not_the_answer(bundle, tmp_path, caplog):
    copied = shutil.copytree(bundle, tmp_path / "bundle")
    with (
        load(copied, intra_op_min_tokens=6) as engine,
        caplog.at_level(logging.WARNING, logger="polyhead"),
    ):
        expected = engine.logits([LONG, "anna"])
        with (copied / engine.info()["graph"]["file"]).open("ab") as file:
            file.write(b"\n")
        for _ in range(3):
            for name, arrays in engine.logits([LONG]).items():
                assert np.array_equal(arrays[0], expected[name][0])
            opened(engine)
        found = engine.info()["multi_threaded"]
    assert len(caplog.records) == 1
    assert not found["open"]
    assert "changed since it was loaded" in found["fault"]


def test_a_system_without_threads_is_asked_again(engine):
    session = engine._model.parts[0].multi_threaded
    asked = []

    def refuse(opening):
        asked.append(opening)
        return False

    assert not session.ready(refuse)
    assert not session.ready(refuse)
    assert len(asked) == 2
    engine.warmup()
    assert engine.info()["multi_threaded"]["open"]


def test_no_session_is_opened_for_an_engine_that_was_reloaded_meanwhile(engine):
    kept = []
    engine._model.parts[0].multi_threaded.ready(lambda opening: not kept.append(opening))
    old = weakref.ref(engine._model.parts[0].multi_threaded)
    engine.reload()
    assert old() is None
    kept.pop()()  # when a thread is free at last
    assert not engine.info()["multi_threaded"]["open"]
