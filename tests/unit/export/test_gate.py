"""The rule of the gate, on figures that are written down."""

import math
from dataclasses import replace

import pytest

from polyhead import InvalidSetting
from polyhead.bundle import HeadQuality
from polyhead_export import gate
from polyhead_export.gate import Limits

GOOD = HeadQuality(
    split="validation",
    texts=1000,
    metric="accuracy",
    fp32=0.9,
    exported=0.9,
    agreement=1.0,
    max_logit_error=0.1,
    changed=0.0,
)
UNSCORED = replace(GOOD, metric=None, fp32=None, exported=None)


def failed(quality, **limits):
    return bool(gate.judge("static", {"topic": quality}, Limits(**limits)).failed)


@pytest.mark.parametrize(
    ("exported", "limit", "fails"),
    [
        pytest.param(0.895, 0.5, False, id="at_the_limit"),
        pytest.param(0.894, 0.5, True, id="beyond"),
        pytest.param(0.91, 0.0, False, id="better_where_nothing_may_be_lost"),
        pytest.param(0.9, 0.0, False, id="equal_where_nothing_may_be_lost"),
        pytest.param(0.899, 0.0, True, id="worse_where_nothing_may_be_lost"),
        pytest.param(math.nan, 100.0, True, id="nan"),
    ],
)
def test_a_drop_is_held_against_its_limit(exported, limit, fails):
    assert failed(replace(GOOD, exported=exported), max_drop=limit) == fails


@pytest.mark.parametrize("quality", [GOOD, UNSCORED], ids=["scored", "unscored"])
def test_changed_decisions_are_held_against_their_limit(quality):
    assert not failed(replace(quality, changed=0.01), max_flips=1.0)
    assert failed(replace(quality, changed=0.011), max_flips=1.0)


def test_the_interval_decides_nothing():
    assert not failed(replace(GOOD, drop_interval=(-9.0, 9.0)), max_drop=0.0)


def test_a_head_at_chance_goes_by_its_decisions_alone():
    lost = replace(GOOD, exported=0.1, at_chance=True)
    assert not failed(lost)
    assert failed(replace(lost, changed=0.2))
    attempt = gate.judge("static", {"topic": lost}, Limits())
    assert (attempt.drop, attempt.changed) == ({}, {"topic": 0.0})


def test_a_head_at_chance_is_told():
    [remark] = gate.remarks({"topic": replace(GOOD, at_chance=True), "other": GOOD}, Limits())
    assert remark.startswith("topic: accuracy 0.9000 of the PyTorch model is no better than")


def test_few_texts_are_told():
    [remark] = gate.remarks({"topic": replace(GOOD, texts=16), "other": GOOD}, Limits())
    assert remark.startswith("topic: 16 texts are few for a gate, one of them is 6.2%")


def test_a_head_that_no_text_is_for_is_told():
    [remark] = gate.remarks({"topic": GOOD}, Limits(), ["topic", "answer"])
    assert remark.startswith("answer: none of the texts is one that it reads")


def test_each_head_is_judged_by_itself():
    heads = {"good": GOOD, "bad": replace(GOOD, changed=0.5), "embedding": UNSCORED}
    assert gate.judge("static", heads, Limits()).failed == ("bad",)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        pytest.param(
            {"max_drop": -0.1}, "max_drop=-0.1: expected a number of at least 0", id="low"
        ),
        pytest.param({"max_drop": math.inf}, "max_drop=inf", id="infinite"),
        pytest.param(
            {"max_flips": 101}, "max_flips=101: expected a number from 0 to 100", id="all"
        ),
        pytest.param({"max_flips": math.nan}, "max_flips=nan", id="nan"),
    ],
)
def test_limits_are_checked(limits, message):
    with pytest.raises(InvalidSetting, match=message):
        Limits(**limits)
