"""CoNLL: one word a line with its columns, a blank line after each sentence."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
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
    tabs = any("\t" in line for _, line in numbered if line.strip())
    for blank, sentence in itertools.groupby(numbered, key=lambda one: not one[1].strip(" \t")):
        if not blank:
            try:
                row = _row(place, layout.columns, sentence, tabs)
            except DataError as problem:
                layout.refuse(problem)
                continue
            if row is not None:
                yield row


def _comment(line: str, tabs: bool) -> dict[str, str] | None:
    """What a comment says, by key; nothing for one without a key, and None for a word."""
    if tabs and (not line.startswith("#") or "\t" in line):
        return None
    if found := (_COMMENT if tabs else _SPACED_COMMENT).fullmatch(line):
        return {found[1]: found[2].strip()}
    return {} if tabs else None


def _row(
    place: str, columns: Sequence[str], sentence: Iterable[tuple[int, str]], tabs: bool
) -> Row | None:
    """The numbered lines of a sentence as a row; None when it has no words."""
    comments: dict[str, str] = {}
    words: list[list[str]] = []
    first = 0
    for number, line in sentence:
        if (comment := _comment(line, tabs)) is not None:
            comments |= comment
            continue
        cells = line.split("\t") if tabs else re.split(r" +", line.strip(" "))
        if cells[0] == "-DOCSTART-":  # CoNLL-2003: the beginning of a document, no word
            continue
        if columns[0] in ("", "_", "id") and _BETWEEN_WORDS.fullmatch(cells[0]):
            continue
        if len(cells) < len(columns) or (words and len(cells) != len(words[0])):
            expected = len(words[0]) if words else f"at least {len(columns)}"
            raise DataError(
                f"{place}:{number}: found {len(cells)} columns, expected {expected}"
                f" ({', '.join(columns)})."
            )
        first = first or number
        words.append(cells)
    if not words:
        return None
    found = named(columns, [list(column) for column in zip(*words, strict=True)])
    return Row(f"{place}:{first}", {**comments, **found})
