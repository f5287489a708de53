"""What counts as a changed decision or a near tie, and what a constant answer reaches."""

import math

import numpy as np
import pytest

from polyhead.heads import (
    Classification,
    Embedding,
    Entities,
    HeadSpec,
    MultiLabel,
    Regression,
    Span,
    decoder,
)
from polyhead.heads.compress import PRICE
from polyhead.text.encoding import Encoding
from polyhead_export.decisions import Changes, compare, margin
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.metrics.chance import chance


def label(name):
    return Classification(name, 1.0, {name: 1.0})


def spans(*places):
    return Entities(tuple(Span("PLACE", "x", start, start + 1, 1.0) for start in places))


def vector(*values):
    return Embedding(np.array(values, np.float32))


def labels(*names):
    return MultiLabel(names, dict.fromkeys(names, 1.0))


@pytest.mark.parametrize(
    ("kind", "one", "other", "changed", "decisions"),
    [
        pytest.param(
            "classification.v1",
            [label("a"), label("b"), label("a"), label("b")],
            [label("a"), label("b"), label("b"), label("b")],
            *(1, 4),
            id="labels_of_texts",
        ),
        pytest.param(
            "tokens.v1", [spans(1, 3, 5), spans()], [spans(1, 3, 7), spans()], 1, 3, id="spans"
        ),
        pytest.param("tokens.v1", [spans()], [spans()], 0, 0, id="no_spans"),
        pytest.param("tokens.v1", [spans(1)], [spans()], 1, 1, id="a_lost_span"),
        pytest.param(
            "multilabel.v1", [labels("a", "b")], [labels("a")], 1, 2, id="labels_of_a_set"
        ),
        pytest.param(
            "embedding.v1",
            [vector(1.0, 0.0)] * 4,
            [vector(0.991, 0.134), vector(0.989, 0.148), vector(1.0, 0.0), vector(np.nan, 0.0)],
            *(2, 4),
            id="vectors_below_a_cosine",
        ),
        pytest.param(
            "regression.v1",
            [Regression(x) for x in (1.0, 2.0, 3.0)],
            [Regression(x) for x in (1.0, 2.0, 3.0)],
            *(0, 3),
            id="the_same_numbers",
        ),
    ],
)
def test_changed_decisions_are_counted(kind, one, other, changed, decisions):
    for found in (compare(kind, one, other), compare(kind, other, one)):
        assert found.changed == pytest.approx(changed, abs=1e-6)
        assert (found.decisions, found.near_ties) == (decisions, 0)


def test_near_ties_are_counted_apart_changed_or_not():
    one = [label("a"), label("a"), label("a"), label("a")]
    other = [label("a"), label("b"), label("b"), label("a")]
    margins = [lambda _, found=found: found for found in (0.9, 0.9, 0.01, 0.02)]
    found = compare("classification.v1", one, other, margins, tie_margin=0.05)
    assert found == Changes(changed=1, decisions=2, near_ties=2, near_ties_changed=1)
    assert compare("classification.v1", one, other, margins) == Changes(changed=2, decisions=4)


def test_of_a_set_each_item_may_be_a_near_tie():
    def of(span):
        return {1: 0.9, 3: 0.01, 5: 0.9, 7: 0.02}[span[1]]

    found = compare("tokens.v1", [spans(1, 5, 7)], [spans(1, 3)], [of], tie_margin=0.05)
    assert found == Changes(changed=1, decisions=2, near_ties=1, near_ties_changed=1)


@pytest.mark.parametrize(
    ("changed", "decisions", "low", "high"),
    [  # R: binom.test(k, n, alternative = "greater") and "less"
        pytest.param(0, 299, 0.0, 0.00997, id="none_of_many"),
        pytest.param(0, 1, 0.0, 0.95, id="none_of_one"),
        pytest.param(1, 1, 0.05, 1.0, id="one_of_one"),
        pytest.param(5, 10, 0.2224, 0.7776, id="half"),
        pytest.param(0, 0, 0.0, 1.0, id="nothing_known"),
    ],
)
def test_bounds_are_exact(changed, decisions, low, high):
    assert Changes(changed, decisions).interval == pytest.approx((low, high), abs=5e-5)


