"""Long values in a few words, for a person's screen."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

_FIRST = 3


def cut(text: str, most: int) -> str:
    """A text in one line of at most `most` characters; white space becomes a blank."""
    # Only what can be seen: a text of megabytes is not split for its first words.
    line = " ".join(text[: 4 * most].split())
    whole = len(line) <= most and len(text) <= 4 * most
    return line if whole else f"{line[: most - 1]}…"


def counted(number: int, word: str) -> str:
    """A number of things: ``1 text``, ``1,200 texts``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def first(names: Collection[str], most: int = _FIRST) -> str:
    """The first of many names, and how many there are: ``a, b, c, … (64)``."""
    found = ", ".join(islice(names, most))
    return found if len(names) <= most else f"{found}, … ({len(names):,})"
