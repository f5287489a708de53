import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyhead.heads import HeadSpec, decoder
from polyhead.heads.tokens import tags
from polyhead.text.encoding import Encoding

LABELS = ("PERSON", "PLACE")
TAGS = ("O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE")
SPEC = HeadSpec(
    kind="tokens.v1",
    output="logits/entities",
    labels=LABELS,
    activation="softmax",
    max_tokens=64,
)
TEXTS = st.text() | st.text("ab é e\u0301 東 👍🏽 ❤\ufe0f मेरे\n\t", max_size=20)


def encode(text, *offsets):
    """One token a pair of offsets, between two special tokens."""
    spans = [(0, 0), *offsets, (0, 0)]
    special = [True] + [False] * len(offsets) + [True]
    return Encoding(
        text, np.zeros(len(spans), np.int64), np.array(spans, np.int64), np.array(special)
    )


def words(text):
    ends = list(itertools.accumulate(len(word) + 1 for word in text.split(" ")))
    return encode(
        text, *((e - len(w) - 1, e - 1) for e, w in zip(ends, text.split(" "), strict=True))
    )


def logits_of(*wanted, sure=8.0):
    """Logits that favour the wanted tags; special tokens favour an entity, to be ignored."""
    logits = np.zeros((len(wanted) + 2, len(TAGS)), np.float32)
    logits[[0, -1], 1] = 50.0
    logits[np.arange(1, len(wanted) + 1), [TAGS.index(tag) for tag in wanted]] = sure
    return logits


def decode(logits, encoding):
    return decoder("entities", SPEC).decode(logits, encoding)


def tags_of(found, encoding):
    """The BIO tags behind the spans; every token must be a word of its own."""
    path = [0] * len(encoding)
    for span in found.spans:
        inside = 2 * LABELS.index(span.label) + 2
        for token, (start, end) in enumerate(encoding.offsets.tolist()):
            if span.start <= start < end <= span.end:
                path[token] = inside - 1 if start == span.start else inside
    return path[1:-1]


def legal(path):
    return all(
        tag % 2 or not tag or tag in (previous, previous + 1)
        for previous, tag in zip((0, *path), path, strict=False)
    )


def test_the_order_of_the_logits():
    assert tags(LABELS) == TAGS


@given(
    st.integers(1, 4).flatmap(
        lambda n: hnp.arrays(np.float32, (n, 5), elements=st.floats(-30, 30, width=32))
    )
)
def test_the_path_is_the_most_probable_legal_one(rows):
    encoding = words(" ".join("abcd"[: len(rows)]))
    logits = np.vstack([logits_of()[:1], rows, logits_of()[:1]])
    scores = rows.astype(np.float64)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def probability(path):
        return scores[np.arange(len(rows)), list(path)].sum()

    best = max(probability(p) for p in itertools.product(range(5), repeat=len(rows)) if legal(p))
    path = tags_of(decode(logits, encoding), encoding)
    assert legal(path)
    assert probability(path) == pytest.approx(best, abs=1e-3)


@given(
    st.integers(1, 40).flatmap(
        lambda n: hnp.arrays(np.float32, (n, 5), elements=st.floats(-1e4, 1e4, width=32))
    )
)
def test_best_tags_are_taken_as_they_are_when_legal_and_mended_when_not(rows):
    encoding = words(" ".join("x" * len(rows)))
    logits = np.vstack([logits_of()[:1], rows, logits_of()[:1]])
    path = tags_of(decode(logits, encoding), encoding)
    chosen = rows[np.arange(len(rows)), path]
    assert legal(path)
    if legal(rows.argmax(axis=1).tolist()):
        assert chosen == pytest.approx(rows.max(axis=1), rel=1e-6, abs=1e-2)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(["O", "O"], [], id="none"),
        pytest.param(["B-PERSON", "O"], [("PERSON", 0, 4)], id="first_token"),
        pytest.param(["B-PERSON", "I-PERSON"], [("PERSON", 0, 9)], id="two_tokens"),
        pytest.param(
            ["B-PERSON", "B-PERSON"], [("PERSON", 0, 4), ("PERSON", 5, 9)], id="adjacent_same"
        ),
        pytest.param(
            ["B-PERSON", "B-PLACE"], [("PERSON", 0, 4), ("PLACE", 5, 9)], id="adjacent_other"
        ),
    ],
)
def test_legal_tags_become_their_spans(wanted, expected):
    assert list(decode(logits_of(*wanted), words("Anna Oslo")).decision) == expected