def encoding(tokens, text):
    """One token a character of `text`, between two special ones; a query for pairs."""
    places = [(0, 0), *((i, i + 1) for i in range(tokens)), (0, 0)]
    special = np.array([True, *[False] * tokens, True])
    return Encoding(text, np.zeros(tokens + 2, np.int64), np.array(places), special)


def margin_of(spec, logits, text="abcdef"):
    """The margins of what a head decides about a text."""
    logits = np.array(logits, np.float32)
    read = encoding(len(text), text)
    return margin("head", spec, logits, read), decoder("head", spec).decode(logits, read)


def head(kind, **more):
    return HeadSpec(kind=kind, output="logits/head", max_tokens=16, **more)


def test_the_margin_of_a_label_is_the_first_probability_less_the_second():
    spec = head("classification.v1", labels=("a", "b", "c"))
    of, result = margin_of(spec, np.log([0.2, 0.5, 0.3]))
    assert of(result.decision) == pytest.approx(0.2, abs=1e-6)
    of, result = margin_of(head("classification.v1", labels=("a",)), [0.0])
    assert of(result.decision) > 1


def test_the_margin_in_a_set_is_how_far_each_label_is_from_its_threshold():
    spec = head("multilabel.v1", labels=("a", "b"), thresholds=(0.5, 0.2))
    of, _ = margin_of(spec, np.log([0.6 / 0.4, 0.25 / 0.75]))
    assert (of("a"), of("b")) == pytest.approx((0.1, 0.05), abs=1e-6)


def test_the_margin_of_a_span_is_the_least_of_its_tokens_and_neighbours():
    """Tags O, B and I; the span has characters 1 and 2."""
    sure, unsure = [0.9, 0.06, 0.04], [0.52, 0.48, 0.0001]
    begin, inside = [0.1, 0.85, 0.05], [0.2, 0.1, 0.7]
    special = [1.0, 1.0, 1.0]
    spec = head("tokens.v1", labels=("PLACE",))
    rows = [special, sure, begin, inside, sure, unsure, sure, special]
    of, result = margin_of(spec, np.log(rows))
    assert result.decision == (("PLACE", 1, 3),)
    assert of(("PLACE", 1, 3)) == pytest.approx(0.5, abs=1e-3)
    assert of(("PLACE", 1, 4)) == pytest.approx(0.04, abs=1e-3)


