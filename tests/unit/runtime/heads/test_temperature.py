"""A temperature changes scores and never a decision; and what a call may ask of scores."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyhead import InvalidSetting
from polyhead.heads import HeadSpec, decoder
from polyhead.heads.base import tempered, tempered_odds
from polyhead.text.encoding import Encoding

LABELS = ("a", "b", "c")
TEXT = "one two three four"
OFFSETS = [(0, 3), (4, 7), (8, 13), (14, 18)]
TEMPERATURES = st.floats(0.05, 20)


def spec(kind, **more):
    labels = () if kind == "answer.v1" else LABELS
    return HeadSpec(kind=kind, output="logits/x", labels=labels, max_tokens=16, **more)


CLASSIFICATION = spec("classification.v1", activation="softmax", pooling="mean")
MULTILABEL = spec("multilabel.v1", activation="sigmoid", pooling="mean")
TOKENS = spec("tokens.v1", activation="softmax")
ANSWER = spec("answer.v1", activation="span", input="pair")


def encoding(windows=1):
    """Four words, each a token, in one window or in two that share two of them."""
    parts = [OFFSETS] if windows == 1 else [OFFSETS[:3], OFFSETS[1:]]
    offsets = [place for part in parts for place in ((0, 0), *part, (0, 0))]
    special = [start == end for start, end in offsets]
    starts, firsts = ((0,), (0,)) if windows == 1 else ((0, 5), (0, 1))
    ids = np.zeros(len(offsets), np.int64)
    return Encoding(TEXT, ids, np.array(offsets), np.array(special), starts=starts, firsts=firsts)


def logits(windows, *shape):
    """One array a text, or one a window, or of all tokens."""
    sizes = shape if windows == 1 else (2, *shape)
    return hnp.arrays(np.float32, sizes, elements=st.floats(-50, 50, width=32))


def both(own, temperature, array, read):
    """Results with a temperature and without one."""
    heads = replace(own, temperature=temperature), own
    return [decoder("x", head).decode(array, read) for head in heads]


@pytest.mark.parametrize("windows", [1, 2])
@given(data=st.data(), temperature=TEMPERATURES)
def test_a_label_stays_and_keeps_the_highest_score(windows, data, temperature):
    array = data.draw(logits(windows, 3))
    after, before = both(CLASSIFICATION, (temperature,), array, encoding(windows))
    assert after.decision == before.decision
    assert after.score == after.scores[after.label] == max(after.scores.values())
    assert sum(after.scores.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("windows", [1, 2])
@given(
    data=st.data(),
    temperatures=st.tuples(*[TEMPERATURES] * 3),
    thresholds=st.tuples(*[st.floats(0, 1)] * 3),
)
def test_the_labels_of_a_set_stay(windows, data, temperatures, thresholds):
    array = data.draw(logits(windows, 3))
    own = replace(MULTILABEL, thresholds=thresholds)
    after, before = both(own, temperatures, array, encoding(windows))
    assert after.decision == before.decision
    assert all(0 <= score <= 1 for score in after.scores.values())


@pytest.mark.parametrize("windows", [1, 2])
@given(data=st.data(), temperature=TEMPERATURES)
def test_spans_stay(windows, data, temperature):
    read = encoding(windows)
    array = data.draw(logits(1, len(read), 7))
    after, before = both(TOKENS, (temperature,), array, read)
    assert after.decision == before.decision
    assert all(0 <= span.score <= 1 for span in after.spans)


@pytest.mark.parametrize("windows", [1, 2])
@given(data=st.data(), temperature=TEMPERATURES, threshold=st.none() | st.floats(-50, 50))
def test_answers_and_their_order_stay(windows, data, temperature, threshold):
    read = encoding(windows)
    array = data.draw(logits(1, len(read), 2))
    own = replace(ANSWER, no_answer=threshold)
    after, before = both(own, (temperature,), array, read)
    assert (after.decision, after.margin) == (before.decision, before.margin)
    assert [c.text for c in after.candidates] == [c.text for c in before.candidates]


def test_scores_are_those_of_logits_divided_by_the_temperature():
    """In one window, where nothing is averaged."""
    array = np.array([2.0, -1.0, 0.5], np.float32)
    head = replace(CLASSIFICATION, temperature=(2.0,))
    expected = decoder("x", CLASSIFICATION).decode(array / 2, encoding()).scores
    assert decoder("x", head).decode(array, encoding()).scores == pytest.approx(expected)
    head = replace(MULTILABEL, temperature=(2.0, 0.5, 1.0))
    expected = decoder("x", MULTILABEL).decode(array / np.float32([2, 0.5, 1]), encoding()).scores
    assert decoder("x", head).decode(array, encoding()).scores == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
def test_certain_scores_stay_within_their_range(temperature):
    found = tempered_odds(np.array([0.0, 0.5, 1.0]), np.array([temperature]))
    assert 0 <= found[0] <= found[1] == 0.5 <= found[2] <= 1
    found = tempered(np.array([1.0, 0.0, 0.0], np.float32), temperature)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)


def test_below_the_least_score_no_label_is_given():
    own = decoder("x", CLASSIFICATION)
    array = np.array([1.0, 0.0, 0.0], np.float32)
    sure = own.decode(array, encoding())
    abstained = own.decode(array, encoding(), min_score=sure.score + 1e-6)
    assert own.decode(array, encoding(), min_score=sure.score) == sure
    assert (abstained.label, abstained.decision) == (None, None)
    assert (abstained.score, abstained.scores) == (sure.score, sure.scores)
    assert abstained.to_dict()["label"] is None
    assert str(abstained) == "(abstained)  0.58"


def test_the_least_score_is_compared_at_the_temperature():
    array = np.array([1.0, 0.0, 0.0], np.float32)
    cold = decoder("x", replace(CLASSIFICATION, temperature=(0.1,)))
    assert cold.decode(array, encoding(), min_score=0.9).label == "a"


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), True, "0.5"])
def test_a_least_score_that_is_no_probability_is_refused(value):
    own = decoder("x", CLASSIFICATION)
    with pytest.raises(InvalidSetting, match=r"min_score=.*from 0 to 1\."):
        own.decode(np.zeros(3, np.float32), encoding(), min_score=value)


def test_the_best_scores_come_in_falling_order_and_the_label_first():
    array = np.array([0.0, 2.0, 1.0], np.float32)
    own = decoder("x", CLASSIFICATION)
    assert list(own.decode(array, encoding(), top=2).scores) == ["b", "c"]
    assert list(own.decode(array, encoding(), top=9).scores) == ["b", "c", "a"]
    near = np.array([1.0, np.nextafter(np.float32(1), np.float32(2)), 0.0], np.float32)
    found = own.decode(near, encoding(), top=1)
    assert list(found.scores) == [found.label] == ["b"]


def test_the_best_scores_of_a_set_hold_those_of_its_labels():
    own = decoder("x", replace(MULTILABEL, thresholds=(0.9, 0.9, 0.2)))
    found = own.decode(np.array([0.0, 2.0, -1.0], np.float32), encoding(), top=1)
    assert found.labels == ("c",)
    assert list(found.scores) == ["b", "c"]
    assert str(found) == "c 0.27"


@pytest.mark.parametrize("own", [CLASSIFICATION, MULTILABEL], ids=["classification", "multilabel"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_number_of_scores_below_one_is_refused(own, value):
    with pytest.raises(InvalidSetting, match="top="):
        decoder("x", own).decode(np.zeros(3, np.float32), encoding(), top=value)
