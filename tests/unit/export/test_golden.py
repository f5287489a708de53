import pytest

from polyhead_export.golden import golden_texts

TEXTS = [f"text {n}" for n in range(30)]


def test_the_empty_text_comes_first_then_twelve_different_ones():
    found = golden_texts(TEXTS * 2, seed=0)
    assert found[0] == ""
    assert len(set(found)) == len(found) == 13


def test_a_seed_gives_the_same_texts_whatever_their_order():
    assert golden_texts(TEXTS, seed=1) == golden_texts(TEXTS[::-1], seed=1)
    assert golden_texts(TEXTS, seed=1) != golden_texts(TEXTS, seed=2)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_few_texts_are_all_taken(count):
    assert sorted(golden_texts(TEXTS[:count], seed=0)) == sorted(["", *TEXTS[:count]])
