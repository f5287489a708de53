"""Chinese, Japanese and Korean text has no blanks between its words: characters count instead."""

from __future__ import annotations

import re

CHARACTER = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""A kana, an ideograph or a syllable."""


def spaced(text: str) -> str:
    """The text with blanks around each such character; other texts stay as they are."""
    return CHARACTER.sub(r" \g<0> ", text)
