import pytest

from polyhead_export.golden import golden_texts

TEXTS = [f"text {n}" for n in range(30)]


def test_the_empty_text_comes_first_then_twelve_different_ones():
    found = golden_texts(TEXTS * 2, {"text"}, seed=0)
    assert found[0] == ""
    assert len(set(found)) == len(found) == 13


def test_a_seed_gives_the_same_texts_whatever_their_order():
    assert golden_texts(TEXTS, {"text"}, seed=1) == golden_texts(TEXTS[::-1], {"text"}, seed=1)
    assert golden_texts(TEXTS, {"text"}, seed=1) != golden_texts(TEXTS, {"text"}, seed=2)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_few_texts_are_all_taken(count):
    assert sorted(golden_texts(TEXTS[:count], {"text"}, seed=0)) == sorted(["", *TEXTS[:count]])


def test_pairs_are_sampled_beside_texts_and_have_an_empty_one_too():
    pairs = [(f"question {n}", f"text {n}") for n in range(30)]
    assert golden_texts([], {"pair"}, seed=0) == [("", "")]
    found = golden_texts([*TEXTS, *pairs], {"pair", "text"}, seed=0)
    assert found[:2] == ["", ("", "")]
    assert {type(item) for item in found[2:]} == {str, tuple}
    assert len(found) == 14


def test_a_text_and_a_pair_with_the_same_characters_are_two():
    assert len(golden_texts(["ab", ("a", "b"), ("ab", "")], {"text", "pair"}, seed=0)) == 5
