import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead.inference.grouping import groups

LENGTHS = st.lists(st.integers(0, 40), max_size=60)
CAPS = st.integers(1, 200)


@given(LENGTHS, CAPS)
def test_every_text_is_in_exactly_one_group(lengths, cap):
    assert sorted(i for group in groups(lengths, cap) for i in group) == list(range(len(lengths)))


@given(LENGTHS, CAPS)
def test_a_group_has_one_length(lengths, cap):
    assert all(len({lengths[i] for i in group}) == 1 for group in groups(lengths, cap))


@given(LENGTHS, CAPS)
def test_a_group_of_several_keeps_the_token_cap(lengths, cap):
    assert all(len(g) == 1 or sum(lengths[i] for i in g) <= cap for g in groups(lengths, cap))


@given(LENGTHS, CAPS)
def test_a_group_is_full_before_the_next_of_its_length_begins(lengths, cap):
    found = groups(lengths, cap)
    for group, following in itertools.pairwise(found):
        length = lengths[group[0]]
        if length and lengths[following[0]] == length:
            assert (len(group) + 1) * length > cap


@given(LENGTHS, CAPS)
def test_the_longest_texts_come_first(lengths, cap):
    order = [lengths[group[0]] for group in groups(lengths, cap)]
    assert order == sorted(order, reverse=True)


@given(LENGTHS, CAPS)
def test_inside_a_group_the_order_of_the_call_is_kept(lengths, cap):
    assert all(group == sorted(group) for group in groups(lengths, cap))


def test_no_texts_give_no_groups():
    assert groups([], 256) == []


@pytest.mark.parametrize(
    ("lengths", "cap", "expected"),
    [
        pytest.param([3, 5, 3], 256, [[1], [0, 2]], id="two_lengths"),
        pytest.param([4, 4, 4], 8, [[0, 1], [2]], id="cap_splits_a_length"),
        pytest.param([9, 9], 4, [[0], [1]], id="longer_than_the_cap"),
        pytest.param([0, 0], 1, [[0], [1]], id="no_tokens"),
    ],
)
def test_known_groups(lengths, cap, expected):
    assert groups(lengths, cap) == expected
