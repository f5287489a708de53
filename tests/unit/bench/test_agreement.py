import pytest

from polyhead_bench.agreement import agreement
from polyhead_bench.errors import PeerFault

SPAN = {"label": "PLACE", "start": 3, "end": 7, "score": 0.9}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param({"label": "a", "score": 0.9}, {"label": "a", "score": 0.6}, 1, id="label"),
        pytest.param({"label": "a"}, {"label": "b"}, 0, id="other_label"),
        pytest.param({"labels": ["a", "b"]}, {"labels": ["b", "a"]}, 1, id="labels_in_any_order"),
        pytest.param({"labels": ["a"]}, {"labels": []}, 0, id="a_label_less"),
        pytest.param({"spans": [SPAN]}, {"spans": [{**SPAN, "score": 0.1}]}, 1, id="span"),
        pytest.param({"spans": [SPAN]}, {"spans": [{**SPAN, "end": 8}]}, 0, id="longer_span"),
        pytest.param({"vector": [1.0, 0.0]}, {"vector": [2.0, 0.1]}, 1, id="vector"),
        pytest.param({"vector": [1.0, 0.0]}, {"vector": [1.0, 0.5]}, 0, id="turned_vector"),
        pytest.param({"value": 200.0}, {"value": 201.0}, 1, id="number"),
        pytest.param({"value": 200.0}, {"value": 205.0}, 0, id="other_number"),
        pytest.param({"start": 1, "end": 4}, {"start": 1, "end": 4}, 1, id="answer"),
        pytest.param({"start": 1, "end": 4}, {"start": 1, "end": 9}, 0, id="longer_answer"),
        pytest.param({"label": "a"}, {"vector": [1.0]}, 0, id="other_kind"),
    ],
)
def test_answers_of_a_head_agree(one, other, expected):
    assert agreement([{"head": one}], [{"head": other}]) == {"head": expected}


def test_agreement_is_a_share_by_head():
    found = [{"a": {"label": "x"}, "b": {"label": "x"}}, {"a": {"label": "x"}, "b": {"label": "y"}}]
    expected = [{"a": {"label": "x"}, "b": {"label": "y"}} for _ in range(2)]
    assert agreement(found, expected) == {"a": 1.0, "b": 0.5}


def test_heads_of_one_side_only_are_left_out():
    assert agreement([{"a": {"label": "x"}}], [{"b": {"label": "x"}}]) == {}


def test_without_texts_there_is_no_agreement():
    assert agreement([], []) == {}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        pytest.param([{"a": {"label": "x"}}], "1 answers to 2 texts", id="fewer"),
        pytest.param([], "0 answers to 2 texts", id="none"),
        pytest.param([{"a": {"label": "x"}}, {}], "no answer: KeyError: 'a'", id="other_heads"),
        pytest.param([{"a": "x"}, {"a": None}], "no answer: TypeError", id="no_mapping"),
        pytest.param([None, None], "no answer: TypeError", id="nothing"),
    ],
)
def test_answers_that_are_none_are_a_fault(found, message):
    with pytest.raises(PeerFault, match=message):
        agreement(found, [{"a": {"label": "x"}}] * 2)


def test_a_span_without_an_end_is_a_fault():
    with pytest.raises(PeerFault, match="KeyError: 'end'"):
        agreement([{"a": {"spans": [{"start": 1}]}}], [{"a": {"spans": [SPAN]}}])
