"""Pairs of texts through the tokenizers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import InvalidText
from polyhead.text.encoding import flat, least_room

TEXTS = st.text(max_size=20) | st.text("aZ é e\u0301 ﬁ 東京 👍🏽 \0\n[SEP]</s>", max_size=20)


def visible(encoding):
    return encoding.offsets[~encoding.special].tolist()


@given(query=TEXTS, text=TEXTS)
def test_offsets_are_those_of_the_second_text_alone(tokenizer, query, text):
    [pair, alone] = tokenizer.encode([(query, text), text])
    assert visible(pair) == visible(alone)
    assert pair.ids[~pair.special].tolist() == alone.ids[~alone.special].tolist()


@given(query=TEXTS, text=TEXTS)
def test_tokens_of_the_first_text_are_there_and_stand_for_no_part_of_the_second(
    tokenizer, query, text
):
    [pair, alone] = tokenizer.encode([(query, text), query])
    asked = alone.ids[~alone.special].tolist()
    assert pair.ids[1 : 1 + len(asked)].tolist() == asked
    assert pair.special[: 1 + len(asked)].all()
    assert not pair.offsets[pair.special].any()


@given(query=TEXTS, text=TEXTS)
def test_a_pair_remembers_both_texts(tokenizer, query, text):
    [pair] = tokenizer.encode([(query, text)])
    assert (pair.query, pair.text, pair.kind) == (query, text, "pair")
    assert pair.input == (query, text)


def test_a_lone_text_has_no_query(tokenizer):
    [alone] = tokenizer.encode(["Oslo"])
    assert (alone.query, alone.types, alone.kind, alone.input) == (None, None, "text", "Oslo")
    assert alone.token_types.tolist() == [0] * len(alone)


def test_a_list_of_two_is_a_pair_too(tokenizer):
    [pair, same] = tokenizer.encode([("who?", "Anna"), ["who?", "Anna"]])
    assert np.array_equal(pair.ids, same.ids)
    assert same.input == ("who?", "Anna")


def test_word_pieces_of_a_pair(wordpiece):
    [pair] = wordpiece.encode([("was the", "parcel late")])
    assert pair.special.tolist() == [True, True, True, True, False, False, True]
    assert pair.token_types.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert visible(pair) == [[0, 6], [7, 11]]


def test_byte_pieces_of_a_pair(byte_bpe):
    [pair] = byte_bpe.encode([("a", "b👍")])
    assert pair.special.tolist() == [True, True, True, True] + [False] * 5 + [True]
    assert pair.token_types.tolist() == [0] * 10
    assert visible(pair) == [[0, 1]] + [[1, 2]] * 4


@pytest.mark.parametrize("pair", [("", ""), ("who?", ""), ("", "Anna")], ids=str)
def test_either_text_may_be_empty(tokenizer, pair):
    [found, query, text] = tokenizer.encode([pair, *pair])
    assert (~found.special).sum() == (~text.special).sum()
    frame = len(tokenizer.encode([("", "")])[0])
    assert len(found) == frame + (~query.special).sum() + (~text.special).sum()
    assert found.body.tolist() == np.flatnonzero(~found.special).tolist()


@given(query=TEXTS, text=TEXTS, tokens=st.integers(0, 60))
def test_cut_takes_from_the_end_of_the_second_text_only(tokenizer, query, text, tokens):
    [whole] = tokenizer.encode([(query, text)])
    part = whole.cut(tokens)
    frame = int(whole.special.sum())
    assert len(part) == (len(whole) if len(whole) <= tokens else max(tokens, frame))
    assert part.truncated == (len(whole) > tokens)
    assert part.ids[part.special].tolist() == whole.ids[whole.special].tolist()
    left = int((~part.special).sum())
    assert part.ids[~part.special].tolist() == whole.ids[~whole.special][:left].tolist()
    assert part.token_types[part.special].tolist() == whole.token_types[whole.special].tolist()


@given(query=TEXTS, text=TEXTS, tokens=st.integers(1, 60))
def test_room_is_what_the_first_text_and_special_tokens_leave(tokenizer, query, text, tokens):
    [whole] = tokenizer.encode([(query, text)])
    assert whole.room(tokens) == tokens - whole.special.sum()


@pytest.mark.parametrize(("tokens", "least"), [(1, 1), (3, 1), (8, 2), (512, 128)], ids=str)
def test_a_quarter_is_the_least_room(tokens, least):
    assert least_room(tokens) == least


def test_feeds_are_rows_of_one(wordpiece):
    [pair, alone] = wordpiece.encode([("who", "anna"), "anna"])
    feeds = pair.feeds(("input_ids", "token_type_ids"))
    assert feeds["input_ids"].tolist() == [pair.ids.tolist()]
    assert feeds["token_type_ids"].tolist() == [pair.token_types.tolist()]
    assert list(alone.feeds(("input_ids",))) == ["input_ids"]
    assert alone.feeds(("token_type_ids",))["token_type_ids"].tolist() == [[0] * len(alone)]


@pytest.mark.parametrize(
    ("pair", "place"),
    [
        pytest.param(("x\ud83d", "fine"), 1, id="first"),
        pytest.param(("fine", "xy\ud83d"), 2, id="second"),
    ],
)
def test_a_lone_surrogate_in_a_pair_is_named_at_its_place_in_its_text(tokenizer, pair, place):
    with pytest.raises(InvalidText, match=rf"input 1:.*U\+D83D at character {place}\b") as caught:
        tokenizer.encode(["fine", pair])
    assert caught.value.index == 1


def test_a_pair_as_one_text_differs_from_the_texts_joined():
    assert flat("ab") == "ab"
    assert flat(("a", "b")) == "a\0b"
