"""Counting labels, lengths, duplicates and leaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_models.data import statistics
from polyhead_models.data.examples import Example
from polyhead_models.data.statistics import Labels, Leak, Lengths, NumberRange, Repeated

TEXTS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xy")), max_size=12)


@pytest.mark.parametrize(
    ("references", "found"),
    [
        pytest.param(
            ["b", "a", "b"], Labels(distinct=2, counts={"b": 2, "a": 1}, without=0), id="label"
        ),
        pytest.param(
            [("a", "b"), (), ("b",)],
            Labels(distinct=2, counts={"b": 2, "a": 1}, without=1),
            id="set_of_labels",
        ),
        pytest.param(
            [(("PER", 0, 1), ("PER", 2, 3)), (("LOC", 0, 1),), ()],
            Labels(distinct=2, counts={"PER": 2, "LOC": 1}, without=1),
            id="spans",
        ),
        pytest.param([1.0, -2.0], NumberRange(minimum=-2.0, mean=-0.5, maximum=1.0), id="number"),
        pytest.param([{"a": 1}], None, id="another_form"),
        pytest.param([], Labels(distinct=0, counts={}, without=0), id="none"),
    ],
)
def test_what_the_references_hold(references, found):
    assert statistics.target(references) == found


def test_the_most_frequent_labels_come_first_and_equals_in_order():
    found = statistics.target([*"cabca", *"zyxwvutsrq"])
    assert list(found.counts) == ["a", "c", *"bqrstuvw"]
    assert found.distinct == 13


@given(st.lists(st.integers(2, 500), min_size=1), st.integers(3, 400))
def test_lengths_are_percentiles_that_occur(tokens, limit):
    found = statistics.lengths(tokens, limit)
    assert {found.p50, found.p95, found.max} <= set(tokens)
    assert found.p50 <= found.p95 <= found.max == max(tokens)
    assert np.mean([t <= found.p95 for t in tokens]) >= 0.95
    assert found.over == np.mean([t > limit for t in tokens])


def test_one_text_has_one_length():
    assert statistics.lengths([7], 7) == Lengths(p50=7, p95=7, max=7, over=0.0)


@given(TEXTS)
def test_the_duplicates_are_the_rows_beyond_one_a_text(texts):
    found = statistics.repeated(texts)
    assert found.rows == len(texts) - len({text for text, _ in texts})
    assert found.differing == len(set(texts)) - len({text for text, _ in texts})


@given(TEXTS, TEXTS)
def test_shared_rows_stand_in_the_other_split(texts, others):
    found = statistics.repeated(texts, others)
    known = {text for text, _ in others}
    assert found.rows == sum(text in known for text, _ in texts)
    assert found.differing == sum(t in known and (t, r) not in others for t, r in texts)


def test_leaks_look_back_and_pass_over_what_is_clean():
    splits = {
        "train": [("a", "x"), ("a", "y"), ("b", "x")],
        "validation": [("c", "x")],
        "test": [("a", "x"), ("a", "z"), ("b", "y"), ("d", "x")],
    }
    assert statistics.leaks(splits) == [
        Leak(split="test", also_in="train", repeated=Repeated(rows=3, differing=2))
    ]


def test_rows_without_a_target_are_left_out():
    rows = [Example("f:1", "s", "a", {"topic": "x"}), Example("f:2", "s", "b", {"mood": "y"})]
    assert statistics.of_head(rows, "topic") == [("a", "x")]
