"""Tags of imported heads: spans that begin without B-, and labels without B- and I-."""

from dataclasses import replace

import numpy as np
import pytest

from polyhead.heads import HeadSpec, decoder
from polyhead.heads.tokens import tags
from polyhead.text.encoding import Encoding

SPEC = HeadSpec(
    kind="tokens.v1", output="logits/x", labels=("A", "B"), activation="softmax", max_tokens=64
)


def decoded(text, offsets, scheme, best):
    """What the tokens at the offsets give when each has one sure tag."""
    spec = replace(SPEC, scheme=scheme)
    spans = np.array([(0, 0), *offsets, (0, 0)], dtype=np.int64)
    special = np.array([True, *[False] * len(offsets), True])
    names = tags(spec.labels, scheme)
    logits = np.zeros((len(spans), len(names)), dtype=np.float32)
    for row, tag in enumerate(best, start=1):
        logits[row, names.index(tag)] = 20
    encoding = Encoding(text, np.zeros(len(spans), np.int64), spans, special)
    found = decoder("x", spec).decode(logits, encoding)
    return [(span.label, span.text) for span in found.spans]


TEXT, WORDS = "an b cd", ((0, 1), (1, 2), (3, 4), (5, 7))


@pytest.mark.parametrize(
    ("scheme", "best", "expected"),
    [
        pytest.param("iob", "I-A I-A O I-B", [("A", "an"), ("B", "cd")], id="iob_begins_with_i"),
        pytest.param("iob", "I-A B-A I-A O", [("A", "a"), ("A", "n b")], id="iob_b_parts"),
        pytest.param("iob", "B-A I-B I-B O", [("A", "a"), ("B", "n b")], id="iob_labels_part"),
        pytest.param("io", "A A A O", [("A", "an b")], id="io_joins_neighbours"),
        pytest.param("io", "A B O B", [("A", "a"), ("B", "n"), ("B", "cd")], id="io_labels_part"),
        pytest.param("words", "A A A B", [("A", "an"), ("A", "b"), ("B", "cd")], id="words"),
        pytest.param(
            "words", "A B A A", [("A", "a"), ("B", "n"), ("A", "b"), ("A", "cd")], id="in"
        ),
    ],
)
def test_spans_of_a_scheme(scheme, best, expected):
    assert decoded(TEXT, WORDS, scheme, best.split()) == expected


def test_offsets_that_hold_the_blank_before_a_word_part_words():
    assert decoded("an b", ((0, 2), (2, 4)), "words", ["A", "A"]) == [("A", "an"), ("A", "b")]


def test_a_score_is_the_probability_of_the_label():
    text, offsets = "a", ((0, 1),)
    spans = np.array([(0, 0), *offsets, (0, 0)], dtype=np.int64)
    encoding = Encoding(text, np.zeros(3, np.int64), spans, np.array([True, False, True]))
    logits = np.log(np.array([[1, 1, 1], [1, 6, 1], [1, 1, 1]], dtype=np.float32))
    (span,) = decoder("x", replace(SPEC, scheme="io")).decode(logits, encoding).spans
    assert span.score == pytest.approx(0.75)


@pytest.mark.parametrize("scheme", ["iob", "io", "words"])
def test_no_token_gives_no_span(scheme):
    assert decoded("", (), scheme, ()) == []
