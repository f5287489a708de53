"""Tags on words: any common scheme into BIO, BIO into character spans.

=========  ==================================================================================
IOB1       I- inside; B- only where a span follows another of the same label at once
IOB2, BIO  B- begins every span, I- goes on
BIOES      like BIO; E- ends a longer span, S- is a span of one word (IOBES, BMES with M- for I-)
BILOU      the same with L- (last) and U- (unit)
=========  ==================================================================================

One reading serves them all: B-, S- and U- begin a span; I-, M-, E- and L- go on with a span of
their own label, and begin one where there is none; E-, L-, S- and U- end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_BEGIN, _GO_ON, _END = "BSU", "IMEL", "ELSU"


def to_bio(tags: Sequence[Any]) -> list[str]:
    """Tags of any of the schemes as BIO (IOB2); no tags give none.

    Raises:
        ValueError: names the first that is no tag.
    """
    bio: list[str] = []
    inside = None  # label of the span that the next word may go on with
    for tag in tags:
        if tag == "O":
            bio.append("O")
            inside = None
            continue
        prefix, _, label = tag.partition("-") if isinstance(tag, str) else ("", "", "")
        if len(prefix) != 1 or prefix not in _BEGIN + _GO_ON or not label:
            raise ValueError(
                f"found the tag {tag!r}, expected O, B-LABEL or I-LABEL, or also E-, S-, L-, U-, M-"
            )
        bio.append(f"{'I' if prefix in _GO_ON and inside == label else 'B'}-{label}")
        inside = None if prefix in _END else label
    return bio


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text that is given as a list.

    Attributes:
        words: as they are in the row; those of no characters are no part of the text.
        joiner: what is between two of them.
    """

    words: Sequence[str]
    joiner: str = " "

    @property
    def text(self) -> str:
        """The words, joined."""
        return self.joiner.join(filter(None, self.words))

    @property
    def places(self) -> list[tuple[int, int]]:
        """Start and end of every word in the text; a word of no characters has no length."""
        found, start = [], 0
        for word in self.words:
            found.append((start, start + len(word)))
            start += len(word) + len(self.joiner) if word else 0
        return found


def spans(
    places: Sequence[tuple[int, int]], tags: Sequence[Any], *, each: bool = False
) -> list[dict[str, Any]]:
    """Tags on words into character spans of the text.

    Args:
        places: of the words in the text. Those of no characters, which some corpora have, may have
            the tag O only.
        tags: one a word, of any of the schemes.
        each: each tag is a label of its word alone; every word is a span then.

    Raises:
        ValueError: when there are not as many tags as words, one is no tag, or a word of no
            characters has another than O.
    """
    if len(tags) != len(places):
        raise ValueError(f"found {len(tags)} tags for {len(places)} words")
    if each and (wrong := [tag for tag in tags if not isinstance(tag, str) or not tag]):
        raise ValueError(f"found the tag {wrong[0]!r}, expected a text for each word")
    found: list[dict[str, Any]] = []
    bio = [f"B-{tag}" for tag in tags] if each else to_bio(tags)
    for (start, end), tag in zip(places, bio, strict=True):
        if start == end:
            if tag != "O" and not each:
                raise ValueError(f"found the tag {tag!r} at a word of no characters, expected O")
            continue
        prefix, _, label = tag.partition("-")
        if prefix == "I":
            found[-1]["end"] = end
        elif prefix == "B":
            found.append({"label": label, "start": start, "end": end})
    return found
