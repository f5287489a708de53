"""How often the gate is wrong about heads whose true loss is known: 1,000 exports of each."""

from collections import Counter

import numpy as np
import pytest

from polyhead.bundle import HeadQuality
from polyhead.heads import Classification
from polyhead_export.decisions import compare
from polyhead_export.gate import Limits, judge
from polyhead_export.quality import drop_interval
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import Answered

EXPORTS = 1000
LIMITS = Limits()
RIGHT = 0.85
# Of the reference's decisions, how many are near ties, right as often as wrong, and how many of
# those any graph changes.
TIES, TIES_CHANGED = 0.05, 0.3
YES, NO = (Classification(label, 1.0, {}) for label in ("yes", "no"))


def exported(random, texts, *, factor):
    """The figures of a head that truly loses `factor` times what is allowed, on some texts.

    Of the changed decisions three in four were right before: half as many points are lost as
    percent of the decisions change, so that both are `factor` times their limits.
    """
    changing = factor * LIMITS.max_flips / 100
    ties = random.random(texts) < TIES
    before = random.random(texts) < np.where(ties, 0.5, RIGHT)
    to_wrong, to_right = changing * 0.75 / RIGHT, changing * 0.25 / (1 - RIGHT)
    chance = np.where(ties, TIES_CHANGED, np.where(before, to_wrong, to_right))
    after = before ^ (random.random(texts) < chance)
    sides = [[YES if right else NO for right in side] for side in (before, after)]
    text = Example("simulated:1", "simulated", "", {})
    reference, graph = ([Answered(text, result, "yes", 1) for result in side] for side in sides)
    margins = [lambda _, tie=tie: 0.01 if tie else 0.5 for tie in ties.tolist()]
    found = compare("classification.v1", sides[1], sides[0], margins, tie_margin=LIMITS.tie_margin)
    return HeadQuality(
        split="validation",
        texts=texts,
        metric="accuracy",
        fp32=float(before.mean()),
        exported=float(after.mean()),
        agreement=float((before == after).mean()),
        max_logit_error=0.1,
        changed=found.share,
        drop_interval=drop_interval("classification.v1", reference, graph),
        decisions=found.decisions,
        changed_interval=found.interval,
        near_ties=found.near_ties,
        near_ties_changed=found.near_ties_changed,
    )


def verdicts(texts, factor, exports=EXPORTS):
    random = np.random.default_rng(texts)
    qualities = (exported(random, texts, factor=factor) for _ in range(exports))
    attempts = (judge("static scales", {"head": quality}, LIMITS) for quality in qualities)
    return Counter(attempt.verdict("head") for attempt in attempts)


@pytest.mark.parametrize("texts", [20, 400])
def test_a_head_that_loses_half_of_what_is_allowed_is_rarely_refused(texts):
    assert verdicts(texts, 0.5)["fail"] <= 0.05 * EXPORTS


def test_a_head_that_loses_twice_what_is_allowed_rarely_passes():
    assert verdicts(400, 2.0)["pass"] <= 0.05 * EXPORTS


def test_a_head_that_loses_much_is_found():
    assert verdicts(400, 8.0, exports=100)["fail"] >= 95
