"""Texts between those that there are, for a teacher to answer: one's start, another's end.

A student that sees few texts many times learns these texts, not what its teacher does with new
ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"\S+")
_WORDS = 3  # fewer in a text, and its characters are taken: no blanks stand between words


def mixed(texts: Sequence[str], others: Sequence[str], count: int, *, seed: int = 0) -> list[str]:
    """Starts of `texts` that go on as another one of them, or as one of `others`, half each.

    Args:
        texts: those that matter.
        others: of any kind; none are needed.
        count: how many, equal ones counted once.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    texts, others = ([t for t in where if t.strip()] for where in (texts, others))
    found = []
    for _ in range(count if texts else 0):
        ends = others if others and random.random() < 0.5 else texts
        start, end = (_parts(where[random.integers(len(where))]) for where in (texts, ends))
        cut, resumed = random.integers(1, len(start) + 1), random.integers(len(end))
        found.append("".join(start[:cut] + end[resumed:]))
    return list(dict.fromkeys(found))


def _parts(text: str) -> list[str]:
    words = _WORD.findall(text)
    return [f"{word} " for word in words] if len(words) >= _WORDS else list(text)
