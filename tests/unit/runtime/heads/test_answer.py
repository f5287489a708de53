import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import InvalidSetting
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding

TEXTS = st.text(max_size=30) | st.text("ab é e\u0301 東 👍🏽 ❤\ufe0f मेरे\n\t", max_size=30)
QUESTION = 3
"""Tokens before the text: a special one, one of the question, a special one."""


def words(text, windows=None):
    """One token a word; of the windows, given as `(first, end)` among the words."""
    ends = list(itertools.accumulate(len(word) + 1 for word in text.split(" ")))
    spans = [(e - len(w) - 1, e - 1) for e, w in zip(ends, text.split(" "), strict=True)]
    spans = [span for span in spans if span[0] < span[1]]
    windows = windows or [(0, len(spans))]
    offsets, starts = [], []
    for first, end in windows:
        starts.append(len(offsets))
        offsets += [(0, 0)] * QUESTION + spans[first:end] + [(0, 0)]
    special = np.array([start == end for start, end in offsets])
    return Encoding(
        text,
        np.zeros(len(offsets), np.int64),
        np.array(offsets, np.int64),
        special,
        query="q",
        starts=tuple(starts),
        firsts=tuple(first for first, _ in windows),
    )


def logits_for(encoding, none=-9.0, *, low=-9.0):
    logits = np.full((len(encoding), 2), low, np.float32)
    logits[list(encoding.starts)] = none / 2
    return logits


def decode(logits, encoding, *, n=1, **spec):
    head = HeadSpec(kind="answer.v1", output="logits/answer", input="pair", max_tokens=64, **spec)
    return decoder("answer", head).decode(logits, encoding, n=n)


def random_logits(encoding, seed, scale=4.0):
    return np.random.default_rng(seed).normal(0, scale, (len(encoding), 2)).astype(np.float32)


def test_the_best_span_is_the_answer():
    encoding = words("Anna lives in New York now")
    logits = logits_for(encoding)
    logits[QUESTION + 3, 0], logits[QUESTION + 4, 1] = 8.0, 8.0
    found = decode(logits, encoding)
    assert (found.text, found.start, found.end, found.decision) == ("New York", 14, 22, (14, 22))
    assert found.score == found.candidates[0].score > 0.99
    assert found.margin == -9 - 16


