import copy
import itertools
import json
import pickle
import threading
import time
import unicodedata

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from polyhead import BundleError, InvalidText
from polyhead.text.encoding import Encoding
from polyhead.text.tokenizer import Tokenizer

TRICKY = (
    "aZ é e\u0301 ﬁ İ ß 東京 ก็ मेरे עִבְרִית عربي 한 "
    "👍🏽 👩\u200d💻 ❤\ufe0f \0\t\n\r\u00ad\u2028\ufffd [SEP] </s>"
)
TEXTS = st.text() | st.text(alphabet=TRICKY) | st.text("abcdefgh  .", max_size=60)
WORDS = st.lists(st.text("abcdeXYZ", min_size=1, max_size=12), max_size=8)


def body(encoding: Encoding) -> list[tuple[int, int]]:
    return [(int(s), int(e)) for s, e in encoding.offsets[~encoding.special]]


def uncovered(encoding: Encoding) -> set[str]:
    covered = {i for start, end in body(encoding) for i in range(start, end)}
    return {c for i, c in enumerate(encoding.text) if i not in covered}


@given(text=TEXTS)
@example(text=TRICKY)
def test_offsets_lie_inside_the_text(tokenizer, text):
    [encoding] = tokenizer.encode([text])
    assert all(0 <= start <= end <= len(text) for start, end in body(encoding))


@given(text=TEXTS)
@example(text=TRICKY)
def test_starts_never_go_back(tokenizer, text):
    starts = [start for start, _ in body(tokenizer.encode([text])[0])]
    assert starts == sorted(starts)


@given(text=TEXTS)
@example(text=TRICKY)
def test_two_tokens_overlap_only_as_parts_of_one_character(tokenizer, text):
    for left, right in itertools.pairwise(body(tokenizer.encode([text])[0])):
        assert left[1] <= right[0] or (left == right and not text[slice(*left)].isascii())


@given(text=TEXTS)
@example(text=TRICKY)
def test_added_tokens_stand_at_zero(tokenizer, text):
    [encoding] = tokenizer.encode([text])
    assert encoding.special[[0, -1]].all()
    assert not encoding.special[1:-1].any()
    assert not encoding.offsets[encoding.special].any()


@given(text=TEXTS)
@example(text=TRICKY)
def test_arrays_are_int64_of_one_length(tokenizer, text):
    [encoding] = tokenizer.encode([text])
    assert encoding.text == text
    assert encoding.ids.dtype == encoding.offsets.dtype == np.int64
    assert encoding.ids.shape == encoding.special.shape == (len(encoding),)
    assert encoding.offsets.shape == (len(encoding), 2)


@given(text=TEXTS)
@example(text=TRICKY)
def test_bytes_lose_nothing_but_white_space(byte_bpe, text):
    assert all(c.isspace() for c in uncovered(byte_bpe.encode([text])[0]))


@given(text=TEXTS)
@example(text=TRICKY)
def test_word_pieces_lose_only_spaces_marks_and_controls(wordpiece, text):
    lost = uncovered(wordpiece.encode([text])[0])
    assert {c for c in lost if unicodedata.category(c)[0] not in "CMZ"} <= {"\ufffd"}


@given(words=WORDS)
def test_a_word_piece_is_its_part_of_the_text(wordpiece, wordpiece_json, words):
    surface = tokenizers.Tokenizer.from_str(wordpiece_json).id_to_token
    [encoding] = wordpiece.encode(["  ".join(words)])
    for token, (start, end) in zip(encoding.ids[1:-1].tolist(), body(encoding), strict=True):
        assert encoding.text[start:end].lower() == surface(token).removeprefix("##")


@given(words=WORDS)
def test_a_byte_piece_is_its_part_of_the_text(byte_bpe, byte_bpe_json, words):
    surface = tokenizers.Tokenizer.from_str(byte_bpe_json).id_to_token
    [encoding] = byte_bpe.encode(["  ".join(words)])
    for token, (start, end) in zip(encoding.ids[1:-1].tolist(), body(encoding), strict=True):
        assert encoding.text[start:end] == surface(token).replace("Ġ", "")


@given(texts=st.lists(TEXTS, max_size=5))
def test_a_text_is_tokenised_alone_as_in_a_list(tokenizer, texts):
    for text, together in zip(texts, tokenizer.encode(texts), strict=True):
        [alone] = tokenizer.encode([text])
        assert np.array_equal(alone.ids, together.ids)
        assert np.array_equal(alone.offsets, together.offsets)
        assert np.array_equal(alone.special, together.special)


MILLION = ("the parcel was late . " * 50_000)[:1_000_000]


@pytest.mark.parametrize("item", [MILLION, ("was it late ?", MILLION)], ids=["text", "pair"])
def test_other_threads_go_on_while_a_long_text_is_tokenised(wordpiece, item):
    done, pauses = threading.Event(), [0.0]

    def tick():
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    ticking = threading.Thread(target=tick)
    ticking.start()
    began = time.perf_counter()
    wordpiece.encode_one(item)
    took = time.perf_counter() - began
    done.set()
    ticking.join()
    assert max(pauses) < took / 2  # nine tenths where the tokenizer holds Python's lock


