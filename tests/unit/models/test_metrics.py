import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from polyhead.heads import Classification, Embedding, Entities, Span
from polyhead_models.metrics import METRICS

WORD = 4  # characters, the space after it included
TAGS = ("O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE")
TAGGED = st.lists(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(*(st.lists(st.sampled_from(TAGS), min_size=n, max_size=n),) * 2)
    ),
    min_size=1,
    max_size=6,
)


def labelled(*labels):
    return [Classification(label, 1.0, {}) for label in labels]


def entities(*spans):
    return Entities(tuple(Span(label, "", start, end, 1.0) for label, start, end in spans))


def legal(tags):
    """The tags with every inside tag that opens a span made its beginning, as seqeval wants."""
    found = []
    for tag in tags:
        opens = tag.startswith("I") and (not found or found[-1][1:] != tag[1:])
        found.append(f"B{tag[1:]}" if opens else tag)
    return found


def spans_of(tags):
    """Label, start and end in characters of words of three letters."""
    found = []
    for index, tag in enumerate(tags):
        if tag.startswith("B"):
            found.append([tag[2:], index * WORD, index * WORD + 3])
        elif tag.startswith("I"):
            found[-1][2] = index * WORD + 3
    return tuple(map(tuple, found))


def test_classification_by_hand():
    found = METRICS["classification.v1"].score(labelled("a", "a", "b", "a"), ["a", "b", "b", "c"])
    # F1 of a: 2 * 1 / (3 + 1); of b: 2 * 1 / (1 + 2); of c: 0.
    assert found == pytest.approx({"accuracy": 0.5, "macro_f1": (1 / 2 + 2 / 3 + 0) / 3})


def test_classification_equals_scikit_learn():
    random = np.random.default_rng(5)
    found, expected = random.choice(list("abcd"), size=(2, 200)).tolist()
    scores = METRICS["classification.v1"].score(labelled(*found), expected)
    table = sklearn.metrics.classification_report(expected, found, output_dict=True)
    assert scores["accuracy"] == pytest.approx(table["accuracy"])
    assert scores["macro_f1"] == pytest.approx(table["macro avg"]["f1-score"])


def test_a_label_that_is_never_found_counts_as_zero():
    found = METRICS["classification.v1"].score(labelled("a", "a"), ["a", "b"])
    assert found == pytest.approx({"accuracy": 0.5, "macro_f1": 1 / 3})


@given(TAGGED)
def test_token_figures_equal_those_of_seqeval_on_words(texts):
    found, expected = ([legal(tags[side]) for tags in texts] for side in (0, 1))
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    scores = METRICS["tokens.v1"].score(
        [entities(*spans_of(tags)) for tags in found], [spans_of(tags) for tags in expected]
    )
    assert scores == pytest.approx(
        {
            "f1": f1_score(expected, found, **strict),
            "precision": precision_score(expected, found, **strict),
            "recall": recall_score(expected, found, **strict),
        }
    )


@given(TAGGED)
def test_token_figures_count_spans_that_are_right_in_label_start_and_end(texts):
    found, expected = (
        {(row, span) for row, tags in enumerate(texts) for span in spans_of(legal(tags[side]))}
        for side in (0, 1)
    )
    right = len(found & expected)
    scores = METRICS["tokens.v1"].score(
        [entities(*spans_of(legal(tags))) for tags, _ in texts],
        [spans_of(legal(tags)) for _, tags in texts],
    )
    assert scores == pytest.approx(
        {
            "f1": 2 * right / max(1, len(found) + len(expected)),
            "precision": right / max(1, len(found)),
            "recall": right / max(1, len(expected)),
        }
    )


@pytest.mark.parametrize(
    ("found", "f1"),
    [
        pytest.param([("PLACE", 3, 7)], 1.0, id="right"),
        pytest.param([("PERSON", 3, 7)], 0.0, id="other_label"),
        pytest.param([("PLACE", 2, 7)], 0.0, id="other_start"),
        pytest.param([("PLACE", 3, 8)], 0.0, id="other_end"),
        pytest.param([("PLACE", 3, 5), ("PLACE", 5, 7)], 0.0, id="in_two_parts"),
        pytest.param([("PLACE", 3, 7), ("PLACE", 7, 9)], 2 / 3, id="one_too_many"),
        pytest.param([], 0.0, id="missing"),
    ],
)
def test_a_span_is_right_in_all_three_or_not_at_all(found, f1):
    scores = METRICS["tokens.v1"].score([entities(*found)], [(("PLACE", 3, 7),)])
    assert scores["f1"] == pytest.approx(f1)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ORDER-ID", "ORDER"), ("ID", "ID-"), ("B", "I"), ("日付", "日"), ("a b", "a_b")],
)
def test_any_two_labels_are_told_apart(one, other):
    metric = METRICS["tokens.v1"]
    assert metric.score([entities((one, 0, 2))], [((one, 0, 2),)])["f1"] == 1
    assert metric.score([entities((one, 0, 2))], [((other, 0, 2),)])["f1"] == 0


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        pytest.param(
            "classification.v1", labelled("a", "b", "c"), labelled("a", "b", "b"), id="label"
        ),
        pytest.param(
            "tokens.v1",
            [entities(("A", 0, 1)), entities(), entities(("A", 0, 1))],
            [entities(("A", 0, 1)), entities(), entities(("A", 0, 2))],
            id="spans",
        ),
    ],
)
def test_agreement_is_the_share_of_equal_decisions(kind, one, other):
    assert METRICS[kind].agreement(one, one) == 1
    assert METRICS[kind].agreement(one, other) == pytest.approx(2 / 3)


def test_agreement_of_vectors_is_their_mean_cosine():
    one = [Embedding(np.array([1, 0], np.float32)), Embedding(np.array([0.6, 0.8], np.float32))]
    other = [Embedding(np.array([0, 1], np.float32)), Embedding(np.array([0.6, 0.8], np.float32))]
    assert METRICS["embedding.v1"].agreement(one, other) == pytest.approx(0.5)
