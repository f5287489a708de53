"""How far two answers have the same words: the F1 of SQuAD (Rajpurkar et al. 2016, section 6.1)."""

from __future__ import annotations

import re
import string
from collections import Counter

from polyhead_models.cjk import spaced

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation + "，。！？、；：“”‘’（）《》「」…")  # noqa: RUF001


def words(text: str) -> list[str]:
    """The words that count."""
    return spaced(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION))).split()


def f1(found: str, expected: str) -> float:
    """F1 of the words of two answers; where one has none, 1 when neither has."""
    a, b = words(found), words(expected)
    if not a or not b:
        return float(a == b)
    common = sum((Counter(a) & Counter(b)).values())
    return 2 * common / (len(a) + len(b))