@pytest.mark.parametrize("query", [None, "was it late ?"], ids=["text", "pair"])
def test_a_long_text_is_tokenised_as_its_parts_are(wordpiece, query):
    part = "the parcel was late . "
    short, long = part * 700, part * 800  # on both sides of what counts as long
    a, b = wordpiece.encode([x if query is None else (query, x) for x in (short, long)])
    body = np.flatnonzero(~a.special)
    for name in ("ids", "offsets"):
        assert np.array_equal(getattr(a, name)[body], getattr(b, name)[body])
    assert len(b) - len(a) == 100 * 5
    assert (b.query, b.text) == (query, long)


def test_no_texts_give_no_encodings(tokenizer):
    assert tokenizer.encode([]) == []


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n \r", "\0", "\0\0 \0", "\u00ad\u200b", "\u0301"], ids=ascii
)
def test_nothing_visible_gives_special_tokens_only(wordpiece, text):
    assert wordpiece.encode([text])[0].special.tolist() == [True, True]


def test_offsets_count_code_points(wordpiece):
    assert body(wordpiece.encode(["👍🏽 né Oslo"])[0])[-3:] == [(3, 4), (4, 5), (6, 10)]


def test_one_character_of_many_bytes_is_named_by_each_byte(byte_bpe):
    assert body(byte_bpe.encode(["a👍"])[0]) == [(0, 1)] + [(1, 2)] * 4


@pytest.mark.parametrize("position", [0, 3, 20_000])
def test_a_lone_surrogate_is_named(tokenizer, position):
    text = "x" * position + "\ud83d" + "y"
    with pytest.raises(InvalidText, match=rf"input 1:.*U\+D83D at character {position}\b"):
        tokenizer.encode(["fine", text])


@pytest.mark.parametrize(
    ("item", "name"),
    [
        pytest.param(None, "a missing value", id="none"),
        pytest.param(b"text", "bytes", id="bytes"),
        pytest.param(3, "int", id="int"),
        pytest.param(float("nan"), "a missing value", id="nan"),
        pytest.param(["text"], "list", id="list"),
        pytest.param(("a", "b", "c"), "tuple", id="three_texts"),
        pytest.param(("a", None), "tuple", id="half_a_pair"),
    ],
)
def test_an_item_that_is_no_text_is_named(tokenizer, item, name):
    with pytest.raises(InvalidText, match=f"input 2: found {name}"):
        tokenizer.encode(["a", "b", item])


def test_a_subclass_of_str_is_a_text(tokenizer):
    [plain, subclass] = tokenizer.encode(["Oslo", np.str_("Oslo")])
    assert np.array_equal(plain.ids, subclass.ids)


@pytest.mark.parametrize("tokens", [2, 3, 5])
def test_cut_keeps_the_beginning_and_the_closing_token(tokenizer, tokens):
    [whole] = tokenizer.encode(["the parcel was not late"])
    part = whole.cut(tokens)
    assert part.truncated
    assert part.text == whole.text
    assert part.ids.tolist() == [*whole.ids[: tokens - 1].tolist(), int(whole.ids[-1])]
    assert part.special.tolist() == [True] + [False] * (tokens - 2) + [True]
    assert np.array_equal(part.offsets[:-1], whole.offsets[: tokens - 1])


def test_cut_leaves_alone_what_fits(tokenizer):
    [whole] = tokenizer.encode(["the parcel"])
    assert whole.cut(len(whole)) is whole
    assert not whole.truncated


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path, wordpiece, wordpiece_json):
    baked = tokenizers.Tokenizer.from_str(wordpiece_json)
    baked.enable_truncation(4)
    baked.enable_padding(length=16)
    path = tmp_path / "tokenizer.json"
    baked.save(str(path))
    assert json.loads(path.read_text())["truncation"]
    text = "anna lives in oslo"
    found = Tokenizer.from_file(path).encode([text])[0].ids
    assert np.array_equal(found, wordpiece.encode([text])[0].ids)


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[1]", '{"model": {"type": "Magic"}}'], ids=ascii
)
def test_an_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json: (the tokenizers|not |cannot be read)"):
        Tokenizer.from_file(path)


def test_to_json_gives_the_same_tokenizer(tokenizer):
    again = Tokenizer(tokenizers.Tokenizer.from_str(tokenizer.to_json()))
    assert again.vocabulary_size == tokenizer.vocabulary_size
    assert np.array_equal(again.encode([TRICKY])[0].ids, tokenizer.encode([TRICKY])[0].ids)


@pytest.mark.parametrize("text", ["", "né Oslo 東京", "the parcel was late " * 20])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda e: e, id="as_it_is"),
        pytest.param(lambda e: e.cut(5), id="cut"),
        pytest.param(lambda e: e.windowed(12, 3), id="windows"),
        pytest.param(lambda e: pickle.loads(pickle.dumps(e)), id="pickled"),
        pytest.param(copy.copy, id="copied"),
    ],
)
def test_offsets_that_nobody_was_to_ask_for_are_the_same(tokenizer, text, change):
    now = tokenizer.encode_texts(None, text)
    later = tokenizer.encode_texts(None, text, offsets=False)
    for name in ("text", "query", "truncated", "types", "starts", "firsts"):
        assert getattr(change(now), name) == getattr(change(later), name)
    for name in ("ids", "offsets", "special"):
        np.testing.assert_array_equal(getattr(change(now), name), getattr(change(later), name))
    assert not hasattr(later, "no_such_attribute")
