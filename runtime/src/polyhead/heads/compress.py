"""compress.v1: a shorter version of a text, made of nothing but words of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.errors import InvalidSetting
from polyhead.heads.base import TextSpan, plain, sigmoid
from polyhead.heads.summary import means
from polyhead.system.schema import whole_number
from polyhead.text import words as words_of
from polyhead.text.encoding import Encoding

WORDS = 20
"""Most words when neither the call nor the head says."""

MOST = 2_000
"""The largest limit, in words or characters."""

PRICE = 0.2
"""What a piece costs, in probability, so that words stay together, when the head does not say."""

WORTH = 0.06
"""How probable a word must be, or its neighbours more, for a longer version to be better."""

_MOST_CELLS = 2**22  # of the search's tables, 32 MiB each


@dataclass(frozen=True, slots=True)
class Kept(TextSpan):
    """A kept piece of the text: neighbouring words with all that stands between them.

    `score` is how sure it is that its words should be kept, their mean.
    """


@dataclass(frozen=True, slots=True)
class Compressed:
    """A shorter version of a text.

    Attributes:
        text: the pieces in the order of the text, a blank between two of them; none before a
            Chinese or Japanese character. Empty when no word of the text fits.
        spans: the pieces, which never touch.
    """

    text: str
    spans: tuple[Kept, ...]

    @property
    def decision(self) -> tuple[tuple[int, int], ...]:
        """Start and end of every piece."""
        return tuple((s.start, s.end) for s in self.spans)

    def with_offsets(self, place: Callable[[int], int]) -> Compressed:
        """The same pieces with other offsets."""
        moved = (replace(s, start=place(s.start), end=place(s.end)) for s in self.spans)
        return replace(self, spans=tuple(moved))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"text": self.text, "spans": [plain(span) for span in self.spans]}

    def __str__(self) -> str:
        return repr(self.text) if self.spans else "(none)"


class CompressDecoder:
    """A word's logit is the mean of its tokens' logits; the best words within a budget are kept.

    The sum of their probabilities, each less `WORTH`, is highest, less a price for each piece, so
    that words stay together: a Viterbi search with two states, kept or not, for each size up to the
    budget.
    """

    width = 1
    options = ("words", "characters", "ratio", "sentences")

    def __init__(self, spec: HeadSpec) -> None:
        self._words = min(spec.words or WORDS, MOST)
        self._sentences = spec.sentences
        self._price = PRICE if spec.price is None else spec.price

    def decode(
        self,
        logits: NDArray[np.float32],
        encoding: Encoding,
        *,
        words: int | None = None,
        characters: int | None = None,
        ratio: float | None = None,
        sentences: int | None = None,
    ) -> Compressed:
        """Logits `(tokens, 1)`, float32, into the words that are kept; no word gives none.

        Args:
            logits: of each token; of several windows that count in which it is farthest from
                an edge.
            encoding: the text; `polyhead.text.words` splits it. Of a text of more words than
                4,194,304 divided by the limit, only the best sentences are read.
            words: most words, 1 to 2,000; the head's own number when no limit is given. A Chinese
                or Japanese character counts as one.
            characters: instead, most characters of the result, 1 to 2,000.
            ratio: instead, the share of the words, above 0 to 1; 1 to 2,000 of them.
            sentences: words of so many sentences at most, at least 1: those whose words'
                probabilities have the highest sum. None takes the head's own number, or words of
                the whole text where it has none.

        Raises:
            InvalidSetting: when two limits are given, or a value is out of its range.
        """
        text, spans = encoding.text, words_of.split(encoding.text)
        limit = _limit(len(spans), self._words, words, characters, ratio)
        count = self._sentences if sentences is None else whole_number("sentences", sentences)
        scores = sigmoid(means(logits[:, 0], encoding, spans))
        read, _ = readable(text, spans, scores, count, limit)
        sizes = sizes_of(text, spans, read, in_characters=characters is not None)
        kept = read[best(scores[read] - WORTH, sizes, limit, self._price)]
        return assembled(text, spans, scores, kept)


def best(
    gains: NDArray[np.float64], sizes: NDArray[np.int64], limit: int, price: float = PRICE
) -> NDArray[np.int64]:
    """The words to keep: those whose gains, less a price for each piece, have the highest sum.

    Viterbi with two states, kept or not, for all that may be used of the limit; words that follow
    one another are one piece. Something is kept where any word fits.

    Args:
        gains: of each word, float64 `(words,)`.
        sizes: what each word uses of the limit, 1 or more, int64 `(3, words)`: as the first word of
            all, as the first of a later piece, and next to the word before it; this is 0 where the
            two are no neighbours.
        limit: the most that may be used.
        price: of a piece.

    Returns:
        Indices of the words in their order, int64.
    """
    count = len(gains)
    # By what is used, and a word's number: the highest sum whose last word it is, and whose last
    # word is no later. Words count from 1; nothing is used in row 0, which no word reaches.
    kept, reached = np.full((2, limit + 1, count + 1), -np.inf)
    words, near = np.arange(count), sizes[2] > 0
    gap = np.maximum(words - near, 0)  # the last word that may stand before the gap before a word

    def ways(used: int, word: Any) -> NDArray[np.float64]:
        """What may stand before a word, or before each of several: nothing, a gap, a neighbour."""
        opening, starting, going = sizes[:, word]
        first = np.where(opening == used, 0.0, -np.inf) - price
        apart = reached[np.maximum(used - starting, 0), gap[word]] - price
        behind = kept[np.where(near[word], np.maximum(used - going, 0), 0), word]
        return np.stack([first, apart, behind])

    for used in range(1, limit + 1) if count else ():
        kept[used, 1:] = gains + ways(used, words).max(axis=0)
        reached[used] = np.maximum.accumulate(kept[used])
    if kept.max() == -np.inf:
        return np.zeros(0, dtype=np.int64)
    used, last = divmod(int(kept[:, 1:].argmax()), count)
    found = [last]
    while way := int(ways(used, last).argmax()):
        used -= int(sizes[way, last])
        last = last - 1 if way == 2 else int(kept[used, 1 : gap[last] + 1].argmax())
        found.append(last)
    return np.array(found[::-1], dtype=np.int64)


def _limit(
    count: int, default: int, words: int | None, characters: int | None, ratio: float | None
) -> int:
    """The most words, or characters where they are given; at least 1."""
    given = {"words": words, "characters": characters, "ratio": ratio}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        found = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise InvalidSetting(f"{found}: give one of them.")
    if ratio is not None:
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
            raise InvalidSetting(f"ratio={ratio!r}: expected a number above 0 and at most 1.")
        return min(max(1, round(ratio * count)), MOST)
    for name, value in given.items():
        return whole_number(name, value, most=MOST)
    return default


def readable(
    text: str,
    spans: Sequence[tuple[int, int]],
    scores: NDArray[np.float64],
    sentences: int | None,
    limit: int,
) -> tuple[NDArray[np.int64], float]:
    """The words to choose from: those of the best sentences, or all of them.

    Args:
        text: any text.
        spans: `(start, end)` of its words, in order.
        scores: of each word, `(words,)`, 0 to 1.
        sentences: how many are read; None for all.
        limit: the most that may be used: the larger, the fewer words can be searched.

    Returns:
        Indices of the words in their order, int64, and by how much the sum of scores of the last
        sentence that is read is above that of the first that is not; infinity without one.
    """
    most_words = _MOST_CELLS // limit
    if sentences is None and len(spans) <= most_words:
        return np.arange(len(spans)), math.inf
    owner = sentence_of(text, spans)
    counts, sums = np.bincount(owner), np.bincount(owner, weights=scores)
    ranked = np.argsort(-sums, kind="stable")
    fitting = int(np.searchsorted(np.cumsum(counts[ranked]), most_words, side="right"))
    taken = max(1, min(fitting, sentences or fitting))
    read = np.flatnonzero(np.isin(owner, ranked[:taken]))[:most_words]
    lead = -np.diff(sums[ranked[taken - 1 : taken + 1]])
    return read, float(lead[0]) if len(lead) else math.inf


def sentence_of(text: str, spans: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Which sentence of a text each of its words is in; int64 `(words,)`, never falling."""
    from polyhead.text import sentences  # late: its patterns take 7% of polyhead's import

    bounds = [start for start, _ in sentences.split(text)]
    return np.searchsorted(bounds, [start for start, _ in spans], side="right").astype(np.int64) - 1


