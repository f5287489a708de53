import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

from polyhead.heads import Classification, Entities, MultiLabel, Span
from polyhead_models.metrics.labels import Confusion, label_report

LABELS = ("a", "b", "c", "never")
LABEL = st.sampled_from(LABELS[:3])
WORDS = 6  # of a text; a word is one character


def classified(label):
    return Classification(label, 1.0, {})


def entities(*spans):
    return Entities(tuple(Span(label, "", start, end, 1.0) for label, start, end in spans))


def columns(report):
    """Precision, recall, F1 and support, as scikit-learn gives them: `(4, labels)`."""
    found = [report.labels[label] for label in LABELS]
    return np.array([(f.precision, f.recall, f.f1, f.support) for f in found]).T


@st.composite
def spans(draw):
    """Spans of a text that do not overlap, in its order."""
    ends = sorted(draw(st.sets(st.integers(0, WORDS), max_size=6)))
    found = [(draw(LABEL), *pair) for pair in zip(ends[::2], ends[1::2], strict=False)]
    return tuple(found)


def tags(found):
    written = ["O"] * WORDS
    for label, start, end in found:
        written[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return written


@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=20))
def test_classification_is_what_scikit_learn_counts(pairs):
    expected, found = map(list, zip(*pairs, strict=True))
    report = label_report(LABELS, list(map(classified, found)), expected)
    wanted = precision_recall_fscore_support(
        expected, found, labels=LABELS, average=None, zero_division=0
    )
    np.testing.assert_array_equal(columns(report), np.array(wanted))
    matrix = confusion_matrix(expected, found, labels=LABELS)
    np.fill_diagonal(matrix, 0)
    confused = np.zeros_like(matrix)
    for c in report.confusions:
        confused[LABELS.index(c.gold), LABELS.index(c.answer)] = c.count
    np.testing.assert_array_equal(confused, matrix)


@given(st.lists(st.tuples(st.sets(LABEL), st.sets(LABEL)), min_size=1, max_size=20))
def test_sets_of_labels_are_what_scikit_learn_counts(pairs):
    expected, found = map(list, zip(*pairs, strict=True))
    results = [MultiLabel(tuple(labels), {}) for labels in found]
    report = label_report(LABELS, results, [tuple(labels) for labels in expected])
    binarizer = MultiLabelBinarizer(classes=LABELS)
    tables = binarizer.fit_transform(expected), binarizer.fit_transform(found)
    wanted = precision_recall_fscore_support(*tables, average=None, zero_division=0)
    np.testing.assert_allclose(columns(report), np.array(wanted), rtol=1e-15)


@given(st.lists(st.tuples(spans(), spans()), min_size=1, max_size=8))
def test_spans_are_what_seqeval_counts(pairs):
    expected, found = map(list, zip(*pairs, strict=True))
    report = label_report(LABELS, [entities(*one) for one in found], expected)
    if not any(expected):  # seqeval has no report then
        assert not any(f.support for f in report.labels.values())
        return
    wanted = classification_report(
        *([tags(one) for one in side] for side in (expected, found)),
        mode="strict",
        scheme=IOB2,
        output_dict=True,
        zero_division=0,
    )
    for label, figures in report.labels.items():
        if label in wanted:
            known = wanted[label]
            assert (figures.precision, figures.recall, figures.support) == (
                known["precision"],
                known["recall"],
                known["support"],
            )
            assert figures.f1 == pytest.approx(known["f1-score"])
        else:
            assert figures.support == figures.answered == 0


@given(st.lists(st.tuples(spans(), spans()), max_size=8))
def test_every_missed_and_every_wrong_span_is_in_a_confusion(pairs):
    report = label_report(LABELS, [entities(*b) for _, b in pairs], [a for a, _ in pairs])
    for label in LABELS:
        missed = sum(s[0] == label and s not in b for a, b in pairs for s in a)
        wrong = sum(s[0] == label and s not in a for a, b in pairs for s in b)
        assert sum(c.count for c in report.confusions if c.gold == label) >= missed
        assert sum(c.count for c in report.confusions if c.answer == label) >= wrong
    touching = sum(
        one[1] < other[2] and other[1] < one[2]
        for a, b in pairs
        for one in set(a) - set(b)
        for other in set(b) - set(a)
    )
    assert touching == sum(c.count for c in report.confusions if c.gold and c.answer)


@pytest.mark.parametrize(
    ("expected", "found", "confused"),
    [
        pytest.param((("a", 0, 4),), (("b", 0, 4),), ("a", "b"), id="another_label"),
        pytest.param((("a", 0, 4),), (("a", 0, 3),), ("a", "a"), id="other_ends"),
        pytest.param((("a", 0, 4),), (("b", 3, 6),), ("a", "b"), id="other_ends_and_label"),
        pytest.param((("a", 0, 4),), (), ("a", None), id="missed"),
        pytest.param((), (("b", 0, 4),), (None, "b"), id="instead_of_nothing"),
    ],
)
def test_a_wrong_span_is_confused_with_the_one_that_it_overlaps(expected, found, confused):
    gold, answer = confused
    report = label_report(LABELS, [entities(*found)], [expected])
    assert report.confusions == (Confusion(gold=gold, answer=answer, count=1),)


def test_spans_side_by_side_are_not_confused():
    report = label_report(LABELS, [entities(("b", 4, 6))], [(("a", 0, 4),)])
    assert [c.shown() for c in report.confusions] == [("(none)", "b"), ("a", "(none)")]


def test_a_span_with_other_ends_is_shown_so():
    report = label_report(LABELS, [entities(("a", 0, 3))], [(("a", 0, 4),)])
    assert [c.shown() for c in report.confusions] == [("a", "(other ends)")]


def test_the_most_frequent_confusion_is_the_first():
    expected = ["a", "a", "b", "b", "b"]
    report = label_report(LABELS, [classified("c")] * 5, expected)
    assert [(c.gold, c.answer, c.count) for c in report.confusions] == [
        ("b", "c", 3),
        ("a", "c", 2),
    ]


def test_the_worst_label_is_the_first_and_the_absent_ones_are_left_out():
    found = ["a", "a", "b", "a", "a"]
    report = label_report(LABELS, list(map(classified, found)), ["a", "a", "b", "c", "c"])
    assert [label for label, _ in report.worst_first()] == ["c", "a", "b"]
    assert list(report.labels) == list(LABELS)


def test_no_text_at_all():
    report = label_report(LABELS, [], [])
    assert not columns(report).any()
    assert report.confusions == ()
    assert report.worst_first() == []
