"""Texts from JSON lines: strings, lists of two of them, or objects with texts under keys."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyhead.errors import InvalidText
from polyhead.text.encoding import Input


def read(name: str, field: str) -> Iterator[Input]:
    """The texts and pairs of a file, one by one; empty lines are passed over.

    Args:
        name: path of the file; ``"-"`` is standard input.
        field: key of the text in a line that is an object; two keys with a comma between them read
            a pair.

    Raises:
        InvalidText: when a line is no JSON or has no text; names file and line.
    """
    if name == "-":
        yield from _texts(sys.stdin, "standard input", field)
    else:
        with Path(name).open(encoding="utf-8") as lines:
            yield from _texts(lines, name, field)


def _texts(lines: Iterable[str], name: str, field: str) -> Iterator[Input]:
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield parse_line(line, f"{name}:{number}", field)
    except UnicodeDecodeError as problem:
        raise InvalidText(f"{name}: not UTF-8: {problem}. Convert the file first.") from problem


def parse_line(line: str, where: str, field: str) -> Input:
    """The text or pair of one line; `where` and `field` are for messages and objects, see `read`.

    Raises:
        InvalidText: when it is no JSON or has no text.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise InvalidText(f"{where}: not a JSON line: {problem}.") from problem
    if isinstance(row, str):
        return row
    keys = field.split(",")
    found = [row.get(key) for key in keys] if isinstance(row, dict) else row
    if isinstance(found, list) and all(isinstance(text, str) for text in found):
        if len(found) == 1 and isinstance(row, dict):
            return str(found[0])
        if len(found) == 2:
            return str(found[0]), str(found[1])
    raise InvalidText(
        f"{where}: expected a JSON string, a list of two for a pair, or an object with a text under"
        f" {' and '.join(map(repr, keys))}. Name another key with --field, two for a pair."
    )
