"""Texts of a file: JSON lines, CSV, TSV, or a text a line; by the ending of its name.

In JSON lines a text is a string, a pair a list of two of them, or both are under keys of an object.
CSV and TSV name their columns in the first line, and an empty cell is no text. In a ``.txt`` file
every line is a text. A file of another ending, and standard input, are read as JSON lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyhead.errors import InputError, InvalidSetting, InvalidText, nearest
from polyhead.system.lines import (
    Lines,
    Records,
    csv_records,
    decoded,
    read_lines,
    tsv_records,
    without_end,
)
from polyhead.text.encoding import Input


@dataclass(frozen=True, slots=True)
class TextRow:
    """One row of a file.

    Attributes:
        where: ``file:line``, for messages.
        text: the text or pair; of a row without one, why.
        line: number of its line, from 1.
        fields: all that the row holds, by key; empty for a row that is only a text.
    """

    where: str
    text: Input | InputError
    line: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)


def read(name: str, key: str) -> Iterator[tuple[str, Input]]:
    """The texts and pairs of a file, one by one; empty lines are passed over.

    Args:
        name: path of the file; ``"-"`` is standard input.
        key: of the text in a row with keys or columns; two keys with a comma between them read a
            pair.

    Returns:
        For each the place, ``file:line``, and what it is.

    Raises:
        InputError: when the file cannot be read, is not UTF-8, or a row has no text; names file and
            line.
        InvalidSetting: for more than two keys.
    """
    for row in rows(name, key):
        if isinstance(row.text, InputError):
            raise row.text
        yield row.where, row.text


def rows(name: str, key: str, kept: Sequence[str] = ()) -> Iterator[TextRow]:
    """The rows of a file, also those without a text; otherwise as `read`.

    Args:
        name: as for `read`.
        key: as for `read`.
        kept: columns that a table has to have as well, and keys that the first good row of JSON
            lines has to have; later ones may lack them.
    """
    shown = "standard input" if name == "-" else name
    lines = (
        decoded(sys.stdin.buffer, shown, InvalidText)
        if name == "-"
        else read_lines(Path(name), InvalidText)
    )
    if len(keys := key.split(",")) > 2:
        raise InvalidSetting(f"--field {key}: expected one key, or two for a pair.")
    ending = Path(name).suffix.lower()
    try:
        if ending == ".csv":
            yield from _of_table(csv_records(lines, shown, InvalidText), shown, keys, kept)
        elif ending == ".tsv":
            yield from _of_table(tsv_records(lines), shown, keys, kept)
        elif ending == ".txt":
            yield from _of_lines(lines, shown)
        else:
            yield from _of_json(lines, shown, keys, kept)
    except FileNotFoundError as problem:
        raise InputError(f"{shown}: cannot be read: there is no such file.") from problem
    except OSError as problem:
        raise InputError(f"{shown}: cannot be read: {problem.strerror or problem}.") from problem


def _of_json(
    lines: Lines, shown: str, keys: Sequence[str], kept: Sequence[str]
) -> Iterator[TextRow]:
    unseen = kept
    for number, line in lines:
        if line.strip():
            row = _json_row(line, f"{shown}:{number}", number, keys)
            if not isinstance(row.text, InputError):
                for name in unseen:
                    if name not in row.fields:
                        raise _unknown(row.where, name, row.fields)
                unseen = ()
            yield row


def _json_row(line: str, where: str, number: int, keys: Sequence[str]) -> TextRow:
    try:
        row = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
        return TextRow(where, InvalidText(f"{where}: not a JSON line: {problem}."), number)
    if isinstance(row, str):
        return TextRow(where, row, number)
    fields = row if isinstance(row, dict) else {}
    found = [row.get(key) for key in keys] if isinstance(row, dict) else row
    if isinstance(found, list) and all(isinstance(text, str) for text in found):
        if len(found) == 1 and fields:
            return TextRow(where, str(found[0]), number, fields)
        if len(found) == 2:
            return TextRow(where, (str(found[0]), str(found[1])), number, fields)
    missing = InvalidText(
        f"{where}: expected a JSON string, a list of two for a pair, or an object with a text under"
        f" {' and '.join(map(repr, keys))}. Name another key with --field, two for a pair."
    )
    return TextRow(where, missing, number, fields)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is none of JSON's numbers")


def _of_table(
    records: Records, shown: str, keys: Sequence[str], kept: Sequence[str]
) -> Iterator[TextRow]:
    header: list[str] = []
    for number, cells in records:
        where = f"{shown}:{number}"
        if not header:
            header = cells
            if twice := [name for name in (*keys, *kept, "id") if header.count(name) > 1]:
                raise InvalidText(f"{where}: the column {twice[0]!r} is duplicated in the header.")
            if unknown := [name for name in (*keys, *kept) if name not in header]:
                raise _unknown(where, unknown[0], header)
            continue
        fields = dict(zip(header, cells, strict=False))
        if len(cells) != len(header):
            what = f"found {len(cells)} columns, expected {len(header)}: {', '.join(header)}."
        elif empty := [key for key in keys if not fields[key]]:
            what = f"no text in the column {empty[0]!r}."
        else:
            first, *second = (fields[key] for key in keys)
            yield TextRow(where, (first, second[0]) if second else first, number, fields)
            continue
        yield TextRow(where, InvalidText(f"{where}: {what}"), number, fields)


def _unknown(where: str, name: str, known: Collection[str]) -> InvalidText:
    there = ", ".join(map(repr, known)) or "none"
    return InvalidText(
        f"{where}: no key or column {name!r}; there is {there}. Name one with --field or --keep."
        f"{nearest(name, known)}"
    )


def _of_lines(lines: Lines, shown: str) -> Iterator[TextRow]:
    for number, line in lines:
        if line.strip():
            yield TextRow(f"{shown}:{number}", without_end(line), number)
