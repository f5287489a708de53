"""A text with its marked parts in colour, as HTML for a notebook: no script, no style sheet.

Colours are half transparent over the page's own, so that it reads on a light and a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple
from zlib import crc32

_MOST_CHARACTERS = 2_000
_HUES = 24


class Mark(NamedTuple):
    """A part of a text, and what is said of it."""

    start: int
    end: int
    tag: str


def marks(text: str, name: str, result: Mapping[str, Any]) -> list[Mark]:
    """The marks of one head's result as plain data, named by their labels, or else by the head.

    Offsets that are none of this text, such as those of `Prediction.utf16`, give no mark.
    """
    parts = [result]
    if "start" not in result:  # itself a part of the text, as an answer is, with its candidates
        parts = [
            p for v in result.values() if isinstance(v, list) for p in v if isinstance(p, dict)
        ]
    return [
        Mark(part["start"], part["end"], str(part.get("label", name)))
        for part in parts
        if part.get("text") and text[part.get("start", 0) : part.get("end", 0)] == part["text"]
    ]


def highlighted(text: str, found: Sequence[Mark]) -> str:
    """A text as HTML, in the line breaks that it has; a long one is cut, and says so.

    Where marks overlap, the shortest gives the colour and the longest the line below. The tag of
    each stands at its end.
    """
    shown = [
        mark._replace(end=min(mark.end, _MOST_CHARACTERS))
        for mark in found
        if mark.start < _MOST_CHARACTERS
    ]
    whole = min(len(text), _MOST_CHARACTERS)
    edges = sorted({0, whole, *(m.start for m in shown), *(m.end for m in shown)})
    html = []
    for start, end in pairwise(edges):
        over = [mark for mark in shown if mark.start <= start and end <= mark.end]
        html.append(_piece(escape(text[start:end]), sorted(over, key=lambda m: m.end - m.start)))
        html += [_tag(mark.tag) for mark in over if mark.end == end]
    if len(text) > whole:
        html.append(f"<i>… ({len(text) - whole:,} more characters)</i>")
    return "".join(html)


def _piece(html: str, over: Sequence[Mark]) -> str:
    if not over:
        return html
    inner, outer = _hue(over[0].tag), _hue(over[-1].tag)
    return (
        f'<mark style="color:inherit;background:hsla({inner},75%,55%,.3);'
        f'border-bottom:2px solid hsl({outer},65%,50%);padding:.1em 0">{html}</mark>'
    )


def _tag(tag: str) -> str:
    return f'<sub style="font-size:70%;opacity:.8;padding:0 .35em 0 .2em">{escape(tag)}</sub>'


def _hue(tag: str) -> int:
    """The same for a label wherever it comes."""
    return crc32(tag.encode("utf-8", "replace")) % _HUES * (360 // _HUES)
