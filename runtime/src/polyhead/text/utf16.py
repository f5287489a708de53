"""Offsets in UTF-16 code units, as JavaScript, Java and C# count the characters of a string."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def offsets(text: str) -> Callable[[int], int]:
    """A function that turns an offset in code points of `text` into one in UTF-16 code units.

    Characters above U+FFFF, such as most emoji, are two units, all others one. The function takes 0
    to ``len(text)``.
    """
    if text.isascii() or max(text) <= "\uffff":
        return lambda offset: offset
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    pairs = np.concatenate([[0], np.cumsum(points > 0xFFFF)])
    return lambda offset: offset + int(pairs[offset])
