import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import InvalidSetting
from polyhead.heads import HeadSpec, decoder
from polyhead.heads.summary import means, owners
from polyhead.text import sentences

TEXTS = st.text(max_size=60) | st.text("aB é e\u0301 東。 👍🏽! . ?\n\t", max_size=60)
TEXT = "Anna lives in Oslo. The parcel was late!  Thanks, 東京 👍. Né?"
SENTENCES = ["Anna lives in Oslo.", "The parcel was late!", "Thanks, 東京 👍.", "Né?"]


def decode(logits, encoding, *, sentences=None, **options):
    spec = HeadSpec(kind="summary.v1", output="logits/summary", max_tokens=64, sentences=sentences)
    return decoder("summary", spec).decode(np.asarray(logits, np.float32), encoding, **options)


def logits_of(encoding, values, spans):
    """The wanted value at each token of a sentence; special tokens are very salient."""
    owner = owners(encoding.offsets, spans)
    found = np.array(values, np.float32)[owner]
    found[encoding.special] = 50.0
    return found[:, None]


def picked(tokenizer, values, text=TEXT, **options):
    [encoding] = tokenizer.encode([text])
    found = decode(logits_of(encoding, values, sentences.split(text)), encoding, **options)
    return [sentence.text for sentence in found.sentences]


def test_the_most_salient_sentences_in_the_order_of_the_text(tokenizer):
    values = [1.0, -2.0, 3.0, 2.0]
    assert picked(tokenizer, values, k=1) == [SENTENCES[2]]
    assert picked(tokenizer, values, k=2) == [SENTENCES[2], SENTENCES[3]]
    assert picked(tokenizer, values, k=3) == [SENTENCES[0], SENTENCES[2], SENTENCES[3]]
    assert picked(tokenizer, values, k=4) == picked(tokenizer, values, k=99) == SENTENCES


@pytest.mark.parametrize(("own", "expected"), [(None, 3), (1, 1), (2, 2), (9, 4)], ids=str)
def test_the_head_says_how_many_when_the_call_does_not(tokenizer, own, expected):
    assert len(picked(tokenizer, [0, 0, 0, 0], sentences=own)) == expected
    assert len(picked(tokenizer, [0, 0, 0, 0], sentences=own, k=4)) == 4
    assert len(picked(tokenizer, [0, 0, 0, 0], sentences=own, ratio=0.5)) == 2


@pytest.mark.parametrize(
    ("ratio", "expected"), [(1e-9, 1), (0.25, 1), (0.5, 2), (0.8, 3), (1, 4), (1.0, 4)], ids=str
)
def test_a_ratio_is_a_share_of_the_sentences_and_at_least_one(tokenizer, ratio, expected):
    assert len(picked(tokenizer, [0, 0, 0, 0], ratio=ratio)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 1, 1, 1], [0, 1]), ([0, 1, 1, 1], [1, 2]), ([0, 1, 0, 0], [0, 1]), ([99] * 4, [0, 1])],
    ids=str,
)
def test_the_first_of_equals_are_taken(tokenizer, values, expected):
    assert picked(tokenizer, values, k=2) == [SENTENCES[i] for i in expected]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0: expected a whole number of at least 1"),
        ({"k": -1}, "k=-1"),
        ({"k": 1.0}, r"k=1\.0"),
        ({"k": True}, "k=True"),
        ({"k": "2"}, "k='2'"),
        ({"ratio": 0}, "ratio=0: expected a number above 0 and at most 1"),
        ({"ratio": 1.5}, r"ratio=1\.5"),
        ({"ratio": float("nan")}, "ratio=nan"),
        ({"ratio": True}, "ratio=True"),
        ({"ratio": "0.5"}, r"ratio='0\.5'"),
        ({"k": 1, "ratio": 0.5}, r"k=1, ratio=0\.5: give one of them"),
    ],
    ids=str,
)
@pytest.mark.parametrize("text", [TEXT, ""], ids=["text", "empty"])
def test_a_setting_out_of_range_is_refused(wordpiece, text, options, message):
    [encoding] = wordpiece.encode([text])
    with pytest.raises(InvalidSetting, match=message):
        decode(np.zeros((len(encoding), 1)), encoding, **options)


