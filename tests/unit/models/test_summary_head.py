"""References, targets, loss and figures of summary.v1."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from torch.nn.functional import binary_cross_entropy_with_logits

from polyhead.heads import HeadSpec
from polyhead.heads.summary import Sentence, Summary
from polyhead.text import sentences
from polyhead_models.data.tagging import Words
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.base import IGNORED
from polyhead_models.heads.summary import Salient
from polyhead_models.metrics import METRICS

SUMMARY, METRIC = NETWORKS["summary.v1"], METRICS["summary.v1"]
SPEC = HeadSpec(kind="summary.v1", output="logits/x", max_tokens=32)
PARTS = ["Anna lives in Oslo.", "The parcel was late.", "Thanks!"]
TEXT = " ".join(PARTS)
SPANS = [(0, 19), (20, 40), (41, 48)]


@pytest.fixture
def head():
    torch.manual_seed(0)
    return SUMMARY(SPEC, width=8, depth=3)


def table(*spans):
    return [{"start": start, "end": end} for start, end in spans]


def test_the_text_has_the_sentences_that_these_tests_go_by():
    assert sentences.split(TEXT) == SPANS


def test_every_token_has_the_code_of_its_sentence(head, wordpiece):
    (encoding,) = wordpiece.encode([TEXT])
    target = head.target(SUMMARY.reference(table(SPANS[1]), TEXT), encoding)
    assert target.dtype == torch.int64
    codes = [*[0] * 5, *[3] * 5, *[4] * 2]  # words and marks; 2 * sentence + salient
    assert target.tolist() == [IGNORED, *codes, IGNORED]


@pytest.mark.parametrize(
    ("span", "salient"), [((20, 30), 0), ((20, 31), 1), ((15, 48), 1), ((0, 20), 0)]
)
def test_a_sentence_is_salient_when_more_than_half_of_it_is_marked(head, wordpiece, span, salient):
    (encoding,) = wordpiece.encode([TEXT])
    target = head.target(SUMMARY.reference(table(span), TEXT), encoding)
    assert target[8].item() == 2 + salient


def test_windows_number_the_sentences_of_the_whole_text(head, wordpiece):
    encoding = wordpiece.encode([TEXT])[0].windowed(8, 2)
    found = head.targets(SUMMARY.reference(table(SPANS[1]), TEXT), encoding)
    whole = head.target(SUMMARY.reference(table(SPANS[1]), TEXT), wordpiece.encode([TEXT])[0])
    body = whole[1:-1]
    firsts = encoding.firsts
    assert len(found) == len(firsts) > 2
    for first, target in zip(firsts, found, strict=True):
        assert target.tolist() == [IGNORED, *body[first : first + 6].tolist(), IGNORED]


def test_marks_on_sentences_become_their_spans():
    found = SUMMARY.on_words([1, 0, True], Words(PARTS), "spans")
    assert found == table(SPANS[0], SPANS[2])


@pytest.mark.parametrize(
    ("marks", "message"),
    [([1, 0], "found 2 marks for 3 sentences"), ([1, 0, 2], "the mark 2, expected 0 or 1")],
)
def test_marks_that_do_not_fit_are_refused(marks, message):
    with pytest.raises(ValueError, match=message):
        SUMMARY.on_words(marks, Words(PARTS), "spans")


def test_a_summary_in_other_words_goes_before_the_marked_sentences():
    spans = table(SPANS[2], SPANS[0])
    assert SUMMARY.reference(spans, TEXT).texts == ("Anna lives in Oslo. Thanks!",)
    for summaries in ("In Oslo.", ["In Oslo.", "Late."]):
        found = SUMMARY.reference({"sentences": spans, "summaries": summaries}, TEXT)
        assert found.texts == ((summaries,) if isinstance(summaries, str) else tuple(summaries))
        assert found.spans == (SPANS[0], SPANS[2])
    assert SUMMARY.reference({"sentences": spans, "summaries": None}, TEXT).texts != ()
    assert SUMMARY.reference([], TEXT) == Salient((), ())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("late", "found 'late', expected a list of spans with start and end"),
        ([0, 1, 0], "found 0, expected a table with 0 <= start < end <= 48"),
        (table((0, 49)), "expected a table with 0 <= start < end <= 48"),
        (table((5, 5)), "expected a table"),
        ({"sentences": [], "summaries": 3}, "the summaries 3, expected a text or a list of them"),
        ({"sentences": [], "summaries": [" "]}, "expected a text or a list of them"),
    ],
)
def test_what_is_no_summary_is_refused(raw, message):
    with pytest.raises(ValueError, match="found") as caught:
        SUMMARY.reference(raw, TEXT)
    assert message in str(caught.value)


def test_the_loss_is_that_of_each_sentences_mean(head):
    logits = torch.randn(2, 5, 1, generator=torch.Generator().manual_seed(2))
    targets = torch.tensor([[IGNORED, 0, 0, 3, IGNORED], [IGNORED, 1, 4, 4, 4]])
    values = logits[..., 0].double()
    found = torch.stack([values[0, 1:3].mean(), values[0, 3], values[1, 1], values[1, 2:].mean()])
    marks = torch.tensor([0.0, 1, 1, 0], dtype=torch.float64)
    expected = binary_cross_entropy_with_logits(found, marks).item()
    assert head.loss(logits, targets).item() == pytest.approx(expected, rel=1e-6)


def test_a_batch_without_sentences_has_no_loss(head):
    logits = torch.ones(1, 3, 1, requires_grad=True)
    assert head.loss(logits, torch.full((1, 3), IGNORED)).item() == 0


def summary(*texts):
    return Summary(tuple(Sentence(text, 0, len(text), 0.5) for text in texts))


ENGLISH = st.lists(
    st.sampled_from(["the", "parcels", "parcel", "was", "late", "in", "Oslo,", "running", "run"])
)


@given(ENGLISH, ENGLISH.filter(bool))
def test_rouge_is_that_of_rouge_score(found, expected):
    found, expected = " ".join(found), " ".join(expected)
    figures = METRIC.score([summary(found)], [Salient((), (expected,))])
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    assert figures == {
        name: pytest.approx(score.fmeasure) for name, score in scorer.score(expected, found).items()
    }


def test_chinese_characters_are_words():
    figures = METRIC.score([summary("他在北京")], [Salient((), ("他去北京市",))])
    # 3 of 4 and 3 of 5 characters; 1 of 3 and 1 of 4 pairs; the longest subsequence has 3.
    assert figures == {
        "rouge1": pytest.approx(6 / 9),
        "rouge2": pytest.approx(2 / 7),
        "rougeL": pytest.approx(6 / 9),
    }


def test_the_nearest_of_several_summaries_counts_and_none_is_zero():
    results = [summary("late parcel"), summary("thanks")]
    found = METRIC.score(results, [Salient((), ("in oslo", "late parcel")), Salient((), ())])
    assert found == {"rouge1": 0.5, "rouge2": 0.5, "rougeL": 0.5}