def test_the_margin_of_an_answer_is_that_to_the_next_span_or_to_none():
    starts = [1.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    ends = [1.0, 9.0, 8.9, 0.0, 0.0, 0.0, 0.0, 0.0]
    of, result = margin_of(head("answer.v1"), np.stack([starts, ends], axis=1))
    assert result.text == "a"
    assert of(result.decision) == pytest.approx(np.tanh(0.1 / 2), abs=1e-6)
    # "No answer" has 2 and the span 18: with a threshold of -16 they are level.
    spec = head("answer.v1", no_answer=-16.0)
    of, result = margin_of(spec, np.stack([starts, [1.0, 9.0, *[0.0] * 6]], axis=1))
    assert result.text == "a"
    assert of(result.decision) == pytest.approx(0, abs=1e-3)


def test_the_margin_of_a_summary_is_the_last_sentence_that_is_taken_less_the_next():
    text = "One. Two. Three."
    values = [3.0] * 5 + [1.0] * 5 + [0.5] * 6
    spec = head("summary.v1", sentences=2)
    of, result = margin_of(spec, np.array([0.0, *values, 0.0])[:, None], text)
    assert len(result.sentences) == 2
    sigmoid = [1 / (1 + math.exp(-x)) for x in (1.0, 0.5)]
    assert of(result.decision) == pytest.approx(sigmoid[0] - sigmoid[1], abs=1e-6)


def test_the_margin_of_a_piece_is_what_another_choice_for_a_word_costs():
    text = "a b c d e"
    odds = [0.9, 0.8, 0.3, 0.1, 0.35]
    values = np.repeat([math.log(p / (1 - p)) for p in odds], 2)[:9]
    spec = head("compress.v1", words=3)
    of, result = margin_of(spec, np.array([0.0, *values, 0.0])[:, None], text)
    assert result.decision == ((0, 5),)
    # "a b c" is worth 2.0 less a piece; "a b" and "e" 2.05 less two, "a b" alone 1.7.
    assert of((0, 5)) == pytest.approx(0.3 - 0.35 + PRICE, abs=1e-6)
    alone, result = margin_of(spec, np.array([0.0, 5.0, 0.0])[:, None], "a")
    assert alone(*result.decision) > 1


def test_the_margin_of_a_piece_is_small_where_another_sentence_is_nearly_as_good():
    text = "One. Two."
    logits = np.array([0.0, *[2.0] * 4, *[1.9] * 5, 0.0])[:, None]
    of, result = margin_of(head("compress.v1", words=3, sentences=1), logits, text)
    assert result.decision == ((0, 3),)
    ahead = 1 / (1 + math.exp(-2.0)) - 1 / (1 + math.exp(-1.9))
    assert of((0, 3)) == pytest.approx(ahead, abs=1e-6)
    assert of((5, 8)) == pytest.approx(ahead, abs=1e-6)  # what the other model has kept


@pytest.mark.parametrize(
    ("kind", "references", "figure"),
    [
        pytest.param("classification.v1", ["a", "b", "a", "c"], 0.5, id="most_frequent_label"),
        pytest.param("multilabel.v1", [("a",), ("a", "b"), ()], 4 / 6, id="f1_of_one_label"),
        pytest.param("multilabel.v1", [()], 0, id="no_labels"),
        pytest.param(
            "answer.v1", [AnswerSpans((), ()), AnswerSpans(("x",), ((0, 1),))], 0.5, id="none"
        ),
        pytest.param("tokens.v1", [()], 0, id="spans"),
        pytest.param("regression.v1", [1.0, 2.0], 0, id="numbers"),
    ],
)
def test_what_a_constant_answer_reaches(kind, references, figure):
    assert chance(kind, references) == pytest.approx(figure)


def test_two_thousand_labels_are_no_more_to_decide_between_than_two():
    spec = head("classification.v1", labels=tuple(map(str, range(2000))))
    logits = np.zeros(2000)
    logits[[7, 1999]] = 20.0, 19.0
    of, result = margin_of(spec, logits)
    assert result.label == "7"
    assert of("7") == pytest.approx(np.tanh(0.5), abs=1e-4)
    found = compare("classification.v1", [result], [result], [of], tie_margin=0.05)
    assert found == Changes(changed=0, decisions=1)


def test_margins_are_those_of_calibrated_probabilities():
    """Of a head that is too sure, more decisions are near ties; labels are given before that."""
    spec = head("classification.v1", labels=("a", "b"), activation="softmax", temperature=(4.0,))
    of, _ = margin_of(spec, [2.0, 0.0])
    assert of("a") == pytest.approx(np.tanh(0.25), abs=1e-6)
    spec = head("tokens.v1", labels=("PLACE",), activation="softmax", temperature=(4.0,))
    of, _ = margin_of(spec, [[0.0] * 3, [0.0, 4.0, -80.0], [0.0] * 3], "a")
    assert of(("PLACE", 0, 1)) == pytest.approx(np.tanh(0.5), abs=1e-6)
    limits = {"activation": "sigmoid", "thresholds": (0.2,), "temperature": (2.0,)}
    of, _ = margin_of(head("multilabel.v1", labels=("a",), **limits), [math.log(0.2 / 0.8)])
    assert of("a") == pytest.approx(0, abs=1e-6)