@given(TEXTS, st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_it_is_the_best_of_all_spans_that_are_short_enough(text, seed, longest):
    encoding = words(" ".join(text.split()))
    logits = random_logits(encoding, seed)
    body = np.flatnonzero(~encoding.special).tolist()
    pairs = [(a, b) for a in body for b in body if 0 <= b - a < longest]
    sums = {(a, b): float(logits[a, 0] + logits[b, 1]) for a, b in pairs}
    found = decode(logits, encoding, longest=longest, n=3)
    none = float(logits[0].sum())
    total = np.exp([none, *sums.values()]).sum()
    expected = sorted(sums.values(), reverse=True)[:3]
    assert [c.score for c in found.candidates] == pytest.approx(np.exp(expected) / total)
    assert found.no_answer == pytest.approx(np.exp(none) / total)
    if pairs:
        a, b = max(sums, key=sums.get)
        assert found.candidates[0].start == encoding.offsets[a, 0]
        assert found.candidates[0].end >= encoding.offsets[b, 1]
        assert found.margin == pytest.approx(none - max(sums.values()), abs=1e-5)


def test_a_span_beyond_the_longest_is_no_candidate():
    encoding = words("a b c d e")
    logits = logits_for(encoding)
    logits[QUESTION, 0], logits[QUESTION + 4, 1] = 9.0, 9.0
    assert decode(logits, encoding, longest=5).text == "a b c d e"
    assert decode(logits, encoding, longest=4).text != "a b c d e"


def test_thirty_tokens_are_the_longest_in_a_head_that_does_not_say():
    encoding = words(" ".join("x" * 31))
    logits = logits_for(encoding)
    logits[QUESTION, 0] = 20.0
    logits[QUESTION + 30, 1] = 9.0
    logits[QUESTION + 29, 1] = 5.0
    assert decode(logits, encoding).decision == (0, 59)


def test_the_question_and_special_tokens_never_answer():
    encoding = words("Anna lives")
    logits = logits_for(encoding, low=0.0)
    logits[encoding.special] = 50.0
    found = decode(logits, encoding, n=50)
    assert {c.text for c in found.candidates} == {"Anna", "lives", "Anna lives"}
    assert sum(c.score for c in found.candidates) < 1e-9 < found.no_answer


@given(TEXTS, st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_candidates_are_different_parts_of_the_text_the_best_first(tokenizer, text, seed, n):
    [encoding] = tokenizer.encode([("who?", text)])
    encoding = encoding.windowed(24, 5)
    found = decode(random_logits(encoding, seed), encoding, n=n)
    spans = [(c.start, c.end) for c in found.candidates]
    scores = [c.score for c in found.candidates]
    assert len(spans) == len(set(spans)) <= n
    assert scores == sorted(scores, reverse=True)
    assert all(c.text == text[c.start : c.end] == c.text.strip() != "" for c in found.candidates)
    assert sum(scores) + found.no_answer <= 1 + 1e-6
    assert found.candidates[:1] == decode(random_logits(encoding, seed), encoding).candidates


@pytest.mark.parametrize(
    ("threshold", "text"),
    [(None, "Anna"), (2.0, "Anna"), (1.0, "Anna"), (0.5, ""), (-9.0, "")],
    ids=str,
)
def test_there_is_no_answer_above_the_threshold(threshold, text):
    encoding = words("Anna lives")
    logits = logits_for(encoding, none=5.0)
    logits[QUESTION] = 2.0
    found = decode(logits, encoding, no_answer=threshold)
    assert (found.text, found.margin) == (text, 1.0)
    assert found.decision == (0, 4 if text else 0)
    assert found.score == (found.candidates[0].score if text else found.no_answer)
    assert [c.text for c in found.candidates] == ["Anna"]


@pytest.mark.parametrize("text", ["", " "], ids=["empty", "blank"])
def test_a_text_without_tokens_has_no_answer(text):
    found = decode(np.zeros((4, 2), np.float32), words(text), no_answer=1e9)
    assert (found.text, found.decision, found.candidates) == ("", (0, 0), ())
    assert found.score == found.no_answer == 1.0


def test_the_best_span_of_all_windows_wins():
    encoding = words("a b c d e f", [(0, 3), (2, 5), (3, 6)])
    for window, slot in itertools.product(range(3), range(3)):
        logits = logits_for(encoding)
        logits[encoding.starts[window] + QUESTION + slot] = 6.0
        first = encoding.firsts[window] + slot
        assert decode(logits, encoding).text == "abcdef"[first]


def test_no_span_goes_from_one_window_into_the_next():
    encoding = words("a b c d", [(0, 2), (2, 4)])
    found = decode(random_logits(encoding, 3), encoding, n=99)
    assert {c.text for c in found.candidates} == {"a", "b", "c", "d", "a b", "c d"}


def test_a_span_in_two_windows_is_one_candidate_with_its_better_score():
    encoding = words("a b c", [(0, 2), (1, 3)])
    logits = logits_for(encoding)
    logits[QUESTION + 1] = 3.0
    logits[encoding.starts[1] + QUESTION] = 5.0
    found = decode(logits, encoding, n=99)
    assert [c.text for c in found.candidates].count("b") == 1
    total = np.exp([10.0, 6.0, -9.0]).sum()
    assert found.candidates[0].score == pytest.approx(np.exp(10.0) / total, abs=1e-4)


def test_the_window_that_is_surest_of_an_answer_says_whether_there_is_none():
    encoding = words("a b c", [(0, 2), (1, 3)])
    logits = logits_for(encoding, none=8.0)
    logits[encoding.starts[1]] = 1.0
    logits[QUESTION] = 2.0
    assert decode(logits, encoding, no_answer=0.0).margin == 2.0 - 4.0
    assert decode(logits, encoding, no_answer=0.0).text == "a"


def test_the_margin_is_that_of_the_first_candidate(byte_bpe):
    [encoding] = byte_bpe.encode([("q", "a  b")])
    logits = np.zeros((len(encoding), 2), np.float32)
    blank = next(
        i
        for i in np.flatnonzero(~encoding.special)
        if not "a  b"[slice(*encoding.offsets[i])].strip()
    )
    logits[blank] = 9.0
    found = decode(logits, encoding, longest=1)
    assert found.text == "a"
    assert found.margin == 0.0


@pytest.mark.parametrize("n", [0, -1, 1.0, True, "1", None], ids=repr)
def test_n_is_a_whole_number_of_at_least_one(n):
    with pytest.raises(InvalidSetting, match="n="):
        decode(np.zeros((5, 2), np.float32), words("a"), n=n)


def test_large_logits_do_not_overflow():
    encoding = words("a b")
    found = decode(random_logits(encoding, 1, scale=1e30), encoding, n=9)
    assert np.isfinite([found.score, found.no_answer, *(c.score for c in found.candidates)]).all()


def test_plain_data_goes_through_json():
    encoding = words("né 👍")
    logits = logits_for(encoding)
    logits[QUESTION + 1] = 9.0
    data = json.loads(json.dumps(decode(logits, encoding).to_dict(), allow_nan=False))
    assert (data["text"], data["start"], data["end"]) == ("👍", 3, 4)
    assert data["candidates"][0].keys() == {"text", "start", "end", "score"}
    empty = decode(np.zeros((4, 2), np.float32), words(""))
    json.dumps(empty.to_dict(), allow_nan=False)


def test_a_line_for_people():
    encoding = words("Anna")
    logits = logits_for(encoding)
    logits[QUESTION] = 9.0
    assert str(decode(logits, encoding)) == "Anna  1.00"
    assert str(decode(np.zeros((4, 2), np.float32), words(""))) == "(no answer)  1.00"
