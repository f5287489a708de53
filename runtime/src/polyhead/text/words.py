"""Words of a text: what stands between blanks, without the marks at its edges.

Chinese and Japanese are written without blanks: each of their characters is a word by itself.
"""

from __future__ import annotations

import re

_ALONE = "\u3005\u3040-\u30fa\u30fc-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_FOUND = re.compile(rf"[{_ALONE}]|[^\s—–…{_ALONE}]+")
_EDGES = (
    ".,;:!?\"'`()[]{}<>*_~|\\/-‐‑―‘’“”„«»‹›¡¿·•・"  # noqa: RUF001
    "、。，．；：！？（）《》〈〉【】「」『』〔〕［］｛｝～"  # noqa: RUF001
)
_SINGLE = re.compile(rf"[{_ALONE}]")


def split(text: str) -> list[tuple[int, int]]:
    """`(start, end)` of each word in code points, in the order of the text, never overlapping.

    Marks inside a word stay, as in `e.g` and `state-of-the-art`; those at its edges belong to no
    word. A text of blanks and marks alone has none.
    """
    found = []
    for match in _FOUND.finditer(text):
        start, word = match.start(), match.group()
        left = word.lstrip(_EDGES)
        if left:
            start += len(word) - len(left)
            found.append((start, start + len(left.rstrip(_EDGES))))
    return found


def stands_alone(character: str) -> bool:
    """Whether no blank comes before and behind such a character."""
    return _SINGLE.match(character) is not None
