"""References, targets, loss, figures and bounds of compress.v1."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from polyhead.heads import Compressed, HeadSpec, Kept
from polyhead.text import words
from polyhead_models.baseline import baseline
from polyhead_models.data.examples import Example
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.base import IGNORED
from polyhead_models.heads.compress import Shortened, common, wanted
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.compress import BOUNDS

SHORTER, METRIC = NETWORKS["compress.v1"], METRICS["compress.v1"]
SPEC = HeadSpec(kind="compress.v1", output="logits/x", max_tokens=32)
TEXT = "Anna lives in Oslo. The parcel was late."
ZH = "本文提出一种新的方法。"


@pytest.fixture
def head():
    torch.manual_seed(0)
    return SHORTER(SPEC, width=8, depth=3)


def taken(text, *shorts):
    spans = words.split(text)
    return [text[slice(*spans[i])] for i in np.flatnonzero(wanted(text, shorts))]


@pytest.mark.parametrize(
    ("text", "shorts", "expected"),
    [
        (TEXT, ["the PARCEL is late"], "The parcel late"),
        (TEXT, ["late, Oslo"], "Oslo"),  # one of two: they stand the other way round
        (TEXT, ["bus"], ""),
        (TEXT, ["late", "in oslo"], "in Oslo"),  # the one that has more in common
        ("a b c a b", ["a b"], "a b"),
        ("a x a b", ["a b"], "a b"),  # neighbours
        (ZH, ["新方法"], "新 方 法"),
        ("", ["a"], ""),
    ],
)
def test_the_words_that_a_text_and_a_short_one_have_in_common(text, shorts, expected):
    assert " ".join(taken(text, *shorts)) == expected
    if text == "a x a b":
        assert wanted(text, shorts).tolist() == [0, 0, 1, 1]


@given(st.text("ab", max_size=7), st.text("abc", min_size=1, max_size=5), st.booleans())
def test_no_common_subsequence_is_longer(own, short, free):
    piece = 0.0 if free else 0.5

    def worth(places):
        gaps = sum(b - a > 1 for a, b in itertools.pairwise(places))
        return len(places) - piece * (1 + gaps) if places else 0

    def fits(places):
        rest = iter(short)
        return all(own[place] in rest for place in places)

    every = itertools.chain.from_iterable(
        itertools.combinations(range(len(own)), n) for n in range(len(own) + 1)
    )
    found = np.flatnonzero(common(own, short, piece)).tolist()
    assert fits(found)
    assert worth(found) == max(worth(places) for places in every if fits(places))


def test_every_token_has_the_code_of_its_word(head, wordpiece):
    (encoding,) = wordpiece.encode([TEXT])
    target = head.target(SHORTER.reference("parcel late", TEXT), encoding)
    assert target.dtype == torch.int64
    assert target[0] == target[-1] == IGNORED
    marks = {}
    for code, (start, end) in zip(target.tolist(), encoding.offsets.tolist(), strict=True):
        if code != IGNORED:
            marks.setdefault(code // 2, set()).add((code % 2, TEXT[start:end] == "."))
    # Eight words; a full stop is of none.
    assert marks == {i: {(int(i in (5, 7)), False)} for i in range(8)}


def test_windows_have_the_codes_of_the_whole_text(head, wordpiece):
    reference = SHORTER.reference("Anna was late", TEXT)
    (whole,) = wordpiece.encode([TEXT])
    parts = whole.windowed(6, 2)
    body = head.target(reference, whole)[1:-1]
    found = head.targets(reference, parts)
    assert len(found) == len(parts.firsts) > 2
    for first, target in zip(parts.firsts, found, strict=True):
        assert target.tolist() == [IGNORED, *body[first : first + 4].tolist(), IGNORED]


def test_the_loss_is_that_of_words(head):
    logits = torch.tensor([[0.5, 1.0, 3.0, -1.0], [2.0, 9.0, 9.0, 9.0]])[..., None]
    targets = torch.tensor([[1, 3, 3, IGNORED], [0, *[IGNORED] * 3]])
    expected = binary_cross_entropy_with_logits(
        torch.tensor([0.5, 2.0, 2.0]), torch.tensor([1.0, 1.0, 0.0])
    )
    assert head.loss(logits, targets) == pytest.approx(expected.item())
    nothing = head.loss(logits, torch.full_like(targets, IGNORED))
    assert nothing == 0


def test_it_begins_at_the_share_of_words_that_are_kept(head):
    targets = [torch.tensor([IGNORED, 0, 2, 5]), torch.tensor([0, 2, 4, 6, 8])]
    assert head.prior(targets).tolist() == pytest.approx([math.log(2 / 8)])


def test_the_limit_is_the_median_of_the_short_texts():
    references = [SHORTER.reference(short, TEXT) for short in (["a b", "a b c d"], "a b c")]
    assert SHORTER.fitted(SPEC, references).words == 3
    own = HeadSpec(kind="compress.v1", output="x", max_tokens=32, words=7)
    assert SHORTER.fitted(own, references).words == 7


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (3, "found 3, expected a short text or a list of them"),
        ([], r"found \[\], expected"),
        ([3], "found the short text 3, expected one with words"),
        ("", "found the short text '', expected one with words"),
        (["ok", " ... "], r"found the short text ' \.\.\. '"),
    ],
)
def test_what_is_no_short_text_is_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        SHORTER.reference(raw, TEXT)


def result(text):
    return Compressed(text, (Kept(text, 0, len(text), 1.0),) if text else ())


def test_figures_are_means_over_the_texts():
    references = [Shortened(("the parcel was late", "oslo"), 8), Shortened(("anna",), 4)]
    found = METRIC.score([result("parcels late"), result("")], references)
    assert found["rouge1"] == pytest.approx((2 * 2 / 6 + 0) / 2)
    assert found["kept"] == pytest.approx((2 / 8 + 0) / 2)
    same = METRIC.score([result("Oslo"), result("Anna")], references)
    assert (same["rouge1"], same["rouge2"], same["rougeL"]) == (1, 0, 1)


def test_chinese_counts_by_characters():
    reference = Shortened(("新方法",), 10)
    assert METRIC.score([result("新的方法")], [reference])["rougeL"] == pytest.approx(6 / 7)


def test_what_results_are_held_against():
    reference = Shortened(("late parcel was late",), 8)
    found = {name: made(TEXT, reference, 3).text for name, made in BOUNDS.items()}
    assert found == {
        "lead": "Anna lives in",
        "sentence": "The parcel was late.",
        "oracle": "parcel was late",
    }


def test_the_baseline_is_a_sentence_with_the_bounds_beside_it():
    rows = [
        Example("a:1", "a", f"Anna {n}. The parcel to Anna {n} was late.", {"it": short})
        for n in range(4)
        for short in [Shortened(("parcel was late",), 9)]
    ]
    found = baseline("compress.v1", "it", rows, rows)
    assert found["rouge1"] == pytest.approx(2 * 3 / (3 + 7))
    assert found["oracle_rouge1"] == 1
    assert found["kept"] == pytest.approx(7 / 9)
    assert {"lead_rouge1", "sentence_rougeL", "oracle_kept"} <= found.keys()
