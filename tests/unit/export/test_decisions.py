"""What counts as a changed decision, and what a constant answer reaches."""

import numpy as np
import pytest

from polyhead.heads import Classification, Embedding, Entities, MultiLabel, Regression, Span
from polyhead_export.decisions import chance, changed
from polyhead_models.heads.answer import AnswerSpans


def label(name):
    return Classification(name, 1.0, {name: 1.0})


def spans(*places):
    return Entities(tuple(Span("PLACE", "x", start, start + 1, 1.0) for start in places))


def vector(*values):
    return Embedding(np.array(values, np.float32))


def labels(*names):
    return MultiLabel(names, dict.fromkeys(names, 1.0))


@pytest.mark.parametrize(
    ("kind", "one", "other", "share"),
    [
        pytest.param(
            "classification.v1",
            [label("a"), label("b"), label("a"), label("b")],
            [label("a"), label("b"), label("b"), label("b")],
            1 / 4,
            id="labels_of_texts",
        ),
        pytest.param(
            "tokens.v1", [spans(1, 3, 5), spans()], [spans(1, 3, 7), spans()], 2 / 6, id="spans"
        ),
        pytest.param("tokens.v1", [spans()], [spans()], 0, id="no_spans"),
        pytest.param("tokens.v1", [spans(1)], [spans()], 1, id="a_lost_span"),
        pytest.param(
            "multilabel.v1", [labels("a", "b")], [labels("a")], 1 / 3, id="labels_of_a_set"
        ),
        pytest.param(
            "embedding.v1",
            [vector(1.0, 0.0)] * 4,
            [vector(0.991, 0.134), vector(0.989, 0.148), vector(1.0, 0.0), vector(np.nan, 0.0)],
            2 / 4,
            id="vectors_below_a_cosine",
        ),
        pytest.param(
            "regression.v1",
            [Regression(x) for x in (1.0, 2.0, 3.0)],
            [Regression(x) for x in (1.0, 2.0, 3.0)],
            0,
            id="the_same_numbers",
        ),
    ],
)
def test_share_of_changed_decisions(kind, one, other, share):
    assert changed(kind, one, other) == pytest.approx(share, abs=1e-6)
    assert changed(kind, other, one) == pytest.approx(share, abs=1e-6)


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