@pytest.mark.parametrize(
    "wanted",
    [["I-PERSON", "I-PERSON"], ["O", "I-PLACE"], ["B-PERSON", "I-PLACE"]],
    ids=["at_the_start", "after_outside", "of_another_label"],
)
def test_an_inside_without_its_beginning_is_made_legal(wanted):
    encoding = words("Anna Oslo")
    logits = logits_of(*wanted)
    path = tags_of(decode(logits, encoding), encoding)
    assert legal(path)
    assert path != [TAGS.index(tag) for tag in wanted]


def test_an_inside_keeps_its_label_when_a_beginning_is_the_next_best():
    logits = logits_of("I-PLACE", "I-PLACE")
    logits[1, TAGS.index("B-PLACE")] = 7.0
    assert decode(logits, words("New York")).decision == (("PLACE", 0, 8),)


def test_special_tokens_are_ignored():
    assert decode(logits_of("O", "O"), words("a b")).spans == ()


def test_an_empty_text_has_no_spans():
    assert decode(logits_of(), encode("")).spans == ()


def test_white_space_is_no_part_of_a_span():
    found = decode(logits_of("B-PLACE"), encode("in \t Oslo\n .", (2, 10)))
    assert found.decision == (("PLACE", 5, 9),)


def test_a_span_of_white_space_only_is_left_out():
    assert decode(logits_of("B-PLACE", "O"), encode("  x", (0, 2), (2, 3))).spans == ()


@pytest.mark.parametrize(
    "text",
    ["Rene\u0301", "e\u0323\u0301", "मेरे", "❤\ufe0f"],
    ids=["accent", "two_accents", "vowel_sign", "variation_selector"],
)
def test_a_mark_that_the_tokenizer_strips_stays_with_its_base(wordpiece, text):
    [encoding] = wordpiece.encode([f"{text} x"])
    found = decode(logits_of(*["B-PLACE", *["I-PLACE"] * (len(encoding) - 4), "O"]), encoding)
    assert [span.text for span in found.spans] == [text]


@pytest.mark.parametrize(
    "text", ["👍", "e\u0301"], ids=["bytes_of_one_character", "mark_of_its_own"]
)
def test_two_beginnings_in_one_character_do_not_overlap(byte_bpe, text):
    [encoding] = byte_bpe.encode([text])
    found = decode(logits_of(*["B-PLACE"] * (len(encoding) - 2)), encoding)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found.spans))


@given(text=TEXTS, seed=st.integers(0, 2**32 - 1))
def test_spans_are_parts_of_the_text_in_order(tokenizer, text, seed):
    [encoding] = tokenizer.encode([text])
    logits = np.random.default_rng(seed).normal(size=(len(encoding), 5)).astype(np.float32)
    found = decode(logits, encoding)
    for span in found.spans:
        assert span.text == text[span.start : span.end] == span.text.strip() != ""
        assert 0 <= span.score <= 1
    assert all(a.end <= b.start for a, b in itertools.pairwise(found.spans))


def test_the_score_is_the_mean_probability_of_the_tags():
    logits = logits_of("B-PLACE", "I-PLACE", sure=0.0)
    logits[1, 3], logits[2, 4] = np.log(12.0), np.log(4.0)
    assert decode(logits, words("New York")).spans[0].score == pytest.approx((0.75 + 0.5) / 2)


def test_large_logits_do_not_overflow():
    logits = logits_of("B-PLACE", "I-PLACE", sure=1e4)
    assert decode(logits, words("New York")).spans[0].score == 1.0


def test_plain_data_goes_through_json():
    found = decode(logits_of("B-PERSON", "O"), words("Anna sings"))
    [span] = found.spans
    assert json.loads(json.dumps(found.to_dict())) == {
        "spans": [{"label": "PERSON", "text": "Anna", "start": 0, "end": 4, "score": span.score}]
    }


def test_a_line_for_people():
    encoding = words("Anna Oslo")
    assert str(decode(logits_of("B-PERSON", "B-PLACE"), encoding)) == "PERSON='Anna'  PLACE='Oslo'"
    assert str(decode(logits_of("O", "O"), encoding)) == "(none)"
