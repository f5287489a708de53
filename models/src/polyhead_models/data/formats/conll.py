"""CoNLL: one word a line with its columns, a blank line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from polyhead_models.data.formats.base import FileLayout, Row, lines, named
from polyhead_models.errors import DataError

_COMMENT = re.compile(r"#\s*(\S.*?)\s*=\s*(.*)")
_SPACED_COMMENT = re.compile(r"#\s*(\S.*?) = (.*)")
_BETWEEN_WORDS = re.compile(r"\d+[-.]\d+")  # CoNLL-U: "3-4" spans words, "8.1" is no word


def read(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a sentence: each named column as a list, and a text for each ``# key = value``.

    Columns stand between tabs where the file has any, else between blanks. Columns after the last
    named one are left out; a column goes before a comment of the same name. With tabs, all lines
    that begin with ``#`` and have no tab are comments; without, only ``# key = value`` is.

    Raises:
        DataError: for a line with fewer columns than named, or than its sentence has.
    """
    numbered = [(number, line.strip("\r\n")) for number, line in lines(Path(place))]
    tabs = any("\t" in line for _, line in numbered)
    sentence = _Sentence(place, layout)
    for number, line in numbered:
        if not line.strip(" \t"):
            yield from sentence.finish()
            sentence = _Sentence(place, layout)
        elif (comment := _comment(line, tabs)) is not None:
            sentence.note(comment)
        else:
            cells = line.split("\t") if tabs else re.split(r" +", line.strip(" "))
            sentence.add(number, cells)
    yield from sentence.finish()


def _comment(line: str, tabs: bool) -> re.Match[str] | str | None:
    """A comment with its key and value, one without them as text, or None for a word."""
    if tabs:
        is_comment = line.startswith("#") and "\t" not in line
        return (_COMMENT.fullmatch(line) or line) if is_comment else None
    return _SPACED_COMMENT.fullmatch(line)


class _Sentence:
    """The lines of a sentence, as they come."""

    def __init__(self, place: str, layout: FileLayout) -> None:
        self._place = place
        self._columns = layout.columns
        self._comments: dict[str, str] = {}
        self._words: list[list[str]] = []
        self._first = 0

    def note(self, comment: re.Match[str] | str) -> None:
        """Keep a comment that has a key; another is left out."""
        if not isinstance(comment, str):
            self._comments[comment[1]] = comment[2].strip()

    def add(self, number: int, cells: list[str]) -> None:
        """A word's line."""
        if cells[0] == "-DOCSTART-":  # CoNLL-2003: the beginning of a document, no word
            return
        if self._columns[0] in ("", "_", "id") and _BETWEEN_WORDS.fullmatch(cells[0]):
            return
        if len(cells) < len(self._columns) or (self._words and len(cells) != len(self._words[0])):
            expected = len(self._words[0]) if self._words else f"at least {len(self._columns)}"
            raise DataError(
                f"{self._place}:{number}: found {len(cells)} columns, expected {expected}"
                f" ({', '.join(self._columns)})."
            )
        self._first = self._first or number
        self._words.append(cells)

    def finish(self) -> Iterator[Row]:
        """The sentence as a row; nothing when it has no words."""
        if self._words:
            words = named(
                self._columns, [list(column) for column in zip(*self._words, strict=True)]
            )
            yield Row(f"{self._place}:{self._first}", {**self._comments, **words})