@pytest.mark.parametrize("text", ["", " ", "\n\t "], ids=ascii)
@pytest.mark.parametrize("options", [{}, {"k": 5}, {"ratio": 1.0}], ids=str)
def test_a_text_without_sentences_has_none(tokenizer, text, options):
    [encoding] = tokenizer.encode([text])
    found = decode(np.zeros((len(encoding), 1)), encoding, **options)
    assert (found.sentences, found.text, found.decision) == ((), "", ())
    assert str(found) == "(none)"


@given(TEXTS, st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_sentences_are_parts_of_the_text_in_order(tokenizer, text, seed, k):
    [encoding] = tokenizer.encode([text])
    encoding = encoding.windowed(12, 4)
    logits = np.random.default_rng(seed).normal(0, 5, (len(encoding), 1))
    found = decode(logits, encoding, k=k)
    spans = sentences.split(text)
    assert set(found.decision) <= set(spans)
    assert list(found.decision) == sorted(found.decision)
    assert len(found.sentences) == min(k, len(spans))
    assert all(s.text == text[s.start : s.end] for s in found.sentences)
    every = {(s.start, s.end): s.score for s in decode(logits, encoding, k=99).sentences}
    assert all(0 <= score <= 1 for score in every.values())
    taken = {s: every.pop(s) for s in found.decision}
    assert min(taken.values(), default=1) >= max(every.values(), default=0)


def test_the_score_is_that_of_the_mean_logit(wordpiece):
    [encoding] = wordpiece.encode(["the parcel late"])
    [only] = decode([[50], [1], [2], [6], [50]], encoding).sentences
    assert only.score == pytest.approx(1 / (1 + np.exp(-3)))


@pytest.mark.parametrize("low", [-5.0, 5.0], ids=str)
def test_a_sentence_without_a_token_is_as_salient_as_the_least_salient_token(wordpiece, low):
    [encoding] = wordpiece.encode(["ab cd"])
    values = np.array([90.0, *np.arange(low, low + len(encoding) - 2), 90.0], np.float32)
    found = means(values, encoding, [(0, 2), (2, 3), (3, 5)])
    assert found[1] == low
    assert found.dtype == np.float32


@pytest.mark.parametrize("stride", [0, 3, 9])
def test_a_token_counts_once_however_many_windows_hold_it(tokenizer, stride):
    [whole] = tokenizer.encode([TEXT * 3])
    spans = sentences.split(whole.text)
    parts = whole.windowed(20, stride)
    expected, found = (
        means(np.sin(e.offsets.sum(axis=1)).astype(np.float32), e, spans) for e in (whole, parts)
    )
    assert len(parts.windows) > 3
    assert np.array_equal(found, expected)


def test_a_token_in_two_windows_counts_as_in_the_one_where_it_is_deeper(wordpiece):
    [whole] = wordpiece.encode(["late " * 12])
    parts = whole.windowed(10, 4)
    values = np.full(len(parts), 99.0, np.float32)
    values[parts.body] = 1.0
    assert means(values, parts, [(0, 59)]).tolist() == [1.0]


def test_a_very_long_text(wordpiece):
    text = "The parcel was late. " * 5000
    [whole] = wordpiece.encode([text])
    parts = whole.windowed(24, 6)
    logits = np.zeros((len(parts), 1), np.float32)
    logits[parts.body[-3:]] = 9.0
    found = decode(logits, parts, k=1)
    assert found.decision == ((len(text) - 21, len(text) - 1),)


def test_a_token_belongs_to_the_sentence_of_its_last_character():
    offsets = np.array([[0, 2], [2, 5], [5, 5], [9, 10]], np.int64)
    assert owners(offsets, [(0, 3), (3, 6), (7, 9)]).tolist() == [0, 1, 1, -1]
    assert owners(offsets, []).tolist() == [-1] * 4


def test_plain_data_goes_through_json(wordpiece):
    [encoding] = wordpiece.encode(["né. 👍!"])
    found = decode(np.zeros((len(encoding), 1)), encoding)
    data = json.loads(json.dumps(found.to_dict()))
    assert list(data) == ["sentences"]
    assert data["sentences"][0].keys() == {"text", "start", "end", "score"}


def test_a_line_for_people(wordpiece):
    [encoding] = wordpiece.encode(["It is late. Thanks!"])
    found = decode(np.zeros((len(encoding), 1)), encoding)
    assert str(found) == "'It is late.' 0.50  'Thanks!' 0.50"
    assert found.text == "It is late. Thanks!"
