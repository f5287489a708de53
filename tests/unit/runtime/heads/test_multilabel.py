import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyhead import MultiLabel
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding

LABELS = ("angry", "late", "damaged")
SPEC = HeadSpec(
    kind="multilabel.v1",
    output="logits/tags",
    labels=LABELS,
    activation="sigmoid",
    pooling="mean",
    max_tokens=16,
)
EMPTY = Encoding("", np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, bool))
LOGITS = hnp.arrays(np.float32, 3, elements=st.floats(-1e4, 1e4, width=32))
THRESHOLDS = st.tuples(*[st.floats(0, 1)] * 3)


def decode(*logits, thresholds=None):
    own = decoder("tags", replace(SPEC, thresholds=thresholds))
    return own.decode(np.array(logits, dtype=np.float32), EMPTY)


def test_probabilities_are_the_sigmoid_of_each_logit():
    found = decode(np.log(3.0), 0.0, -np.log(4.0)).scores
    assert found == pytest.approx({"angry": 0.75, "late": 0.5, "damaged": 0.2})


def test_a_label_is_found_from_one_half_on():
    assert decode(1e-3, 0.0, -1e-3).labels == ("angry", "late")


def test_every_label_has_its_own_threshold():
    quarter = np.log(1 / 3)
    assert decode(quarter, quarter, quarter, thresholds=(0.3, 0.2, 0.9)).labels == ("late",)


def test_a_threshold_that_is_met_exactly_is_reached():
    score = decode(0.7, 0.0, 0.0).scores["angry"]
    assert "angry" in decode(0.7, 0.0, 0.0, thresholds=(score, 0.5, 0.5)).labels
    above = float(np.nextafter(score, 1))
    assert "angry" not in decode(0.7, 0.0, 0.0, thresholds=(above, 0.5, 0.5)).labels


def test_no_label_may_be_found():
    found = decode(-5, -5, -5)
    assert (found.labels, found.decision, str(found)) == ((), (), "(none)")


@given(LOGITS, st.none() | THRESHOLDS)
def test_the_labels_are_those_whose_score_reaches_the_threshold_in_their_order(logits, thresholds):
    found = decode(*logits, thresholds=thresholds)
    limits = dict(zip(LABELS, thresholds or (0.5,) * 3, strict=True))
    assert found.labels == tuple(x for x in LABELS if found.scores[x] >= limits[x])
    assert tuple(found.scores) == LABELS


@given(LOGITS)
def test_scores_are_probabilities_that_grow_with_the_logit(logits):
    scores = np.array(list(decode(*logits).scores.values()))
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores[np.argsort(logits)]) >= 0).all()


@given(LOGITS)
def test_one_label_says_nothing_of_another(logits):
    alone = decode(logits[0], 0, 0).scores["angry"]
    assert decode(*logits).scores["angry"] == alone


def test_sure_labels_can_still_be_told_apart():
    assert decode(20.0, 25.0, 30.0).scores["angry"] < decode(25.0, 0, 0).scores["angry"] < 1


def test_the_logits_are_one_a_label():
    assert decoder("tags", SPEC).width == 3


def test_the_decision_is_the_labels():
    assert decode(9, -9, 9).decision == ("angry", "damaged")


def test_plain_data_goes_through_json():
    found = decode(2.0, -1.0, 0.5)
    data = json.loads(json.dumps(found.to_dict()))
    assert data == {"labels": ["angry", "damaged"], "scores": found.scores}


def test_a_line_for_people():
    scores = {"angry": 0.123, "late": 0.987, "damaged": 0.5}
    assert str(MultiLabel(("late", "damaged"), scores)) == "late 0.99  damaged 0.50"
