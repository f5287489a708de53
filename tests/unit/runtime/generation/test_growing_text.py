"""Pieces of a text that grows token by token are, put together, the text."""

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from polyhead._call.writing import GrowingText


@pytest.fixture(scope="module")
def a_token_a_byte():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


@pytest.fixture(scope="module")
def wordpiece_that_cleans_up():
    words = ["[UNK]", "do", "n", "'", "t", "it", "s", ".", ",", "##x"]
    made = tokenizers.Tokenizer(
        models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    )
    made.decoder = decoders.WordPiece(cleanup=True)
    return made


def pieces(tokenizer, ids):
    growing = GrowingText()
    found = [growing.piece(tokenizer.decode(ids[: n + 1])) for n in range(len(ids))]
    return [*found, growing.rest(tokenizer.decode(ids))]


@given(st.text(max_size=30))
@example("a 😀 b")
@example("late 佳")
@example("half \ufffd")
def test_characters_of_several_tokens(a_token_a_byte, text):
    ids = a_token_a_byte.encode(text).ids
    assert "".join(pieces(a_token_a_byte, ids)) == text


@given(st.lists(st.integers(1, 9), max_size=20))
@example([1, 2, 3, 4])
def test_what_a_decoder_joins(wordpiece_that_cleans_up, ids):
    decoded = wordpiece_that_cleans_up.decode(ids)
    assert "".join(pieces(wordpiece_that_cleans_up, ids)) == decoded


def test_pieces_come_before_the_end(a_token_a_byte):
    found = pieces(a_token_a_byte, a_token_a_byte.encode("abcdef").ids)
    assert found == ["", "", "", "a", "b", "c", "def"]
