"""Calibration error, Brier score and log loss: by hand, by brute force and by scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from polyhead.heads import Answer, Classification, Entities, MultiLabel, Span
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.calibration import BINS, Judged

ITEMS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def of_pairs(pairs):
    scores, true = zip(*pairs, strict=True)
    return Judged(np.array(scores)[:, None], np.array(true)[:, None])


def by_hand(pairs):
    """Expected calibration error: sizes as `numpy.array_split` documents them."""
    ranked = sorted(pairs, key=lambda pair: pair[0])
    count = min(BINS, len(ranked))
    size, more = divmod(len(ranked), count)
    total, start = 0.0, 0
    for number in range(count):
        end = start + size + (number < more)
        part = ranked[start:end]
        score = sum(s for s, _ in part) / len(part)
        right = sum(r for _, r in part) / len(part)
        total += abs(score - right) * len(part) / len(ranked)
        start = end
    return total


@given(ITEMS)
def test_the_calibration_error_equals_brute_force(pairs):
    assert of_pairs(pairs).figures["ece"] == pytest.approx(by_hand(pairs))


def test_scores_that_come_true_as_often_as_they_say_have_no_calibration_error():
    pairs = [(0.25, i % 4 == 0) for i in range(4 * BINS)]
    assert of_pairs(pairs).figures["ece"] == pytest.approx(0)
    assert of_pairs([(0.75, right) for _, right in pairs]).figures["ece"] == pytest.approx(0.5)


@pytest.mark.parametrize("labels", [2, 5])
def test_the_figures_of_exclusive_labels_equal_scikit_learn(labels):
    random = np.random.default_rng(3)
    scores = random.dirichlet(np.ones(labels), size=200)
    expected = random.integers(labels, size=200)
    found = Judged(scores, np.eye(labels, dtype=bool)[expected], exclusive=True).figures
    known = list(range(labels))
    assert found["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(expected, scores, labels=known)
    )
    squares = ((scores - np.eye(labels)[expected]) ** 2).sum(axis=1).mean()
    assert found["brier"] == pytest.approx(squares)


def test_the_figures_of_yes_and_no_equal_scikit_learn():
    random = np.random.default_rng(4)
    scores, true = random.uniform(size=(100, 3)), random.uniform(size=(100, 3)) < 0.3
    found = Judged(scores, true).figures
    flat = true.ravel(), scores.ravel()
    assert found["log_loss"] == pytest.approx(sklearn.metrics.log_loss(*flat))
    assert found["brier"] == pytest.approx(sklearn.metrics.brier_score_loss(*flat))


def test_a_score_of_zero_for_what_is_true_costs_a_finite_loss():
    found = Judged(np.array([[1.0, 0.0]]), np.array([[False, True]]), exclusive=True).figures
    assert 30 < found["log_loss"] < 40


def test_of_a_text_its_most_probable_label_is_right_or_wrong():
    results = [Classification("a", 0.7, {"a": 0.7, "b": 0.3})] * 2
    judged = METRICS["classification.v1"].judged(results, ["a", "b"])
    scores, right = judged.decided
    assert (scores.tolist(), right.tolist()) == ([0.7, 0.7], [True, False])


def test_each_label_of_a_set_comes_true_by_itself():
    judged = METRICS["multilabel.v1"].judged([MultiLabel(("a",), {"a": 0.9, "b": 0.2})], [("b",)])
    assert (judged.scores.tolist(), judged.true.tolist()) == ([[0.9, 0.2]], [[False, True]])


def test_a_span_is_right_when_label_start_and_end_are():
    spans = (Span("X", "a", 0, 1, 0.9), Span("X", "b", 2, 3, 0.8), Span("Y", "c", 4, 5, 0.7))
    expected = (("X", 0, 1), ("X", 2, 4), ("X", 4, 5))
    judged = METRICS["tokens.v1"].judged([Entities(spans), Entities(())], [expected, expected])
    assert judged.scores[:, 0].tolist() == [0.9, 0.8, 0.7]
    assert judged.true[:, 0].tolist() == [True, False, False]
    assert len(METRICS["tokens.v1"].judged([Entities(())], [expected])) == 0


def test_an_answer_is_right_when_it_is_exact():
    results = [Answer(text, 0, len(text), 0.6, 0.1, 0.0, ()) for text in ("The Bo", "Bo", "")]
    references = [AnswerSpans(((4, 6),), ("Bo",)), AnswerSpans((), ()), AnswerSpans((), ())]
    judged = METRICS["answer.v1"].judged(results, references)
    assert judged.scores[:, 0].tolist() == [0.6] * 3
    assert judged.true[:, 0].tolist() == [True, False, True]
