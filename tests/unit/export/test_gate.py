"""The rule of the gate, on figures that are written down."""

import math
from dataclasses import replace

import pytest

from polyhead import InvalidSetting
from polyhead.bundle import Gate, HeadQuality
from polyhead_export import gate
from polyhead_export.decisions import Changes
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
    drop_interval=(-0.3, 0.3),
    decisions=1000,
    changed_interval=(0.0, 0.003),
)
UNSCORED = replace(GOOD, metric=None, fp32=None, exported=None, drop_interval=None)


def counted(changed, decisions, quality=GOOD):
    found = Changes(changed, decisions)
    return replace(
        quality,
        texts=decisions,
        decisions=decisions,
        changed=found.share,
        changed_interval=found.interval,
    )


def verdict(quality, limits=None, **options):
    return gate.judge("static", {"topic": quality}, limits or Limits(), **options).verdict("topic")


def dropped(low, high, drop=0.4):
    return replace(GOOD, exported=0.9 - drop / 100, drop_interval=(low, high))


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        pytest.param(GOOD, "pass", id="nothing_changed_of_many"),
        pytest.param(UNSCORED, "pass", id="without_references"),
        pytest.param(counted(0, 5), "uncertain", id="nothing_changed_of_few"),
        pytest.param(counted(0, 1), "uncertain", id="nothing_changed_of_one"),
        pytest.param(counted(0, 0), "uncertain", id="no_decision_that_counts"),
        pytest.param(counted(1, 1), "fail", id="the_only_one_changed"),
        pytest.param(counted(1, 20), "uncertain", id="one_of_few"),
        pytest.param(counted(2, 20), "fail", id="two_of_few"),
        pytest.param(counted(4, 150), "uncertain", id="four_of_150"),
        pytest.param(counted(40, 1500), "fail", id="as_many_of_more_texts"),
        pytest.param(counted(5, 2000), "pass", id="some_of_many"),
        pytest.param(dropped(-0.2, 0.5), "pass", id="drop_within"),
        pytest.param(dropped(-0.2, 1.2), "uncertain", id="drop_around"),
        pytest.param(dropped(0.6, 1.2, 0.9), "fail", id="drop_beyond"),
        pytest.param(dropped(math.nan, math.nan, math.nan), "fail", id="metric_nan"),
        pytest.param(replace(GOOD, max_logit_error=math.nan), "fail", id="logits_nan"),
        pytest.param(replace(GOOD, max_logit_error=math.inf), "fail", id="logits_infinite"),
    ],
)
def test_the_bounds_are_held_against_the_limits(quality, said):
    assert verdict(quality) == said


def test_fewer_texts_never_pass_more_easily():
    share = [verdict(counted(0, n)) for n in (1, 5, 20, 100, 298, 299, 1000)]
    assert share == ["uncertain"] * 5 + ["pass"] * 2


@pytest.mark.parametrize("quality", [GOOD, counted(3, 4), dropped(9, 99, 50)])
def test_any_loss_passes_where_all_is_allowed(quality):
    assert verdict(quality, Limits(max_drop=100, max_flips=100)) == "pass"


def test_the_float_graph_passes_by_its_measured_values():
    few = counted(0, 5)
    assert verdict(few, Limits(max_drop=0, max_flips=0), exact=True) == "pass"
    assert verdict(counted(1, 20), Limits(), exact=True) == "uncertain"
    assert verdict(replace(few, max_logit_error=math.nan), Limits(), exact=True) == "fail"


def test_a_head_at_chance_goes_by_its_decisions_alone():
    lost = replace(dropped(60, 90, 80), at_chance=True)
    assert verdict(lost) == "pass"
    assert verdict(counted(200, 1000, lost)) == "fail"
    attempt = gate.judge("static", {"topic": lost}, Limits())
    assert (attempt.drop, attempt.changed) == ({}, {"topic": 0.0})


def test_each_head_is_judged_by_itself():
    heads = {"good": GOOD, "bad": counted(9, 20), "few": counted(0, 9), "embedding": UNSCORED}
    attempt = gate.judge("static", heads, Limits())
    assert (attempt.failed, attempt.uncertain) == (("bad",), ("few",))
    assert [attempt.verdict(head) for head in heads] == ["pass", "fail", "uncertain", "pass"]


def test_an_attempt_has_finite_numbers_only():
    attempt = gate.judge("static", {"topic": dropped(math.nan, math.nan, math.nan)}, Limits())
    assert attempt.drop == {"topic": 100.0}


LIMITS = Limits()


def remarked(quality, limits=LIMITS, heads=()):
    tried = (gate.judge("static", quality, limits),)
    held = Gate(max_drop=limits.max_drop, max_flips=limits.max_flips, attempts=tried)
    return gate.remarks(quality, held, heads)


def test_a_head_at_chance_is_told():
    [remark] = remarked({"topic": replace(GOOD, at_chance=True), "other": GOOD})
    assert remark.startswith("topic: accuracy 0.9000 of the PyTorch model is no better than")


def test_an_uncertain_head_is_told_with_counts_and_what_would_settle_it():
    [remark] = remarked({"topic": counted(4, 150), "other": GOOD})
    assert remark == (
        "topic: uncertain. Changed decisions 4 of 150 (0.9% to 6.0%), allowed 1%. 150 texts are"
        " few: 299 without a change would pass."
    )


def test_an_uncertain_drop_is_told():
    [remark] = remarked({"topic": dropped(-0.2, 1.2)})
    assert remark == "topic: uncertain. Drop +0.40 (-0.20 to +1.20) points, allowed 0.5."


def test_no_number_of_texts_shows_that_nothing_is_ever_lost():
    [remark] = remarked({"topic": GOOD}, Limits(max_drop=0, max_flips=0))
    assert "few" not in remark


def test_a_head_that_no_text_is_for_is_told():
    [remark] = remarked({"topic": GOOD}, heads=["topic", "answer"])
    assert remark.startswith("answer: none of the texts is one that it reads")


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
        pytest.param({"tie_margin": 2}, "tie_margin=2: expected a number from 0 to 1", id="tie"),
    ],
)
def test_limits_are_checked(limits, message):
    with pytest.raises(InvalidSetting, match=message):
        Limits(**limits)