def sizes_of(
    text: str, spans: list[tuple[int, int]], read: NDArray[np.int64], *, in_characters: bool
) -> NDArray[np.int64]:
    """What `best` takes: 1 for each word, or its characters with what stands before it."""
    sizes = np.ones((3, len(read)), dtype=np.int64)
    if in_characters and len(read):
        chosen = np.array(spans, dtype=np.int64)[read]
        sizes[:] = chosen[:, 1] - chosen[:, 0]
        sizes[1] += [not words_of.stands_alone(text[start]) for start in chosen[:, 0].tolist()]
        sizes[2, 1:] += chosen[1:, 0] - chosen[:-1, 1]
    sizes[2, 1:][np.diff(read) > 1] = 0  # a sentence that is not read is between
    return sizes


def assembled(
    text: str,
    spans: Sequence[tuple[int, int]],
    scores: NDArray[np.float64],
    kept: NDArray[np.int64],
) -> Compressed:
    """The result of words that are kept.

    Args:
        text: any text.
        spans: `(start, end)` of its words, in order.
        scores: of each word, `(words,)`, 0 to 1.
        kept: indices of words, in order; those that follow one another are one piece.
    """
    pieces, joined = [], ""
    for run in np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1) if len(kept) else ():
        start, end = spans[run[0]][0], spans[run[-1]][1]
        piece = text[start:end]
        joined += piece if not joined or words_of.stands_alone(piece[0]) else f" {piece}"
        pieces.append(Kept(piece, start, end, float(scores[run].mean())))
    return Compressed(joined, tuple(pieces))
