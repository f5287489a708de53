import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding

LABELS = ("billing", "delivery", "praise")
SPEC = HeadSpec(
    kind="classification.v1",
    output="logits/topic",
    labels=LABELS,
    activation="softmax",
    pooling="mean",
    max_tokens=16,
)
EMPTY = Encoding("", np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, bool))
LOGITS = hnp.arrays(np.float32, 3, elements=st.floats(-1e4, 1e4, width=32))


def decode(*logits):
    return decoder("topic", SPEC).decode(np.array(logits, dtype=np.float32), EMPTY)


def test_the_highest_logit_wins():
    assert decode(0.5, 2.0, -1.0).label == "delivery"


def test_probabilities_are_the_softmax():
    found = decode(np.log(1.0), np.log(2.0), np.log(5.0))
    assert found.score == pytest.approx(0.625)
    assert found.scores == pytest.approx({"billing": 0.125, "delivery": 0.25, "praise": 0.625})


def test_the_first_of_equals_wins():
    assert decode(1.0, 1.0, 0.0).label == "billing"


@given(LOGITS)
def test_probabilities_sum_to_one(logits):
    found = decode(*logits)
    assert sum(found.scores.values()) == pytest.approx(1, abs=1e-5)
    assert all(0 <= score <= 1 for score in found.scores.values())


@given(LOGITS)
def test_the_score_is_that_of_the_label_and_the_highest(logits):
    found = decode(*logits)
    assert found.score == found.scores[found.label] == max(found.scores.values())


@pytest.mark.parametrize("size", [1e4, -1e4], ids=["positive", "negative"])
def test_large_logits_do_not_overflow(size):
    assert decode(size, size, size).score == pytest.approx(1 / 3)
    assert decode(size, -size, 0).score == 1.0


def test_scores_stand_in_the_order_of_the_labels():
    assert tuple(decode(1, 2, 3).scores) == LABELS


def test_the_decision_is_the_label():
    assert decode(0, 0, 9).decision == "praise"


def test_plain_data_goes_through_json():
    found = decode(0.5, 2.0, -1.0)
    data = json.loads(json.dumps(found.to_dict()))
    assert data == {"label": "delivery", "score": found.score, "scores": found.scores}


def test_a_line_for_people():
    assert str(decode(0, 0, 9)) == "praise  1.00"
