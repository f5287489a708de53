import pytest

from polyhead_bench.agreement import agreement

SPAN = {"label": "DATE", "start": 3, "end": 8}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"label": "a", "scores": {"a": 0.9}}, {"label": "a", "scores": {"a": 0.6}}, True),
        ({"label": "a"}, {"label": "b"}, False),
        ({"labels": ["a", "b"]}, {"labels": ["b", "a"]}, True),
        ({"labels": ["a"]}, {"labels": []}, False),
        ({"spans": [{**SPAN, "score": 0.9}]}, {"spans": [SPAN]}, True),
        ({"spans": [SPAN]}, {"spans": [{**SPAN, "end": 9}]}, False),
        ({"spans": [SPAN]}, {"spans": []}, False),
        ({"sentences": [{"start": 0, "end": 4}]}, {"sentences": [{"start": 0, "end": 4}]}, True),
        ({"vector": [1.0, 0.0]}, {"vector": [2.0, 0.1]}, True),
        ({"vector": [1.0, 0.0]}, {"vector": [0.0, 1.0]}, False),
        ({"value": 100.0}, {"value": 100.9}, True),
        ({"value": 100.0}, {"value": 102.0}, False),
        ({"label": "a"}, {"value": 1.0}, False),
    ],
)
def test_a_heads_answers_are_compared_by_what_they_decide(one, other, same):
    assert agreement([{"h": one}], [{"h": other}]) == {"h": float(same)}


def test_the_share_is_over_texts_and_by_head():
    one = [
        {"topic": {"label": "a"}, "n": {"value": 1}},
        {"topic": {"label": "b"}, "n": {"value": 1}},
    ]
    other = [
        {"topic": {"label": "a"}, "n": {"value": 1}},
        {"topic": {"label": "c"}, "n": {"value": 1}},
    ]
    assert agreement(one, other) == {"topic": 0.5, "n": 1.0}


def test_heads_of_one_side_only_and_no_texts_are_left_out():
    assert agreement([{"a": {"label": "x"}}], [{"b": {"label": "x"}}]) == {}
    assert agreement([], []) == {}
