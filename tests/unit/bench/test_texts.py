import numpy as np
import pytest

from polyhead_bench import texts
from polyhead_bench.errors import BenchError

WORDS = ("the", "parcel", "to", "oslo", "was", "late", ",", "thanks", "for", "the", "kettle")


@pytest.fixture
def source(wordpiece):
    return texts.TextSource(WORDS, wordpiece)


@pytest.mark.parametrize("tokens", [3, 4, 16, 100])
def test_fixed_texts_have_exactly_so_many_tokens(source, wordpiece, tokens):
    found = source.fixed(tokens, 5)
    assert found.tokens == (tokens,) * 5
    assert tuple(len(e) for e in wordpiece.encode(found.inputs)) == found.tokens


def test_texts_are_cut_from_the_stream_in_its_order(source):
    stream = " ".join(WORDS * 3)
    assert all(text in stream for text in source.fixed(8, 20).inputs)


def test_a_stream_is_made_of_texts_and_of_both_texts_of_pairs(wordpiece):
    known = texts.AskedTexts(("late parcel", ("who ?", "anna")), "two", (4, 5))
    assert texts.TextSource.of(known, wordpiece).words == ("late", "parcel", "who", "?", "anna")


def test_a_mix_has_the_lengths_that_it_says(source, wordpiece):
    found = source.mixed(300, mean=28, longest=64, seed=0)
    assert tuple(len(e) for e in wordpiece.encode(found.inputs)) == found.tokens
    assert 4 <= min(found.tokens) < 12
    assert max(found.tokens) == 64
    assert np.mean(found.tokens) == pytest.approx(28, rel=0.1)


def test_a_mix_is_reproducible_by_its_seed(source):
    mixes = [source.mixed(5, mean=9, longest=30, seed=seed) for seed in (0, 0, 1)]
    assert mixes[0] == mixes[1]
    assert len({mix.digest for mix in mixes}) == 2


def test_a_file_gives_its_first_texts(wordpiece, tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"body": "late"}\n{"body": "the parcel"}\n{"body": "x"}\n')
    found = texts.of_file(file, "body", wordpiece, limit=2)
    assert (found.inputs, found.tokens) == (("late", "the parcel"), (3, 4))


def test_a_file_without_texts_is_told(wordpiece, tmp_path):
    (tmp_path / "t.jsonl").touch()
    with pytest.raises(BenchError, match=r"t\.jsonl: no texts; expected at least one"):
        texts.of_file(tmp_path / "t.jsonl", "text", wordpiece, limit=2)
