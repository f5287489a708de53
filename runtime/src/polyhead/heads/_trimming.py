"""Spans of tokens as spans of text: without blanks at the ends, accents with their letters."""

from __future__ import annotations

import unicodedata


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out white space that some tokenizers count to a token, and keep marks with their base.

    An accent that follows its letter as a character of its own belongs to no token when the
    tokenizer strips accents.
    """
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return start, end
