"""Windows of a long text that overlap, and what of each window counts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyhead.text.encoding import Encoding

SIZES = {
    "count": st.integers(0, 60),
    "asked": st.none() | st.integers(0, 5),
    "room": st.integers(1, 20),
    "stride": st.integers(0, 25),
}


def made(count, asked=None):
    """An encoding of `count` text tokens, each one character; of a pair when `asked` is a number.

    Ids of text tokens are 100, 101, …; special ones are 1 and 2, those of the first text 50.
    """
    before = [1] if asked is None else [1, *[50] * asked, 2]
    ids = np.array([*before, *range(100, 100 + count), 2], np.int64)
    spans = [(i - 100, i - 99) if i >= 100 else (0, 0) for i in ids.tolist()]
    return Encoding(
        "x" * count,
        ids,
        np.array(spans, np.int64),
        ids < 100,
        query=None if asked is None else "q" * asked,
        types=None if asked is None else np.repeat([0, 1], [len(before), count + 1]),
    )


def windowed(count, asked, room, stride):
    """The whole, the same in windows, and the size of a window."""
    whole = made(count, asked)
    tokens = room + int(whole.special.sum())
    return whole, whole.windowed(tokens, stride), tokens


def texts_of(encoding):
    """Text token ids of each window."""
    return [[i for i in encoding.ids[w].tolist() if i >= 100] for w in encoding.windows]


@given(**SIZES)
def test_what_fits_is_returned_as_it_is(count, asked, room, stride):
    whole, found, tokens = windowed(count, asked, room, stride)
    assert (found is whole) == (len(whole) <= tokens) == (len(found.windows) == 1)


@given(**SIZES)
@example(count=23, asked=None, room=22, stride=4)
@example(count=3, asked=2, room=1, stride=1)
def test_every_window_is_full_and_framed(count, asked, room, stride):
    whole, found, tokens = windowed(count, asked, room, stride)
    if found is whole:
        return
    for window, ids in zip(found.windows, texts_of(found), strict=True):
        assert window.stop - window.start == tokens
        special = found.special[window]
        assert found.ids[window][special].tolist() == whole.ids[whole.special].tolist()
        assert ids == list(range(ids[0], ids[0] + room))
        assert found.offsets[window][~special].tolist() == [[i - 100, i - 99] for i in ids]
        assert not found.offsets[window][special].any()
        rows = np.isin(whole.ids, ids) | whole.special
        assert found.token_types[window].tolist() == whole.token_types[rows].tolist()


@given(**SIZES)
@example(count=60, asked=0, room=20, stride=19)
def test_windows_go_from_the_beginning_to_the_end_and_overlap(count, asked, room, stride):
    whole, found, _ = windowed(count, asked, room, stride)
    texts = texts_of(found)
    assert set().union(*texts) == set(range(100, 100 + count))
    if found is not whole:
        assert texts[0][0] == 100
        assert texts[-1][-1] == 99 + count
        shared = [len({*a} & {*b}) for a, b in itertools.pairwise(texts)]
        assert all(n == min(stride, room // 2) for n in shared[:-1])
        assert shared[-1] >= min(stride, room // 2)
        assert all(a[0] < b[0] for a, b in itertools.pairwise(texts))


@given(**SIZES)
def test_the_body_has_each_token_once_and_in_order(count, asked, room, stride):
    _, found, _ = windowed(count, asked, room, stride)
    assert found.ids[found.body].tolist() == list(range(100, 100 + count))
    assert np.array_equal(np.concatenate(found.owned), found.body)


@given(**SIZES)
@example(count=31, asked=None, room=10, stride=5)
def test_a_token_counts_where_it_is_farthest_from_an_edge(count, asked, room, stride):
    _, found, _ = windowed(count, asked, room, stride)
    texts = texts_of(found)
    for i, rows in enumerate(found.owned):
        window = found.windows[i]
        assert ((rows >= window.start) & (rows < window.stop)).all()
        for token in found.ids[rows].tolist():
            depths = [min(token - t[0], t[-1] - token) for t in texts if token in t]
            assert min(token - texts[i][0], texts[i][-1] - token) == max(depths)


@given(**SIZES)
def test_split_gives_the_windows_as_encodings(count, asked, room, stride):
    whole, found, _ = windowed(count, asked, room, stride)
    parts = found.split()
    assert len(parts) == len(found.windows)
    assert np.array_equal(np.concatenate([part.ids for part in parts]), found.ids)
    for part, ids in zip(parts, texts_of(found), strict=True):
        assert part.windows == [slice(0, len(part))]
        assert part.ids[part.body].tolist() == ids
        assert (part.text, part.query, part.kind) == (whole.text, whole.query, whole.kind)
        assert part.offsets[part.body].tolist() == [[i - 100, i - 99] for i in ids]
        assert (part.types is None) == (whole.types is None)


@given(**SIZES)
def test_average_weighs_a_window_by_the_tokens_that_it_speaks_for(count, asked, room, stride):
    _, found, _ = windowed(count, asked, room, stride)
    windows = len(found.windows)
    if windows == 1:
        return
    weights = found.average(np.eye(windows))
    assert weights.sum() == pytest.approx(1)
    assert weights.tolist() == pytest.approx([len(rows) / count for rows in found.owned])
    same = np.full((windows, 3), 0.25, np.float32)
    assert found.average(same).dtype == np.float32
    assert found.average(same).tolist() == pytest.approx([0.25] * 3)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_average_returns_values_of_one_window_as_they_are(count):
    values = np.array([0.5, 2.0], np.float32)
    assert made(count).average(values) is values


@pytest.mark.parametrize("asked", [None, 3], ids=["text", "pair"])
def test_a_very_long_text(asked):
    count = 100_000
    found = made(count, asked).windowed(128, 32)
    room = 126 if asked is None else 122
    assert len(found.windows) == 1 + -(-(count - room) // (room - 32))
    assert len(found) == 128 * len(found.windows)
    assert np.array_equal(found.ids[found.body], np.arange(100, 100 + count))
    assert len(found.split()) == len(found.windows)
    assert found.average(np.ones((len(found.windows), 1), np.float32)).tolist() == [1.0]


@pytest.mark.parametrize(
    "item", ["the parcel was late " * 30, ("who?", "né 東京 👍 " * 20)], ids=ascii
)
def test_windows_of_real_tokens_hold_the_text(tokenizer, item):
    [whole] = tokenizer.encode([item])
    found = whole.windowed(24, 6)
    assert len(found.windows) > 2
    assert np.array_equal(found.ids[found.body], whole.ids[~whole.special])
    assert np.array_equal(found.offsets[found.body], whole.offsets[~whole.special])


@pytest.mark.parametrize("asked", [None, 2])
def test_encodings_are_equal_by_what_the_encoder_reads(asked):
    whole = made(20, asked)
    assert whole == made(20, asked)
    assert hash(whole) == hash(made(20, asked))
    assert whole == replace(whole, types=whole.token_types)
    assert {whole, made(20, asked), whole.windowed(12, 2)} == {whole, whole.windowed(12, 2)}
    others = [
        made(19, asked),
        made(20, 3),
        replace(whole, text="y" * 20),
        replace(whole, ids=whole.ids + 1),
        replace(whole, truncated=True),
        whole.windowed(12, 2),
        "x",
    ]
    assert whole not in others
