"""Exact match and F1 against SQuAD's own definition, computed by hand; the threshold on top."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyhead.heads import Answer, AnswerSpan, HeadSpec
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.metrics import METRICS

METRIC, NETWORK = METRICS["answer.v1"], NETWORKS["answer.v1"]
SPEC = HeadSpec(kind="answer.v1", output="logits/x", input="pair", max_tokens=16)


def answer(text, margin=0.0, best=None):
    """A result; `best` is the best span where it is not what was answered."""
    span = AnswerSpan(text if best is None else best, 0, 1, 0.5)
    return Answer(text, 0, len(text), 0.5, 0.5, margin, (span,) if span.text else ())


def reference(*texts):
    return AnswerSpans(tuple((0, len(text)) for text in texts), texts)


@pytest.mark.parametrize(
    ("found", "expected", "f1", "exact"),
    [
        pytest.param("Oslo", ["Oslo"], 1, 1, id="same"),
        pytest.param("oslo", ["OSLO"], 1, 1, id="case"),
        pytest.param("the Nobel Prize", ["Nobel prize"], 1, 1, id="article"),
        pytest.param("a an the Oslo", ["Oslo"], 1, 1, id="articles"),
        pytest.param("theatre", ["atre"], 0, 0, id="no_article"),
        pytest.param("Oslo.", ["(Oslo)"], 1, 1, id="punctuation"),
        pytest.param("U.S.", ["US"], 1, 1, id="punctuation_inside"),
        pytest.param("well-known", ["well known"], 0, 0, id="hyphen_joins"),
        pytest.param("in  Oslo\n", ["in Oslo"], 1, 1, id="blanks"),
        # 1 of 2 words found, 1 of 1 expected: 2 * 0.5 * 1 / 1.5.
        pytest.param("in Oslo", ["Oslo"], 2 / 3, 0, id="one_more"),
        pytest.param("Oslo in", ["in Oslo"], 1, 0, id="order"),
        # Twice "late" found, once expected: precision 1/2, recall 1/2.
        pytest.param("late late", ["very late"], 0.5, 0, id="repeated"),
        pytest.param("Rome", ["Oslo"], 0, 0, id="other"),
        # The best of F1 0, 4/5 and 2/3.
        pytest.param("red big parcel", ["Oslo", "big parcel", "parcel"], 0.8, 0, id="several"),
        pytest.param("Oslo", ["in Oslo", "Oslo"], 1, 1, id="any_of_several"),
        pytest.param("", ["Oslo"], 0, 0, id="none_found"),
        pytest.param("Oslo", [], 0, 0, id="none_expected"),
        pytest.param("", [], 1, 1, id="rightly_none"),
        # 3 of 4 characters, 3 of 3: 2 * 0.75 / 1.75.
        pytest.param("在北京市", ["北京市"], 6 / 7, 0, id="chinese"),
        pytest.param("北京市。", ["“北京市”"], 1, 1, id="chinese_marks"),
        pytest.param("2020 年", ["2020年"], 1, 1, id="mixed"),
    ],
)
def test_figures_are_those_of_squad(found, expected, f1, exact):
    figures = METRIC.score([answer(found)], [reference(*expected)])
    assert figures == {"f1": pytest.approx(f1), "exact": exact}


def test_figures_are_means_over_the_questions():
    found = METRIC.score(
        [answer("Oslo"), answer("in Oslo"), answer("")],
        [reference("Oslo"), reference("Oslo"), reference("Rome")],
    )
    assert found == {"f1": pytest.approx((1 + 2 / 3) / 3), "exact": pytest.approx(1 / 3)}
    assert METRIC.primary == "f1"


def test_agreement_is_the_share_of_the_same_spans():
    one, other = answer("Oslo"), answer("Rome!")
    assert METRIC.agreement([one, one], [one, other]) == 0.5


MARGINS = st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, float("inf")])
WORDS = st.sampled_from(["oslo", "in oslo", "rome", "late parcel in oslo"])
QUESTION = st.tuples(MARGINS, WORDS, st.lists(WORDS, max_size=2))


def decided(questions, threshold):
    """What a head with this threshold answers."""
    return [
        answer(best if threshold is None or margin <= threshold else "", margin, best)
        for margin, best, _ in questions
    ]


def f1(questions, threshold):
    references = [reference(*texts) for _, _, texts in questions]
    return METRIC.score(decided(questions, threshold), references)["f1"]


@settings(max_examples=40)
@given(st.lists(QUESTION, min_size=1, max_size=20))
def test_no_threshold_for_no_answer_has_a_higher_f1(questions):
    # A text in which no span can be has an infinite margin, and never an answer.
    questions = [(m, best if m < 1e30 else "", texts) for m, best, texts in questions]
    references = [reference(*texts) for _, _, texts in questions]
    found = NETWORK.tuned(SPEC, decided(questions, None), references)
    if all(texts for _, _, texts in questions):
        assert found.no_answer is None
        return
    highest = max(f1(questions, t) for t in (-10, -3, -2, -1, -0.5, 0, 0.3, 0.5, 1, 2, 10))
    assert f1(questions, found.no_answer) == pytest.approx(highest)


def test_a_span_is_always_given_where_all_questions_have_answers():
    before = replace(SPEC, no_answer=1.0)
    assert NETWORK.tuned(before, [answer("oslo", 9.0)], [reference("oslo")]).no_answer is None


def test_the_threshold_lies_half_way_between_its_neighbours():
    results = [answer("oslo", -2.0), answer("", 1.0, "rome")]
    assert NETWORK.tuned(SPEC, results, [reference("oslo"), reference()]).no_answer == -0.5


@given(st.lists(QUESTION, min_size=1, max_size=20))
def test_tuning_again_changes_nothing(questions):
    references = [reference(*texts) for _, _, texts in questions]
    once = NETWORK.tuned(SPEC, decided(questions, None), references)
    assert NETWORK.tuned(once, decided(questions, once.no_answer), references) == once
