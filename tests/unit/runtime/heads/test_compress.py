"""Words of a text, the search for the best ones, and the results of compress.v1."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import InvalidSetting
from polyhead.heads import HeadSpec, compress, decoder
from polyhead.heads.compress import MOST, best, readable
from polyhead.text import words

TEXTS = st.text(max_size=60) | st.text("aB é e\u0301 東京。 👍🏽 . ,(\n\t-", max_size=60)
TEXT = "Anna, who lives in Oslo, wrote: the parcel (again) was late. Thanks!"
ZH = "本文提出一种新的SVM方法，并给出了实验结果。"


def decode(logits, encoding, *, own=None, per=None, price=None, **options):
    limits = {"words": own, "sentences": per, "price": price}
    spec = HeadSpec(kind="compress.v1", output="logits/short", max_tokens=64, **limits)
    return decoder("short", spec).decode(np.asarray(logits, np.float32), encoding, **options)


def kept(tokenizer, text, wanted, **options):
    """The result where these words are probable, or have these logits, and others are not."""
    odds = wanted if isinstance(wanted, dict) else dict.fromkeys(wanted, 3.0)
    [encoding] = tokenizer.encode([text])
    spans = words.split(text)
    logits = np.full((len(encoding), 1), -4.0)
    for start, end in (span for span in spans if text[slice(*span)] in odds):
        inside = (encoding.offsets[:, 0] >= start) & (encoding.offsets[:, 1] <= end)
        logits[inside] = odds[text[start:end]]
    logits[encoding.special] = 50.0
    return decode(logits, encoding, **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, "Anna who lives in Oslo wrote the parcel again was late Thanks"),
        ("state-of-the-art, e.g. 3.5% (C++)", "state-of-the-art e.g 3.5% C++"),
        ("a—b … c…d", "a b c d"),
        ("基于SVM的方法，2次", "基 于 SVM 的 方 法 2 次"),
        ("東京タワー。né e\u0301", "東 京 タ ワ ー né e\u0301"),
        ("한국어 문장", "한국어 문장"),
        ("👍 ok", "👍 ok"),
        ("... ， -- (!)", ""),
        ("", ""),
    ],
)
def test_the_words_of_a_text(text, expected):
    assert " ".join(text[start:end] for start, end in words.split(text)) == expected


def test_neighbours_are_one_piece_with_all_that_is_between_them(wordpiece):
    found = kept(wordpiece, TEXT, {"Anna", "who", "parcel", "again", "late"}, words=5)
    assert [span.text for span in found.spans] == ["Anna, who", "parcel (again", "late"]
    assert found.text == "Anna, who parcel (again late"
    assert str(found) == repr(found.text)


def test_chinese_pieces_have_no_blank_between_them(wordpiece):
    found = kept(wordpiece, ZH, set("新方法实验") | {"SVM"}, words=6)
    assert found.text == "新 SVM方法实验"
    assert found.decision == ((6, 7), (8, 13), (18, 20))
    assert kept(wordpiece, ZH, set("新方法实验"), characters=5).text == "新方法实验"


def test_a_word_between_two_is_kept_sooner_than_a_better_one_far_away(wordpiece):
    odds = {"the": 2.0, "parcel": -1.0, "was": 2.0, "oslo": -0.5}
    found = kept(wordpiece, "the parcel was late in oslo", odds, words=3)
    assert found.text == "the parcel was"
    assert found.spans[0].score == pytest.approx(np.mean(1 / (1 + np.exp([-2.0, 1.0, -2.0]))))


@pytest.mark.parametrize(
    ("own", "options", "expected"),
    [
        (None, {}, 12),
        (3, {}, 3),
        (3, {"words": 5}, 5),
        (3, {"ratio": 0.5}, 6),
        (None, {"ratio": 1e-9}, 1),
        (None, {"words": MOST}, 12),
        (3, {"characters": len(TEXT)}, 12),
        (9999, {}, 12),
    ],
    ids=str,
)
def test_the_call_or_the_head_says_how_many_words(wordpiece, own, options, expected):
    [encoding] = wordpiece.encode([TEXT])
    found = decode(np.full((len(encoding), 1), 2.0), encoding, own=own, **options)
    assert sum(len(words.split(span.text)) for span in found.spans) == expected


def test_words_of_the_best_sentences_only(wordpiece):
    text = "Anna lives in Oslo. The parcel was late. Thanks, Anna."
    wanted = {"Anna", "parcel", "was", "late"}
    assert kept(wordpiece, text, wanted, words=4).text == "Anna parcel was late"
    found = kept(wordpiece, text, wanted, words=4, sentences=1)
    assert found.text == "parcel was late"
    assert kept(wordpiece, text, wanted, words=4, per=1).text == "parcel was late"
    assert kept(wordpiece, text, wanted, words=4, per=1, sentences=9).text == "Anna parcel was late"
    assert kept(wordpiece, text, wanted, words=20, sentences=2).decision == ((0, 39),)


def test_a_sentence_counts_as_much_as_all_its_words_together(wordpiece):
    # The mean of "Thanks, Anna" is higher.
    text = "Anna wrote that the parcel was late. Thanks, Anna."
    odds = {"parcel": 2.0, "was": 0.5, "late": 2.0, "Thanks": 1.0, "Anna": 1.0}
    assert kept(wordpiece, text, odds, words=3, sentences=1).text == "parcel was late"


def test_how_far_the_sentences_that_are_read_are_ahead_of_the_next():
    text = "One two. Three. Four five."
    spans, scores = words.split(text), np.array([0.1, 0.2, 0.9, 0.5, 0.5])
    for count, read, lead in [(1, [3, 4], 0.1), (2, [2, 3, 4], 0.6), (3, [*range(5)], np.inf)]:
        found, ahead = readable(text, spans, scores, count, 3)
        assert found.tolist() == read
        assert ahead == pytest.approx(lead)
    assert readable(text, spans, scores, None, 3)[1] == np.inf
    assert readable("", [], np.zeros(0), 1, 3)[0].tolist() == []


def test_a_text_without_words_or_a_word_that_fits_gives_nothing(tokenizer):
    for text, options in [
        ("", {}),
        (" ,. ", {}),
        ("", {"ratio": 1}),
        ("parcels", {"characters": 3}),
    ]:
        [encoding] = tokenizer.encode([text])
        found = decode(np.zeros((len(encoding), 1)), encoding, **options)
        assert (found.text, found.spans, found.decision) == ("", (), ())
        assert str(found) == "(none)"


def test_a_text_of_words_that_nobody_would_keep_gives_its_best_one(wordpiece):
    found = kept(wordpiece, "the of and it", {}, words=2)
    assert found.text == "the"
    assert all(span.score < 0.05 for span in found.spans)


def test_a_word_that_is_worth_nothing_is_left_out_though_there_is_room(wordpiece):
    odds = {"the": 3.0, "of": -3.0, "and": 3.0}
    assert kept(wordpiece, "the of and it", odds, words=4).text == "the of and"
    assert kept(wordpiece, "the of and it", odds, words=4, price=0.0).text == "the and"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": 0}, "words=0: expected a whole number of at least 1"),
        ({"words": -1}, "words=-1"),
        ({"words": True}, "words=True"),
        ({"words": 2.0}, r"words=2\.0"),
        ({"words": MOST + 1}, "words=2001: expected at most 2,000"),
        ({"characters": 0}, "characters=0"),
        ({"characters": "9"}, "characters='9'"),
        ({"characters": MOST + 1}, "characters=2001"),
        ({"ratio": 0}, "ratio=0: expected a number above 0 and at most 1"),
        ({"ratio": float("nan")}, "ratio=nan"),
        ({"ratio": True}, "ratio=True"),
        ({"sentences": 0}, "sentences=0"),
        ({"words": 3, "characters": 9}, "words=3, characters=9: give one of them"),
        ({"words": 3, "ratio": 0.1}, r"words=3, ratio=0\.1: give one of them"),
        ({"words": 0, "characters": 0}, "words=0, characters=0: give one of them"),
    ],
    ids=str,
)
@pytest.mark.parametrize("text", [TEXT, ""], ids=["text", "empty"])
def test_a_setting_out_of_range_is_refused(wordpiece, text, options, message):
    [encoding] = wordpiece.encode([text])
    with pytest.raises(InvalidSetting, match=message):
        decode(np.zeros((len(encoding), 1)), encoding, **options)


@given(
    TEXTS,
    st.integers(0, 2**32 - 1),
    st.sampled_from(["words", "characters"]),
    st.integers(1, 20),
    st.none() | st.integers(1, 3),
)
def test_pieces_are_parts_of_the_text_in_order_within_the_limit(
    tokenizer, text, seed, unit, limit, sentences
):
    [encoding] = tokenizer.encode([text])
    encoding = encoding.windowed(12, 4)
    logits = np.random.default_rng(seed).normal(0, 5, (len(encoding), 1))
    found = decode(logits, encoding, sentences=sentences, **{unit: limit})
    assert all(s.text == text[s.start : s.end] for s in found.spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found.spans))
    spans = words.split(text)
    inside = [any(s.start <= a and b <= s.end for s in found.spans) for a, b in spans]
    assert {s.start for s in found.spans} <= {start for start, _ in spans}
    assert {s.end for s in found.spans} <= {end for _, end in spans}
    assert (sum(inside) if unit == "words" else len(found.text)) <= limit
    assert all(0 <= span.score <= 1 for span in found.spans)
    if unit == "words" and sentences is None:
        assert sum(inside) == min(limit, len(spans)) or sum(inside) >= 1
    assert json.loads(json.dumps(found.to_dict()))["text"] == found.text


def worth(chosen, gains, sizes, limit, price):
    """The sum that the search makes highest; minus infinity beyond the limit."""
    used, total = 0, 0.0
    for number, word in enumerate(chosen):
        near = number > 0 and chosen[number - 1] == word - 1 and sizes[2, word] > 0
        used += sizes[2 if near else min(number, 1), word]
        total += gains[word] - (0 if near else price)
    return total if used <= limit else -np.inf


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 9))
def test_nothing_is_better_than_what_the_search_finds(seed, count, limit):
    random = np.random.default_rng(seed)
    gains, price = random.normal(size=count), float(random.choice([0.0, 0.2, 1.0]))
    sizes = random.integers(1, 4, (3, count))
    sizes[2] *= random.random(count) > 0.2  # some neighbours have a sentence between them
    sets = [c for n in range(1, count + 1) for c in itertools.combinations(range(count), n)]
    highest = max(worth(chosen, gains, sizes, limit, price) for chosen in sets)
    found = best(gains, sizes, limit, price).tolist()
    if highest == -np.inf:
        assert not found
    else:
        assert worth(found, gains, sizes, limit, price) == pytest.approx(highest)


def test_of_a_text_that_is_too_long_to_search_only_the_best_sentences_are_read(
    wordpiece, monkeypatch
):
    text = "Anna lives in Oslo. The parcel was late. Thanks, Anna."
    monkeypatch.setattr(compress, "_MOST_CELLS", 5 * 4)
    wanted = {"The", "parcel", "was", "late", "Anna"}
    assert kept(wordpiece, text, wanted, words=4).text == "The parcel was late"
    monkeypatch.setattr(compress, "_MOST_CELLS", 3 * 4)  # less than a sentence
    assert kept(wordpiece, text, wanted, words=4).text == "The parcel was"


@pytest.mark.parametrize("stride", [0, 3, 9])
def test_windows_change_no_word(tokenizer, stride):
    [whole] = tokenizer.encode([TEXT * 3])
    parts = whole.windowed(20, stride)
    first, second = (
        decode(np.sin(e.offsets.sum(axis=1))[:, None], e, words=9) for e in (whole, parts)
    )
    assert first.decision == second.decision


def test_other_offsets(wordpiece):
    found = kept(wordpiece, TEXT, {"parcel", "late"}, words=2)
    moved = found.with_offsets(lambda offset: offset + 100)
    assert moved.text == found.text
    assert moved.decision == tuple((a + 100, b + 100) for a, b in found.decision)
