"""A lone text on several threads: the same bits, opened late, and never an error of its own."""

import logging
import shutil

import numpy as np
import pytest

from polyhead import load

LONG = "the parcel was late and anna lives in oslo"


@pytest.fixture
def wide_engine(bundle, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    monkeypatch.setattr("polyhead.inference.threads._affinity", lambda: 2)
    with load(bundle) as engine:
        yield engine


def bits(logits):
    return {name: [array.tobytes() for array in arrays] for name, arrays in logits.items()}


def test_opened_by_the_first_long_text_and_equal_to_the_bit(wide_engine):
    wide_engine("anna")
    assert wide_engine.info()["wide"] == {
        "intra_op_threads": 2,
        "from_tokens": 6,
        "open": False,
        "fault": None,
    }
    before = wide_engine.logits([LONG])
    wide_engine._scheduler.settle()
    assert wide_engine.info()["wide"]["open"]
    alone = wide_engine.logits([LONG])
    assert bits(before) == bits(alone)
    among = wide_engine.logits(["anna", LONG, "thanks"])
    assert bits(alone) == {name: arrays[1:2] for name, arrays in bits(among).items()}


def test_warmup_opens_it(wide_engine):
    wide_engine.warmup()
    assert wide_engine.info()["wide"]["open"]


@pytest.mark.parametrize("settings", [{"threads": 1}, {"intra_op_threads": 1}])
def test_not_where_it_is_switched_off(bundle, settings, monkeypatch):
    monkeypatch.setattr("polyhead.inference.threads._affinity", lambda: 2)
    with load(bundle, **settings) as engine:
        assert engine.info()["wide"] is None


def test_a_bundle_that_was_replaced_costs_the_threads_and_not_the_answer(
    bundle, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("polyhead.inference.threads.WIDE_FROM", 6)
    monkeypatch.setattr("polyhead.inference.threads._affinity", lambda: 2)
    copied = shutil.copytree(bundle, tmp_path / "bundle")
    with load(copied) as engine, caplog.at_level(logging.WARNING, logger="polyhead"):
        expected = engine.logits([LONG, "anna"])
        with (copied / engine.info()["graph"]["file"]).open("ab") as file:
            file.write(b"\n")
        for _ in range(3):
            engine._scheduler.settle()
            for name, arrays in engine.logits([LONG]).items():
                assert np.array_equal(arrays[0], expected[name][0])
        told = engine.info()["wide"]
    assert len(caplog.records) == 1
    assert not told["open"]
    assert "changed since it was loaded" in told["fault"]


def test_a_system_without_threads_is_asked_again(wide_engine):
    wide = wide_engine._model.backend.wide
    asked = []

    def refuse(opening):
        asked.append(opening)
        return False

    assert not wide.ready(refuse)
    assert not wide.ready(refuse)
    assert len(asked) == 2
    wide_engine.warmup()
    assert wide_engine.info()["wide"]["open"]
