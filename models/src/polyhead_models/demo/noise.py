"""Light noise as in real mail: slips of the finger, shouting, emoji, careless punctuation.

Every function keeps the pieces that carry a label whole, so spans never break.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from polyhead_models.demo.slots import Piece

Pieces = list[Piece]


def disturb(pieces: Pieces, emoji: Sequence[str], rng: random.Random) -> Pieces:
    """Each kind of noise with its own small chance; most messages stay as written."""
    if rng.random() < 0.12:
        pieces = _typo(pieces, rng)
    if rng.random() < 0.08:
        pieces = _recase(pieces, rng.choice((str.lower, str.lower, str.upper)))
    if rng.random() < 0.12:
        pieces = _drop_final_stop(pieces)
    if rng.random() < 0.03:
        pieces = _after(r"[a-z,.](?= )", pieces, " ", rng)
    if rng.random() < 0.12:
        pieces = _with_emoji(pieces, rng.choice(emoji), rng)
    return pieces


def emoji_for(sentiment: str, table: Mapping[str, Sequence[str]]) -> list[str]:
    """The emoji that do not contradict a sentiment."""
    return [*table["any"], *table[sentiment]]


def _plain_matches(pattern: str, pieces: Pieces) -> list[tuple[int, re.Match[str]]]:
    return [
        (index, match)
        for index, piece in enumerate(pieces)
        if piece.label is None
        for match in re.finditer(pattern, piece.text)
    ]


def _splice(pieces: Pieces, index: int, start: int, end: int, text: str) -> Pieces:
    whole = pieces[index].text
    return [
        *pieces[:index],
        replace(pieces[index], text=whole[:start] + text + whole[end:]),
        *pieces[index + 1 :],
    ]


def _typo(pieces: Pieces, rng: random.Random) -> Pieces:
    # Words under five letters hold the negations; they stay as they are.
    words = _plain_matches("[A-Za-z]{5,}", pieces)
    if not words:
        return pieces
    index, match = rng.choice(words)
    word = match[0]
    at = rng.randint(1, len(word) - 3)
    one, two = word[at], word[at + 1]
    slip = rng.choice((two + one, two, one + one + two))
    return _splice(pieces, index, match.start() + at, match.start() + at + 2, slip)


def _recase(pieces: Pieces, case: Callable[[str], str]) -> Pieces:
    return [replace(piece, text="".join(_same_length(case, piece.text))) for piece in pieces]


def _same_length(case: Callable[[str], str], text: str) -> list[str]:
    # "ß" and "İ" would grow to two characters and move every offset after them.
    return [other if len(other := case(letter)) == 1 else letter for letter in text]


def _drop_final_stop(pieces: Pieces) -> Pieces:
    last = pieces[-1]
    if last.label is not None:
        return pieces
    return [*pieces[:-1], replace(last, text=last.text.rstrip(".!"))]


def _after(pattern: str, pieces: Pieces, text: str, rng: random.Random) -> Pieces:
    places = _plain_matches(pattern, pieces)
    if not places:
        return pieces
    index, match = rng.choice(places)
    return _splice(pieces, index, match.end(), match.end(), text)


def _with_emoji(pieces: Pieces, emoji: str, rng: random.Random) -> Pieces:
    if rng.random() < 0.4:
        return _after(r"[.!?](?= )", pieces, f" {emoji}", rng)
    return [*pieces, Piece(f" {emoji}")]
